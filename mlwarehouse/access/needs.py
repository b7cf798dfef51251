"""What it takes to use something: a role, and on what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Role = Literal["public", "reader", "writer", "approver", "admin"]

LADDER: tuple[Role, ...] = ("public", "reader", "writer", "approver", "admin")
"""The roles, each of which may do all that those before it may. `public` is everybody's, without a name."""

On = Literal[
    "everything",
    "listed",
    "experiment",
    "experiment_name",
    "experiments",
    "run",
    "runs",
    "logged_model",
    "model",
    "source",
    "place",
]
"""What a role is needed on.

``everything`` is the whole warehouse; ``listed`` is only what the answer tells of, so that whoever has a right to
anything may ask. The others are what a field of the request names: an experiment by its id or name, several of them; a
run or several; a logged model; a registered model by its name; where a model version's files come from; an artifact by
its place.
"""


@dataclass(frozen=True)
class Need:
    """One thing that is needed.

    Attributes:
        role: The least role.
        on: What it is needed on.
        field: The field of the request that names it; empty for ``everything`` and ``listed``.
    """

    role: Role
    on: On = "everything"
    field: str = ""


PUBLIC: tuple[Need, ...] = (Need("public"),)
"""Nothing is needed."""

LISTED: tuple[Need, ...] = (Need("reader", "listed"),)
"""Whoever may read anything is told of what they may read."""
