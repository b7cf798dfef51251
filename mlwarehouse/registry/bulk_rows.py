"""Many versions at once: a table of them to rows of `registry_events`, by vector operations.

Each row becomes the events that `Registry.create_model_version`, `transition_model_version_stage` and `set_model_alias`
would have written one after the other, in the order of the rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.registry import names, rules
from mlwarehouse.registry.events import Kind
from mlwarehouse.registry.fold import ModelState
from mlwarehouse.tables import REGISTRY_EVENTS

COLUMNS = ("name", "source", "run_id", "digest", "description", "parent", "stage", "alias")
"""The columns that versions may have, beside those of tags; only the first two must be there."""

TAG = "tags."
"""What the name of a tag's column begins with; the key comes behind it."""

Ints = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Known:
    """What is known of some models, an entry each in the order of their names.

    Attributes:
        last_seq: The number of the last event; 0 where there never was one.
        last_version: The highest version number ever given.
        exists: Whether there is a model of the name now.
    """

    last_seq: Ints
    last_version: Ints
    exists: Mask


@dataclass(frozen=True)
class Versions:
    """Versions to register, checked, sorted by model and otherwise in the order in which they were given.

    Attributes:
        models: The names, sorted, each once.
        model: Of each version the place of its model in `models`.
        columns: The other columns, by name.
    """

    models: pa.Array
    model: Ints
    columns: Mapping[str, pa.Array]

    def __len__(self) -> int:
        return len(self.model)


def read_versions(given: Any) -> Versions:
    """Check a table of versions.

    Args:
        given: An Arrow, pandas or Polars table, or lists by column name, with columns as in `COLUMNS`, all text.

    Raises:
        InvalidInputError: A column is missing, unknown, not text, or has what can't be.
    """
    columns = _columns(given)
    for needed in COLUMNS[:2]:
        if needed not in columns:
            raise InvalidInputError(f"Versions lack the column `{needed}`; they have {', '.join(columns) or 'none'}.")
        if columns[needed].null_count or pc.any(pc.equal(columns[needed], "")).as_py():
            raise InvalidInputError(f"Column `{needed}` of the versions has a row without a text; each needs one.")
    coded = columns.pop("name").dictionary_encode()
    order = pc.sort_indices(coded.dictionary)
    models = coded.dictionary.take(order)
    _check_models(models)
    for column, check in (("alias", names.alias_name), ("stage", names.stage_named)):
        if column in columns:
            columns[column] = _checked(columns[column], check)
    ranks = np.empty(len(order), np.int64)
    ranks[order.to_numpy()] = np.arange(len(order))
    model = ranks[coded.indices.to_numpy()] if len(coded) else np.zeros(0, np.int64)
    if np.any(model[1:] < model[:-1]):
        by_model = np.argsort(model, kind="stable")
        model = model[by_model]
        columns = {name: column.take(pa.array(by_model)) for name, column in columns.items()}
    return Versions(models, model, columns)


def with_parents(versions: Versions, states: Callable[[Sequence[str]], Mapping[str, ModelState]]) -> Versions:
    """The versions with their parents' addresses as those of the versions that they mean now.

    Args:
        versions: The versions.
        states: Gives the states of the models of some names.

    Raises:
        InvalidInputError: One isn't an address.
        NotFoundError: There is no such version.
    """
    if "parent" not in versions.columns:
        return versions
    addresses = {
        text: names.model_address(text) for text in pc.unique(versions.columns["parent"]).drop_null().to_pylist()
    }
    found = states(sorted({address.name for address in addresses.values()}))

    def meant(text: str) -> str:
        address = addresses[text]
        number = rules.meant(found.get(address.name, ModelState(address.name)), address)
        return f"models:/{address.name}/{number}"

    return replace(versions, columns={**versions.columns, "parent": _checked(versions.columns["parent"], meant)})


def targets(versions: Versions) -> list[tuple[str | None, str | None]]:
    """The stages, and the aliases, that some of the versions come to."""
    found: dict[str, list[str]] = {}
    for column in ("stage", "alias"):
        given = versions.columns.get(column)
        found[column] = [] if given is None else pc.unique(given).drop_null().to_pylist()
    return [*((stage, None) for stage in found["stage"]), *((None, alias) for alias in found["alias"])]


