"""Flavors that other installed packages bring: entry points of the group ``mlwarehouse.flavors``.

A package is imported when one of its flavors is asked for by name, when a model package names it, or when no flavor
that comes with mlwarehouse accepts a model; never before.
"""

from __future__ import annotations

from functools import lru_cache
from importlib import metadata

from mlwarehouse.errors import ModelError
from mlwarehouse.models.flavors.base import Flavor

GROUP = "mlwarehouse.flavors"


def plugin_names() -> tuple[str, ...]:
    """The names of all flavors that installed packages bring, sorted."""
    return tuple(sorted({e.name for e in metadata.entry_points(group=GROUP)}))


def plugin(name: str) -> Flavor:
    """The flavor that an installed package brings under a name.

    Raises:
        ModelError: Two packages bring it, or what is there can't be imported or isn't a flavor of that name.
    """
    entries = sorted({(e.value, e.dist.name if e.dist else "?") for e in metadata.entry_points(group=GROUP, name=name)})
    if len(entries) != 1:
        raise ModelError(
            f"The flavor `{name}` is brought by {len(entries)} packages ({', '.join(d for _, d in entries)}); keep "
            "one of them installed."
        )
    return _loaded(name, *entries[0])


@lru_cache(maxsize=64)
def _loaded(name: str, value: str, distribution: str) -> Flavor:
    brought = f"The flavor `{name}` of the installed package `{distribution}`"
    try:
        found = metadata.EntryPoint(name, value, GROUP).load()
    except Exception as error:  # whatever the import runs into
        raise ModelError(f"{brought} can't be imported from `{value}`: {error}.") from error
    if not isinstance(found, Flavor) or found.name != name:
        what = f"the flavor `{found.name}`" if isinstance(found, Flavor) else f"a {type(found).__name__}"
        raise ModelError(f"{brought} is {what} at `{value}`; it must be a `mlwarehouse.models.Flavor` of that name.")
    return found
