"""TorchScript modules: code and weights in one file that PyTorch's own reader loads, without Python's pickle."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import InvalidInputError, ModelError
from mlwarehouse.models.flavors.base import Flavor, LoadOptions, SaveOptions, loaded
from mlwarehouse.models.flavors.script_archive import checked_script
from mlwarehouse.models.torch_calling import predict_by_torch, predict_tensor, takes_tensor
from mlwarehouse.models.torch_import import require_torch

if TYPE_CHECKING:
    from mlwarehouse.models.package import ModelPackage

FILE = "model.pt"


def _accepts(model: Any) -> bool:
    torch = loaded("torch")
    return torch is not None and isinstance(model, torch.jit.ScriptModule)


def _save(folder: Path, model: Any, _: SaveOptions) -> dict[str, Any]:
    torch = require_torch()
    if not isinstance(model, torch.jit.ScriptModule):
        raise InvalidInputError(
            f"Flavor torch_script needs a ScriptModule and got {type(model).__qualname__}; make one with "
            "torch.jit.script, or use flavor='torch_export'."
        )
    with _quiet():
        torch.jit.save(model, folder / FILE)
    return {"program": FILE}


def _load(package: ModelPackage, options: LoadOptions) -> Any:
    return load_script(package.file(package.options.get("program")), options.device)


def load_script(file: Path, device: str) -> Any:
    """Load a TorchScript file in evaluation mode.

    Raises:
        PickleRefusedError: Its code could reach files.
        ModelError: It isn't one.
    """
    torch = require_torch()
    content = checked_script(file)
    try:
        with _quiet():
            return torch.jit.load(content, map_location=device).eval()
    except Exception as error:
        raise ModelError(f"`{file}` can't be read as TorchScript: {str(error).strip().splitlines()[0]}") from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Without PyTorch's advice to use torch.export, which whoever loads a finished model can't follow."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r"`torch\.jit\..*` is deprecated")
        yield


TORCH_SCRIPT = Flavor(
    name="torch_script",
    doc="A TorchScript module (scripted or traced), in one file.",
    load=_load,
    predict=predict_by_torch,
    predict_array=predict_tensor,
    takes_array=takes_tensor,
    accepts=_accepts,
    save=_save,
    extra="torch",
    libraries=("torch", "safetensors"),
)
