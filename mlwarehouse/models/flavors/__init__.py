"""The flavors: a new one is one new file here and one entry in `FLAVORS`, or an installed package's entry point."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mlwarehouse.errors import InvalidInputError, did_you_mean
from mlwarehouse.models.flavors.base import Flavor, LoadOptions, SaveOptions
from mlwarehouse.models.flavors.mlflow_pyfunc import MLFLOW_PYFUNC
from mlwarehouse.models.flavors.mlflow_pytorch import MLFLOW_PYTORCH
from mlwarehouse.models.flavors.onnx_graph import ONNX_GRAPH
from mlwarehouse.models.flavors.plugins import plugin, plugin_names
from mlwarehouse.models.flavors.python_class import PYTHON_CLASS
from mlwarehouse.models.flavors.sklearn_skops import SKLEARN_SKOPS
from mlwarehouse.models.flavors.torch_eager import TORCH_EAGER
from mlwarehouse.models.flavors.torch_export import TORCH_EXPORT
from mlwarehouse.models.flavors.torch_script import TORCH_SCRIPT

FLAVORS: tuple[Flavor, ...] = (
    TORCH_SCRIPT,
    TORCH_EXPORT,
    TORCH_EAGER,
    SKLEARN_SKOPS,
    ONNX_GRAPH,
    PYTHON_CLASS,
    MLFLOW_PYTORCH,
    MLFLOW_PYFUNC,
)
"""Every kind of model that comes with mlwarehouse, from special to general: the first that accepts a model is its
flavor unless the caller says otherwise, and the first that reads a package of MLflow's loads it. Flavors of installed
packages are asked between the special ones and any class with a method ``predict``."""


def flavor_by_name(name: str) -> Flavor:
    """The flavor of a name: one of `FLAVORS`, or one that an installed package brings.

    Raises:
        InvalidInputError: There is none.
        ModelError: The package that brings it is broken.
    """
    for flavor in FLAVORS:
        if flavor.name == name:
            return flavor
    names = [*(f.name for f in FLAVORS), *plugin_names()]
    if name in names:
        return plugin(name)
    raise InvalidInputError(
        f"There is no flavor `{name}`.{did_you_mean(name, names)} The flavors are {', '.join(names)}."
    )


def flavor_for(model: Any) -> Flavor:
    """The flavor in which a model is saved when the caller doesn't say.

    Raises:
        InvalidInputError: It is none that can be saved.
        ModelError: An installed package that brings a flavor is broken.
    """
    special = [f for f in FLAVORS if f is not PYTHON_CLASS]
    if (found := _accepting(special, model)) is not None:
        return found
    if (found := _accepting([plugin(name) for name in plugin_names()], model)) is not None:
        return found
    if (found := _accepting([PYTHON_CLASS], model)) is not None:
        return found
    raise InvalidInputError(
        f"A {type(model).__module__}.{type(model).__qualname__} can't be saved as a model; give a model of PyTorch, "
        "scikit-learn or ONNX, or an object of a class with a method `predict(self, frame)`."
    )


def flavor_of(flavors: Mapping[str, Any]) -> tuple[str, dict[str, Any]] | None:
    """Which flavor loads a package, by the ``flavors`` of its ``MLmodel`` file.

    Returns:
        Its name and its entries in the file; None when none does.
    """
    if "mlwarehouse" in flavors:
        own = flavors["mlwarehouse"]
        name = own.get("flavor") if isinstance(own, dict) else None
        known = any(f.name == name for f in FLAVORS) or name in plugin_names()
        return (str(name), own) if known else None
    for flavor in FLAVORS:
        foreign = flavors.get(flavor.reads) if flavor.reads is not None else None
        if isinstance(foreign, dict):
            return flavor.name, foreign
    return None


def _accepting(flavors: list[Flavor], model: Any) -> Flavor | None:
    return next((f for f in flavors if f.accepts is not None and f.accepts(model)), None)


__all__ = ["FLAVORS", "Flavor", "LoadOptions", "SaveOptions", "flavor_by_name", "flavor_for", "flavor_of"]
