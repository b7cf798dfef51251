"""scikit-learn's estimators and pipelines, kept by skops: an archive of arrays and named types instead of a pickle."""

from __future__ import annotations

import io
import json
import pickle
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import MissingDependencyError, ModelError, PickleRefusedError
from mlwarehouse.models.archives import check_archive
from mlwarehouse.models.flavors.base import Flavor, LoadOptions, SaveOptions, loaded, predict_by_method

if TYPE_CHECKING:
    from mlwarehouse.models.package import ModelPackage

FILE = "model.skops"
_SCHEMA = "schema.json"


def _accepts(model: Any) -> bool:
    base = loaded("sklearn.base")
    return base is not None and isinstance(model, base.BaseEstimator)


def _save(folder: Path, model: Any, _: SaveOptions) -> dict[str, Any]:
    skops = _require_skops()
    try:
        (folder / FILE).write_bytes(_normalised(skops.dumps(model)))
    except Exception as error:
        raise ModelError(
            f"{type(model).__qualname__} can't be kept by skops: {error}. Functions and classes in it must be at the "
            "top level of a module."
        ) from error
    return {"file": FILE}


def _load(package: ModelPackage, options: LoadOptions) -> Any:
    # MLflow calls the file a pickled model in each of its formats.
    file = package.file(package.options.get("file") or package.options.get("pickled_model"))
    if file.suffix != ".skops":
        return _unpickled(package, file, options)
    skops = _require_skops()
    check_archive(file)
    try:
        untrusted = skops.get_untrusted_types(file=file)
    except Exception as error:
        raise ModelError(f"`{file}` can't be read as a skops file: {error}.") from error
    # What the package itself says is trusted counts for nothing: whoever forged the one would forge the other.
    refused = [] if options.allow_pickle else sorted(set(untrusted) - set(options.trusted_types))
    if refused:
        raise PickleRefusedError(
            f"The model in `{package.folder}` is made of types that skops doesn't know to be harmless: "
            f"{', '.join(refused)}. If you know them, and their packages are yours, pass trusted_types={refused!r}."
        )
    try:
        return skops.load(file, trusted=untrusted)
    except Exception as error:
        raise ModelError(f"The model in `{package.folder}` can't be rebuilt: {error}.") from error


def _unpickled(package: ModelPackage, file: Path, options: LoadOptions) -> Any:
    if not options.allow_pickle:
        raise PickleRefusedError(
            f"The model in `{package.folder}` was pickled by MLflow, and reading a pickle runs whatever code is in it; "
            "pass allow_pickle=True if you trust who made it, or save it again with mlwarehouse."
        )
    from mlwarehouse.models.code import importing_from_entry

    with importing_from_entry(package.folder, package.options.get("code")), file.open("rb") as stream:
        try:
            return pickle.load(stream)  # noqa: S301 - the caller allowed it for this model
        except Exception as error:
            raise ModelError(f"The pickled model in `{package.folder}` can't be read: {error}.") from error


def _normalised(content: bytes) -> bytes:
    """A skops file without the moment and the memory addresses of its making: equal models make equal files."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        records = {name: archive.read(name) for name in archive.namelist()}
    schema = json.loads(records.pop(_SCHEMA))
    ids: dict[int, int] = {}
    names: dict[str, str] = {}
    stack = [schema]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if "__id__" in node:
                node["__id__"] = ids.setdefault(node["__id__"], len(ids))
            if node.get("file") in records:
                old = node["file"]
                node["file"] = names.setdefault(old, f"{len(names)}{Path(old).suffix}")
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_SCHEMA), json.dumps(schema))
        for old, new in names.items():
            archive.writestr(zipfile.ZipInfo(new), records[old])
    return made.getvalue()


def _require_skops() -> Any:
    try:
        import skops.io
    except ImportError as error:
        raise MissingDependencyError(
            f"scikit-learn's models need skops ({error}); install it with `pip install 'mlwarehouse[sklearn]'`."
        ) from error
    return skops.io


SKLEARN_SKOPS = Flavor(
    name="sklearn_skops",
    doc="An estimator or pipeline of scikit-learn, kept by skops; pickled ones of MLflow only with allow_pickle=True.",
    load=_load,
    predict=predict_by_method,
    accepts=_accepts,
    save=_save,
    must_predict_the_same=True,
    reads="sklearn",
    extra="sklearn",
    libraries=("scikit-learn", "skops"),
)
