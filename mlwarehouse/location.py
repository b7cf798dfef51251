"""Where a warehouse is: its folder and its marker file.

::

    warehouse.json   what makes the folder a warehouse: its id, format and schema version
    tables/          the Delta tables, one folder each
    artifacts/       the bytes of artifacts, by digest
    _spool/          what this machine has logged and not yet committed
"""

from __future__ import annotations

import json
import os
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from mlwarehouse.errors import InvalidInputError, NotAWarehouseError, StorageError, WarehouseNotFoundError

FORMAT = 1
"""The layout above; a later release that changes it raises this, and earlier ones refuse the folder."""

MARKER = "warehouse.json"


@dataclass(frozen=True)
class Location:
    """A warehouse's place.

    Attributes:
        root: Its folder, absolute.
        warehouse_id: 32 hexadecimal digits that stay with it wherever it is copied.
    """

    root: Path
    warehouse_id: str

    @property
    def tables(self) -> Path:
        """The folder of the tables."""
        return self.root / "tables"

    @property
    def artifacts(self) -> Path:
        """The folder of the artifacts."""
        return self.root / "artifacts"


def local_path(uri: str | Path) -> Path:
    """The folder that a warehouse's address names.

    Raises:
        InvalidInputError: An address that isn't a local folder.
    """
    text = str(uri)
    if text.startswith("file://"):
        text = text.removeprefix("file://")
    elif "://" in text:
        raise InvalidInputError(
            f"The warehouse address `{text}` can't be opened: this release keeps warehouses in local folders. "
            "Pass a path, or file:// and a path."
        )
    return Path(text).expanduser().resolve()


def find(uri: str | Path) -> Location:
    """Open the warehouse at an address.

    Raises:
        WarehouseNotFoundError: Nothing is there.
        NotAWarehouseError: Something else is there.
    """
    root = local_path(uri)
    marker = root / MARKER
    try:
        values = json.loads(marker.read_text(encoding="utf-8"))
        found, warehouse_id = int(values["format"]), str(values["warehouse_id"])
    except (FileNotFoundError, NotADirectoryError):
        _refuse_other(root)
        raise WarehouseNotFoundError(
            f"There is no warehouse at `{root}`. Make one by `mlwarehouse init --warehouse {root}`, or log a run "
            "there; or name another place by `set_warehouse(...)` or MLWAREHOUSE_URI."
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise NotAWarehouseError(f"`{marker}` isn't a warehouse's marker file ({error}).") from error
    except OSError as error:
        raise StorageError(f"The warehouse at `{root}` can't be opened: {error.strerror}.") from error
    if found > FORMAT:
        raise NotAWarehouseError(
            f"The warehouse at `{root}` has format {found}; this release knows {FORMAT}. Upgrade mlwarehouse."
        )
    return Location(root, warehouse_id)


def find_or_create(uri: str | Path) -> Location:
    """Open the warehouse at an address, or make one where there is nothing, or an empty folder.

    Several processes may do it at once: they get the same warehouse.

    Raises:
        NotAWarehouseError: Something else is there.
        StorageError: The place can't be written.
    """
    try:
        return find(uri)
    except WarehouseNotFoundError:
        pass
    root = local_path(uri)
    marker = root / MARKER
    values = {"format": FORMAT, "warehouse_id": uuid.uuid4().hex, "created_at": time.time_ns() // 1000}
    try:
        root.mkdir(parents=True, exist_ok=True)
        temporary = root / f".{MARKER}.{uuid.uuid4().hex}"
        temporary.write_text(json.dumps(values), encoding="utf-8")
        try:
            os.link(temporary, marker)
        except FileExistsError:
            pass
        finally:
            temporary.unlink()
    except OSError as error:
        raise StorageError(
            f"A warehouse can't be made at `{root}`: {error.strerror}. Choose a place that can be written."
        ) from error
    return find(uri)


def _refuse_other(root: Path) -> None:
    """Raise when something that isn't a warehouse is at a place."""
    if root.is_dir():
        # Another process may be making the marker this moment: its temporary file doesn't count.
        others = [p.name for p in root.iterdir() if not p.name.startswith(f".{MARKER}")]
        if others and not (root / MARKER).exists():
            raise NotAWarehouseError(
                f"The folder `{root}` isn't a warehouse: it has no `{MARKER}` and holds something else "
                f"({', '.join(sorted(others)[:3])}). Choose an empty or new folder."
            )
    elif root.exists():
        raise NotAWarehouseError(f"`{root}` is a file; a warehouse is a folder. Choose another place.")
