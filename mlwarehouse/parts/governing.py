"""The part of a warehouse that looks after registered models: finding them, and deciding about them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mlwarehouse.entities import ModelVersion, RegisteredModel, Snapshot
from mlwarehouse.parts.modelling import Modelling

if TYPE_CHECKING:
    from mlwarehouse.registry import Difference, Page, Registry


class Governing(Modelling):
    """Searches of the registry, and what is different about a model between two moments."""

    def model_differences(self, name: str, since: Any, until: Any = None) -> list[Difference]:
        """What is different about a registered model between two moments.

        Args:
            name: The registered model.
            since: The earlier moment, see `reading`; or a snapshot.
            until: The later one; None for now.

        Returns:
            The model's own differences first, then version by version: each says `what` it is about, the `version` and
            `key`, and what it was `before` and `after`.

        Raises:
            InvalidInputError: Something isn't a time or a snapshot.
            NotFoundError: There was no model of this name at either.
        """

        def at(when: Any) -> Registry:
            return self.registry_at(at=when) if isinstance(when, Snapshot) else self.registry_at(as_of=when)

        return at(until).differences(name, at(since))

    def search_model_versions(
        self,
        filter_string: str = "",
        *,
        max_results: int | None = None,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
        as_of: Any = None,
        at: Snapshot | str | None = None,
    ) -> Page[ModelVersion]:
        """Versions of registered models, by name and of each model the newest first.

        Args:
            filter_string: Such as ``name = 'sentiment' AND (stage = 'Production' OR tags.checked = 'yes')``; empty for
                all. It can name ``name``, ``version_number``, ``current_stage``, ``run_id``, ``source_path``,
                ``digest``, ``parent``, ``user_id``, ``status``, ``description``, ``creation_timestamp``,
                ``last_updated_timestamp``, ``alias`` and ``tags.<key>``.
            max_results: How many a page has at most; None for all.
            order_by: Such as ``["last_updated_timestamp DESC"]``; names as in the filter.
            page_token: `token` of the page before, for the next one.
            as_of: Only what was recorded by then, see `reading`.
            at: A snapshot, its text, or the name of a kept one.

        Returns:
            A list, with the next page's ``token``, which is None behind the last page.

        Raises:
            FilterError: The filter or the order isn't understood.
            InvalidInputError: A page of that size, or with that token, can't be.
        """
        from mlwarehouse.query.registered import registered_question
        from mlwarehouse.registry import Search

        search = Search(**vars(registered_question("versions", filter_string, order_by)))
        registry = self.registry_at(as_of=as_of, at=at)
        return registry.search_model_versions(search, max_results=max_results, page_token=page_token)

    def search_registered_models(
        self,
        filter_string: str = "",
        *,
        max_results: int | None = None,
        order_by: Sequence[str] | None = None,
        page_token: str | None = None,
        as_of: Any = None,
        at: Snapshot | str | None = None,
    ) -> Page[RegisteredModel]:
        """Registered models, by name.

        Args:
            filter_string: Such as ``name LIKE 'device-%'`` or ``tags.team = 'nlp'``; empty for all. It can name
                ``name``, ``description``, ``n_versions``, ``latest_version``, ``creation_timestamp``,
                ``last_updated_timestamp``, ``alias`` and ``tags.<key>``.
            max_results: How many a page has at most; None for all.
            order_by: Such as ``["last_updated_timestamp DESC"]``; names as in the filter.
            page_token: `token` of the page before, for the next one.
            as_of: Only what was recorded by then, see `reading`.
            at: A snapshot, its text, or the name of a kept one.

        Returns:
            A list, with the next page's ``token``, which is None behind the last page.

        Raises:
            FilterError: The filter or the order isn't understood.
            InvalidInputError: A page of that size, or with that token, can't be.
        """
        from mlwarehouse.query.registered import registered_question
        from mlwarehouse.registry import Search

        search = Search(**vars(registered_question("models", filter_string, order_by)))
        registry = self.registry_at(as_of=as_of, at=at)
        return registry.search_registered_models(search, max_results=max_results, page_token=page_token)
