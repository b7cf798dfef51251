"""The registry's service: what callers ask, checked, and decided by the rules on the ledger of events."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import ModelVersion, RegisteredModel
from mlwarehouse.errors import InvalidInputError, NotFoundError
from mlwarehouse.registry import names, rules
from mlwarehouse.registry.events import Change, Event
from mlwarehouse.registry.fold import ModelState
from mlwarehouse.registry.ledger import Ledger
from mlwarehouse.registry.search import condition


def _now() -> dt.datetime:
    return dt.datetime.now(dt.UTC)


class Registry:
    """Registered models, their versions, aliases, stages and tags, and the whole history of each.

    Threads may share it. Every change, allowed or refused by a rule, is also a row of `audit`.
    """

    def __init__(
        self, engine: Engine, *, actor: str, clock: Callable[[], dt.datetime] = _now, reading: Reading | None = None
    ) -> None:
        """Work on an engine's tables.

        Args:
            engine: Where the tables are.
            actor: The name written beside every change.
            clock: Tells the time (UTC).
            reading: Look at this past state, which can't be changed; None means the newest committed one.
        """
        self._engine = engine
        self._reading = reading
        self._ledger = Ledger(engine, actor=actor, clock=clock, reading=reading)

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
            comment: Why, in the actor's words.

        Raises:
            InvalidInputError: A name, source or tag that can't be.
            ConcurrentChangeError: Others changed the model all the time.
        """
        if not source:
            raise InvalidInputError(f"A version of `{name}` needs a source=, such as runs:/<run_id>/model.")
        given = names.tags(tags)
        state = self._change(
            "create_model_version",
            name,
            None,
            partial(
                rules.create_version, source=source, run_id=run_id, digest=digest, description=description, tags=given
            ),
            {"source": source, "run_id": run_id, "digest": digest, "description": description, "tags": given},
            comment,
        )
        return state.model_version(state.last_version)

    def set_model_alias(self, name: str, alias: str, version: int | str, comment: str | None = None) -> None:
        """Point an alias to a version, away from any other.

        Raises:
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
    ) -> ModelVersion:
        """Move a version to a stage.

        Args:
            name: The registered model.
            version: Its version.
            stage: A name in `Stage`, in any case.
            archive_existing_versions: Whether versions that are in Staging or Production now go to Archived.
            comment: Why, in the actor's words.

        Raises:
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

    def get_registered_model(self, name: str) -> RegisteredModel:
        """One registered model.

        Raises:
            NotFoundError: No such model.
        """
        return self._existing(name).registered_model()

    def get_model_version(self, name: str, version: int | str) -> ModelVersion:
        """One version of a model.

        Raises:
            NotFoundError: No such model or version.
        """
        state, number = self._existing(name), names.version_number(version)
        rules.need_version(state, number)
        return state.model_version(number)

    def get_model_version_by_alias(self, name: str, alias: str) -> ModelVersion:
        """The version an alias points to.

        Raises:
            NotFoundError: No such model or alias.
        """
        state = self._existing(name)
        return state.model_version(rules.need_alias(state, alias))

    def resolve(self, uri: str) -> ModelVersion:
        """The version that an address means now.

        Args:
            uri: ``models:/<name>/<version>``, ``models:/<name>@<alias>``, ``models:/<name>/<stage>`` (the newest
                version in it), or ``models:/<name>/latest`` (the newest version).

        Raises:
            InvalidInputError: It isn't such an address.
            NotFoundError: No such model, version or alias, or no version in the stage.
        """
        address = names.model_address(uri)
        if address.version is not None:
            return self.get_model_version(address.name, address.version)
        if address.alias is not None:
            return self.get_model_version_by_alias(address.name, address.alias)
        state = self._existing(address.name)
        there = [v for v in state.versions.values() if address.stage is None or v.stage == address.stage]
        if not there:
            where = f" in stage {address.stage.value}" if address.stage is not None else ""
            stages = ", ".join(sorted({f"{v.stage}" for v in state.versions.values()})) or "no stage at all"
            raise NotFoundError(
                f"Registered model `{address.name}` has no version{where}; it has versions in {stages}."
            )
        return state.model_version(max(v.version for v in there))

    def search_model_versions(self, filter_string: str | None = None) -> list[ModelVersion]:
        """Versions by name, the newest first.

        Args:
            filter_string: Clauses on ``name`` or ``run_id``, such as ``name = 'sentiment'``; None means all.

        Raises:
            FilterError: It isn't understood.
        """
        where = condition(filter_string, ("name", "run_id"))
        rows = self._engine.query(
            f"SELECT name, version FROM model_versions WHERE {where.sql} ORDER BY name, version DESC",
            reading=self._reading,
            parameters=where.parameters,
        ).to_pylist()
        states = self._ledger.states(f"SELECT name FROM model_versions WHERE {where.sql}", where.parameters)
        # A version that was deleted between the two questions isn't in the states any more.
        return [
            states[r["name"]].model_version(r["version"])
            for r in rows
            if r["name"] in states and r["version"] in states[r["name"]].versions
        ]

    def search_registered_models(self, filter_string: str | None = None) -> list[RegisteredModel]:
        """Registered models, by name.

        Args:
            filter_string: Clauses on ``name``, such as ``name LIKE 'device-%'``; None means all.

        Raises:
            FilterError: It isn't understood.
        """
        where = condition(filter_string, ("name",))
        states = self._ledger.states(f"SELECT name FROM registered_models WHERE {where.sql}", where.parameters)
        return [states[name].registered_model() for name in sorted(states) if states[name].exists]

    def history(self, name: str) -> tuple[Event, ...]:
        """Everything that ever happened to the models of a name, in order.

        Raises:
            NotFoundError: Nothing did.
        """
        events = self._ledger.events(names.model_name(name))
        if not events:
            raise self._ledger.unknown(name)
        return events

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
    ) -> ModelState:
        return self._ledger.change(action, names.model_name(name), version, decide, arguments, comment)

    def _existing(self, name: str) -> ModelState:
        return self._ledger.state(names.model_name(name))
