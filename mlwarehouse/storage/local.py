"""Files in a local folder."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse import disk
from mlwarehouse.disk import make_folder, sync_path
from mlwarehouse.storage.base import FileInfo

if TYPE_CHECKING:
    import pyarrow as pa


class LocalStorage:
    """A local folder; see `Storage`."""

    creates_exclusively = True

    def __init__(self, path: Path) -> None:
        """Name a folder; nothing is made yet."""
        self._path = Path(path)
        self.uri = str(path)

    @classmethod
    def at(cls, uri: str) -> LocalStorage:
        """The folder at a path or a ``file://`` address, made absolute."""
        return cls(Path(uri.removeprefix("file://")).expanduser().resolve())

    @property
    def delta_options(self) -> Mapping[str, str] | None:
        """See `Storage.delta_options`."""
        return None

    def child(self, name: str) -> LocalStorage:
        """See `Storage.child`."""
        return LocalStorage(self._path / name)

    @property
    def parent(self) -> LocalStorage:
        """See `Storage.parent`."""
        return LocalStorage(self._path.parent)

    def folder(self, what: str) -> Path:  # noqa: ARG002 -- any local folder will do
        """See `Storage.folder`."""
        return self._path

    def make(self) -> None:
        """See `Storage.make`."""
        make_folder(self._path)

    def exists(self, name: str = "") -> bool:
        """See `Storage.exists`."""
        return (self._path / name).exists()

    def names(self) -> list[str]:
        """See `Storage.names`."""
        try:
            return sorted(p.name for p in self._path.iterdir())
        except FileNotFoundError:
            return []

    def files(self) -> dict[str, FileInfo]:
        """See `Storage.files`."""
        found = {}
        try:
            with os.scandir(self._path) as there:
                for item in there:
                    # A file may go while it is looked at, or be a link that leads nowhere.
                    with contextlib.suppress(FileNotFoundError):
                        if item.is_file():
                            status = item.stat()
                            found[item.name] = FileInfo(status.st_size, status.st_mtime)
        except FileNotFoundError:
            return {}
        return dict(sorted(found.items()))

    def info(self, name: str) -> FileInfo | None:
        """See `Storage.info`."""
        try:
            status = (self._path / name).stat()
        except FileNotFoundError:
            return None
        return FileInfo(status.st_size, status.st_mtime)

    def size(self, name: str) -> int | None:
        """See `Storage.size`."""
        found = self.info(name)
        return None if found is None else found.size

    def read(self, name: str) -> bytes:
        """See `Storage.read`."""
        return (self._path / name).read_bytes()

    def create(self, name: str, content: bytes) -> None:
        """See `Storage.create`."""
        disk.create(self._path / name, content)

    def write(self, name: str, content: bytes) -> None:
        """See `Storage.write`."""
        disk.replace(self._path / name, content)

    def open_input(self, name: str) -> pa.NativeFile:
        """See `Storage.open_input`."""
        import pyarrow as pa

        return pa.OSFile(str(self._path / name), "rb")

    @contextmanager
    def open_output(self, name: str) -> Iterator[pa.NativeFile]:
        """See `Storage.open_output`."""
        import pyarrow as pa

        with pa.OSFile(str(self._path / name), "wb") as out:
            yield out

    def delete(self, name: str) -> None:
        """See `Storage.delete`."""
        (self._path / name).unlink(missing_ok=True)

    def sync(self, *names: str) -> None:
        """See `Storage.sync`."""
        for name in names:
            sync_path(self._path / name)
        sync_path(self._path)

    def __repr__(self) -> str:
        return f"LocalStorage({self.uri!r})"
