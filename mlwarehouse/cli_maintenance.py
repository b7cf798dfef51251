"""The command line's upkeep of a warehouse: committing, merging, checking, mending, purging."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from mlwarehouse.cli_kept import kept_row
from mlwarehouse.cli_options import JsonOption, WarehouseOption
from mlwarehouse.cli_output import Progress, print_json, print_rows, record
from mlwarehouse.warehouse import Warehouse


def maintain(
    warehouse: WarehouseOption = None,
    engine: Annotated[str, typer.Option("--engine", help="`embedded`, or `spark` for big tables.")] = "embedded",
    as_json: JsonOption = False,
) -> None:
    """Merge small files, write checkpoints, and remove files that no version of the last week needs, and no snapshot.

    Example: mlwarehouse maintain --warehouse ./wh
    """
    from mlwarehouse.tables import TABLES

    progress = Progress("table", len(TABLES))
    done = Warehouse(warehouse).maintain(
        lambda t: progress.step(
            f"{t.name}: {t.n_merged} files ({t.n_bytes / 2**20:.1f} MiB) merged, {t.n_vacuumed + t.n_orphans} removed"
        ),
        engine=engine,
    )
    print_rows([record(d) for d in done], as_json=as_json)


def sync(
    warehouse: WarehouseOption = None,
    spool: Annotated[
        Path | None,
        typer.Option("--spool", metavar="FOLDER", help="Take in this copy of another machine's spool or warehouse."),
    ] = None,
    skip_gaps: Annotated[
        bool, typer.Option("--skip-gaps", help="With --spool: also what follows something that the copy lacks.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Commit what this machine has logged and not yet committed; or what another one has, from a copy of its spool.

    Example: mlwarehouse sync --warehouse ./wh --spool /mnt/stick/laptop
    """
    found = Warehouse(warehouse)
    if spool is not None:
        done = found.sync(spool, skip_gaps=skip_gaps)
        if as_json:
            print_json(record(done))
        else:
            print(
                f"{done.n_rows} rows and {done.n_files} files taken in from {done.n_spools} spools; "
                f"{done.n_held_back} segments held back, {done.n_missing_files} files missing"
            )
        return
    found.flush(timeout_s=600)
    health = found.doctor().spool
    if as_json:
        print_json(record(health))
    else:
        print(f"committed; {health.n_waiting} rows wait in {health.path}")


def doctor(
    warehouse: WarehouseOption = None,
    deep: Annotated[bool, typer.Option("--deep", help="Read every data file and log entry too.")] = False,
    repair: Annotated[bool, typer.Option("--repair", help="Mend what can be mended.")] = False,
    accept_loss: Annotated[
        bool, typer.Option("--accept-loss", help="With --repair: give up rows of files that can't be had again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what is in tables and spool, what is wrong and what to do; exit status 1 when something is.

    Example: mlwarehouse doctor --warehouse ./wh
    """
    found = Warehouse(warehouse)
    mended = found.repair(deep=deep, accept_loss=accept_loss) if repair else []
    health = found.doctor(deep=deep)
    if as_json:
        print_json(record(health) | {"mended": [record(m) for m in mended]})
    else:
        print(f"warehouse {health.warehouse_id} at {health.root}")
        print_rows([record(t) for t in health.tables], as_json=False)
        for fold in health.folds:
            print("kept fold: " + ", ".join(f"{name} {value}" for name, value in record(fold).items()))
        for kept in health.snapshots:
            print("kept snapshot: " + ", ".join(f"{name} {value}" for name, value in kept_row(kept).items() if value))
        spool = record(health.spool)
        print("spool: " + ", ".join(f"{name} {value}" for name, value in spool.items()))
        for m in mended:
            print(f"{'mended' if m.is_mended else 'not mended'}: {m.what}")
        print("\n".join(f"problem: {p}" for p in health.problems) or "no problems found")
    if health.problems:
        raise typer.Exit(1)


def purge(
    warehouse: WarehouseOption = None,
    run_id: Annotated[str | None, typer.Option("--run-id", help="One run.")] = None,
    experiment: Annotated[str | None, typer.Option("--experiment", "-e", help="An experiment and its runs.")] = None,
    user: Annotated[str | None, typer.Option("--user", help="All runs that a user started, and the name.")] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do it; without this only what would go is shown.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Delete runs and everything logged to them for good, for privacy. With --yes alone: end an interrupted purge.

    Example: mlwarehouse purge --user jane --warehouse ./wh --yes
    """
    done = Warehouse(warehouse).purge(run_id=run_id, experiment=experiment, user=user, dry_run=not yes)
    if as_json:
        print_json(record(done))
        return
    print_rows([record(t) for t in done.tables], as_json=False)
    said = "are gone" if done.is_done else "would go; add --yes to do it"
    print(
        f"{done.n_runs} runs, {done.n_experiments} experiments, {done.n_blobs} stored files "
        f"({done.n_blob_bytes} bytes), {done.n_pins} kept snapshots {said}"
    )


COMMANDS = (maintain, sync, doctor, purge)
"""The commands of this module, in the order of the help."""
