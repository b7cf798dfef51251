"""MLflow's database, of every schema since 1.0: in a SQLite file, or a server's.

It is read a range of runs at a time, and nothing is locked in between: a server may go on writing to it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.imports.base import LOGGED_MODEL, Batch, Oddity, SourceExperiment, SourceKind
from mlwarehouse.imports.database import Connection, Database, SqliteDatabase
from mlwarehouse.imports.mlflow_db_runs import Ranges, RunReader
from mlwarehouse.imports.mlflow_places import LoggedModel, at, distinct_paths, located
from mlwarehouse.imports.server_database import ServerDatabase, is_address
from mlwarehouse.imports.sqlite_file import has_tables, path_of
from mlwarehouse.registry.importing import SourceModel, SourceVersion

_NEEDED = ("experiments", "runs", "params", "metrics", "tags")
_NO_PLACE = ("trace_info", "evaluation_datasets", "webhooks", "scorers", "endpoints")
"""Tables of things that aren't runs or models; the report says that they have rows."""


@dataclass
class MlflowDatabase:
    """A database of MLflow's. See `Source`."""

    place: str
    database: Database
    oddities: list[Oddity]
    kind: str = "mlflow-db"
    source_id: str = ""
    unit: str = "runs"
    total: int = 0

    def __post_init__(self) -> None:
        """Look what the database has."""
        self._columns = self.database.columns
        with self.database.open() as connection:
            self.total = _count(connection, "runs")
            for table in _NO_PLACE:
                n = _count(connection, table) if self._columns.has(table) else 0
                if n:
                    self.oddities.append(Oddity("table left out", table, f"its {n:,} rows are neither runs nor models"))
            self._logged = self._logged_models(connection)
            self._experiments = self._all_experiments(connection)

    def experiments(self) -> Sequence[SourceExperiment]:
        """See `Source.experiments`."""
        return self._experiments

    def batches(self) -> Iterator[Batch]:
        """See `Source.batches`."""
        reader = RunReader(self.database, self._logged, self.oddities)
        with self.database.open() as connection:
            ranges = Ranges(connection)
        for each in ranges:
            # Opened for each: nobody waits for what is done with the batch.
            with self.database.open() as connection:
                batch = reader.batch(connection, each)
            yield batch

    def models(self) -> Sequence[SourceModel]:
        """See `Source.models`."""
        if not self._columns.has("registered_models"):
            return ()
        paths = {m.model_id: f"runs:/{m.run_id}/{m.path}" for models in self._logged.values() for m in models}
        with self.database.open() as connection:
            versions: dict[str, list[SourceVersion]] = {}
            version_tags = self._tags(connection, "model_version_tags", ("name", "version"))
            for row in connection.table("model_versions"):
                version = self._version(row, paths, version_tags)
                versions.setdefault(str(row["name"]), []).append(version)
            tags = self._tags(connection, "registered_model_tags", ("name",))
            aliases: dict[str, dict[str, int]] = {}
            for row in connection.table("registered_model_aliases"):
                aliases.setdefault(str(row["name"]), {})[str(row["alias"])] = int(row["version"])
            return [
                SourceModel(
                    name=str(row["name"]),
                    created_at=at(row["creation_time"]) or 0,
                    updated_at=at(row["last_updated_time"]),
                    description=row["description"] or None,
                    tags=tags.get((row["name"],), {}),
                    aliases=aliases.get(str(row["name"]), {}),
                    versions=sorted(versions.get(str(row["name"]), ()), key=lambda v: v.number),
                )
                for row in connection.table("registered_models")
            ]

    def _tags(self, connection: Connection, table: str, of: Sequence[str]) -> dict[tuple[Any, ...], dict[str, str]]:
        found: dict[tuple[Any, ...], dict[str, str]] = {}
        for row in connection.table(table):
            found.setdefault(tuple(row[name] for name in of), {})[str(row["key"])] = str(row["value"] or "")
        return found

    def _all_experiments(self, connection: Connection) -> list[SourceExperiment]:
        tags = self._tags(connection, "experiment_tags", ("experiment_id",))
        first = "SELECT experiment_id, MIN(start_time) FROM runs GROUP BY experiment_id"
        firsts = {row[0]: row[1] for chunk in connection.chunks(first, {}, "runs") for row in chunk}
        found = []
        for row in connection.table("experiments"):
            number = row["experiment_id"]
            described = {
                f"{LOGGED_MODEL}{m.model_id}": m.described()
                for models in self._logged.values()
                for m in models
                if m.meta["experiment_id"] == number
            }
            found.append(
                SourceExperiment(
                    key=str(number),
                    experiment_id=str(number),
                    name=str(row["name"]),
                    is_deleted=row["lifecycle_stage"] == "deleted",
                    created_at=at(row.get("creation_time")) or at(firsts.get(number)),
                    tags=tags.get((number,), {}) | described,
                )
            )
        known = {e.key for e in found}
        for number in sorted(set(map(str, firsts)) - known):
            self.oddities.append(Oddity("experiment missing", number, "runs name it; it is made for them"))
            found.append(SourceExperiment(number, number, f"experiment {number}"))
        return sorted(found, key=lambda e: e.is_deleted)

    def _logged_models(self, connection: Connection) -> dict[str | None, list[LoggedModel]]:
        params, tags = (
            _by_model(connection.table(f"logged_model_{name}s"), f"{name}_key", f"{name}_value")
            for name in ("param", "tag")
        )
        models = [
            LoggedModel(
                str(row["model_id"]),
                row["source_run_id"],
                str(row["artifact_location"]),
                "",
                row,
                params.get(row["model_id"], {}),
                tags.get(row["model_id"], {}),
            )
            for row in connection.table("logged_models")
        ]
        found: dict[str | None, list[LoggedModel]] = {}
        for model in distinct_paths(models):
            found.setdefault(model.run_id, []).append(model)
        return found

    def _version(
        self, row: Mapping[str, Any], paths: Mapping[str, str], tags: Mapping[tuple[Any, ...], dict[str, str]]
    ) -> SourceVersion:
        stage = row["current_stage"]
        return SourceVersion(
            number=int(row["version"]),
            created_at=at(row["creation_time"]) or 0,
            updated_at=at(row["last_updated_time"]),
            source=located(str(row["source"] or ""), row["run_id"], paths),
            run_id=row["run_id"] or None,
            user=row["user_id"] or None,
            description=row["description"] or None,
            stage=None if stage in (None, "", "None") else str(stage),
            tags=tags.get((row["name"], row["version"]), {}),
        )


