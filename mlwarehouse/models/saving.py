"""Writing models into packages, each proved by loading it once."""

from __future__ import annotations

import base64
import json
import platform
import re
import shutil
import uuid
from collections.abc import Mapping, Sequence
from importlib import metadata as distributions
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse._version import __version__
from mlwarehouse.artifacts import clean_path, package_digest
from mlwarehouse.errors import ConflictError, InvalidInputError, MissingDependencyError, ModelError, NotFoundError
from mlwarehouse.models.flavors import Flavor, LoadOptions, SaveOptions, flavor_by_name, flavor_for
from mlwarehouse.models.frames import as_frame
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

if TYPE_CHECKING:
    import pandas as pd

LOADER_MODULE = "mlwarehouse.models.mlflow_loader"

_REQUIREMENT = re.compile(r"(?!.* -)[A-Za-z0-9][A-Za-z0-9._-]*(\[[A-Za-z0-9._, -]*\])? *([<>=!~;@(][ -~]*)?")


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
        model: A ``torch.nn.Module``, ScriptModule or ExportedProgram, an estimator of scikit-learn's, or an object
            of a class with a method ``predict(self, frame)``.
        flavor: A flavor's name; by what the model is, when not given. ``torch_export`` exports a module.
        init_args: Keyword arguments, of plain JSON values, that rebuild the class of an eager module or of a model in
            plain Python.
        extra_files: Files the model needs beside its weights, such as a vocabulary: by name, or named as they are.
            A model with a method ``load_files(files)`` gets their paths when it is loaded.
        signature: The columns it takes and gives; inferred from ``input_example`` when not given.
        input_example: Some rows of input: what `as_frame` understands.
        requirements: Lines of ``requirements.txt``, a package each; the libraries that load the model, when not
            given.
        metadata: Plain JSON values to keep with the model.

    Returns:
        The package.

    Raises:
        ConflictError: The folder holds something.
        InvalidInputError: An argument can't be meant.
        SignatureError: The example's columns have types that no signature has, or aren't the given signature's.
        ModelError: The model can't be rebuilt from what would be saved, or fails on its example.
        MissingDependencyError: Its library isn't installed.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise ConflictError(f"`{folder}` holds something already; save the model into a new folder.")
    chosen = flavor_by_name(flavor) if flavor is not None else flavor_for(model)
    if chosen.save is None:
        raise InvalidInputError(f"Flavor {chosen.name} is only read; leave flavor= out, or use another one.")
    if init_args and not chosen.takes_init_args:
        raise InvalidInputError(
            f"init_args= rebuilds eager modules and Python classes; a model of flavor {chosen.name} needs none."
        )
    lines = _default_requirements(chosen) if requirements is None else _checked_requirements(requirements)
    example = None if input_example is None else as_frame(input_example)
    if example is not None and example.empty:
        raise InvalidInputError("The input_example= has no rows; give one or a few.")
    making = folder.with_name(f".partial.{uuid.uuid4().hex}")
    making.mkdir(parents=True)
    try:
        options = chosen.save(making, model, SaveOptions(init_args or {}, example))
        _copy_extra_files(making, extra_files)
        found = _proved(making, chosen, options, signature, example, model)
        _write_texts(making, lines, example)
        _write_mlmodel(making, chosen, options, found, example, metadata or {})
        write_manifest(making)
        making.rename(folder)
    finally:
        shutil.rmtree(making, ignore_errors=True)
    return read_package(folder, verify=False)


