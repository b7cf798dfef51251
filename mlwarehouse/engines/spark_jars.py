"""Delta's jars for Spark, fetched once and kept, so that a session starts from local files.

``python -m mlwarehouse.engines.spark_jars`` fetches them ahead of the first session.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from importlib import metadata, util
from pathlib import Path

from mlwarehouse.config import Settings, cache_dir, load_settings
from mlwarehouse.engines.spark_java import require_java
from mlwarehouse.errors import MissingDependencyError

SCALA = "2.13"
"""The Scala that Spark 4 is built with."""

NOT_NEEDED = ("org.*:*", "com.*:*", "javax.*:*", "commons*:*", "io.airlift:*", "io.unitycatalog:*")
"""What Delta's jars ask for beside themselves: Spark ships it, or (Unity Catalog's client) nothing here uses it."""

FETCH_TIMEOUT_S = 600


def delta_coordinate() -> str:
    """The Maven coordinate of the Delta that belongs to the installed pyspark and delta-spark.

    Raises:
        MissingDependencyError: One of them isn't installed.
    """
    try:
        spark, delta = metadata.version("pyspark"), metadata.version("delta-spark")
    except metadata.PackageNotFoundError as error:
        raise MissingDependencyError(
            f"Spark needs the Python package `{error.name}`; install `mlwarehouse[spark]`."
        ) from error
    return f"io.delta:delta-spark_{'.'.join(spark.split('.')[:2])}_{SCALA}:{delta}"


def jars_folder(settings: Settings | None = None) -> Path:
    """Where the jars are, or will be: the setting ``spark_jars_dir``, else the user's cache folder, by version.

    Args:
        settings: The settings in force; read from the environment when not given.

    Raises:
        MissingDependencyError: pyspark or delta-spark isn't installed.
    """
    configured = (settings or load_settings()).spark_jars_dir
    if configured:
        return Path(configured)
    _, artifact, version = delta_coordinate().split(":")
    return cache_dir() / "spark-jars" / f"{artifact}-{version}"


def resolve_jars(settings: Settings | None = None) -> list[Path]:
    """The jars to give to Spark; fetched when they aren't there yet.

    Args:
        settings: The settings in force; read from the environment when not given.

    Returns:
        Paths of local files, sorted.

    Raises:
        MissingDependencyError: pyspark, delta-spark or Java isn't installed, or the jars can't be fetched.
    """
    folder = jars_folder(settings)
    jars = _jars_in(folder)
    return jars or _fetch(folder)


def _jars_in(folder: Path) -> list[Path]:
    jars = sorted(folder.glob("*.jar"))
    return jars if any("delta-spark" in jar.name for jar in jars) else []


def _fetch(folder: Path) -> list[Path]:
    """Let Spark's own resolver fetch the jars beside ``folder``, then give them its name in one step."""
    coordinate = delta_coordinate()
    require_java()
    spec = util.find_spec("pyspark")
    if spec is None or spec.origin is None:
        raise MissingDependencyError("Spark needs the Python package `pyspark`; install `mlwarehouse[spark]`.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}-") as work:
        nothing = Path(work) / "nothing.py"
        nothing.write_text("", encoding="utf-8")
        command = [
            str(Path(spec.origin).parent / "bin" / "spark-submit"),
            "--packages",
            coordinate,
            "--exclude-packages",
            ",".join(NOT_NEEDED),
            "--conf",
            f"spark.jars.ivy={work}",
            str(nothing),
        ]
        environment = {**os.environ, "PYSPARK_PYTHON": sys.executable, "PYSPARK_DRIVER_PYTHON": sys.executable}
        try:
            answer = subprocess.run(
                command, env=environment, capture_output=True, text=True, timeout=FETCH_TIMEOUT_S, check=False
            )
        except (OSError, subprocess.SubprocessError) as error:
            raise MissingDependencyError(_cannot(coordinate, folder, str(error))) from error
        fetched = Path(work) / "jars"
        if answer.returncode != 0 or not _jars_in(fetched):
            raise MissingDependencyError(_cannot(coordinate, folder, _reason(answer.stdout + answer.stderr)))
        try:
            fetched.rename(folder)
        except OSError as error:
            # Another process was faster, which is as good; or the folder holds other things, which isn't.
            if not _jars_in(folder):
                raise MissingDependencyError(_cannot(coordinate, folder, str(error))) from error
    return _jars_in(folder)


def _cannot(coordinate: str, folder: Path, reason: str) -> str:
    return (
        f"Spark needs Delta's jars ({coordinate}), and they couldn't be fetched into `{folder}`: {reason}; run "
        "`python -m mlwarehouse.engines.spark_jars` with a network, or name a folder that holds them by "
        "MLWAREHOUSE_SPARK_JARS_DIR."
    )


def _reason(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    telling = [line for line in lines if "unresolved dependency" in line or line.startswith("Exception")]
    return (telling or lines or ["no output"])[0]


def main() -> int:
    """Fetch the jars, saying what happens; the exit status is 1 when they can't be had."""
    try:
        folder = jars_folder()
        there = _jars_in(folder)
        if there:
            print(f"Delta's jars for Spark are in {folder} ({len(there)} files).")
            return 0
        print(f"Fetching Delta's jars for Spark ({delta_coordinate()}) into {folder} ...", flush=True)
        jars = _fetch(folder)
    except MissingDependencyError as error:
        print(str(error), file=sys.stderr)
        return 1
    print(f"Done: {', '.join(jar.name for jar in jars)}.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
