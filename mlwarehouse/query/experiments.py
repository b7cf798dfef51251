"""Experiments: listing them, finding one, and turning ids and names into ids."""

from __future__ import annotations

from collections.abc import Sequence

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import Experiment, ViewType
from mlwarehouse.errors import InvalidInputError, NotFoundError, did_you_mean


def list_experiments(
    engine: Engine, reading: Reading | None = None, *, view_type: ViewType = ViewType.ACTIVE_ONLY
) -> list[Experiment]:
    """All experiments, the last changed one first.

    Args:
        engine: Answers the question.
        reading: The state to look at; None means the newest committed one.
        view_type: Whether active ones, deleted ones, or both.
    """
    stages = {ViewType.ACTIVE_ONLY: ["active"], ViewType.DELETED_ONLY: ["deleted"], ViewType.ALL: ["active", "deleted"]}
    return [e for e in _load(engine, reading) if e.lifecycle_stage in stages[ViewType(view_type)]]


def get_experiment(engine: Engine, reading: Reading | None, experiment_id: str) -> Experiment:
    """The experiment with an id, deleted ones included.

    Raises:
        NotFoundError: There is none.
    """
    found = _load(engine, reading, column="experiment_id", value=str(experiment_id))
    if not found:
        known = [e.experiment_id for e in _load(engine, reading)]
        raise NotFoundError(
            f"There is no experiment with the id `{experiment_id}`.{did_you_mean(str(experiment_id), known)}"
        )
    return found[0]


def get_experiment_by_name(engine: Engine, reading: Reading | None, name: str) -> Experiment | None:
    """The experiment of a name, or None as in MLflow; an active one goes before a deleted one of the same name."""
    found = sorted(_load(engine, reading, column="name", value=name), key=lambda e: e.lifecycle_stage)
    return found[0] if found else None


def resolve_experiments(
    engine: Engine,
    reading: Reading | None,
    *,
    experiment_ids: Sequence[str] | None,
    experiment_names: Sequence[str] | None,
) -> tuple[str, ...] | None:
    """The ids of the experiments that a search is about.

    Returns:
        The ids; None when neither ids nor names were given.

    Raises:
        InvalidInputError: Both ids and names, or one text instead of a list.
        NotFoundError: An id or a name that no experiment has.
    """
    for words, what in ((experiment_ids, "experiment_ids"), (experiment_names, "experiment_names")):
        if isinstance(words, str):
            raise InvalidInputError(f"`{what}` must be a list; got the text `{words}`. Write [{words!r}].")
    if experiment_ids and experiment_names:
        raise InvalidInputError("Give `experiment_ids` or `experiment_names`, not both.")
    if experiment_ids and experiment_names is not None:
        experiment_names = None  # As in MLflow, an empty list beside a filled one says nothing.
    elif experiment_names and experiment_ids is not None:
        experiment_ids = None
    if experiment_ids is None and experiment_names is None:
        return None
    rows = engine.query("SELECT experiment_id, name, lifecycle_stage FROM experiments", reading=reading).to_pylist()
    if experiment_names is None:
        known = {row["experiment_id"] for row in rows}
        ids = tuple(dict.fromkeys(str(i) for i in experiment_ids or ()))
        for experiment_id in ids:
            if experiment_id not in known:
                raise NotFoundError(
                    f"There is no experiment with the id `{experiment_id}`.{did_you_mean(experiment_id, known)}"
                )
        return ids
    # Active ones last, so that they win over deleted ones of the same name.
    rows.sort(key=lambda row: row["lifecycle_stage"], reverse=True)
    by_name = {row["name"]: row["experiment_id"] for row in rows}
    for name in experiment_names:
        if name not in by_name:
            raise NotFoundError(f"There is no experiment `{name}`.{did_you_mean(str(name), by_name)}")
    return tuple(dict.fromkeys(by_name[name] for name in experiment_names))


def _load(
    engine: Engine, reading: Reading | None, *, column: str | None = None, value: str | None = None
) -> list[Experiment]:
    where, parameters = (f" WHERE {column} = $value", {"value": value}) if column else ("", {})
    rows = engine.query(
        "SELECT experiment_id, name, lifecycle_stage, created_at, updated_at FROM experiments"
        f"{where} ORDER BY updated_at DESC, experiment_id",
        reading=reading,
        parameters=parameters,
    ).to_pylist()
    if not rows:
        return []
    tags: dict[str, dict[str, str]] = {}
    for row in engine.query("SELECT experiment_id, key, value FROM experiment_tags", reading=reading).to_pylist():
        tags.setdefault(row["experiment_id"], {})[row["key"]] = row["value"]
    return [
        Experiment(
            experiment_id=row["experiment_id"],
            name=row["name"],
            lifecycle_stage=row["lifecycle_stage"],
            tags=tags.get(row["experiment_id"], {}),
            creation_time=int(row["created_at"].timestamp() * 1000),
            last_update_time=int(row["updated_at"].timestamp() * 1000),
        )
        for row in rows
    ]
