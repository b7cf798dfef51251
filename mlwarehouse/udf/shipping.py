"""Model packages on their way to Spark's workers: packed once, sent once an executor, loaded once a worker."""

from __future__ import annotations

import atexit
import shutil
import sys
import tempfile
import threading
import zipfile
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from mlwarehouse.errors import DigestMismatchError
from mlwarehouse.models import ModelPackage, Predictor, load_predictor

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

_packed: dict[str, Path] = {}
_lock = threading.Lock()


def archive_name(digest: str) -> str:
    """The name of a package's archive, and of the folder that it becomes on a worker."""
    return f"mlwarehouse-model-{digest}.zip"


def ship(spark: SparkSession, package: ModelPackage) -> None:
    """Send a package to the session's executors; the same package again is nothing new."""
    archive = _pack(package)
    if type(spark).__module__.startswith("pyspark.sql.connect"):
        spark.addArtifacts(str(archive), archive=True)
    else:
        # A classic session has no artifacts of its own; its context serves the file to every executor.
        spark.sparkContext.addArchive(str(archive))


@lru_cache(maxsize=2)
def worker_predictor(digest: str, allow_pickle: bool, trusted_types: tuple[str, ...] = ()) -> Predictor:
    """The model of a shipped package, loaded once by this worker process; its files are checked against the digest.

    Workers run side by side, one a core, so each computes with one thread.

    Raises:
        DigestMismatchError: What arrived isn't what was sent.
        WarehouseError: As in `mlwarehouse.models.load_predictor`.
    """
    from pyspark import SparkFiles

    folder = SparkFiles.get(archive_name(digest))
    predictor = load_predictor(folder, allow_pickle=allow_pickle, trusted_types=trusted_types)
    # A model of another library is scored also where PyTorch isn't installed.
    torch = sys.modules.get("torch")
    if torch is not None:
        torch.set_num_threads(1)
    if predictor.digest != digest:
        raise DigestMismatchError(
            f"The model that arrived on a Spark worker has the digest {predictor.digest}, and {digest} was sent; send "
            "it again in a new session."
        )
    return predictor


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
