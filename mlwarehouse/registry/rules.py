"""The rules: what a request may change in a model's state, as pure functions from state to changes.

Each returns the changes to record, or raises the reason why not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from mlwarehouse.entities import Stage, VersionStatus
from mlwarehouse.errors import ConflictError, InvalidInputError, NotFoundError, PermissionDeniedError, did_you_mean
from mlwarehouse.registry.events import Change, Kind
from mlwarehouse.registry.fold import ModelState, VersionState
from mlwarehouse.registry.names import ModelAddress


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
    parent: str | None = None,
    status: VersionStatus = VersionStatus.READY,
) -> Sequence[Change]:
    """Create the next version, and the model if there is none."""
    number = state.last_version + 1
    model = () if state.exists else (Change(Kind.MODEL_CREATED),)
    version = Change(
        Kind.VERSION_CREATED, version=number, source=source, run_id=run_id, digest=digest, value=description
    )
    made_from = () if parent is None else (Change(Kind.PARENT_SET, version=number, value=parent),)
    unready = () if status is VersionStatus.READY else (Change(Kind.STATUS_SET, version=number, value=status.value),)
    return (*model, version, *unready, *made_from, *_tags(number, tags))


def set_status(state: ModelState, *, version: int, status: VersionStatus) -> Sequence[Change]:
    """Say what has become of a version that was pending.

    Raises:
        NotFoundError: No such model or version.
        ConflictError: It isn't pending.
    """
    before = need_version(state, version).status
    if before != VersionStatus.PENDING:
        raise ConflictError(
            f"Version {version} of `{state.name}` is {before}; only one that is {VersionStatus.PENDING} becomes "
            "something else. Register another one."
        )
    return (Change(Kind.STATUS_SET, version=version, value=status.value),)


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


def restore_version(state: ModelState, *, version: int) -> Sequence[Change]:
    """Take a version's deletion back: it has what it had, but for its aliases.

    Raises:
        NotFoundError: No such model, or no such version was deleted.
        ConflictError: It isn't deleted.
    """
    if version in need_model(state).versions:
        raise ConflictError(f"Version {version} of registered model `{state.name}` isn't deleted.")
    if version not in state.deleted:
        there = ", ".join(str(n) for n in sorted(state.deleted)) or "none"
        raise NotFoundError(f"Registered model `{state.name}` never had a version {version}; deleted are {there}.")
    return (Change(Kind.VERSION_RESTORED, version=version),)


def restore_model(state: ModelState) -> Sequence[Change]:
    """Take a model's deletion back: it has all that it had.

    Raises:
        ConflictError: There is a model of this name, or it has another name now.
        NotFoundError: There never was one.
    """
    if state.exists:
        raise ConflictError(
            f"There is a registered model `{state.name}`: one that was deleted before can't come back under its name."
        )
    if state.moved_to is not None:
        raise ConflictError(f"Registered model `{state.name}` isn't deleted: it was renamed to `{state.moved_to}`.")
    if state.before is None:
        raise NotFoundError(f"There never was a registered model `{state.name}`.")
    return (Change(Kind.MODEL_RESTORED, key=str(state.last_seq)),)


def check_rename(state: ModelState, target: ModelState) -> None:
    """Whether a model may take another name.

    Raises:
        NotFoundError: No such model.
        InvalidInputError: It has that name.
        ConflictError: There is a model of that name; or there was one with versions, whose addresses would come to mean
            other ones. Taking its own former name back is fine.
    """
    need_model(state)
    if target.name == state.name:
        raise InvalidInputError(f"Registered model `{state.name}` has this name already.")
    if target.exists:
        raise ConflictError(f"There is a registered model `{target.name}` already; choose another name.")
    if target.last_version and target.moved_to != state.name:
        raise ConflictError(
            f"`{state.name}` can't be renamed to `{target.name}`: a model of that name had {target.last_version} "
            "versions, and their addresses would come to mean other ones; choose another name."
        )


def add_comment(state: ModelState, *, version: int | None, text: str) -> Sequence[Change]:
    """Comment on the model or on a version.

    Raises:
        NotFoundError: No such model or version.
    """
    _need(state, version)
    return (Change(Kind.COMMENT_ADDED, version=version, value=text),)


def edit_comment(state: ModelState, *, number: int, text: str, actor: str) -> Sequence[Change]:
    """Give one's own comment another text.

    Raises:
        NotFoundError: No such model or comment.
        PermissionDeniedError: It is somebody else's.
    """
    version = _own_comment(state, number, actor)
    return (Change(Kind.COMMENT_EDITED, version=version, key=str(number), value=text),)


def delete_comment(state: ModelState, *, number: int, actor: str) -> Sequence[Change]:
    """Delete one's own comment; its text stays in the history.

    Raises:
        NotFoundError: No such model or comment.
        PermissionDeniedError: It is somebody else's.
    """
    return (Change(Kind.COMMENT_DELETED, version=_own_comment(state, number, actor), key=str(number)),)


def _own_comment(state: ModelState, number: int, actor: str) -> int | None:
    if not need_model(state).has_comment(number):
        there = ", ".join(str(n) for n in sorted(state.comments) if state.has_comment(n)) or "none"
        raise NotFoundError(f"Registered model `{state.name}` has no comment {number}; it has {there}.")
    found = state.comments[number]
    if found.user_id != actor:
        raise PermissionDeniedError(f"Comment {number} is `{found.user_id}`'s; `{actor}` can add one, not change it.")
    return found.version


def need_model(state: ModelState) -> ModelState:
    """The state of a model that exists.

    Raises:
        NotFoundError: It doesn't.
    """
    if not state.exists:
        moved = f" It was renamed to `{state.moved_to}`." if state.moved_to is not None else ""
        raise NotFoundError(f"There is no registered model `{state.name}`.{moved}")
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


def meant(state: ModelState, address: ModelAddress) -> int:
    """The version that an address means.

    Args:
        state: The model of its name.
        address: The address.

    Raises:
        NotFoundError: No such model, version or alias, or no version in the stage.
    """
    if address.version is not None:
        return need_version(state, address.version).version
    if address.alias is not None:
        return need_alias(state, address.alias)
    there = [v for v in need_model(state).versions.values() if address.stage is None or v.stage == address.stage]
    if not there:
        where = f" in stage {address.stage.value}" if address.stage is not None else ""
        stages = ", ".join(sorted({f"{v.stage}" for v in state.versions.values()})) or "no stage at all"
        raise NotFoundError(f"Registered model `{state.name}` has no version{where}; it has versions in {stages}.")
    return max(v.version for v in there)


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
