"""Any other package that MLflow wrote: read by MLflow itself, never written."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import MissingDependencyError, ModelError, PickleRefusedError
from mlwarehouse.models.flavors.base import Flavor, LoadOptions, predict_by_method

if TYPE_CHECKING:
    from mlwarehouse.models.package import ModelPackage


def _load(package: ModelPackage, options: LoadOptions) -> Any:
    loader = package.options.get("loader_module")
    if not (options.allow_pickle and options.allow_code):
        raise PickleRefusedError(
            f"The model in `{package.folder}` is read by the module `{loader}` that it names, which runs pickles or "
            "source out of the package; pass allow_pickle=True if you trust who made it."
        )
    try:
        import mlflow.pyfunc
    except ImportError as error:
        raise MissingDependencyError(
            f"The model in `{package.folder}` can only be read by MLflow ({error}); install it with `pip install "
            "mlflow`."
        ) from error
    try:
        return mlflow.pyfunc.load_model(str(package.folder))
    except Exception as error:
        raise ModelError(f"MLflow can't read the model in `{package.folder}` by `{loader}`: {error}") from error


MLFLOW_PYFUNC = Flavor(
    name="mlflow_pyfunc",
    doc="Any other model with MLflow's python_function flavor, read by MLflow; only with allow_pickle=True.",
    load=_load,
    predict=predict_by_method,
    reads="python_function",
)
