"""Model packages: a folder with an ``MLmodel`` file that MLflow can load, and a manifest of every file's digest.

``MLmodel`` describes the model twice: ``flavors.python_function`` for MLflow, ``flavors.mlwarehouse`` for us.
``manifest.json`` lists the SHA-256 of every other file, so nothing in the folder can change unnoticed; the package's
digest is one hash over that list. Nothing in a package holds a time or a random id: equal models have equal digests.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlwarehouse.artifacts import clean_path, package_digest
from mlwarehouse.errors import DigestMismatchError, InvalidInputError, ModelError, NotFoundError
from mlwarehouse.models.signature import Signature

MLMODEL = "MLmodel"
MANIFEST = "manifest.json"
OWN_FLAVOR = "mlwarehouse"
EXTRA_FOLDER = "extra"
EXAMPLE = "input_example.json"


@dataclass(frozen=True)
class ModelPackage:
    """What is known of a model package without loading the model.

    Attributes:
        folder: Where it is.
        flavor: The name of the flavor that loads it.
        signature: The columns it takes and gives, or None.
        digest: SHA-256 over the sorted lines ``<sha256>  <path>`` of its files, ``manifest.json`` left out.
        files: SHA-256 by path, ``manifest.json`` left out.
        metadata: What was given as ``metadata=`` when it was saved.
        options: The flavor's own entries in ``MLmodel``.
    """

    folder: Path
    flavor: str
    signature: Signature | None
    digest: str
    files: Mapping[str, str]
    metadata: Mapping[str, Any]
    options: Mapping[str, Any]

    def file(self, path: object) -> Path:
        """A file of the package by its path, as an entry of ``MLmodel`` names it.

        Raises:
            ModelError: The package has no such file.
        """
        try:
            cleaned = clean_path(str(path))
        except InvalidInputError as error:
            raise ModelError(f"The model in `{self.folder}` names a file it can't have: {error}") from error
        if cleaned not in self.files:
            raise ModelError(f"The model in `{self.folder}` lacks its file `{cleaned}`.")
        return self.folder / cleaned

    @property
    def extra_files(self) -> dict[str, Path]:
        """Paths of the files given as ``extra_files=``, by name."""
        prefix = EXTRA_FOLDER + "/"
        return {p.removeprefix(prefix): self.folder / p for p in self.files if p.startswith(prefix)}


def read_package(folder: Path | str, *, verify: bool = True) -> ModelPackage:
    """Read what a model package is, without loading the model.

    Args:
        folder: The package; one written by MLflow is understood too, as far as a flavor loads it.
        verify: Whether to hash every file and compare with the manifest.

    Returns:
        Its description.

    Raises:
        NotFoundError: The folder has no ``MLmodel`` file.
        DigestMismatchError: A file was changed, added or removed after the package was written.
        ModelError: ``MLmodel`` can't be read, names no flavor that is known here, or the folder holds links.
    """
    from mlwarehouse.models.flavors import FLAVORS, flavor_of

    folder = Path(folder)
    if not (folder / MLMODEL).is_file():
        raise NotFoundError(f"There is no model in `{folder}`: it has no `{MLMODEL}` file.")
    described = _read_mlmodel(folder / MLMODEL)
    flavors = described.get("flavors")
    if not isinstance(flavors, dict):
        raise ModelError(f"The `{MLMODEL}` file in `{folder}` names no flavors.")
    listed = _read_manifest(folder)
    if listed is None and OWN_FLAVOR in flavors:
        raise DigestMismatchError(f"The model in `{folder}` lacks its `{MANIFEST}`, so its files can't be checked.")
    files = hash_files(folder) if verify or listed is None else dict(listed)
    if listed is not None and verify:
        _compare(folder, listed, files)
    found = flavor_of(flavors)
    if found is None and OWN_FLAVOR in flavors:
        own = flavors[OWN_FLAVOR]
        name = own.get("flavor") if isinstance(own, dict) else own
        raise ModelError(
            f"The model in `{folder}` has the flavor `{name}`, which isn't here; install the package that brings it, "
            "or a newer mlwarehouse."
        )
    if found is None:
        raise ModelError(
            f"The model in `{folder}` has the flavors {', '.join(sorted(flavors)) or 'none'}; mlwarehouse loads "
            f"{', '.join(f.name for f in FLAVORS)}. Load it with the library that wrote it."
        )
    name, options = found
    metadata = described.get("metadata")
    return ModelPackage(
        folder=folder,
        flavor=name,
        signature=Signature.from_mlflow(described.get("signature")),
        digest=package_digest(files),
        files=files,
        metadata=metadata if isinstance(metadata, dict) else {},
        options=options,
    )


def write_manifest(folder: Path) -> None:
    """List the digests of a folder's files in its manifest, and force everything to disk."""
    text = json.dumps({"algorithm": "sha256", "files": hash_files(folder)}, indent=1, sort_keys=True) + "\n"
    (folder / MANIFEST).write_text(text, encoding="utf-8")
    for path in (*folder.rglob("*"), folder):
        fd = os.open(path, os.O_RDONLY)
        try:
            os.fsync(fd)
        finally:
            os.close(fd)


def hash_files(folder: Path) -> dict[str, str]:
    """SHA-256 of every file in a folder but the manifest, by path.

    Raises:
        ModelError: It holds a link or a file whose path can't be an artifact's.
    """
    files: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        relative = path.relative_to(folder).as_posix()
        if path.is_symlink():
            raise ModelError(f"The model in `{folder}` holds the link `{relative}`; a package holds only files.")
        if path.is_file() and relative != MANIFEST:
            try:
                clean_path(relative)
            except InvalidInputError as error:
                raise ModelError(f"The model in `{folder}` can't be kept: {error}") from error
            with path.open("rb") as stream:
                files[relative] = hashlib.file_digest(stream, "sha256").hexdigest()
    return files


def _read_mlmodel(path: Path) -> dict[str, Any]:
    import yaml

    try:
        described = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (yaml.YAMLError, UnicodeDecodeError, RecursionError) as error:
        raise ModelError(f"`{path}` isn't readable YAML: {' '.join(str(error).split())}.") from error
    if not isinstance(described, dict):
        raise ModelError(f"`{path}` describes no model.")
    return described


def _read_manifest(folder: Path) -> dict[str, str] | None:
    path = folder / MANIFEST
    if not path.is_file():
        return None
    try:
        listed = json.loads(path.read_text(encoding="utf-8"))["files"]
        return {clean_path(str(name)): str(digest) for name, digest in listed.items()}
    except InvalidInputError as error:
        raise ModelError(f"`{path}` names a file that no package can have: {error}") from error
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DigestMismatchError(f"`{path}` is damaged, so the model's files can't be checked.") from error


def _compare(folder: Path, listed: Mapping[str, str], found: Mapping[str, str]) -> None:
    changed = {name: "was changed" for name in listed.keys() & found.keys() if listed[name] != found[name]}
    changed |= dict.fromkeys(listed.keys() - found.keys(), "is gone")
    changed |= dict.fromkeys(found.keys() - listed.keys(), "was added")
    if changed:
        name = min(changed)
        more = f" (and {len(changed) - 1} more)" if len(changed) > 1 else ""
        raise DigestMismatchError(
            f"File `{name}` of the model in `{folder}` {changed[name]} after the model was saved{more}; fetch the "
            "model again."
        )
