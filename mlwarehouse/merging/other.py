"""The warehouse that is merged into this one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlwarehouse.artifacts import ArtifactStore
from mlwarehouse.engines.base import Engine, Reading

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True)
class Other:
    """A warehouse, at one state of its tables.

    Attributes:
        uri: Where it is, for messages.
        warehouse_id: Its id.
        engine: Answers about it.
        store: Its artifacts.
        reading: The state.
    """

    uri: str
    warehouse_id: str
    engine: Engine
    store: ArtifactStore
    reading: Reading

    def ask(self, sql: str, **parameters: Any) -> pa.Table:
        """Answer a question about it."""
        return self.engine.query(sql, reading=self.reading, parameters=parameters)