def _by_model(rows: Sequence[Mapping[str, Any]], key: str, value: str) -> dict[str, dict[str, str]]:
    found: dict[str, dict[str, str]] = {}
    for row in rows:
        found.setdefault(row["model_id"], {})[row[key]] = row[value]
    return found


def _count(connection: Connection, table: str) -> int:
    found = [row for chunk in connection.chunks(f"SELECT COUNT(*) FROM {table}", {}, table) for row in chunk]
    return int(found[0][0]) if found else 0


def _claims(place: str) -> bool:
    return is_address(place) or has_tables(place, _NEEDED)


def _open(place: str) -> MlflowDatabase:
    if is_address(place):
        server = ServerDatabase(place)
        missing = [table for table in _NEEDED if not server.columns.has(table)]
        if missing:
            raise InvalidInputError(f"`{server.place}` isn't a database of MLflow's: it has no table `{missing[0]}`.")
        return MlflowDatabase(server.place, server, [])
    if not has_tables(place, _NEEDED):
        raise InvalidInputError(f"`{place}` isn't a SQLite file with MLflow's tables ({', '.join(_NEEDED)}).")
    path, oddities = str(Path(path_of(place)).resolve()), list[Oddity]()
    return MlflowDatabase(path, SqliteDatabase(path, oddities), oddities)


MLFLOW_DB = SourceKind(
    "mlflow-db", "a database of MLflow's: a SQLite file, PostgreSQL or MySQL", claims=_claims, open=_open
)
