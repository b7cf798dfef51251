"""The part of a warehouse that keeps the model registry: look-ups, changes and history."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import TYPE_CHECKING, Any

from mlwarehouse.entities import ModelVersion, RegisteredModel, Snapshot
from mlwarehouse.parts.asking import Asking
from mlwarehouse.parts.recording import Recording

if TYPE_CHECKING:
    from mlwarehouse.registry import Event, Registry


class Modelling(Recording, Asking):
    """The registry of models."""

    @cached_property
    def registry(self) -> Registry:
        """The model registry, in the name of the setting `actor` with the setting `roles`."""
        from mlwarehouse.ingest.identity import login_name

        roles = [role.strip() for role in self.settings.roles.split(",")]
        return self.registry_as(self.settings.actor or login_name(), [role for role in roles if role])

    def registry_as(self, actor: str, roles: Sequence[str] = ()) -> Registry:
        """The model registry in somebody's name.

        Args:
            actor: The name written beside every change.
            roles: What they may act as, for policies.
        """
        from mlwarehouse.registry import Registry

        return Registry(self.engine(), actor=actor, roles=roles, present=self.reading)

    def registry_at(self, *, as_of: Any = None, at: Snapshot | str | None = None) -> Registry:
        """The model registry as it was; it answers every question and refuses every change.

        Args:
            as_of: Only what was recorded by then, see `reading`.
            at: A snapshot, its text, or the name of a kept one.

        Returns:
            The past registry; without arguments the present one.
        """
        if as_of is None and at is None:
            return self.registry
        from mlwarehouse.ingest.identity import login_name
        from mlwarehouse.registry import Registry

        reading = self.reading(as_of=as_of, at=at)
        return Registry(self.engine(), actor=self.settings.actor or login_name(), reading=reading)

    def set_model_alias(self, name: str, alias: str, version: int | str, *, comment: str | None = None) -> None:
        """Point an alias at a version; see `Registry.set_model_alias`."""
        self.registry.set_model_alias(name, alias, int(version), comment=comment)

    def delete_model_alias(self, name: str, alias: str, *, comment: str | None = None) -> None:
        """Remove an alias; its history stays."""
        self.registry.delete_model_alias(name, alias, comment=comment)

    def transition_model_version_stage(
        self,
        name: str,
        version: int | str,
        stage: str,
        archive_existing_versions: bool = False,
        *,
        comment: str | None = None,
    ) -> ModelVersion:
        """Move a version to a stage: Development, Staging, Production, Archived or None."""
        return self.registry.transition_model_version_stage(
            name, int(version), stage, archive_existing_versions=archive_existing_versions, comment=comment
        )

    def set_model_version_tag(self, name: str, version: int | str, key: str, value: Any) -> None:
        """Set a tag of a version."""
        self.registry.set_model_version_tag(name, int(version), key, str(value))

    def get_model_version(
        self, name: str, version: int | str, *, as_of: Any = None, at: Snapshot | str | None = None
    ) -> ModelVersion:
        """One version of a registered model; with `as_of` or `at` (see `reading`) as it was."""
        return self.registry_at(as_of=as_of, at=at).get_model_version(name, int(version))

    def get_model_version_by_alias(
        self, name: str, alias: str, *, as_of: Any = None, at: Snapshot | str | None = None
    ) -> ModelVersion:
        """The version that an alias points at; with `as_of` or `at` (see `reading`) the one it pointed at."""
        return self.registry_at(as_of=as_of, at=at).get_model_version_by_alias(name, alias)

    def get_registered_model(
        self, name: str, *, as_of: Any = None, at: Snapshot | str | None = None
    ) -> RegisteredModel:
        """One registered model; with `as_of` or `at` (see `reading`) as it was."""
        return self.registry_at(as_of=as_of, at=at).get_registered_model(name)

    def model_history(self, name: str, *, as_of: Any = None, at: Snapshot | str | None = None) -> tuple[Event, ...]:
        """Everything that ever happened to the registered models of a name, oldest first.

        Args:
            name: The registered model.
            as_of: Only what was recorded by then, see `reading`.
            at: A snapshot, its text, or the name of a kept one.

        Raises:
            NotFoundError: Nothing did.
        """
        return self.registry_at(as_of=as_of, at=at).history(name)
