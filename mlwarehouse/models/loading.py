"""Reading models out of packages, checked and without running a pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mlwarehouse.errors import ModelError
from mlwarehouse.models.flavors import LoadOptions, flavor_by_name
from mlwarehouse.models.package import ModelPackage, read_package
from mlwarehouse.models.predictor import Predictor


def load_model(
    folder: Path | str | ModelPackage, *, allow_pickle: bool = False, allow_code: bool = True, device: str | None = None
) -> Any:
    """Load a model as what it is.

    Args:
        folder: The package; each of its files is checked against the manifest first. A `ModelPackage` that
            `read_package` has checked isn't checked again.
        allow_pickle: Whether a pickle may run; only packages written by MLflow hold one.
        allow_code: Whether source that came with the model may run when its class can't be imported here. Like a
            pickle, that source can do anything: pass False for models of people you don't trust.
        device: Where its weights go, such as ``cuda``; the CPU when not given.

    Returns:
        The ``torch.nn.Module``, ``ScriptModule``, or module of the exported program, in evaluation mode. If it has
        a method ``load_files(files)``, that was called with the extra files' paths by name.

    Raises:
        NotFoundError: There is no model.
        DigestMismatchError: A file isn't the one that was saved.
        PickleRefusedError: Reading it would run a pickle, and ``allow_pickle`` is false.
        ModelError: It can't be rebuilt.
        MissingDependencyError: PyTorch isn't installed.
    """
    options = LoadOptions(device=device or "cpu", allow_pickle=allow_pickle, allow_code=allow_code)
    return load_package(folder if isinstance(folder, ModelPackage) else read_package(folder), options)


def load_predictor(
    folder: Path | str | ModelPackage, *, allow_pickle: bool = False, allow_code: bool = True, device: str | None = None
) -> Predictor:
    """Load a model for predicting from frames.

    Args:
        folder: As in `load_model`.
        allow_pickle: As in `load_model`.
        allow_code: As in `load_model`.
        device: As in `load_model`.

    Raises:
        WarehouseError: As in `load_model`.
    """
    package = folder if isinstance(folder, ModelPackage) else read_package(folder)
    options = LoadOptions(device=device or "cpu", allow_pickle=allow_pickle, allow_code=allow_code)
    return Predictor(load_package(package, options), package.signature, package.digest)


def load_package(package: ModelPackage, options: LoadOptions) -> Any:
    """Load the model of a package that has been read."""
    model = flavor_by_name(package.flavor).load(package, options)
    load_files = getattr(model, "load_files", None)
    if callable(load_files):
        try:
            load_files(package.extra_files)
        except Exception as error:
            raise ModelError(
                f"`load_files` of {type(model).__qualname__} failed on the extra files "
                f"({', '.join(package.extra_files) or 'there are none'}): {error}"
            ) from error
    return model
