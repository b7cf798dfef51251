"""Writing models into packages, each proved by loading it once."""

from __future__ import annotations

import json
import platform
import shutil
import uuid
from collections.abc import Mapping, Sequence
from importlib import metadata as distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse._version import __version__
from mlwarehouse.artifacts import clean_path, package_digest
from mlwarehouse.errors import ConflictError, InvalidInputError, ModelError, NotFoundError
from mlwarehouse.models.flavors import Flavor, LoadOptions, SaveOptions, flavor_by_name, flavor_for
from mlwarehouse.models.frames import as_frame, input_array
from mlwarehouse.models.loading import load_package
from mlwarehouse.models.package import (
    EXAMPLE,
    EXTRA_FOLDER,
    MLMODEL,
    OWN_FLAVOR,
    ModelPackage,
    hash_files,
    read_package,
    write_manifest,
)
from mlwarehouse.models.predictor import Predictor
from mlwarehouse.models.signature import Signature, fields_of
from mlwarehouse.models.torch_import import require_torch

if TYPE_CHECKING:
    import pandas as pd

LOADER_MODULE = "mlwarehouse.models.mlflow_loader"


def save_model(
    folder: Path | str,
    model: Any,
    *,
    flavor: str | None = None,
    init_args: Mapping[str, Any] | None = None,
    extra_files: Mapping[str, Path | str] | Sequence[Path | str] | None = None,
    signature: Signature | None = None,
    input_example: Any = None,
    requirements: Sequence[str] | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> ModelPackage:
    """Save a model as a package, and prove that it can be loaded and run on its input example.

    The folder appears by one rename when everything is in it. The model itself isn't changed.

    Args:
        folder: Where; it must not be there yet, or be empty.
        model: A ``torch.nn.Module``, ScriptModule or ExportedProgram.
        flavor: A name in `FLAVORS`; by what the model is, when not given. ``torch_export`` exports a module.
        init_args: Keyword arguments, of plain JSON values, that rebuild an eager module's class.
        extra_files: Files the model needs beside its weights, such as a vocabulary: by name, or named as they are.
            An eager module with a method ``load_files(files)`` gets their paths when it is loaded.
        signature: The columns it takes and gives; inferred from ``input_example`` when not given.
        input_example: Some rows of input: what `as_frame` understands.
        requirements: Lines of ``requirements.txt``; the libraries that load the model, when not given.
        metadata: Plain JSON values to keep with the model.

    Returns:
        The package.

    Raises:
        ConflictError: The folder holds something.
        InvalidInputError: An argument can't be meant.
        SignatureError: The example's columns have types that no signature has, or aren't the given signature's.
        ModelError: The model can't be rebuilt from what would be saved, or fails on its example.
        MissingDependencyError: PyTorch isn't installed.
    """
    require_torch()
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(f"`{folder}` holds something already; save the model into a new folder.")
    chosen = flavor_by_name(flavor) if flavor is not None else flavor_for(model)
    if chosen.save is None:
        raise InvalidInputError(f"Flavor {chosen.name} is only read; leave flavor= out, or use torch_eager.")
    if init_args and chosen.name != "torch_eager":
        raise InvalidInputError(f"init_args= rebuilds eager modules; a model of flavor {chosen.name} needs none.")
    example = None if input_example is None else as_frame(input_example)
    if example is not None and example.empty:
        raise InvalidInputError("The input_example= has no rows; give one or a few.")
    making = folder.with_name(f".partial.{uuid.uuid4().hex}")
    making.mkdir(parents=True)
    try:
        traced = input_array(example) if example is not None and chosen.name == "torch_export" else None
        options = chosen.save(making, model, SaveOptions(init_args or {}, traced))
        _copy_extra_files(making, extra_files)
        found = _proved(making, chosen, options, signature, example)
        _write_texts(making, requirements, example)
        _write_mlmodel(making, chosen, options, found, example, metadata or {})
        write_manifest(making)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return read_package(folder, verify=False)


def _proved(
    making: Path, flavor: Flavor, options: Mapping[str, Any], signature: Signature | None, example: pd.DataFrame | None
) -> Signature | None:
    """Load what was written and run it on the example; the signature is what went in and came out."""
    files = hash_files(making)
    written = ModelPackage(making, flavor.name, signature, package_digest(files), files, {}, options)
    loaded = load_package(written, LoadOptions())
    if example is None:
        return signature
    predicted = Predictor(loaded, signature or Signature(fields_of(example)), written.digest).predict(example)
    if signature is not None and signature.outputs:
        return signature
    inputs = signature.inputs if signature is not None else fields_of(example)
    return Signature(inputs, fields_of(predicted))


def _copy_extra_files(making: Path, extra_files: Mapping[str, Path | str] | Sequence[Path | str] | None) -> None:
    if isinstance(extra_files, str | Path):
        raise InvalidInputError(f"extra_files= is a list of files, or files by name; got the single `{extra_files}`.")
    named = extra_files if isinstance(extra_files, Mapping) else {Path(f).name: f for f in extra_files or ()}
    if not isinstance(extra_files, Mapping) and len(named) != len(extra_files or ()):
        raise InvalidInputError("Two of the extra_files= have the same name; give them as a mapping of name to file.")
    for name, source in named.items():
        if not Path(source).is_file():
            raise NotFoundError(f"Extra file `{source}` isn't there.")
        target = making / EXTRA_FOLDER / clean_path(name)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _write_texts(making: Path, requirements: Sequence[str] | None, example: pd.DataFrame | None) -> None:
    lines = _default_requirements() if requirements is None else list(requirements)
    (making / "requirements.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if example is not None:
        text = example.to_json(orient="split", index=False, date_format="iso", double_precision=15)
        (making / EXAMPLE).write_text(text, encoding="utf-8")


def _default_requirements() -> list[str]:
    names = ("torch", "safetensors", "pandas")
    pinned = [f"{name}=={distributions.version(name).partition('+')[0]}" for name in names]
    return [f"mlwarehouse[torch]=={__version__}", *pinned]


def _write_mlmodel(
    making: Path,
    flavor: Flavor,
    options: Mapping[str, Any],
    signature: Signature | None,
    example: pd.DataFrame | None,
    metadata: Mapping[str, Any],
) -> None:
    import yaml

    torch = require_torch()
    described: dict[str, Any] = {
        "flavors": {
            "python_function": {"loader_module": LOADER_MODULE, "python_version": platform.python_version()},
            OWN_FLAVOR: {
                "flavor": flavor.name,
                "mlwarehouse_version": __version__,
                "torch_version": str(torch.__version__),
                **options,
            },
        }
    }
    if signature is not None:
        described["signature"] = signature.to_mlflow()
    if example is not None:
        described["saved_input_example_info"] = {
            "artifact_path": EXAMPLE,
            "type": "dataframe",
            "pandas_orient": "split",
        }
    try:
        described["metadata"] = json.loads(json.dumps(dict(metadata)))
    except (TypeError, ValueError) as error:
        raise ModelError(f"metadata= must be plain JSON values: {error}.") from error
    (making / MLMODEL).write_text(yaml.safe_dump(described, sort_keys=False), encoding="utf-8")
