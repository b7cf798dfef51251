"""Packages written by MLflow's PyTorch flavor: read, never written."""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import ModelError, PickleRefusedError
from mlwarehouse.models.code import importing_from_entry
from mlwarehouse.models.flavors.base import Flavor, LoadOptions
from mlwarehouse.models.flavors.torch_export import load_program
from mlwarehouse.models.flavors.torch_script import load_script
from mlwarehouse.models.torch_calling import predict_by_torch, predict_tensor, takes_tensor
from mlwarehouse.models.torch_import import require_torch

if TYPE_CHECKING:
    from mlwarehouse.models.package import ModelPackage


def _load(package: ModelPackage, options: LoadOptions) -> Any:
    data = str(package.options.get("model_data"))
    if f"{data}/model.pt2" in package.files:
        return load_program(package.file(f"{data}/model.pt2"), options.device)
    file = package.file(f"{data}/model.pth")
    if _is_script(file):
        return load_script(file, options.device)
    if not options.allow_pickle:
        raise PickleRefusedError(
            f"The model in `{package.folder}` was pickled by MLflow, and reading a pickle runs whatever code is in it; "
            "pass allow_pickle=True if you trust who made it, or save it again with mlwarehouse."
        )
    torch = require_torch()
    with importing_from_entry(package.folder, package.options.get("code")):
        try:
            model = torch.load(file, map_location=options.device, weights_only=False)
        except Exception as error:
            raise ModelError(f"The pickled model in `{package.folder}` can't be read: {error}.") from error
    return model.eval() if isinstance(model, torch.nn.Module) else model


def _is_script(file: Path) -> bool:
    """Whether a file is TorchScript rather than a pickle; both are archives."""
    try:
        with zipfile.ZipFile(file) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except zipfile.BadZipFile:
        return False


MLFLOW_PYTORCH = Flavor(
    name="mlflow_pytorch",
    doc="A model saved by MLflow's PyTorch flavor; pickled ones only with allow_pickle=True.",
    load=_load,
    predict=predict_by_torch,
    predict_array=predict_tensor,
    takes_array=takes_tensor,
    reads="pytorch",
    extra="torch",
    libraries=("torch",),
)
