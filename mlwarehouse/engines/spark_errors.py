"""Spark's failures in one plain line each: no Java or Python trace belongs in a message."""

from __future__ import annotations

import re


def spark_failures() -> tuple[type[Exception], ...]:
    """The exceptions with which a classic or a Connect session answers a failed call."""
    from pyspark.errors import PySparkException

    try:
        from py4j.protocol import Py4JError  # type: ignore[import-untyped]
    except ImportError:  # a client of Spark Connect can be installed without the bridge to Java
        return (PySparkException,)
    return (PySparkException, Py4JError)


def reason(error: Exception) -> str:
    """What went wrong, in one line.

    A failure inside a Python worker arrives as text that ends in the worker's own trace: its last line is the cause.
    """
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if not lines:
        return type(error).__name__
    causes = [line for line in lines if re.match(r"^[\w.]+(Error|Exception): ", line)]
    if "Python worker" in str(error) and causes:
        return causes[-1]
    for line in lines:
        java = re.match(r"^: (?:[\w.]+\.)?(\w+(?:Error|Exception)): (.*)$", line)
        if java:
            return f"{java.group(1)}: {java.group(2)}"
    return lines[0]
