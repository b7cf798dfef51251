"""Where a warehouse is: its folder, local or in an object store, and its marker file.

::

    warehouse.json   what makes the folder a warehouse: its id, format and schema version
    tables/          the Delta tables, one folder each
    artifacts/       the bytes of artifacts, by digest
    _spool/          what this machine has logged and not yet committed
    _webhooks/       secrets of webhooks, and what they have still to deliver; for its owner alone

The spool of a warehouse in an object store is in the user's cache folder: a spool is always on a local disk.
What its webhooks keep is in the user's folder of states.
"""

from __future__ import annotations

import hashlib
import json
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from mlwarehouse.config import cache_dir, state_dir
from mlwarehouse.errors import NotAWarehouseError, StorageError, WarehouseNotFoundError
from mlwarehouse.storage import LocalStorage, Storage

FORMAT = 1
"""The layout above; a later release that changes it raises this, and earlier ones refuse the folder."""

MARKER = "warehouse.json"


@dataclass(frozen=True)
class Location:
    """A warehouse's place.

    Attributes:
        storage: Its folder.
        warehouse_id: 32 hexadecimal digits that stay with it wherever it is copied.
    """

    storage: Storage
    warehouse_id: str

    @property
    def tables(self) -> Storage:
        """The folder of the tables."""
        return self.storage.child("tables")

    @property
    def artifacts(self) -> Storage:
        """The folder of the artifacts."""
        return self.storage.child("artifacts")

    @property
    def spools(self) -> Path:
        """The local folder of the machines' spools, unless a setting names another."""
        if isinstance(self.storage, LocalStorage):
            return self.storage.folder("A spool") / "_spool"
        return cache_dir() / "spools" / self._word()

    @property
    def webhooks(self) -> Path:
        """The local folder of what webhooks keep to themselves, unless a setting names another."""
        if isinstance(self.storage, LocalStorage):
            return self.storage.folder("An outbox") / "_webhooks"
        return state_dir() / "webhooks" / self._word()

    def _word(self) -> str:
        # A copy of a warehouse has its id, too, and what is logged to one must not get into the other.
        place = hashlib.sha256(self.storage.uri.encode()).hexdigest()[:8]
        return f"{self.warehouse_id}-{place}"

    def is_there(self) -> bool:
        """Whether the warehouse hasn't been removed meanwhile; an object store isn't asked each time."""
        return not isinstance(self.storage, LocalStorage) or self.storage.exists(MARKER)


def find(storage: Storage) -> Location:
    """Open the warehouse in a folder.

    Raises:
        WarehouseNotFoundError: Nothing is there.
        NotAWarehouseError: Something else is there.
        StorageError: It can't be reached.
    """
    try:
        values = json.loads(storage.read(MARKER))
        found, warehouse_id = int(values["format"]), str(values["warehouse_id"])
    except (FileNotFoundError, NotADirectoryError):
        _refuse_other(storage)
        raise WarehouseNotFoundError(
            f"There is no warehouse at `{storage.uri}`. Make one by `mlwarehouse init --warehouse {storage.uri}`, or "
            "log a run there; or name another place by `set_warehouse(...)` or MLWAREHOUSE_URI."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise NotAWarehouseError(f"`{storage.uri}/{MARKER}` isn't a warehouse's marker file ({error}).") from error
    except OSError as error:
        raise StorageError(f"The warehouse at `{storage.uri}` can't be opened: {_said(error)}.") from error
    if found > FORMAT:
        raise NotAWarehouseError(
            f"The warehouse at `{storage.uri}` has format {found}; this release knows {FORMAT}. Upgrade mlwarehouse."
        )
    return Location(storage, warehouse_id)


def find_or_create(storage: Storage, decide_id: Callable[[Storage], str]) -> Location:
    """Open the warehouse in a folder, or make one where there is nothing, or an empty folder.

    Several processes may do it at once: they get the same warehouse.

    Args:
        storage: The folder.
        decide_id: Gives the id of the warehouse in a folder, the same to all that ask at once. It is asked only where
            the storage can't decide which of several files stays.

    Raises:
        NotAWarehouseError: Something else is there.
        StorageError: The place can't be written.
    """
    try:
        return find(storage)
    except WarehouseNotFoundError:
        pass
    try:
        storage.make()
        warehouse_id = uuid.uuid4().hex if storage.creates_exclusively else decide_id(storage)
        values = {"format": FORMAT, "warehouse_id": warehouse_id, "created_at": time.time_ns() // 1000}
        storage.create(MARKER, json.dumps(values).encode())
    except OSError as error:
        raise StorageError(
            f"A warehouse can't be made at `{storage.uri}`: {_said(error)}. Choose a place that can be written."
        ) from error
    return find(storage)


def _refuse_other(storage: Storage) -> None:
    """Raise when something that isn't a warehouse is at a place."""
    try:
        names = storage.names()
    except NotADirectoryError:
        raise NotAWarehouseError(f"`{storage.uri}` is a file; a warehouse is a folder. Choose another place.") from None
    except OSError as error:
        raise StorageError(f"The warehouse at `{storage.uri}` can't be opened: {_said(error)}.") from error
    # Another process may be making the marker this moment, or its tables: that doesn't count.
    making = {"tables"} if not storage.creates_exclusively else set()
    others = [name for name in names if not name.startswith(f".{MARKER}") and name not in making]
    if others and MARKER not in names and not storage.exists(MARKER):
        raise NotAWarehouseError(
            f"The folder `{storage.uri}` isn't a warehouse: it has no `{MARKER}` and holds something else "
            f"({', '.join(sorted(others)[:3])}). Choose an empty or new folder."
        )


def _said(error: OSError) -> str:
    return error.strerror or str(error).rstrip(".")
