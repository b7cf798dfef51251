"""The registry's service: what callers want changed, checked, and decided by the rules on the ledger of events."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import ModelVersion, RegisteredModel, VersionStatus
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.registry import names, rules
from mlwarehouse.registry.bulk import BulkRegistered, bulk_register
from mlwarehouse.registry.commented import Commented
from mlwarehouse.registry.events import Change
from mlwarehouse.registry.fold import ModelState
from mlwarehouse.registry.governed import Governed
from mlwarehouse.registry.hooked import Hooked
from mlwarehouse.registry.importing import Brought, SourceModel, import_models
from mlwarehouse.registry.ledger import Ledger
from mlwarehouse.registry.looking import Looking
from mlwarehouse.registry.merging import Ask, Merged, merge_models
from mlwarehouse.registry.policies import Actor


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Registry(Governed, Hooked, Commented, Looking):
    """Registered models, their versions, aliases, stages and tags, and the whole history of each.

    Threads may share it. Every change, allowed or refused by a rule, is also a row of `audit`.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        actor: str,
        roles: Iterable[str] = (),
        clock: Callable[[], dt.datetime] = _now,
        reading: Reading | None = None,
        present: Callable[[], Reading] | None = None,
    ) -> None:
        """Work on an engine's tables.

        Args:
            engine: Where the tables are.
            actor: The name written beside every change.
            roles: What the actor may act as, for policies.
            clock: Tells the time (UTC).
            reading: Look at this past state, which can't be changed; None means the newest committed one.
            present: The state that gates look at; None means the newest committed one.
        """
        self._engine = engine
        self._reading = reading
        self._present = present
        self._ledger = Ledger(engine, actor=Actor(actor, names.roles(roles)), clock=clock, reading=reading)

    def create_registered_model(
        self, name: str, description: str | None = None, tags: Mapping[str, str] | None = None
    ) -> RegisteredModel:
        """Create a registered model without versions.

        Raises:
            InvalidInputError: A name or tag that can't be.
            ConflictError: It exists.
        """
        given = names.tags(tags)
        state = self._change(
            "create_registered_model",
            name,
            None,
            partial(rules.create_model, description=description, tags=given),
            {"description": description, "tags": given},
        )
        return state.registered_model()

    def create_model_version(
        self,
        name: str,
        *,
        source: str,
        run_id: str | None,
        digest: str | None,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        parent: str | None = None,
        status: str = VersionStatus.READY,
        comment: str | None = None,
    ) -> ModelVersion:
        """Create a model's next version; its number is used by no other, then or later.

        Args:
            name: The registered model; created when there is none.
            source: Where the files are, as ``runs:/<run_id>/<path>``.
            run_id: The run that made it.
            digest: The digest of its package.
            description: Markdown.
            tags: Value by key.
            parent: The address of the version that it was made from, such as ``models:/sentiment/3``.
            status: ``PENDING_REGISTRATION`` where its files are still on their way; `set_model_version_status` then
                says what became of it.
            comment: Why, in the actor's words.

        Raises:
            InvalidInputError: A name, source, parent, status or tag that can't be.
            NotFoundError: There is no such parent.
            ConcurrentChangeError: Others changed the model all the time.
        """
        if not source:
            raise InvalidInputError(f"A version of `{name}` needs a source=, such as runs:/<run_id>/model.")
        given = names.tags(tags)
        arguments: dict[str, Any] = {
            "source": source,
            "run_id": run_id,
            "digest": digest,
            "description": description,
            "tags": given,
        }
        # An alias moves: what is kept is the version that it meant.
        arguments["parent"] = None if parent is None else self.resolve(parent).uri
        decide = partial(rules.create_version, **arguments, status=names.status_named(status))
        arguments["status"] = None if status == VersionStatus.READY else status
        state = self._change("create_model_version", name, None, decide, arguments, comment)
        return state.model_version(state.last_version)

    def set_model_version_status(
        self, name: str, version: int | str, status: str, comment: str | None = None
    ) -> ModelVersion:
        """Say what has become of a version that is ``PENDING_REGISTRATION``.

        Args:
            name: The registered model.
            version: Its version.
            status: ``READY`` or ``FAILED_REGISTRATION``.
            comment: Why, in the actor's words.

        Raises:
            InvalidInputError: No such status.
            NotFoundError: No such model or version.
            ConflictError: It isn't pending any more.
        """
        number, wanted = names.version_number(version), names.status_named(status)
        decide = partial(rules.set_status, version=number, status=wanted)
        arguments = {"status": wanted.value}
        return self._change("set_model_version_status", name, number, decide, arguments, comment).model_version(number)

    def bulk_register(self, versions: Any, *, source_id: str, comment: str | None = None) -> BulkRegistered:
        """Register many versions of many models at once: one commit, all of them or none.

        Args:
            versions: An Arrow, pandas or Polars table, or lists by column name. Columns, all text: ``name``,
                ``source``, and where wanted ``run_id``, ``digest``, ``description``, ``parent``, ``stage``, ``alias``
                and ``tags.<key>``, null for none. Models that aren't there are made; versions of one are numbered in
                the order of their rows. A parent is a version that there is before.
            source_id: Names these versions, such as the file they come from: under one id they are registered once.
            comment: Why, in the actor's words.

        Returns:
            What was done; ``is_new`` is False when the source id was there, and then nothing was added.

        Raises:
            InvalidInputError: A column is missing, unknown or not text, or has what can't be; nothing was added.
            StorageError: The commit failed; nothing was added.
        """
        return self._ledger.bulk(
            "bulk_register",
            f"models:/ of {source_id}",
            {"source_id": source_id, "comment": comment},
            lambda: bulk_register(self._ledger, versions, source_id, comment),
        )

    def import_models(self, models: Sequence[SourceModel], *, source_id: str, writes: bool = True) -> Brought:
        """Bring models of another registry; see `mlwarehouse.registry.importing.import_models`."""
        expected = import_models(self._ledger, models, source_id=source_id, writes=False)
        if not expected.models or not writes:
            return expected
        work = partial(import_models, self._ledger, models, source_id=source_id, writes=True)
        return self._ledger.bulk("import", f"models:/ of {source_id}", {"source_id": source_id}, work)

    def merge_models(self, ask: Ask, *, warehouse: str, writes: bool = True) -> Merged:
        """Bring models of another warehouse; see `mlwarehouse.registry.merging.merge_models`.

        Args:
            ask: Answers questions about the other warehouse.
            warehouse: Its address, for `audit`.
            writes: False only says what would come.
        """
        expected = merge_models(self._ledger, ask, writes=False)
        if not expected.models or not writes:
            return expected
        work = partial(merge_models, self._ledger, ask, writes=True)
        return self._ledger.bulk("merge", f"models:/ of {warehouse}", {"warehouse": warehouse}, work)

    def set_model_alias(
        self,
        name: str,
        alias: str,
        version: int | str,
        comment: str | None = None,
        *,
        expected_seq: int | None = None,
    ) -> None:
        """Point an alias to a version, away from any other.

        Args:
            name: The registered model.
            alias: The alias.
            version: The version.
            comment: Why, in the actor's words.
            expected_seq: The number of the model's last event as the caller knows it: whoever came since wins. None
                means that the last one who comes wins.

        Raises:
            ConcurrentChangeError: Something else happened to the model since `expected_seq`.
            InvalidInputError: A name that can't be.
            NotFoundError: No such model or version.
        """
        alias, number = names.alias_name(alias), names.version_number(version)
        self._change(
            "set_model_alias",
            name,
            number,
            partial(rules.set_alias, alias=alias, version=number),
            {"alias": alias},
            comment,
            expected_seq,
        )

    def delete_model_alias(self, name: str, alias: str, comment: str | None = None) -> None:
        """Remove an alias; the version stays.

        Raises:
            NotFoundError: No such model or alias.
        """
        alias = names.alias_name(alias)
        decide = partial(rules.delete_alias, alias=alias)
        self._change("delete_model_alias", name, None, decide, {"alias": alias}, comment)

    def transition_model_version_stage(
        self,
        name: str,
        version: int | str,
        stage: str,
        archive_existing_versions: bool = False,
        comment: str | None = None,
        *,
        expected_seq: int | None = None,
    ) -> ModelVersion:
        """Move a version to a stage.

        Args:
            name: The registered model.
            version: Its version.
            stage: A name in `Stage`, in any case.
            archive_existing_versions: Whether versions that are in Staging or Production now go to Archived.
            comment: Why, in the actor's words.
            expected_seq: As for `set_model_alias`.

        Raises:
            ConcurrentChangeError: Something else happened to the model since `expected_seq`.
            InvalidInputError: No such stage, or archiving for another stage than those two.
            NotFoundError: No such model or version.
        """
        number, wanted = names.version_number(version), names.stage_named(stage)
        state = self._change(
            "transition_model_version_stage",
            name,
            number,
            partial(rules.set_stage, version=number, stage=wanted, archive_existing=archive_existing_versions),
            {"stage": wanted.value, "archive_existing_versions": archive_existing_versions},
            comment,
            expected_seq,
        )
        return state.model_version(number)

    def set_model_version_tag(self, name: str, version: int | str, key: str, value: str | None) -> None:
        """Set a version's tag; None removes it.

        Raises:
            InvalidInputError: A tag that can't be.
            NotFoundError: No such model or version.
        """
        self._tag("set_model_version_tag", name, names.version_number(version), key, value)

    def set_registered_model_tag(self, name: str, key: str, value: str | None) -> None:
        """Set a model's tag; None removes it.

        Raises:
            InvalidInputError: A tag that can't be.
            NotFoundError: No such model.
        """
        self._tag("set_registered_model_tag", name, None, key, value)

    def update_model_version(self, name: str, version: int | str, description: str | None) -> ModelVersion:
        """Describe a version anew; None takes the description away.

        Raises:
            NotFoundError: No such model or version.
        """
        number = names.version_number(version)
        return self._describe("update_model_version", name, number, description).model_version(number)

    def update_registered_model(self, name: str, description: str | None) -> RegisteredModel:
        """Describe a model anew; None takes the description away.

        Raises:
            NotFoundError: No such model.
        """
        return self._describe("update_registered_model", name, None, description).registered_model()

    def delete_model_version(self, name: str, version: int | str, comment: str | None = None) -> None:
        """Delete a version and its aliases; its number isn't given again and its history stays.

        Raises:
            NotFoundError: No such model or version.
        """
        number = names.version_number(version)
        decide = partial(rules.delete_version, version=number)
        self._change("delete_model_version", name, number, decide, {}, comment)

    def delete_registered_model(self, name: str, comment: str | None = None) -> None:
        """Delete a model with its versions; a model made later under its name goes on counting after them.

        Raises:
            NotFoundError: No such model.
        """
        self._change("delete_registered_model", name, None, rules.delete_model, {}, comment)

    def rename_registered_model(self, name: str, new_name: str, comment: str | None = None) -> RegisteredModel:
        """Give a model another name, with its versions, aliases, tags, comments and history.

        The old name ends, and its addresses say what the new one is. Predictions keep the name that they were made by.

        Args:
            name: The registered model.
            new_name: Its name from now on; one that no model with versions had before, or its own former one.
            comment: Why, in the actor's words.

        Raises:
            InvalidInputError: A name that can't be.
            NotFoundError: No such model.
            ConflictError: The new name is or was another model's.
        """
        return self._ledger.rename(names.model_name(name), names.model_name(new_name), comment).registered_model()

    def restore_registered_model(self, name: str, comment: str | None = None) -> RegisteredModel:
        """Take the deletion of a model back; it has all that it had, aliases and stages too.

        Raises:
            NotFoundError: There never was such a model.
            ConflictError: There is one of this name now, or it was renamed.
        """
        return self._change("restore_registered_model", name, None, rules.restore_model, {}, comment).registered_model()

    def restore_model_version(self, name: str, version: int | str, comment: str | None = None) -> ModelVersion:
        """Take the deletion of a version back; it has all that it had, but for its aliases.

        Raises:
            NotFoundError: No such model, or it never had such a version.
            ConflictError: The version isn't deleted.
        """
        number = names.version_number(version)
        decide = partial(rules.restore_version, version=number)
        return self._change("restore_model_version", name, number, decide, {}, comment).model_version(number)

    def _tag(self, action: str, name: str, version: int | None, key: str, value: str | None) -> None:
        key, value = names.tag(key, value)
        self._change(
            action,
            name,
            version,
            partial(rules.set_tag, version=version, key=key, value=value),
            {"key": key, "value": value},
        )

    def _describe(self, action: str, name: str, version: int | None, description: str | None) -> ModelState:
        return self._change(
            action,
            name,
            version,
            partial(rules.set_description, version=version, description=description),
            {"description": description},
        )

    def _change(
        self,
        action: str,
        name: str,
        version: int | None,
        decide: Callable[[ModelState], Sequence[Change]],
        arguments: Mapping[str, Any],
        comment: str | None = None,
        expected_seq: int | None = None,
    ) -> ModelState:
        return self._ledger.change(action, names.model_name(name), version, decide, arguments, comment, expected_seq)
