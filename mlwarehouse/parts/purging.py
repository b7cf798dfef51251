"""The part of a warehouse that forgets: what must be deleted for privacy is deleted everywhere, with a receipt."""

from __future__ import annotations

import datetime as dt
import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError, StorageError, did_you_mean
from mlwarehouse.parts.base import Base
from mlwarehouse.parts.doctor import PURGE_JOURNAL
from mlwarehouse.parts.maintainer import maintainer_lock

if TYPE_CHECKING:
    import pyarrow as pa

    from mlwarehouse.engines.embedded_purge import Affected, Chosen
    from mlwarehouse.ingest.alone import Alone

WAIT_S = 60.0
"""How long a purge waits for the committer to step aside."""


@dataclass(frozen=True)
class Purged:
    """What a purge took, or would take.

    Attributes:
        is_done: False for a look ahead.
        n_runs: Runs that go.
        n_experiments: Experiments that go.
        tables: Rows that go, and rows of others that lose a mention, by table.
        n_blobs: Stored files that only these runs had.
        n_blob_bytes: Their size.
        n_pins: Kept snapshots that go: their versions can't be read afterwards.
    """

    is_done: bool
    n_runs: int
    n_experiments: int
    tables: tuple[Affected, ...]
    n_blobs: int
    n_blob_bytes: int
    n_pins: int


