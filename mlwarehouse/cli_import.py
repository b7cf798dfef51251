"""`mlwarehouse import`: bringing in what other trackers have."""

from __future__ import annotations

import contextlib
import sys
import time
from time import sleep
from typing import TYPE_CHECKING, Annotated

import typer

from mlwarehouse.cli_options import JsonOption, WarehouseOption
from mlwarehouse.cli_output import note, print_json, record
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from mlwarehouse.imports import ImportReport, Progress


def import_(
    source: Annotated[str, typer.Argument(help="The folder, file or address to import from.")],
    kind: Annotated[str | None, typer.Option("--kind", help="The kind of source; else it is found out.")] = None,
    source_id: Annotated[
        str | None, typer.Option("--source-id", help="The source's name here; the old one, if it has moved.")
    ] = None,
    artifacts: Annotated[
        str, typer.Option("--artifacts", help="`copy` their bytes, or `leave` them where they are.")
    ] = "copy",
    column: Annotated[
        list[str] | None,
        typer.Option(
            "--column", metavar="NAME=ROLE", help="What a column of a table is, as in hidden=param; may repeat."
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would come.")] = False,
    watch: Annotated[
        float | None,
        typer.Option("--watch", metavar="SECONDS", min=1, help="Import again after so many seconds, until Ctrl-C."),
    ] = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Import another tracker's runs and models; again brings only what is new there.

    Example: mlwarehouse import ./mlruns --warehouse ./wh
    """
    found = Warehouse(warehouse)
    columns = None if column is None else dict(_named(each) for each in column)
    is_first = True
    # What is interrupted goes on with the next import.
    with contextlib.nullcontext() if watch is None else contextlib.suppress(KeyboardInterrupt):
        while is_first or watch is not None:
            report = found.import_(
                source,
                kind=kind,
                source_id=source_id,
                artifacts=artifacts,
                columns=columns,
                dry_run=dry_run,
                on_progress=_Line(),
            )
            if is_first or any(report.added.values()):
                _tell(report, as_json)
            is_first = False
            if watch is not None:
                sleep(watch)


def _tell(report: ImportReport, as_json: bool) -> None:
    if as_json:
        print_json(record(report))
    else:
        print(report, flush=True)


def _named(given: str) -> tuple[str, str]:
    name, equals, role = given.rpartition("=")
    if not equals:
        raise InvalidInputError(f"A column is named as in --column hidden=param; got `{given}`.")
    return name, role


class _Line:
    """How far an import is, with the time left: rewritten on a terminal, a line each ten seconds elsewhere."""

    def __init__(self) -> None:
        self._began = self._told = time.monotonic()
        self._is_terminal = sys.stderr.isatty()

    def __call__(self, progress: Progress) -> None:
        now, done = time.monotonic(), progress.done
        is_last = done >= progress.total
        if not self._is_terminal and now < self._told + 10:
            return
        self._told = now
        left = (now - self._began) * (progress.total / max(done, 1) - 1)
        added = ", ".join(f"{n:,} {name}" for name, n in progress.added.items() if n and name in ("runs", "points"))
        text = f"{done:,}/{progress.total:,} {progress.unit}, {added or 'nothing'} new, {left:.0f} s left"
        if self._is_terminal:
            width = 20
            bar = "#" * (width * done // max(progress.total, 1))
            end = "\n" if is_last else ""
            print(f"\r\033[K[{bar:<{width}}] {text}", end=end, file=sys.stderr, flush=True)
        else:
            note(text)
