"""The rules: what a request may change in a model's state, as pure functions from state to changes.

Each returns the changes to record, or raises the reason why not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlwarehouse.entities import Stage
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError, did_you_mean
from mlwarehouse.registry.events import Change, Kind
from mlwarehouse.registry.fold import ModelState, VersionState


def create_model(state: ModelState, *, description: str | None, tags: Mapping[str, str]) -> Sequence[Change]:
    """Create a registered model.

    Raises:
        ConflictError: It exists.
    """
    if state.exists:
        raise ConflictError(
            f"Registered model `{state.name}` exists already; choose another name, or add versions to it."
        )
    return (Change(Kind.MODEL_CREATED, value=description), *_tags(None, tags))


def create_version(
    state: ModelState,
    *,
    source: str,
    run_id: str | None,
    digest: str | None,
    description: str | None,
    tags: Mapping[str, str],
) -> Sequence[Change]:
    """Create the next version, and the model if there is none."""
    number = state.last_version + 1
    model = () if state.exists else (Change(Kind.MODEL_CREATED),)
    version = Change(
        Kind.VERSION_CREATED, version=number, source=source, run_id=run_id, digest=digest, value=description
    )
    return (*model, version, *_tags(number, tags))


def set_alias(state: ModelState, *, alias: str, version: int) -> Sequence[Change]:
    """Point an alias to a version.

    Raises:
        NotFoundError: No such model or version.
    """
    need_version(state, version)
    return (Change(Kind.ALIAS_SET, version=version, alias=alias),)


def delete_alias(state: ModelState, *, alias: str) -> Sequence[Change]:
    """Remove an alias.

    Raises:
        NotFoundError: No such model or alias.
    """
    return (Change(Kind.ALIAS_DELETED, version=need_alias(state, alias), alias=alias),)


def set_stage(state: ModelState, *, version: int, stage: Stage, archive_existing: bool) -> Sequence[Change]:
    """Move a version to a stage, and archive those that are in it if asked.

    Raises:
        NotFoundError: No such model or version.
        InvalidInputError: Archiving was asked for with a stage other than Staging and Production.
    """
    need_version(state, version)
    if archive_existing and stage not in (Stage.STAGING, Stage.PRODUCTION):
        raise InvalidInputError(
            f"archive_existing_versions= makes room in Staging or Production; the stage asked for is {stage.value}."
        )
    others = [v.version for v in state.versions.values() if v.stage == stage and v.version != version]
    archived = [Change(Kind.STAGE_SET, version=v, stage=Stage.ARCHIVED.value) for v in sorted(others)]
    return (Change(Kind.STAGE_SET, version=version, stage=stage.value), *(archived if archive_existing else ()))


def set_tag(state: ModelState, *, version: int | None, key: str, value: str | None) -> Sequence[Change]:
    """Set a tag of the model or of a version; None removes it.

    Raises:
        NotFoundError: No such model or version.
    """
    _need(state, version)
    return (Change(Kind.TAG_SET, version=version, key=key, value=value),)


def set_description(state: ModelState, *, version: int | None, description: str | None) -> Sequence[Change]:
    """Describe the model or a version anew.

    Raises:
        NotFoundError: No such model or version.
    """
    _need(state, version)
    return (Change(Kind.DESCRIPTION_SET, version=version, value=description),)


def delete_version(state: ModelState, *, version: int) -> Sequence[Change]:
    """Delete a version; its number stays used.

    Raises:
        NotFoundError: No such model or version.
    """
    need_version(state, version)
    return (Change(Kind.VERSION_DELETED, version=version),)


def delete_model(state: ModelState) -> Sequence[Change]:
    """Delete a model with all its versions; their numbers stay used.

    Raises:
        NotFoundError: No such model.
    """
    need_model(state)
    return (Change(Kind.MODEL_DELETED),)


def need_model(state: ModelState) -> ModelState:
    """The state of a model that exists.

    Raises:
        NotFoundError: It doesn't.
    """
    if not state.exists:
        raise NotFoundError(f"There is no registered model `{state.name}`.")
    return state


def need_version(state: ModelState, version: int) -> VersionState:
    """One version of a model.

    Raises:
        NotFoundError: No such model or version.
    """
    found = need_model(state).versions.get(version)
    if found is None:
        raise NotFoundError(f"Registered model `{state.name}` has no version {version}; it has {_versions(state)}.")
    return found


def need_alias(state: ModelState, alias: str) -> int:
    """The version an alias points to.

    Raises:
        NotFoundError: No such model or alias.
    """
    found = need_model(state).aliases.get(alias)
    if found is None:
        there = ", ".join(f"`{a}`" for a in sorted(state.aliases)) or "none"
        raise NotFoundError(
            f"Registered model `{state.name}` has no alias `{alias}`; its aliases are {there}."
            f"{did_you_mean(alias, state.aliases)}"
        )
    return found


def _need(state: ModelState, version: int | None) -> None:
    if version is None:
        need_model(state)
    else:
        need_version(state, version)


def _tags(version: int | None, tags: Mapping[str, str]) -> Sequence[Change]:
    return [Change(Kind.TAG_SET, version=version, key=k, value=v) for k, v in sorted(tags.items())]


def _versions(state: ModelState) -> str:
    numbers = [str(n) for n in sorted(state.versions)]
    if len(numbers) > 10:
        return f"{len(numbers)}, the last {numbers[-1]}"
    return ", ".join(numbers) or "none"
