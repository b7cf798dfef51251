"""Reading models out of packages, checked and without running a pickle."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from mlwarehouse.errors import InvalidInputError, ModelError
from mlwarehouse.models.flavors import LoadOptions, flavor_by_name
from mlwarehouse.models.package import ModelPackage, read_package
from mlwarehouse.models.predictor import Predictor


def load_model(
    folder: Path | str | ModelPackage,
    *,
    allow_pickle: bool = False,
    allow_code: bool = True,
    trusted_types: Sequence[str] = (),
    device: str | None = None,
) -> Any:
    """Load a model as what it is.

    Args:
        folder: The package; each of its files is checked against the manifest first. A `ModelPackage` that
            `read_package` has checked isn't checked again.
        allow_pickle: Whether a pickle may run; only packages written by MLflow hold one.
        allow_code: Whether source that came with the model may run when its class can't be imported here. Like a
            pickle, that source can do anything: pass False for models of people you don't trust.
        trusted_types: Types, such as ``my_package.steps.Cleaner``, that a scikit-learn model may be made of beyond
            those that skops knows to be harmless; the error that refuses them lists them.
        device: Where its weights go, such as ``cuda``; the CPU when not given.

    Returns:
        The model as its library has it: a ``torch.nn.Module``, ``ScriptModule`` or module of the exported program in
        evaluation mode, an estimator, or the object that was saved. If it has a method ``load_files(files)``, that
        was called with the extra files' paths by name.

    Raises:
        NotFoundError: There is no model.
        DigestMismatchError: A file isn't the one that was saved.
        PickleRefusedError: Reading it would run a pickle and ``allow_pickle`` is false, or it is made of types that
            aren't in ``trusted_types``.
        ModelError: It can't be rebuilt.
        MissingDependencyError: Its library isn't installed.
        InvalidInputError: ``trusted_types`` is one text and no list.
    """
    options = LoadOptions(device or "cpu", allow_pickle, allow_code, known_types(trusted_types))
    return load_package(folder if isinstance(folder, ModelPackage) else read_package(folder), options)


def load_predictor(
    folder: Path | str | ModelPackage,
    *,
    allow_pickle: bool = False,
    allow_code: bool = True,
    trusted_types: Sequence[str] = (),
    device: str | None = None,
) -> Predictor:
    """Load a model for predicting from frames.

    Args:
        folder: As in `load_model`.
        allow_pickle: As in `load_model`.
        allow_code: As in `load_model`.
        trusted_types: As in `load_model`.
        device: As in `load_model`.

    Raises:
        WarehouseError: As in `load_model`.
    """
    package = folder if isinstance(folder, ModelPackage) else read_package(folder)
    options = LoadOptions(device or "cpu", allow_pickle, allow_code, known_types(trusted_types))
    flavor = flavor_by_name(package.flavor)
    model = load_package(package, options)
    takes_array = flavor.takes_array is not None and flavor.takes_array(model)
    return Predictor(
        model, package.signature, package.digest, flavor.predict, flavor.predict_array if takes_array else None
    )


def known_types(given: Sequence[str]) -> tuple[str, ...]:
    """What was given as ``trusted_types``.

    Raises:
        InvalidInputError: It is one text and no list.
    """
    if isinstance(given, str):
        raise InvalidInputError(f"`trusted_types` must be a list; got the text `{given}`. Write [{given!r}].")
    return tuple(given)


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
