"""The part of a warehouse that keeps models: their packages in runs' artifacts, found and loaded again."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.config import cache_dir
from mlwarehouse.entities import ModelVersion, Snapshot, VersionStatus
from mlwarehouse.errors import DigestMismatchError, InvalidInputError, ModelError, NotFoundError
from mlwarehouse.parts.modelling import Modelling

if TYPE_CHECKING:
    from mlwarehouse.engines.base import Reading
    from mlwarehouse.ingest.run import ActiveRun
    from mlwarehouse.models import ModelPackage, Signature


@dataclass(frozen=True)
class LoggedModel:
    """A model package in a run's artifacts.

    Attributes:
        model_uri: ``runs:/<run_id>/<path>``.
        run_id: The run.
        digest: The package's digest, over all its files.
        signature: Its inputs and outputs, or None.
    """

    model_uri: str
    run_id: str
    digest: str
    signature: Signature | None


@dataclass(frozen=True)
class FoundModel:
    """A model package on this machine's disk, with where it came from.

    Attributes:
        folder: The package; its files' digests have been checked.
        package: What it says of itself.
        name: The registered model, or None.
        version: The model version, or None.
        run_id: The run that logged it, or None.
    """

    folder: Path
    package: ModelPackage
    name: str | None
    version: int | None
    run_id: str | None


class Packaging(Modelling):
    """Model packages in runs, by the addresses of the runs and of the registry."""

    def log_model(
        self,
        model: Any,
        name: str = "model",
        *,
        flavor: str | None = None,
        init_args: Mapping[str, Any] | None = None,
        extra_files: Sequence[str | Path] | Mapping[str, str | Path] | None = None,
        signature: Signature | None = None,
        input_example: Any = None,
        requirements: Sequence[str] | None = None,
        metadata: Mapping[str, Any] | None = None,
        registered_model_name: str | None = None,
        run: ActiveRun | None = None,
    ) -> LoggedModel:
        """Package a model and store it with the active run.

        Args:
            model: A ``torch.nn.Module``, a TorchScript module, a ``torch.export`` program, an ONNX model, an estimator
                of scikit-learn's, or an object of a class with a method ``predict(self, frame)``.
            name: Folder within the run's artifacts.
            flavor: How to package it; None chooses by the model's type.
            init_args: Arguments that rebuild the class of an eager module or of a model in plain Python; those that a
                Lightning module kept by ``save_hyperparameters()`` need not be given.
            extra_files: Files that the model needs, such as a vocabulary.
            signature: Inputs and outputs; None infers them from `input_example`.
            input_example: A few rows of input.
            requirements: Packages that it needs, a line of ``requirements.txt`` each; None means the installed
                versions of the flavor's libraries.
            metadata: Anything to keep beside it, as JSON.
            registered_model_name: Also register it under this name; not, and with a warning, while the artifact store
                refuses its files.
            run: The run; None means the active one.

        Returns:
            Where it is, and its digest.

        Raises:
            ModelError: It can't be packaged so that it loads again.
            MissingDependencyError: Its library isn't installed.
        """
        from mlwarehouse.models import save_model

        run = run or self.need_active_run()
        with tempfile.TemporaryDirectory(prefix="mlwarehouse-model-") as place:
            folder = Path(place) / "model"
            package = save_model(
                folder,
                model,
                flavor=flavor,
                init_args=init_args,
                extra_files=extra_files,
                signature=signature,
                input_example=input_example,
                requirements=requirements,
                metadata={"run_id": run.run_id, **(metadata or {})},
            )
            files = {f"{name}/{p.relative_to(folder).as_posix()}": p for p in sorted(folder.rglob("*")) if p.is_file()}
            is_stored = run.log_files(files, kind="model", are_temporary=True)
        logged = LoggedModel(f"runs:/{run.run_id}/{name}", run.run_id, package.digest, package.signature)
        if registered_model_name is not None and is_stored:
            self.register_model(logged.model_uri, registered_model_name)
        elif registered_model_name is not None:
            from mlwarehouse.ingest.spool_outage import tell

            again = f"register_model({logged.model_uri!r}, {registered_model_name!r})"
            tell(
                f"mlwarehouse didn't register `{logged.model_uri}` as `{registered_model_name}`: the artifact store "
                f"has refused its files. When they are stored, call `{again}`."
            )
        return logged

    def register_model(
        self,
        model_uri: str,
        name: str,
        *,
        description: str | None = None,
        tags: Mapping[str, str] | None = None,
        parent: str | None = None,
        comment: str | None = None,
    ) -> ModelVersion:
        """Make a logged model the next version of a registered model.

        Args:
            model_uri: ``runs:/<run_id>/<path>``.
            name: The registered model; made where there is none.
            description: Markdown.
            tags: Tags of the version.
            parent: The address of the version that it was made from, such as ``models:/sentiment@champion``.
            comment: Why, in your words.

        Returns:
            The version; versions of a name are numbered from 1 without gaps, whoever else registers at the same time.

        Raises:
            NotFoundError: No model is there, or no version at `parent`.
            InvalidInputError: The address isn't one of a run's model, or the name can't be one.
        """
        found = self.find_model(model_uri)
        if found.run_id is None or found.name is not None:
            raise InvalidInputError(
                f"`{model_uri}` can't be registered; pass the address of a run's model, runs:/<run_id>/<path>."
            )
        return self.registry.create_model_version(
            name,
            source=model_uri,
            run_id=found.run_id,
            digest=found.package.digest,
            description=description,
            tags=tags,
            parent=parent,
            comment=comment,
        )

    def find_model(self, model_uri: str, *, as_of: Any = None, at: Snapshot | str | None = None) -> FoundModel:
        """Bring a model package to this machine's disk and check it.

        Args:
            model_uri: ``models:/name/3``, ``models:/name@alias``, ``models:/name/Production``,
                ``runs:/<run_id>/<path>``, or a local folder.
            as_of: What it meant of what was recorded by then, see `reading`.
            at: What it meant in a snapshot, its text, or the name of a kept one.

        Raises:
            NotFoundError: No model is there.
            DigestMismatchError: A file's bytes aren't those that were logged.
        """
        from mlwarehouse.models import read_package

        version = None
        source = model_uri
        if model_uri.startswith("models:/"):
            version = self.registry_at(as_of=as_of, at=at).resolve(model_uri)
            if version.status != VersionStatus.READY:
                raise ModelError(
                    f"`{model_uri}` is version {version.version}, which is {version.status}: files may be missing."
                )
            source = version.source or ""
        if source.startswith("runs:/"):
            run_id, _, path = source.removeprefix("runs:/").strip("/").partition("/")
            reading = self.reading(as_of=as_of, at=at)
            if version is not None and not self._artifact_files(run_id, path, reading):
                # A version is recorded at once, and the files that it was made from with the committer's next batch:
                # there was a moment between. Its digest says whether those of now are they.
                reading = self.reading()
            folder = self._fetch(run_id, path, model_uri, reading)
        elif "://" in source or ":/" in source:
            raise InvalidInputError(
                f"`{model_uri}` isn't a model's address; it is models:/<name>/<version>, models:/<name>@<alias>, "
                "runs:/<run_id>/<path>, or a local folder."
            )
        else:
            run_id, folder = None, Path(source)
        package = read_package(folder)
        if version is not None and version.digest is not None and package.digest != version.digest:
            raise DigestMismatchError(
                f"`{model_uri}` is version {version.version} with digest `{version.digest[:12]}`, and the files at "
                f"`{source}` are `{package.digest[:12]}`: they were logged anew after it was registered. Register them "
                "as a new version."
            )
        return FoundModel(
            folder=folder,
            package=package,
            name=version.name if version else None,
            version=version.version if version else None,
            run_id=run_id,
        )

    def load_model(
        self,
        model_uri: str,
        *,
        allow_pickle: bool = False,
        allow_code: bool = True,
        trusted_types: Sequence[str] = (),
        device: str | None = None,
        as_of: Any = None,
        at: Snapshot | str | None = None,
    ) -> Any:
        """Load a model as the object of its library, such as a ``torch.nn.Module`` in evaluation mode.

        If it has a method ``load_files(files)``, that is called with the extra files' paths by name.

        Args:
            model_uri: As for `find_model`.
            allow_pickle: Read a package whose format is a pickle, which runs code from it.
            allow_code: Run source that came with the model when its class can't be imported here.
            trusted_types: Types that a scikit-learn model may be made of beyond those that skops knows to be harmless;
                the error that refuses them lists them.
            device: Where to put it; None means the CPU.
            as_of: As for `find_model`.
            at: As for `find_model`.

        Raises:
            NotFoundError: No model is there.
            PickleRefusedError: Its format is a pickle, and nobody allowed that; or it is made of types that aren't
                trusted.
            DigestMismatchError: A file's bytes aren't those that were logged.
        """
        from mlwarehouse.models import load_model

        package = self.find_model(model_uri, as_of=as_of, at=at).package
        return load_model(
            package, allow_pickle=allow_pickle, allow_code=allow_code, trusted_types=trusted_types, device=device
        )

    def download_artifacts(
        self,
        run_id: str,
        path: str = "",
        *,
        target: str | Path,
        as_of: Any = None,
        at: Snapshot | str | None = None,
    ) -> Path:
        """Copy a run's artifacts to a folder, checking each file's digest.

        Args:
            run_id: The run.
            path: A file or folder among its artifacts; empty means all.
            target: Where to put them.
            as_of: Only what was recorded by then, see `reading`.
            at: A snapshot, its text, or the name of a kept one.

        Returns:
            The file or folder.

        Raises:
            NotFoundError: Nothing is there.
            DigestMismatchError: A file's bytes aren't those that were logged.
        """
        files = self._artifact_files(run_id, path, self.reading(as_of=as_of, at=at))
        if not files:
            raise NotFoundError(f"Run `{run_id}` has no artifact `{path}`.")
        folder = Path(target)
        self.artifact_store().fetch(files, folder)
        return folder / path if path else folder

    def _artifact_files(self, run_id: str, path: str, reading: Reading) -> dict[str, str]:
        """Digest by path of a run's artifacts at or under a path."""
        rows = self.engine().query(
            "SELECT path, digest FROM artifacts WHERE run_id = $run_id "
            "AND ($path = '' OR path = $path OR starts_with(path, $path || '/')) ORDER BY path",
            reading=reading,
            parameters={"run_id": run_id, "path": path},
        )
        return dict(zip(rows.column("path").to_pylist(), rows.column("digest").to_pylist(), strict=True))

    def _fetch(self, run_id: str, path: str, asked: str, reading: Reading) -> Path:
        files = self._artifact_files(run_id, path, reading)
        prefix = f"{path}/" if path else ""
        inside = {name.removeprefix(prefix): digest for name, digest in files.items()}
        if "MLmodel" not in inside:
            raise NotFoundError(
                f"There is no model at `{asked}`: run `{run_id}` has "
                + (f"no file `{prefix}MLmodel`." if files else f"no artifacts under `{path}`.")
                + " Log one by `log_model`."
            )
        return self.artifact_store().materialise(inside, cache_dir() / "models")
