"""Optuna's studies in a SQLite file: a study is an experiment, a trial a run."""

from __future__ import annotations

import datetime as dt
import json
import math
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.imports.base import Batch, Oddity, SourceExperiment, SourceKind
from mlwarehouse.imports.collected import Collected, run_id_of
from mlwarehouse.imports.sqlite_file import Columns, has_tables, open_file, path_of
from mlwarehouse.registry.importing import SourceModel

BATCH_TRIALS = 10_000

STATUSES: Mapping[str, str] = {
    "COMPLETE": "FINISHED",
    "PRUNED": "KILLED",
    "FAIL": "FAILED",
    "RUNNING": "RUNNING",
    "WAITING": "SCHEDULED",
}
"""What Optuna's states are here."""

_NEEDED = ("studies", "trials", "trial_params", "trial_values")


@dataclass
class Optuna:
    """A SQLite file of Optuna's. See `Source`."""

    place: str
    kind: str = "optuna"
    source_id: str = ""
    unit: str = "trials"
    total: int = 0
    oddities: list[Oddity] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Count the trials."""
        with closing(open_file(self.place)) as database:
            self._columns = Columns(database)
            self.total = int(database.execute("SELECT COUNT(*) FROM trials").fetchone()[0])
            self._names = dict(database.execute("SELECT study_id, study_name FROM studies").fetchall())

    def experiments(self) -> Sequence[SourceExperiment]:
        """See `Source.experiments`."""
        with closing(open_file(self.place)) as database:
            tags: dict[int, dict[str, str]] = {study: {} for study in self._names}
            if self._columns.has("study_directions"):
                for row in self._rows(database, "study_directions", "study_id, objective, direction", "", ()):
                    tags.get(row[0], {})[f"optuna.direction.{row[1]}"] = str(row[2])
            for kind in ("user", "system"):
                for row in self._rows(database, f"study_{kind}_attributes", "study_id, key, value_json", "", ()):
                    tags.get(row[0], {})[f"optuna.{kind}.{row[1]}"] = _plain(row[2])
        return [SourceExperiment(str(study), None, str(name), tags=tags[study]) for study, name in self._names.items()]

    def models(self) -> Sequence[SourceModel]:
        """See `Source.models`."""
        return ()

    def batches(self) -> Iterator[Batch]:
        """See `Source.batches`."""
        with closing(open_file(self.place)) as database:
            trials = [row[0] for row in database.execute("SELECT trial_id FROM trials ORDER BY trial_id")]
        for begin in range(0, len(trials), BATCH_TRIALS):
            some = trials[begin : begin + BATCH_TRIALS]
            with closing(open_file(self.place)) as database:
                batch = self._batch(database, some[0], some[-1], len(some))
            yield batch

    def _batch(self, database: sqlite3.Connection, first: int, last: int, n: int) -> Batch:
        between, values = "trial_id BETWEEN ? AND ?", (first, last)
        batch = Collected()
        runs: dict[int, tuple[str, int]] = {}
        columns = "trial_id, number, study_id, state, datetime_start, datetime_complete"
        for trial, number, study, state, start, end in self._rows(database, "trials", columns, between, values):
            if study not in self._names:
                self.oddities.append(Oddity("trial without a study", f"trial {trial}", "it was left out"))
                continue
            run_id = run_id_of(self.source_id, f"{self._names[study]}\0{number}")
            began, ended = self._time(start, trial), self._time(end, trial)
            if state not in STATUSES:
                self.oddities.append(Oddity("trial of no state", f"trial {trial}", f"{state!r}; it is RUNNING here"))
            runs[trial] = run_id, ended or began or 0
            batch.run(
                run_id,
                str(study),
                name=f"trial-{number}",
                status=STATUSES.get(state, "RUNNING"),
                started_at=began or ended or 0,
                ended_at=ended,
            )
        self._values(database, batch, runs, between, values)
        wanted = "trial_id, param_name, param_value, distribution_json"
        for trial, key, value, distribution in self._rows(database, "trial_params", wanted, between, values):
            if trial in runs:
                batch.params(runs[trial][0], {str(key): self._param(value, distribution, f"trial {trial}, {key}")})
        for kind in ("user", "system"):
            table = f"trial_{kind}_attributes"
            for trial, key, value in self._rows(database, table, "trial_id, key, value_json", between, values):
                if trial in runs:
                    batch.tags(runs[trial][0], {f"optuna.{kind}.{key}": _plain(value)})
        return batch.batch(n)

    def _values(
        self,
        database: sqlite3.Connection,
        batch: Collected,
        runs: Mapping[int, tuple[str, int]],
        between: str,
        values: Sequence[Any],
    ) -> None:
        """What trials gave: ``value``, or ``values_0`` and so on of several objectives, as in Optuna's frames."""
        several = self._rows(database, "trial_values", "trial_id", f"{between} AND objective > 0", values)
        many = {row[0] for row in several}
        kind = "value_type" if self._columns.has("trial_values", "value_type") else "NULL"
        for trial, objective, value, of in self._rows(
            database, "trial_values", f"trial_id, objective, value, {kind}", between, values
        ):
            if trial in runs and (number := self._number(value, of, f"trial {trial}")) is not None:
                key = f"values_{objective}" if trial in many else "value"
                batch.point(runs[trial][0], key, 0, number, runs[trial][1])
        table = "trial_intermediate_values"
        kind = "intermediate_value_type" if self._columns.has(table, "intermediate_value_type") else "NULL"
        wanted = f"trial_id, step, intermediate_value, {kind}"
        for trial, step, value, of in self._rows(database, table, wanted, between, values):
            if trial in runs and (number := self._number(value, of or "NAN", f"trial {trial}")) is not None:
                batch.point(runs[trial][0], "intermediate_value", int(step), number, runs[trial][1])

    def _rows(
        self, database: sqlite3.Connection, table: str, columns: str, where: str, values: Sequence[Any]
    ) -> Iterator[tuple[Any, ...]]:
        """Rows in the order written; none where the schema lacks the table."""
        if not self._columns.has(table):
            return
        try:
            for row in database.execute(
                f"SELECT {columns} FROM {table} {f'WHERE {where}' if where else ''} ORDER BY rowid", values
            ):
                yield tuple(row)
        except sqlite3.Error as error:
            self.oddities.append(Oddity("table unreadable", table, f"{error}; what comes behind was left out"))

    def _time(self, written: object, trial: int) -> int | None:
        """A time, which Optuna writes without a zone, taken as UTC."""
        if written is None:
            return None
        try:
            at = dt.datetime.fromisoformat(str(written)).replace(tzinfo=dt.UTC)
        except ValueError:
            self.oddities.append(Oddity("time unreadable", f"trial {trial}", f"{written!r}"))
            return None
        return round((at - dt.datetime.fromtimestamp(0, dt.UTC)) / dt.timedelta(microseconds=1))

    def _number(self, value: object, kind: object, place: str) -> float | None:
        known = {"INF_POS": math.inf, "INF_NEG": -math.inf, "NAN": math.nan}
        if isinstance(value, int | float):
            return float(value)
        if kind in known:
            return known[str(kind)]
        self.oddities.append(Oddity("value unreadable", place, f"{value!r}; it was left out"))
        return None

    def _param(self, value: object, distribution: object, place: str) -> str:
        """A param as the program had it: Optuna writes a number, of a category its place among the choices."""
        try:
            described = json.loads(str(distribution))
            if "Categorical" in described["name"]:
                chosen = described["attributes"]["choices"][int(value)]  # type: ignore[call-overload]
                return chosen if isinstance(chosen, str) else json.dumps(chosen)
            if described["name"].startswith("Int"):
                return str(int(value))  # type: ignore[call-overload]
        except (ValueError, TypeError, KeyError, IndexError) as error:
            self.oddities.append(Oddity("param unreadable", place, f"{error}; its number was taken as it is"))
        return str(value)


def _plain(value: object) -> str:
    """What a JSON text says, where it is text; else the JSON."""
    try:
        found = json.loads(str(value))
    except ValueError:
        return str(value)
    return found if isinstance(found, str) else str(value)


def _open(place: str) -> Optuna:
    if not has_tables(place, _NEEDED):
        raise InvalidInputError(f"`{place}` isn't a SQLite file with Optuna's tables ({', '.join(_NEEDED)}).")
    return Optuna(str(Path(path_of(place)).resolve()))


OPTUNA = SourceKind("optuna", "a SQLite file of Optuna's", claims=lambda place: has_tables(place, _NEEDED), open=_open)
