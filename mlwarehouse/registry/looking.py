"""What can be asked of the registry: models, versions, addresses, searches, comments and the history."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import ModelComment, ModelVersion, RegisteredModel
from mlwarehouse.registry import names, rules
from mlwarehouse.registry.archive import MODELS_AT_MOST
from mlwarehouse.registry.differences import Difference, differences
from mlwarehouse.registry.events import Event
from mlwarehouse.registry.finding import MODELS, VERSIONS, Finder, Subject
from mlwarehouse.registry.fold import ModelState, fold
from mlwarehouse.registry.ledger import Ledger
from mlwarehouse.registry.search import Page, Search, page_size, read_token, write_token

_ALL = Search()


class Looking:
    """Questions about registered models. Threads may share it."""

    _engine: Engine
    _reading: Reading | None
    _ledger: Ledger

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

    def get_latest_versions(self, name: str, stages: Sequence[str] | None = None) -> list[ModelVersion]:
        """The newest version in each stage that has one.

        Args:
            name: The registered model.
            stages: Only these; None for all.

        Raises:
            InvalidInputError: No such stage.
            NotFoundError: No such model.
        """
        wanted = None if stages is None else {names.stage_named(s).value for s in stages}
        state = self._existing(name)
        newest = {v.stage: number for number, v in sorted(state.versions.items())}
        return [state.model_version(n) for stage, n in newest.items() if wanted is None or stage in wanted]

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
        state = self._existing(address.name)
        return state.model_version(rules.meant(state, address))

    def search_model_versions(
        self, search: Search = _ALL, *, max_results: int | None = None, page_token: str | None = None
    ) -> Page[ModelVersion]:
        """Versions by name, of each model the newest first, or in the search's order.

        Args:
            search: What is searched for.
            max_results: How many a page has at most; None for all.
            page_token: Where the page before ended.

        Raises:
            InvalidInputError: A page of that size, or with that token, can't be.
            SqlError: The search's SQL can't be answered.
        """
        size = page_size(max_results)
        if search.on_names is None or search.order:
            return self._versions_by_views(search, size, page_token)
        place = read_token(page_token, {"name": str, "version": int})
        page = Page(islice(self._versions_by_name(search, place, size), None if size is None else size + 1))
        if size is not None and len(page) > size:
            page.pop()
            page.token = write_token({"name": page[-1].name, "version": page[-1].version})
        return page

    def search_registered_models(
        self, search: Search = _ALL, *, max_results: int | None = None, page_token: str | None = None
    ) -> Page[RegisteredModel]:
        """Registered models by name, or in the search's order.

        Args:
            search: What is searched for.
            max_results: How many a page has at most; None for all.
            page_token: Where the page before ended.

        Raises:
            InvalidInputError: A page of that size, or with that token, can't be.
            SqlError: The search's SQL can't be answered.
        """
        size = page_size(max_results)
        if search.on_names is None or search.order:
            return self._models_by_views(search, size, page_token)
        place = read_token(page_token, {"name": str}) or {"name": ""}
        found = self._walk(search, place["name"], size)
        page = Page(s.registered_model() for s in islice(found, None if size is None else size + 1))
        if size is not None and len(page) > size:
            page.pop()
            page.token = write_token({"name": page[-1].name})
        return page

    def comments(self, name: str, version: int | str | None = None) -> list[ModelComment]:
        """The comments on a model and its versions, oldest first.

        Args:
            name: The registered model.
            version: Only those on this version; None for all.

        Raises:
            NotFoundError: No such model or version.
        """
        state = self._existing(name)
        number = None if version is None else names.version_number(version)
        if number is not None:
            rules.need_version(state, number)
        found = [state.comment(n) for n in sorted(state.comments) if state.has_comment(n)]
        return [c for c in found if number is None or c.version == number]

    def history(self, name: str) -> tuple[Event, ...]:
        """Everything that ever happened to the models of a name, in order.

        Raises:
            NotFoundError: Nothing did.
        """
        events = self._ledger.events(names.model_name(name))
        if not events:
            raise self._ledger.unknown(name)
        return events

    def differences(self, name: str, earlier: Looking) -> list[Difference]:
        """What is different about a model in comparison with an earlier state of the registry.

        Args:
            name: The registered model.
            earlier: The registry as it was.

        Returns:
            The model's own differences first, then version by version; nothing where there is none.

        Raises:
            NotFoundError: Neither has, or had, a model of this name.
        """
        events = self._ledger.events(names.model_name(name)), earlier._ledger.events(name)
        if not any(events):
            raise self._ledger.unknown(name)
        return differences(fold(name, events[1]), fold(name, events[0]))

    def _existing(self, name: str) -> ModelState:
        return self._ledger.state(names.model_name(name))

    def _walk(self, search: Search, after: str, size: int | None) -> Iterator[ModelState]:
        at_once = MODELS_AT_MOST if size is None else min(size + 1, MODELS_AT_MOST)
        return self._ledger.walk(search.on_names or "true", search.parameters, after, at_once)

    def _versions_by_name(
        self, search: Search, place: dict[str, object] | None, size: int | None
    ) -> Iterator[ModelVersion]:
        after = ""
        if place is not None:
            after = str(place["name"])
            state = self._ledger.states([after]).get(after)
            numbers = state.versions if state is not None and state.exists else {}
            for number in sorted((n for n in numbers if n < int(str(place["version"]))), reverse=True):
                assert state is not None
                yield state.model_version(number)
        for state in self._walk(search, after, size):
            for number in sorted(state.versions, reverse=True):
                yield state.model_version(number)

    def _versions_by_views(self, search: Search, size: int | None, page_token: str | None) -> Page[ModelVersion]:
        rows, token = self._chosen(VERSIONS, search, size, page_token, {"name": str, "version": int})
        states = self._ledger.states(sorted({r["name"] for r in rows}))
        # A version that was deleted between the two questions isn't in the states any more.
        found = [(states[r["name"]], r["version"]) for r in rows if r["name"] in states]
        return Page((s.model_version(number) for s, number in found if number in s.versions), token)

    def _models_by_views(self, search: Search, size: int | None, page_token: str | None) -> Page[RegisteredModel]:
        rows, token = self._chosen(MODELS, search, size, page_token, {"name": str})
        states = self._ledger.states(sorted(r["name"] for r in rows))
        found = [states[r["name"]] for r in rows if r["name"] in states]
        return Page((s.registered_model() for s in found if s.exists), token)

    def _chosen(
        self, subject: Subject, search: Search, size: int | None, page_token: str | None, form: Mapping[str, type]
    ) -> tuple[list[dict[str, Any]], str | None]:
        """What tells the entries of a page, and its token."""
        finder, more = Finder(self._engine, self._reading), None if size is None else size + 1
        if search.order:
            offset = int((read_token(page_token, {"offset": int}) or {"offset": 0})["offset"])
            rows = finder.in_order(subject, search, offset, more)
            next_place: dict[str, Any] = {"offset": offset + (size or 0)}
        else:
            rows = finder.by_name(subject, search, read_token(page_token, form), more)
            next_place = rows[size - 1] if size is not None and len(rows) > size else {}
        if size is None or len(rows) <= size:
            return rows, None
        return rows[:size], write_token(next_place)
