"""Which files a table was given since one of its versions: the change feed of an append-only table, from its log."""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import unquote

from mlwarehouse.engines.embedded_log import entry_path


def added_files(folder: Path, after: int | None, until: int) -> list[str] | None:
    """The files that brought new rows into a table.

    Compaction adds files, too, and says of itself that it changes no data: those are left out, and what they replaced
    stays on disk for the retention.

    Args:
        folder: The table's folder.
        after: The version behind which to look; None for all from the first on.
        until: The last version to look at.

    Returns:
        Absolute paths; None when it can't be told any more: a log entry or a file is gone, or rows were removed.
    """
    found: list[str] = []
    for version in range(0 if after is None else after + 1, until + 1):
        try:
            lines = entry_path(folder, version).read_text(encoding="utf-8").splitlines()
        except FileNotFoundError:
            return None
        for line in lines:
            if '"dataChange":true' not in line:
                continue
            action = json.loads(line)
            if "remove" in action:
                return None
            if "add" in action:
                path = folder / unquote(action["add"]["path"])
                if not path.exists():
                    return None
                found.append(str(path))
    return found
