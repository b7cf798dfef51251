"""Models in plain Python: an object of a class with a method ``predict(self, frame)``; no pickle.

What is kept is the class, by reference or by its source, its arguments, and files. A class with a method
``save_files(folder)`` writes its state there, and its method ``load_files(files)`` gets the files' paths back.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import ModelError
from mlwarehouse.models.code import CODE_FOLDER, ClassReference, find_class, plain_arguments, reference_of, write_code
from mlwarehouse.models.flavors.base import Flavor, LoadOptions, SaveOptions, predict_by_method

if TYPE_CHECKING:
    from mlwarehouse.models.package import ModelPackage


def _accepts(model: Any) -> bool:
    return not isinstance(model, type) and inspect.isfunction(getattr(type(model), "predict", None))


def _save(folder: Path, model: Any, options: SaveOptions) -> dict[str, Any]:
    from mlwarehouse.models.package import EXTRA_FOLDER

    reference = reference_of(type(model))
    _check_predict(type(model), reference)
    arguments = plain_arguments(options.init_args, reference)
    has_code = write_code(folder, type(model), reference)
    _build(find_class(reference, folder / CODE_FOLDER, allow_code=True), reference, arguments)
    save_files = getattr(model, "save_files", None)
    if callable(save_files):
        files = folder / EXTRA_FOLDER
        files.mkdir()
        try:
            save_files(files)
        except Exception as error:
            raise ModelError(f"`save_files` of `{reference}` failed: {error}.") from error
    return {
        "model_class": str(reference),
        "init_args": arguments,
        "code": CODE_FOLDER if has_code else None,
    }


def _load(package: ModelPackage, options: LoadOptions) -> Any:
    reference = ClassReference.parse(str(package.options.get("model_class")))
    arguments = package.options.get("init_args")
    if not isinstance(arguments, dict):
        raise ModelError(f"The model in `{package.folder}` doesn't say how its class `{reference}` is built.")
    cls = find_class(reference, package.folder / CODE_FOLDER, allow_code=options.allow_code)
    _check_predict(cls, reference)
    return _build(cls, reference, arguments)


def _check_predict(cls: type, reference: ClassReference) -> None:
    """A package names any class there is, so what isn't a model must not be called."""
    predict = getattr(cls, "predict", None)
    try:
        inspect.signature(predict).bind(None, None)  # type: ignore[arg-type]
    except (TypeError, ValueError):
        raise ModelError(
            f"`{reference}` has no method `predict(self, frame)`, which a model in plain Python must have."
        ) from None


def _build(cls: type, reference: ClassReference, arguments: dict[str, Any]) -> Any:
    try:
        return cls(**arguments)
    except Exception as error:
        raise ModelError(
            f"`{reference}({', '.join(arguments)})` can't be built: {error}. Pass what its `__init__` needs as "
            "init_args=, as plain values."
        ) from error


PYTHON_CLASS = Flavor(
    name="python_class",
    doc="An object of any class with a method `predict(self, frame)`.",
    load=_load,
    predict=predict_by_method,
    accepts=_accepts,
    save=_save,
    takes_init_args=True,
    must_predict_the_same=True,
)
