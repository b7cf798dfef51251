"""The command line's ways from one warehouse to another: `merge` and `export`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlwarehouse.cli_options import JsonOption, WarehouseOption
from mlwarehouse.cli_output import Progress, print_json, record
from mlwarehouse.warehouse import Warehouse


def merge(
    other: Annotated[str, typer.Argument(help="The other warehouse, or a folder that `export` wrote.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would come.")] = False,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Bring what another warehouse has and this one lacks; again brings only what is new there.

    Example: mlwarehouse merge ./laptop --warehouse ./wh
    """
    report = Warehouse(warehouse).merge(other, dry_run=dry_run, on_progress=_Line())
    if as_json:
        print_json(record(report))
    else:
        print(report)


def export(
    target: Annotated[str, typer.Argument(help="A folder that isn't there.")],
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all there is into one folder of Parquet files, from which `merge` brings it back.

    Example: mlwarehouse export ./export --warehouse ./wh
    """
    written = Warehouse(warehouse).export(target, on_progress=_Line())
    if as_json:
        print_json(record(written))
    else:
        print(written)


class _Line:
    """Tells each table that is done."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def __call__(self, table: str, _: int, total: int) -> None:
        self._progress = self._progress or Progress("table", total)
        self._progress.step(table)


COMMANDS = (merge, export)
