"""The command line's past: snapshots, and what happened since one."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from mlwarehouse.cli_kept import kept_row
from mlwarehouse.cli_options import AtOption, JsonOption, WarehouseOption
from mlwarehouse.cli_output import print_json, print_rows, record
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.warehouse import Warehouse


def snapshot(
    warehouse: WarehouseOption = None,
    keep: Annotated[str | None, typer.Option("--keep", metavar="NAME", help="Protect its files, by this name.")] = None,
    note: Annotated[str | None, typer.Option("--note", help="With --keep: what it is for.")] = None,
    at: AtOption = None,
    release: Annotated[
        str | None, typer.Option("--release", metavar="NAME", help="Let the kept snapshot of this name go.")
    ] = None,
    kept: Annotated[bool, typer.Option("--list", help="List the kept snapshots.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print a snapshot of all tables, to ask by --at later; with --keep it can be asked however old it gets.

    Example: mlwarehouse snapshot --keep paper-2026 --note "table 2" --warehouse ./wh
    """
    found = Warehouse(warehouse)
    if release is not None:
        found.release_snapshot(release)
        if as_json:
            print_json({"released": release})
        else:
            print(f"the snapshot {release} isn't kept any more")
    elif kept:
        rows = [kept_row(k) for k in found.snapshots()]
        print_rows(rows, as_json=as_json, columns=["name", "taken_at", "kept_by", "note"])
    else:
        taken = found.snapshot(keep=keep is not None, name=keep, note=note, at=at)
        print(taken)


def changes(
    warehouse: WarehouseOption = None,
    since: Annotated[
        str | None, typer.Option("--since", help="A time, a snapshot or cursor, or the name of a kept snapshot.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="The same, to stop at.")] = None,
    kind: Annotated[list[str] | None, typer.Option("--kind", "-k", help="Only of this kind; may repeat.")] = None,
    experiment: Annotated[
        list[str] | None, typer.Option("--experiment", "-e", help="Only of this experiment; may repeat.")
    ] = None,
    best: Annotated[
        list[str] | None, typer.Option("--best", metavar="METRIC=min|max", help="Tell new bests of it; may repeat.")
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", help="Wait for new ones, until Ctrl-C.")] = False,
    cursor_file: Annotated[
        Path | None, typer.Option("--cursor-file", help="Go on from the cursor in this file, and keep it there.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what happened across all tables, in order. With --json --follow: a line for each.

    Example: mlwarehouse changes --since 2026-11-01 --kind run_finished --best "loss=min" --follow --json
    """
    if follow and until is not None:
        raise InvalidInputError("--follow waits for what is to come, so it has no --until; leave one out.")
    if cursor_file is not None and cursor_file.exists():
        since = cursor_file.read_text(encoding="utf-8").strip()
    for asked in best or ():
        if not asked.endswith(("=min", "=max")):
            raise InvalidInputError(f"`--best {asked}` doesn't say what is better: write `--best {asked}=min` or =max.")
    directions = {key: direction for key, _, direction in (b.rpartition("=") for b in best or ())}
    found = Warehouse(warehouse)
    pages = (
        found.changes(since, kinds=kind, experiments=experiment, best=directions, follow=True)
        if follow
        else [found.changes(since, until, kinds=kind, experiments=experiment, best=directions)]
    )
    for page in pages:
        rows = [record(change) for change in page]
        if as_json and follow:
            for row in rows:
                print_json(row)
        elif as_json:
            print_json({"cursor": page.cursor, "changes": rows})
        else:
            shown = ["recorded_at", "kind", "run_id", "model_name", "model_version", "key", "value", "number", "step"]
            print_rows(rows, as_json=False, columns=shown)
        # Or a program behind a pipe would wait for what has happened long ago.
        sys.stdout.flush()
        if cursor_file is not None and page.cursor is not None:
            _keep_cursor(cursor_file, page.cursor)


def _keep_cursor(path: Path, cursor: str) -> None:
    from mlwarehouse.disk import replace

    try:
        replace(path, cursor.encode())
    except OSError as error:
        raise InvalidInputError(f"The cursor can't be kept in `{path}`: {error}") from error


COMMANDS = (snapshot, changes)
"""The commands of this module, in the order of the help."""