class Purging(Base):
    """Purge."""

    def purge(
        self,
        *,
        run_id: str | None = None,
        experiment: str | None = None,
        user: str | None = None,
        dry_run: bool = False,
    ) -> Purged:
        """Delete runs and everything logged to them, for good: from tables, their past, artifacts and spool.

        Rows of others stay; where they name what is purged, ``purged`` stands afterwards. Versions of the affected
        tables from before the purge can't be read any more; `as_of` questions still can be asked. A row in `audit`
        says that it was done, by whom, and how much, and nothing of what.

        Args:
            run_id: One run.
            experiment: All runs of an experiment, by name, and the experiment.
            user: All runs that a user started; and the name wherever it stands as a value.
            dry_run: Only count.

        Returns:
            What was taken. Without arguments a purge that was interrupted is brought to its end.

        Raises:
            InvalidInputError: More than one of the arguments is given; or none, and no purge was interrupted.
            NotFoundError: There is no such run or experiment, and no run of this user.
            ConflictError: A registered model version was made from such a run; a process that logged it lives; or
                another process maintains the warehouse.
            StorageError: It failed midway; call it again.
        """
        given = [v for v in (run_id, experiment, user) if v is not None]
        if len(given) > 1 or (not given and not self.storage.exists(PURGE_JOURNAL)):
            raise InvalidInputError(
                "A purge needs one of `run_id`, `experiment` and `user`"
                f"{'' if given else '; and there is none to bring to its end'}."
            )
        self.flush()
        if dry_run:
            chosen = self._choose(run_id, experiment, user)
            return self._receipt(chosen, self._survey(chosen), self._blobs(chosen), is_done=False)
        folder = self.spool()
        folder.path.mkdir(parents=True, exist_ok=True)
        with folder.repairing(WAIT_S) as alone:
            if not alone:
                raise ConflictError(
                    f"The committer of `{folder.path}` didn't step aside within {WAIT_S:g} s; try again."
                )
            with maintainer_lock(self.storage) as held:
                if self.storage.exists(PURGE_JOURNAL):
                    done = self._carry_out(json.loads(self.storage.read(PURGE_JOURNAL)), held)
                    if not given:
                        return done
                return self._carry_out(self._begin(self._choose(run_id, experiment, user)), held)

    def _choose(self, run_id: str | None, experiment: str | None, user: str | None) -> Chosen:
        from mlwarehouse.engines.embedded_purge import Chosen

        engine = self.engine()
        experiments: list[str] = []
        if experiment is not None:
            rows = engine.query("SELECT experiment_id, name FROM experiments").to_pylist()
            experiments = [r["experiment_id"] for r in rows if r["name"] == experiment]
            if not experiments:
                names = [r["name"] for r in rows]
                raise NotFoundError(f"There is no experiment `{experiment}`.{did_you_mean(experiment, names)}")
            where, value = "list_contains($value, experiment_id)", experiments
        elif user is not None:
            where, value = "user_id = $value", user  # type: ignore[assignment]
        else:
            where, value = "run_id = $value", run_id or ""  # type: ignore[assignment]
        rows = engine.query(f"SELECT run_id FROM runs WHERE {where}", parameters={"value": value}).to_pylist()
        if not rows and experiment is None:
            raise NotFoundError(f"There is no run `{run_id}`." if run_id else f"There is no run of user `{user}`.")
        return Chosen(frozenset(r["run_id"] for r in rows), frozenset(experiments), user)

    def _begin(self, chosen: Chosen) -> dict[str, Any]:
        """Look whether it can be done, hide the runs, and write down what is to be done."""
        self._refuse_models(chosen)
        self._refuse_living(chosen)
        blobs = self._blobs(chosen)
        receipt = self._receipt(chosen, self._survey(chosen), blobs, is_done=True)
        self._hide(chosen)
        task = {
            "run_ids": sorted(chosen.run_ids),
            "experiment_ids": sorted(chosen.experiment_ids),
            "user": chosen.user,
            "blobs": blobs,
            "tables": [t.name for t in receipt.tables],
            "counts": [receipt.n_blobs, receipt.n_blob_bytes, receipt.n_pins],
            "affected": [[t.name, t.n_removed, t.n_changed, t.n_files] for t in receipt.tables],
        }
        self.storage.write(PURGE_JOURNAL, json.dumps(task).encode())
        return task

    def _carry_out(self, task: dict[str, Any], held: Alone) -> Purged:
        from mlwarehouse.engines.embedded_purge import Affected, Chosen, forget, rewrite
        from mlwarehouse.engines.embedded_states import drop_states
        from mlwarehouse.engines.pins import read_pins, remove_pin
        from mlwarehouse.tables import TABLES_BY_NAME

        chosen = Chosen(frozenset(task["run_ids"]), frozenset(task["experiment_ids"]), task["user"])
        for name in read_pins(self.storage):
            remove_pin(self.storage, name)
        tables = self.engine().tables
        drop_states(tables)
        for name in task["tables"]:
            spec = TABLES_BY_NAME[name]
            held.now()
            rewrite(tables.place(spec), spec, chosen)
            held.now()
            forget(tables.place(spec), spec, chosen)
        tables.note_purge()
        self._remove_blobs(task["blobs"])
        self._clean_spools(chosen)
        n_blobs, n_bytes, n_pins = task["counts"]
        done = Purged(
            is_done=True,
            n_runs=len(chosen.run_ids),
            n_experiments=len(chosen.experiment_ids),
            tables=tuple(Affected(*values) for values in task["affected"]),
            n_blobs=n_blobs,
            n_blob_bytes=n_bytes,
            n_pins=n_pins,
        )
        self._write_receipt(done, chosen)
        self.storage.delete(PURGE_JOURNAL)
        return done

    def _survey(self, chosen: Chosen) -> list[Affected]:
        from mlwarehouse.engines.embedded_purge import survey
        from mlwarehouse.tables import TABLES

        tables = self.engine().tables
        found = (survey(tables.place(spec), spec, chosen) for spec in TABLES)
        return [a for a in found if a.n_removed or a.n_changed]

    def _receipt(self, chosen: Chosen, affected: list[Affected], blobs: list[str], *, is_done: bool) -> Purged:
        from mlwarehouse.engines.pins import read_pins

        blobs_of = self.artifact_store().blobs
        sizes = [blobs_of.size(d) or 0 for d in blobs]
        return Purged(
            is_done=is_done,
            n_runs=len(chosen.run_ids),
            n_experiments=len(chosen.experiment_ids),
            tables=tuple(affected),
            n_blobs=len(sizes),
            n_blob_bytes=sum(sizes),
            n_pins=len(read_pins(self.storage)),
        )

    def _refuse_models(self, chosen: Chosen) -> None:
        rows = self.engine().query("SELECT name, version, run_id FROM model_versions ORDER BY name, version")
        for row in rows.to_pylist():
            if row["run_id"] in chosen.run_ids:
                raise ConflictError(
                    f"Version {row['version']} of model `{row['name']}` was made from a run that is to be purged; "
                    "delete the version first."
                )

    def _refuse_living(self, chosen: Chosen) -> None:
        """Refuse while a spool holds rows of the runs: a living writer's, or those of another machine."""
        from mlwarehouse.disk import is_locked
        from mlwarehouse.engines.embedded_purge import mentions
        from mlwarehouse.ingest.drain import Drain

        spool = self.spool()
        if spool.exists:
            drain = Drain(spool, self.engine())
            while (drained := drain.step()).n_rows or drained.has_more:
                pass
        for path in [*spool.segments(), *self.place().spools.glob("*/segments/*.seg")]:
            if mentions(path.read_bytes(), chosen):
                if is_locked(path):
                    why = "the process that logged it still runs: end it, or close its warehouse, and try again"
                else:
                    why = "its rows aren't committed: run `mlwarehouse sync` on the machine that logged it"
                raise ConflictError(f"A run that is to be purged is in the spool `{path}`, and {why}.")

    def _hide(self, chosen: Chosen) -> None:
        """Make the runs deleted ones, so that no search finds them from now on."""
        import pyarrow as pa

        from mlwarehouse.tables import RUN_EVENTS

        if not chosen.run_ids:
            return
        now = dt.datetime.now(dt.UTC)
        rows = pa.Table.from_pylist(
            [
                {"run_id": r, "kind": "deleted", "attempt": 0, **_envelope(now, n)}
                for n, r in enumerate(sorted(chosen.run_ids))
            ],
            schema=RUN_EVENTS.arrow_schema(),
        )
        self.engine().append(RUN_EVENTS, rows)

    def _blobs(self, chosen: Chosen) -> list[str]:
        """The digests of stored files that only these runs have."""
        rows: pa.Table = self.engine().query(
            "SELECT digest FROM artifact_events GROUP BY digest "
            "HAVING bool_and(list_contains($ids, run_id)) ORDER BY digest",
            parameters={"ids": sorted(chosen.run_ids)},
        )
        blobs = self.artifact_store().blobs
        return [d for d in rows.column("digest").to_pylist() if blobs.size(d) is not None]

    def _remove_blobs(self, digests: list[str]) -> None:
        # Another run may have logged the same bytes since.
        rows = self.engine().query("SELECT DISTINCT digest FROM artifact_events").column("digest").to_pylist()
        for digest in set(digests) - set(rows):
            try:
                self.artifact_store().blobs.delete(digest)
            except OSError as error:
                raise StorageError(f"The stored file `{digest}` couldn't be removed: {error}") from error

    def _clean_spools(self, chosen: Chosen) -> None:
        """Remove what spools keep beside their segments: damaged ones that were mended, and the committer's log."""
        from mlwarehouse.engines.embedded_purge import mentions

        spools = {self.spool().path, *self.place().spools.glob("*")}
        for spool in spools:
            for path in [*spool.glob("damaged/*"), *spool.glob("committer.log")]:
                data = path.read_bytes()
                if mentions(data, chosen) or (chosen.user is not None and chosen.user.encode() in data):
                    # The log is open in a committer, maybe: it goes on behind its end.
                    path.write_bytes(b"") if path.suffix == ".log" else path.unlink()

    def _write_receipt(self, done: Purged, chosen: Chosen) -> None:
        import pyarrow as pa

        from mlwarehouse.engines.embedded_purge import GONE
        from mlwarehouse.ingest.identity import login_name
        from mlwarehouse.tables import AUDIT

        actor = self.settings.actor or login_name()
        what = "user" if chosen.user is not None else "experiment" if chosen.experiment_ids else "run"
        detail = {
            "runs": done.n_runs,
            "rows": {t.name: t.n_removed for t in done.tables},
            "mentions": {t.name: t.n_changed for t in done.tables if t.n_changed},
            "files": done.n_blobs,
            "pins": done.n_pins,
        }
        row = {
            "actor": GONE if actor == chosen.user else actor,
            "action": "purge",
            "object": what,
            "outcome": "allowed",
            "detail": json.dumps(detail, sort_keys=True),
            **_envelope(dt.datetime.now(dt.UTC), 0),
        }
        self.engine().append(AUDIT, pa.Table.from_pylist([row], schema=AUDIT.arrow_schema()))


def _envelope(at: dt.datetime, seq: int) -> dict[str, Any]:
    return {"event_at": at, "recorded_at": at, "writer_id": f"purge:{uuid.uuid4().hex}", "writer_seq": seq}
