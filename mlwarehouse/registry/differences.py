"""What is different about a registered model between two of its states."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from mlwarehouse.registry.fold import ModelState


@dataclass(frozen=True)
class Difference:
    """One thing that differs.

    Attributes:
        what: What it is: ``model``, ``version``, ``stage``, ``alias``, ``tag`` or ``description``.
        version: The version it is about; None for the model.
        key: The alias, or the tag's key.
        before: What it was, as text; None where it wasn't there.
        after: What it became; None where it isn't there any more.
    """

    what: str
    version: int | None
    key: str | None
    before: str | None
    after: str | None


def differences(before: ModelState, after: ModelState) -> list[Difference]:
    """What differs: the model's own first, then version by version; the same for equal states is nothing."""
    found = _facts(before), _facts(after)
    places = sorted(found[0].keys() | found[1].keys(), key=lambda p: (p[1] or 0, _ORDER.index(p[0]), p[2] or ""))
    return [Difference(*p, found[0].get(p), found[1].get(p)) for p in places if found[0].get(p) != found[1].get(p)]


_ORDER = ("model", "version", "stage", "alias", "description", "tag")

_Place = tuple[str, int | None, str | None]


def _facts(state: ModelState) -> Mapping[_Place, str | None]:
    """All that is so in a state, by what it is, of which version, and under which key."""
    if not state.exists:
        return {}
    facts: dict[_Place, str | None] = {
        ("model", None, None): state.name,
        ("description", None, None): state.description,
    }
    facts |= {("tag", None, key): value for key, value in state.tags.items()}
    facts |= {("alias", None, alias): str(version) for alias, version in state.aliases.items()}
    for number, version in state.versions.items():
        facts["version", number, None] = version.created.source
        facts["stage", number, None] = str(version.stage)
        facts["description", number, None] = version.description
        facts |= {("tag", number, key): value for key, value in version.tags.items()}
    return facts
