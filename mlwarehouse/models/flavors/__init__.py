"""The flavors: a new one is one new file here and one entry in `FLAVORS`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.models.flavors.base import Flavor, LoadOptions, SaveOptions
from mlwarehouse.models.flavors.mlflow_pytorch import MLFLOW_PYTORCH
from mlwarehouse.models.flavors.torch_eager import TORCH_EAGER
from mlwarehouse.models.flavors.torch_export import TORCH_EXPORT
from mlwarehouse.models.flavors.torch_script import TORCH_SCRIPT

FLAVORS: tuple[Flavor, ...] = (TORCH_SCRIPT, TORCH_EXPORT, TORCH_EAGER, MLFLOW_PYTORCH)
"""Every kind of model; the first that accepts a model is its flavor unless the caller says otherwise."""


def flavor_by_name(name: str) -> Flavor:
    """The flavor of a name.

    Raises:
        InvalidInputError: There is none.
    """
    for flavor in FLAVORS:
        if flavor.name == name:
            return flavor
    names = [f.name for f in FLAVORS]
    raise InvalidInputError(
        f"There is no flavor `{name}`.{did_you_mean(name, names)} The flavors are {', '.join(names)}."
    )


def flavor_for(model: Any) -> Flavor:
    """The flavor in which a model is saved when the caller doesn't say.

    Raises:
        InvalidInputError: It is none that can be saved.
    """
    for flavor in FLAVORS:
        if flavor.accepts is not None and flavor.accepts(model):
            return flavor
    raise InvalidInputError(
        f"A {type(model).__module__}.{type(model).__qualname__} can't be saved as a model; give a torch.nn.Module, a "
        "ScriptModule, or an ExportedProgram."
    )


def flavor_of(flavors: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Which flavor loads a package, by the ``flavors`` of its ``MLmodel`` file.

    Returns:
        Its name and its entries in the file; None when none does.
    """
    own = flavors.get("mlwarehouse")
    if isinstance(own, dict) and any(f.name == own.get("flavor") for f in FLAVORS):
        return str(own["flavor"]), own
    foreign = flavors.get("pytorch")
    return (MLFLOW_PYTORCH.name, foreign) if isinstance(foreign, dict) else None


__all__ = ["FLAVORS", "Flavor", "LoadOptions", "SaveOptions", "flavor_by_name", "flavor_for", "flavor_of"]
