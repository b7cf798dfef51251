"""The part of a warehouse that takes in what other machines have logged: their spools, carried here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.errors import DigestMismatchError, NotFoundError
from mlwarehouse.location import MARKER
from mlwarehouse.parts.base import Base

if TYPE_CHECKING:
    from mlwarehouse.ingest.spool_folder import SpoolFolder


@dataclass(frozen=True)
class Synced:
    """What `sync` took in.

    Attributes:
        n_spools: Spools that were found.
        n_rows: Rows committed; 0 when everything was there already.
        n_held_back: Segments left out, because the copy lacks what their writers logged before: copy it again.
        n_files: Artifacts' files that were stored.
        n_missing_files: Artifacts' files of these spools that the warehouse lacks: copy the folder `artifacts` too.
    """

    n_spools: int
    n_rows: int
    n_held_back: int
    n_files: int
    n_missing_files: int


class Syncing(Base):
    """Copies of spools."""

    def sync(
        self, spool: str | Path, *, skip_gaps: bool = False, progress: Callable[[int], None] | None = None
    ) -> Synced:
        """Take in a copy of another machine's spool; what is here already isn't added again.

        The copy stays as it is, so it may be taken in any number of times, as may later copies of the same spool, and
        the spool itself.

        Args:
            spool: A spool's folder; or a folder of several; or a whole warehouse's, whose artifacts are taken in too.
            skip_gaps: Take in also what a process logged after something that the copy lacks; what is lacking is then
                refused for ever.
            progress: Told the number of rows after each step.

        Returns:
            What was done.

        Raises:
            NotFoundError: There is no spool.
            WarehouseNotFoundError: There is no warehouse to take it in.
            DigestMismatchError: A file of an artifact was changed on its way.
            StorageError: Something can't be read, or a commit failed; what was committed stays.
            ConcurrentChangeError: The same spool is being drained elsewhere all the time.
        """
        from mlwarehouse.ingest.copies import drain_copy

        source = Path(spool).expanduser().resolve()
        folders = _spools(source)
        # The bytes first: a row of an artifact must not come before its file.
        n_files = sum(self._take_files(root / "artifacts") for root in _warehouses(source, folders))
        n_rows = n_held_back = 0
        for folder in folders:
            done = drain_copy(folder, self.engine(), skip_gaps=skip_gaps, progress=progress)
            n_rows += done.n_rows
            n_held_back += done.n_held_back
        return Synced(len(folders), n_rows, n_held_back, n_files, self._missing_files(folders))

    def _take_files(self, artifacts: Path) -> int:
        store = self.artifact_store()
        taken = 0
        for path in sorted((artifacts / "blobs").glob("??/*")):
            if store.has(path.name):
                continue
            stored = store.put_file(path)
            if stored.digest != path.name:
                raise DigestMismatchError(
                    f"The artifact's file `{path}` has the digest `{stored.digest}`: it was changed on its way; copy "
                    "it again."
                )
            taken += 1
        return taken

    def _missing_files(self, folders: list[SpoolFolder]) -> int:
        from mlwarehouse.ingest.recover import writers_of

        writers = sorted(writers_of(p.name for folder in folders for p in folder.segments()))
        rows = self.engine().query(
            "SELECT DISTINCT digest FROM artifact_events WHERE list_contains($writers, writer_id)",
            parameters={"writers": writers},
        )
        store = self.artifact_store()
        return sum(not store.has(digest) for digest in rows.column("digest").to_pylist())


def _spools(source: Path) -> list[SpoolFolder]:
    from mlwarehouse.ingest.spool_folder import SpoolFolder

    places = [source, *sorted(source.glob("*")), *sorted(source.glob("_spool/*"))]
    folders = [folder for folder in map(SpoolFolder, places) if folder.exists]
    if not folders:
        raise NotFoundError(
            f"There is no spool in `{source}`: a spool's folder holds `spool.json`. Pass it, or the folder of the "
            "warehouse that it is in."
        )
    return folders


def _warehouses(source: Path, folders: list[SpoolFolder]) -> list[Path]:
    """The warehouses' folders that came with spools."""
    places = {source, *(folder.path.parent.parent for folder in folders)}
    return sorted(place for place in places if (place / MARKER).exists())
