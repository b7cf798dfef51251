"""The command line's ways from one warehouse to another: `merge` and `export`."""

from __future__ import annotations

from typing import Annotated

import typer

from mlwarehouse.cli_options import JsonOption, WarehouseOption
from mlwarehouse.cli_output import Progress, note, print_json, record
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
    target: Annotated[str, typer.Argument(help="A folder that isn't there, or the address of a server of MLflow's.")],
    experiment: Annotated[
        list[str] | None,
        typer.Option("--experiment", "-e", help="Only runs of this experiment, to a server; may repeat."),
    ] = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write all there is into a folder of Parquet files, which `merge` brings back; or send it to a server of MLflow's.

    Example: mlwarehouse export ./export --warehouse ./wh
    """
    written = Warehouse(warehouse).export(target, experiment_names=experiment, on_progress=_Line())
    if as_json:
        print_json(record(written))
    else:
        print(written)


class _Line:
    """Tells what is done."""

    def __init__(self) -> None:
        self._progress: Progress | None = None

    def __call__(self, what: str, done: int, total: int) -> None:
        if what == "runs":
            note(f"{done:,}/{total:,} runs")
            return
        self._progress = self._progress or Progress("table", total)
        self._progress.step(what)


COMMANDS = (merge, export)
