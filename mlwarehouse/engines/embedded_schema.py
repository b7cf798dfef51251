"""What the tables look like in Delta: making them, adding what older ones lack, and refusing what isn't theirs."""

from __future__ import annotations

from deltalake import CommitProperties, DeltaTable
from deltalake import Field as DeltaField
from deltalake.exceptions import CommitFailedError
from deltalake.schema import PrimitiveType

from mlwarehouse._version import __version__
from mlwarehouse.engines.embedded_commit import sync_log
from mlwarehouse.engines.embedded_follow import CHECKPOINT_INTERVAL, open_table
from mlwarehouse.errors import UnsupportedTableError
from mlwarehouse.storage import Storage
from mlwarehouse.tables import TableSpec

CONFIGURATION: dict[str, str | None] = {
    "delta.appendOnly": "true",
    "delta.enableChangeDataFeed": "true",
    "delta.checkpointInterval": str(CHECKPOINT_INTERVAL),
    "delta.logRetentionDuration": "interval 7 days",
}
"""Properties of every table. Log entries stay as long as the files that only older versions have; transaction ids never
expire."""

ADDED_LATER = frozenset({"delta.logRetentionDuration"})
"""Properties that tables of older releases lack, and get."""

ALLOWED_FEATURES = frozenset({"appendOnly", "invariants", "checkConstraints", "changeDataFeed", "generatedColumns"})
"""Table features that any reader and writer in use understands. (A legacy writer version implies some of them.)"""

DELTA_TYPES = {
    "string": "string",
    "long": "long",
    "integer": "integer",
    "double": "double",
    "boolean": "boolean",
    "timestamp": "timestamp",
}


def make_table(place: Storage, spec: TableSpec) -> None:
    """Make a table where none is; fine when another process does so at this moment.

    Raises:
        DeltaError: It couldn't be made.
        OSError: Likewise.
    """
    options = None if place.delta_options is None else dict(place.delta_options)
    place.make()
    try:
        DeltaTable.create(
            place.uri,
            schema=spec.arrow_schema(),
            mode="ignore",
            name=spec.name,
            description=spec.grain,
            configuration=CONFIGURATION,
            storage_options=options,
        )
    except CommitFailedError:
        # Another process has made it at this moment.
        if not DeltaTable.is_deltatable(place.uri, storage_options=options):
            raise
    log = place.child("_delta_log")
    log.sync(*log.names())
    place.sync()


def evolve_table(place: Storage, spec: TableSpec) -> None:
    """Add what a table lacks; a column that it has and we don't know stays and is null for us.

    Raises:
        UnsupportedTableError: It isn't a table of this package, or has features that this release must not write.
        DeltaError: It can't be read or written.
        OSError: Likewise.
    """
    table = open_table(place)
    check_features(spec, table)
    there = {f.name for f in table.schema().fields}
    missing = [c for c in spec.all_columns if c.name not in there]
    for column in missing:
        if column.since == 1 or not column.nullable:
            raise UnsupportedTableError(
                f"Table `{spec.name}` in `{place.uri}` lacks the column `{column.name}`, which each "
                "release has had: it isn't a table of this package, or it is damaged."
            )
    if missing:
        table.alter.add_columns(
            [DeltaField(c.name, PrimitiveType(DELTA_TYPES[c.type]), nullable=True) for c in missing]
        )
        sync_log(place, table.version() - 1, table.version())
    _add_properties(place)
    # A process that died may have committed what isn't on disk yet.
    place.child("_delta_log").sync()


def _add_properties(place: Storage) -> None:
    for _ in range(10):
        table = open_table(place)
        lacking = ADDED_LATER - table.metadata().configuration.keys()
        if not lacking:
            return
        try:
            table.alter.set_table_properties(
                {name: str(CONFIGURATION[name]) for name in lacking},
                commit_properties=CommitProperties(custom_metadata={"mlwarehouse": __version__, "purpose": "upgrade"}),
            )
        except CommitFailedError:
            # Another process is at it.
            continue
        sync_log(place, table.version() - 1, table.version())
        return


def check_features(spec: TableSpec, table: DeltaTable) -> None:
    """Refuse a table with features that not every reader understands.

    Raises:
        UnsupportedTableError: Names the features.
    """
    protocol = table.protocol()
    features = {*(protocol.reader_features or ()), *(protocol.writer_features or ())}
    if maps_columns(table):
        features.add("columnMapping")
    unknown = sorted(features - ALLOWED_FEATURES)
    if unknown:
        raise UnsupportedTableError(
            f"Table `{spec.name}` uses the Delta features {', '.join(unknown)}, which not every reader understands; "
            "mlwarehouse neither reads nor writes it. Rewrite it without them."
        )


def check_writable(spec: TableSpec, table: DeltaTable) -> None:
    """Refuse to write a table that `check_features` or `check_known` refuses.

    Raises:
        UnsupportedTableError: It isn't to be written.
    """
    check_features(spec, table)
    check_known(spec, table)


def check_known(spec: TableSpec, table: DeltaTable) -> None:
    """Refuse to write a table that has columns of a later schema version: its rows would lack what others rely on.

    Raises:
        UnsupportedTableError: Names the columns.
    """
    unknown = sorted({f.name for f in table.schema().fields} - {c.name for c in spec.all_columns})
    if unknown:
        raise UnsupportedTableError(
            f"Table `{spec.name}` has the columns {', '.join(unknown)} of a later schema version than "
            f"{spec.version}, which this release knows: it is read and not written. Upgrade mlwarehouse."
        )


def maps_columns(table: DeltaTable) -> bool:
    """Whether a table's columns have other names in its files."""
    return bool(table.metadata().configuration.get("delta.columnMapping.mode", "none") != "none")
