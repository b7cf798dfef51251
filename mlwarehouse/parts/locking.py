"""The part of a warehouse that lets strangers ask."""

from __future__ import annotations

import os
from collections.abc import Sequence

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.parts.base import Base
from mlwarehouse.parts.locked_sql import LockedSql, bounds_of, check_sandbox, granted_tables


class Locking(Base):
    """Read-only SQL over granted rows."""

    def locked(
        self,
        *,
        experiment_ids: Sequence[str] | None = None,
        experiment_names: Sequence[str] | None = None,
        tables: Sequence[str] | None = None,
        time_limit_s: float = 5.0,
        memory_bytes: int = 1 << 30,
        row_limit: int = 10_000,
        result_bytes: int = 64 << 20,
        workers: int | None = None,
    ) -> LockedSql:
        """Open the warehouse for SQL of people who aren't trusted: read-only, over granted rows, within limits.

        Args:
            experiment_ids: The experiments whose rows are granted, by id; with no experiments named, all rows are.
            experiment_names: The same by name.
            tables: The tables and views that may be asked. None means all but those that say who may do what,
                `access_events` and `access_rights`; with experiments named, all whose rows each belong to one
                experiment: others, such as the registry's, are granted as a whole, and only when named.
            time_limit_s: Seconds until a question is ended.
            memory_bytes: Memory that a question may take.
            row_limit: Rows of an answer; it says so when there were more.
            result_bytes: Bytes of an answer.
            workers: Questions answered at the same time; None means one for each processor.

        Returns:
            An object whose ``sql`` answers; close it, or use it as a context manager.

        Raises:
            SandboxUnavailableError: The machine can't shut workers in, and the setting ``locked_sql`` doesn't say to do
                without.
            NotFoundError: No such experiment.
            InvalidInputError: No such table, or a limit that leaves nothing.
        """
        from mlwarehouse.query import resolve_experiments

        if workers is not None and workers < 1:
            raise InvalidInputError(f"`workers` is {workers}; it must be 1 at least.")
        check_sandbox(self.settings.locked_sql)
        engine = self.engine()
        is_restricted = experiment_ids is not None or experiment_names is not None
        granted = resolve_experiments(
            engine, self.reading(), experiment_ids=experiment_ids, experiment_names=experiment_names
        )
        return LockedSql(
            self,
            tables=granted_tables(tables, is_restricted=is_restricted),
            experiment_ids=tuple(granted or ()) if is_restricted else None,
            bounds=bounds_of(
                time_limit_s=time_limit_s,
                memory_bytes=memory_bytes,
                row_limit=row_limit,
                result_bytes=result_bytes,
            ),
            workers=workers or os.cpu_count() or 1,
            without_landlock=self.settings.locked_sql == "without-landlock",
        )
