"""Finding the Java that Spark needs, and saying what to install when it isn't there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

from mlwarehouse.errors import MissingDependencyError

OLDEST_JAVA = 17
"""Spark 4 starts on no older one."""

_HOW = (
    f"install Java {OLDEST_JAVA} or newer (such as the package `openjdk-17-jre-headless`) and put it on PATH, or set "
    "JAVA_HOME to it"
)


def require_java() -> Path:
    """The Java program that Spark will start: that of JAVA_HOME, else the first on PATH.

    Raises:
        MissingDependencyError: There is none, it doesn't run, or it is too old.
    """
    home = os.environ.get("JAVA_HOME")
    if home:
        java = Path(home) / "bin" / "java"
        if not java.is_file():
            raise MissingDependencyError(f"Spark needs Java, and JAVA_HOME is `{home}`, which has no bin/java; {_HOW}.")
    else:
        found = shutil.which("java")
        if found is None:
            raise MissingDependencyError(f"Spark needs Java, and there is none here; {_HOW}.")
        java = Path(found)
    try:
        answer = subprocess.run([str(java), "-version"], capture_output=True, text=True, timeout=60, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise MissingDependencyError(f"Spark needs Java, and `{java}` doesn't run ({error}); {_HOW}.") from error
    release = java_release(answer.stderr + answer.stdout)
    if release is None or release < OLDEST_JAVA:
        raise MissingDependencyError(
            f"Spark needs Java {OLDEST_JAVA} or newer, and `{java}` is {release or 'of an unknown release'}; {_HOW}."
        )
    return java


def java_release(text: str) -> int | None:
    """The release in the words of ``java -version``: 17 for ``17.0.15``, 8 for ``1.8.0_392``; None if it isn't said."""
    match = re.search(r'version "(?:1\.)?(\d+)', text)
    return int(match.group(1)) if match else None
