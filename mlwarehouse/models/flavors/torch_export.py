"""Exported programs (``.pt2``): a graph of operators and its weights, loaded through `pt2_archive`'s checks."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import InvalidInputError, ModelError, PickleRefusedError
from mlwarehouse.models.flavors.base import Flavor, LoadOptions, SaveOptions, loaded
from mlwarehouse.models.flavors.pt2_archive import checked_archive
from mlwarehouse.models.frames import input_array
from mlwarehouse.models.torch_calling import predict_by_torch, predict_tensor, takes_tensor
from mlwarehouse.models.torch_import import require_torch

if TYPE_CHECKING:
    import pandas as pd

    from mlwarehouse.models.package import ModelPackage

FILE = "model.pt2"


def _accepts(model: Any) -> bool:
    torch = loaded("torch")
    return torch is not None and isinstance(model, torch.export.ExportedProgram)


def _save(folder: Path, model: Any, options: SaveOptions) -> dict[str, Any]:
    torch = require_torch()
    program = model if isinstance(model, torch.export.ExportedProgram) else _exported(model, options.example)
    file = folder / FILE
    torch.export.save(program, file)
    try:
        # What the reader would refuse isn't kept either, nor the example inputs, which are a pickle.
        file.write_bytes(checked_archive(file))
    except PickleRefusedError as error:
        raise ModelError(f"The exported program can't be kept: {error}") from error
    return {"program": FILE}


def _exported(model: Any, example: pd.DataFrame | None) -> Any:
    torch = require_torch()
    if not isinstance(model, torch.nn.Module):
        raise InvalidInputError(
            f"Flavor torch_export needs an ExportedProgram or a torch.nn.Module and got {type(model).__qualname__}."
        )
    if example is None:
        raise InvalidInputError("Exporting a module needs an input_example= of numbers to trace it with.")
    was_training = model.training
    rows = torch.from_numpy(input_array(example))
    # One row would be taken for a constant of the program.
    rows = rows if len(rows) > 1 else torch.cat([rows, rows])
    try:
        model.eval()
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.export.export(model, (rows,), dynamic_shapes=({0: torch.export.Dim.DYNAMIC},))
    except Exception as error:
        raise ModelError(
            f"{type(model).__qualname__} can't be exported for any number of rows: "
            f"{' '.join(str(error).split())[:500]} Use torch.export yourself, or another flavor."
        ) from error
    finally:
        model.train(was_training)


def _load(package: ModelPackage, options: LoadOptions) -> Any:
    return load_program(package.file(package.options.get("program")), options.device)


def load_program(file: Path, device: str) -> Any:
    """Load an exported program's module; nothing in the file can run Python.

    Raises:
        PickleRefusedError: It holds something that would.
        ModelError: It isn't an exported program.
    """
    import io

    torch = require_torch()
    content = checked_archive(file)
    try:
        program = torch.export.load(io.BytesIO(content))
        if torch.device(device).type != "cpu":
            from torch.export.passes import move_to_device_pass

            program = move_to_device_pass(program, device)
        return program.module()
    except Exception as error:
        raise ModelError(f"`{file}` can't be read as an exported program: {' '.join(str(error).split())}") from error


TORCH_EXPORT = Flavor(
    name="torch_export",
    doc="A program of torch.export (.pt2), or a torch.nn.Module exported with the input example.",
    load=_load,
    predict=predict_by_torch,
    predict_array=predict_tensor,
    takes_array=takes_tensor,
    accepts=_accepts,
    save=_save,
    extra="torch",
    libraries=("torch", "safetensors"),
)
