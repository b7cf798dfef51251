"""Model packages on their way to Spark's workers: packed once, sent once an executor, loaded once a worker."""

from __future__ import annotations

import atexit
import shutil
import tempfile
import threading
import zipfile
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.errors import DigestMismatchError
from mlwarehouse.models import ModelPackage, Predictor, load_predictor
from mlwarehouse.udf.bad_rows import OnError
from mlwarehouse.udf.batch_size import BatchSize
from mlwarehouse.udf.task_resources import resources_of, use_threads

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_packed: dict[str, Path] = {}
_lock = threading.Lock()


def archive_name(digest: str) -> str:
    """The name of a package's archive, and of the folder that it becomes on a worker."""
    return f"mlwarehouse-model-{digest}.zip"


def is_connect(spark: SparkSession) -> bool:
    """Whether a session is one of Spark Connect."""
    return type(spark).__module__.startswith("pyspark.sql.connect")


def ship(spark: SparkSession, package: ModelPackage) -> None:
    """Send a package to the session's executors; the same package again is nothing new."""
    archive = _pack(package)
    if is_connect(spark):
        spark.addArtifacts(str(archive), archive=True)
    else:
        # A classic session has no artifacts of its own; its context serves the file to every executor.
        spark.sparkContext.addArchive(str(archive))


@dataclass(frozen=True)
class Calling:
    """How workers load a model and call it.

    Attributes:
        allow_pickle: Whether loading it may run a pickle.
        trusted_types: Further types that a scikit-learn model may be made of.
        batch_rows: At most so many rows are given to the model at once; None means by `BatchSize`.
        on_error: What becomes of rows that the model fails on.
    """

    allow_pickle: bool = False
    trusted_types: tuple[str, ...] = ()
    batch_rows: int | None = None
    on_error: OnError = "raise"


@dataclass(frozen=True)
class OnWorker:
    """A shipped model in a worker process.

    Attributes:
        predictor: The model.
        size: How many rows it is given at once; it has learnt from all tasks before.
    """

    predictor: Predictor
    size: BatchSize


def on_worker(digest: str, calling: Calling) -> OnWorker:
    """The model of a shipped package, loaded once by this worker process; its files are checked against the digest.

    It computes where the task may: with as many threads as the task has cores, and on its GPU.

    Raises:
        DigestMismatchError: What arrived isn't what was sent.
        WarehouseError: As in `mlwarehouse.models.load_predictor`.
    """
    from pyspark import TaskContext

    resources = resources_of(TaskContext.get())
    loaded = _loaded(digest, calling, resources.device)
    use_threads(resources.threads)
    return loaded


@lru_cache(maxsize=2)
def _loaded(digest: str, calling: Calling, device: str) -> OnWorker:
    from pyspark import SparkFiles

    predictor = load_predictor(
        SparkFiles.get(archive_name(digest)),
        allow_pickle=calling.allow_pickle,
        trusted_types=calling.trusted_types,
        device=device,
    )
    if predictor.digest != digest:
        raise DigestMismatchError(
            f"The model that arrived on a Spark worker has the digest {predictor.digest}, and {digest} was sent; send "
            "it again in a new session."
        )
    return OnWorker(predictor, BatchSize(calling.batch_rows))


def _pack(package: ModelPackage) -> Path:
    """A package as one archive, which stays while this process lives: executors may ask for it at any time."""
    with _lock:
        archive = _packed.get(package.digest)
        if archive is None:
            folder = Path(tempfile.mkdtemp(prefix="mlwarehouse-models-"))
            atexit.register(shutil.rmtree, folder, ignore_errors=True)
            archive = folder / archive_name(package.digest)
            with zipfile.ZipFile(archive, "w") as packed:
                for path in sorted(package.folder.rglob("*")):
                    if path.is_file():
                        packed.write(path, path.relative_to(package.folder).as_posix())
            _packed[package.digest] = archive
        return archive
