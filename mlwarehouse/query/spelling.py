"""How a name is said in messages: as its user would write it."""

from __future__ import annotations

from mlwarehouse.query.fields import AT_STEP, NUMBER
from mlwarehouse.query.names import Name


def said_name(name: Name) -> str:
    """The name, with back-ticks where it needs them."""
    if name.kind == "attribute":
        return name.key
    key = name.key if name.key.replace("_", "a").replace(".", "a").isalnum() else f"`{name.key}`"
    if name.stat == NUMBER:
        return f"number({name.kind}s.{key})"
    stat = "" if name.stat == "last" else f".at_step({name.step})" if name.stat == AT_STEP else f".{name.stat}"
    return f"{name.kind}s.{key}{stat}"