def event_rows(
    versions: Versions, known: Known, *, actor: str, comment: str | None, writer_id: str, at: int
) -> pa.Table:
    """The rows of `registry_events` for versions.

    Args:
        versions: The versions.
        known: What is known of their models.
        actor: Who registers them.
        comment: Why, in the actor's words.
        writer_id: Who writes the rows.
        at: Microseconds since the epoch.
    """
    n, model = len(versions), versions.model
    is_first = np.ones(n, bool)
    is_first[1:] = model[1:] != model[:-1]
    steps = _steps(versions, is_first & ~known.exists[model])
    n_events = np.sum([step.of for step in steps], axis=0, dtype=np.int64)
    begins = np.cumsum(n_events) - n_events
    total = int(n_events.sum())
    row = np.repeat(np.arange(n), n_events)
    # Which step each event is: the events of a row come in the order of the steps.
    which = np.empty(total, np.int64)
    places = begins.copy()
    for number_of_step, step in enumerate(steps):
        which[places[step.of]] = number_of_step
        places += step.of
    of_model = model[row]
    first_rows = np.flatnonzero(is_first)
    seq = np.arange(total) - begins[first_rows][of_model] + 1 + known.last_seq[of_model]
    number = np.arange(n) - first_rows[model] + 1 + known.last_version[model]

    def said(column: str) -> pa.Array:
        found = pa.nulls(total, pa.string())
        for number_of_step, step in enumerate(steps):
            given = versions.columns.get(step.columns.get(column, ""))
            if given is not None:
                found = pc.coalesce(given.take(pa.array(row, mask=which != number_of_step)), found)
        return found

    def same(text: str | None) -> pa.Array:
        if text is None:
            return pa.nulls(total, pa.string())
        return pa.DictionaryArray.from_arrays(pa.array(np.zeros(total, np.int32)), pa.array([text]))

    times = pa.array(np.full(total, at, np.int64)).cast(pa.timestamp("us", tz="UTC"))
    coded = pa.array(which.astype(np.int32))
    columns = {
        # As plain text: a dictionary of all names would be written into each row group.
        "model_name": versions.models.take(pa.array(of_model)),
        "seq": pa.array(seq),
        "kind": pa.DictionaryArray.from_arrays(coded, pa.array([step.kind.value for step in steps])),
        "version": pa.array(number[row], mask=which == 0),
        "key": pa.array([step.key for step in steps], pa.string()).take(coded),
        **{column: said(column) for column in ("alias", "stage", "value", "source", "run_id", "digest")},
        "actor": same(actor),
        "comment": same(comment),
        "event_at": times,
        "recorded_at": times,
        "writer_id": same(writer_id),
        "writer_seq": pa.array(np.arange(total)),
    }
    return pa.table(
        [columns[c.name] for c in REGISTRY_EVENTS.all_columns], [c.name for c in REGISTRY_EVENTS.all_columns]
    )


@dataclass(frozen=True)
class _Step:
    """An event that a row may become.

    Attributes:
        kind: Its kind.
        of: The rows that become one, of shape [n].
        columns: The columns of versions that it says, by the column of events.
        key: The key that it says.
    """

    kind: Kind
    of: Mask
    columns: Mapping[str, str]
    key: str | None = None


def _steps(versions: Versions, makes_model: Mask) -> list[_Step]:
    """The events that rows become, in their order; the first is the model's own."""
    n = len(versions)
    made = {"source": "source", "run_id": "run_id", "digest": "digest", "value": "description"}
    steps = [
        _Step(Kind.MODEL_CREATED, makes_model, {}),
        _Step(Kind.VERSION_CREATED, np.ones(n, bool), made),
        _Step(Kind.PARENT_SET, _is_given(versions.columns.get("parent"), n), {"value": "parent"}),
    ]
    for column in sorted(c for c in versions.columns if c.startswith(TAG)):
        is_given = _is_given(versions.columns[column], n)
        steps.append(_Step(Kind.TAG_SET, is_given, {"value": column}, column.removeprefix(TAG)))
    for kind, column in ((Kind.STAGE_SET, "stage"), (Kind.ALIAS_SET, "alias")):
        steps.append(_Step(kind, _is_given(versions.columns.get(column), n), {column: column}))
    return steps


def _columns(given: Any) -> dict[str, pa.Array]:
    kind = type(given).__module__.partition(".")[0]
    try:
        if isinstance(given, pa.Table | pa.RecordBatch):
            table = given
        elif kind == "pandas" and hasattr(given, "columns"):
            table = pa.Table.from_pandas(given, preserve_index=False)
        elif kind == "polars" and hasattr(given, "to_arrow"):
            table = given.to_arrow()
        elif isinstance(given, Mapping):
            table = pa.table({str(name): pa.array(values) for name, values in given.items()})
        else:
            raise InvalidInputError(
                f"Versions of type {type(given).__name__} can't be registered; pass an Arrow, pandas or Polars table, "
                "or lists by column name."
            )
        if len(set(table.column_names)) < table.num_columns:
            raise InvalidInputError(f"Versions have a column twice; they have {', '.join(table.column_names)}.")
        for column in table.column_names:
            if column.startswith(TAG):
                names.tags({column.removeprefix(TAG): ""})
        unknown = sorted(c for c in set(table.column_names) - set(COLUMNS) if not c.startswith(TAG))
        if unknown:
            raise InvalidInputError(
                f"Versions have a column `{unknown[0]}`, which isn't known; the columns are {', '.join(COLUMNS)}, "
                f"{TAG}<key>."
                f"{did_you_mean(unknown[0], COLUMNS)}"
            )
        found = {}
        for name, column in zip(table.column_names, table.columns, strict=True):
            array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
            if pa.types.is_dictionary(array.type):
                array = array.cast(array.type.value_type)
            if not (pa.types.is_null(array.type) or _is_text(array.type)):
                raise InvalidInputError(f"Column `{name}` of the versions must be text; got {array.type}.")
            found[str(name)] = array.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise InvalidInputError(f"Versions can't be taken as columns of text of one length: {error}.") from error
    return found


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _check_models(models: pa.Array) -> None:
    doubtful = pc.or_(
        pc.match_substring_regex(models, r"[/:\p{C}]|^\s*$"), pc.greater(pc.utf8_length(models), names.MAX_NAME)
    )
    for name in models.filter(doubtful).to_pylist():
        names.model_name(name)


def _checked(column: pa.Array, check: Any) -> pa.Array:
    """A column with each of its texts replaced by what a check makes of it."""
    coded = column.dictionary_encode()
    texts = [str(check(text)) for text in coded.dictionary.to_pylist()]
    return pa.array(texts, pa.string()).take(coded.indices)


def _is_given(column: pa.Array | None, n: int) -> Mask:
    return np.zeros(n, bool) if column is None else np.asarray(column.is_valid())