def _proved(
    making: Path,
    flavor: Flavor,
    options: Mapping[str, Any],
    signature: Signature | None,
    example: pd.DataFrame | None,
    model: Any,
) -> Signature | None:
    """Load what was written and run it on the example; the signature is what went in and came out."""
    files = hash_files(making)
    written = ModelPackage(making, flavor.name, signature, package_digest(files), files, {}, options)
    # Everything in it is its maker's, who is the caller.
    loaded = load_package(written, LoadOptions(allow_pickle=True))
    if example is None:
        return signature
    assumed = signature or Signature(fields_of(example))
    predicted = Predictor(loaded, assumed, written.digest, flavor.predict).predict(example)
    if flavor.must_predict_the_same:
        given = Predictor(model, assumed, "", flavor.predict)
        expected = given.predict(example)
        # A model that draws random numbers isn't held to what it drew.
        if not _are_equal(predicted, expected) and _are_equal(expected, given.predict(example)):
            raise ModelError(
                f"The saved {type(model).__qualname__} predicts something else than the one that was given, so it has "
                "a state that isn't kept; put it into init_args=, or write it in a method `save_files(self, folder)` "
                "and read it back in `load_files(self, files)`."
            )
    if signature is not None and signature.outputs:
        return signature
    inputs = signature.inputs if signature is not None else fields_of(example)
    return Signature(inputs, fields_of(predicted))


def _are_equal(one: pd.DataFrame, other: pd.DataFrame) -> bool:
    from pandas.testing import assert_frame_equal

    try:
        assert_frame_equal(one, other, rtol=1e-5, atol=1e-8)
    except AssertionError:
        return False
    return True


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
        if target.exists():
            raise InvalidInputError(f"The model itself writes a file `{name}`, so extra_files= can't name another.")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _write_texts(making: Path, lines: Sequence[str], example: pd.DataFrame | None) -> None:
    (making / "requirements.txt").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")
    if example is not None:
        text = _with_bytes_as_text(example).to_json(orient="split", index=False, date_format="iso", double_precision=15)
        (making / EXAMPLE).write_text(text, encoding="utf-8")


def _with_bytes_as_text(example: pd.DataFrame) -> pd.DataFrame:
    """An example whose bytes are base64, as MLflow reads them from one."""
    binary = [f.name for f in fields_of(example) if f.type == "binary"]
    as_text = {name: example[name].map(lambda b: base64.b64encode(b).decode(), na_action="ignore") for name in binary}
    return example.assign(**as_text)


def _versions(flavor: Flavor) -> dict[str, str]:
    """The installed versions of what a flavor loads by, without a build's own mark."""
    return {name: distributions.version(name).partition("+")[0] for name in flavor.libraries}


def _default_requirements(flavor: Flavor) -> list[str]:
    own = f"mlwarehouse[{flavor.extra}]" if flavor.extra is not None else "mlwarehouse"
    try:
        versions = _versions(flavor) | {"pandas": distributions.version("pandas")}
    except distributions.PackageNotFoundError as error:
        raise MissingDependencyError(
            f"A model of flavor {flavor.name} needs the package {error.name}; install it with `pip install '{own}'`."
        ) from error
    return [f"{own}=={__version__}", *(f"{name}=={version}" for name, version in versions.items())]


def _checked_requirements(lines: Sequence[str]) -> list[str]:
    """Lines of ``requirements.txt``, each naming a package and nothing that pip would obey besides."""
    if isinstance(lines, str):
        raise InvalidInputError(f"requirements= is a list of lines such as 'torch>=2.6'; got the text {lines!r}.")
    for line in lines:
        if not _REQUIREMENT.fullmatch(str(line)):
            raise InvalidInputError(
                f"requirements= has the line {line!r}; a line names one package, such as 'torch>=2.6', and no option "
                "of pip's, which whoever installs it would obey."
            )
    return [str(line) for line in lines]


def _write_mlmodel(
    making: Path,
    flavor: Flavor,
    options: Mapping[str, Any],
    signature: Signature | None,
    example: pd.DataFrame | None,
    metadata: Mapping[str, Any],
) -> None:
    import yaml

    described: dict[str, Any] = {
        "flavors": {
            "python_function": {"loader_module": LOADER_MODULE, "python_version": platform.python_version()},
            OWN_FLAVOR: {
                "flavor": flavor.name,
                "mlwarehouse_version": __version__,
                "libraries": _versions(flavor),
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
