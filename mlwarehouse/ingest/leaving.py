"""How a program ends, as the status of the runs that it leaves active."""

from __future__ import annotations

import sys

from mlwarehouse.entities import RunStatus


def status_at_exit() -> RunStatus:
    """The status of the runs that are active when the interpreter ends.

    Returns:
        KILLED behind a `KeyboardInterrupt` that nobody caught, FAILED behind another exception, or else FINISHED. An
        interactive session ends as FINISHED: its errors were seen, and it went on.
    """
    error = getattr(sys, "last_type", None)
    if error is None or hasattr(sys, "ps1"):
        return RunStatus.FINISHED
    return RunStatus.KILLED if issubclass(error, KeyboardInterrupt) else RunStatus.FAILED
