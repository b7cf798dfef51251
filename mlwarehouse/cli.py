"""The command line: the same things that Python offers, for a shell."""

from __future__ import annotations

import datetime as dt
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mlwarehouse._version import __version__
from mlwarehouse.cli_output import Progress, note, print_json, print_rows, record
from mlwarehouse.cli_report import parameters_of, told
from mlwarehouse.entities import KeptSnapshot
from mlwarehouse.errors import InvalidInputError, MissingDependencyError, WarehouseError
from mlwarehouse.warehouse import Warehouse

app = typer.Typer(
    name="mlwarehouse",
    help="An analytics-first experiment warehouse: runs, metrics, models and predictions as open Delta tables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
models_app = typer.Typer(
    no_args_is_help=True, help="Registered models: list, history, register, alias, stage.", rich_markup_mode=None
)
app.add_typer(models_app, name="models")

WarehouseOption = Annotated[
    str | None,
    typer.Option(
        "--warehouse", "-w", metavar="URI", help="The warehouse's folder; else MLWAREHOUSE_URI or ./mlwarehouse."
    ),
]
AsOfOption = Annotated[
    str | None, typer.Option("--as-of", metavar="TIME", help="Only what was recorded by then, such as 2026-11-01.")
]
AtOption = Annotated[
    str | None, typer.Option("--at", metavar="SNAPSHOT", help="In a snapshot: its text, or the name of a kept one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


def main() -> None:
    """Run the command line; an error of ours is one sentence and exit status 1."""
    try:
        app()
    except WarehouseError as error:
        note(f"mlwarehouse: {error}")
        sys.exit(1)
    except BrokenPipeError:
        # The reader of our output has seen enough.
        sys.stderr.close()
        sys.exit(141)


def _version(wanted: bool) -> None:
    if wanted:
        print(__version__)
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    del version


@app.command()
def init(warehouse: WarehouseOption = None, as_json: JsonOption = False) -> None:
    """Make a warehouse and its tables; fine where there is one.

    Example: mlwarehouse init --warehouse ./wh
    """
    found = Warehouse(warehouse)
    found.create()
    if as_json:
        print_json({"uri": found.uri, "warehouse_id": found.warehouse_id})
    else:
        print(f"warehouse {found.warehouse_id} at {found.uri}")


@app.command()
def demo(
    warehouse: Annotated[
        str, typer.Option("--warehouse", "-w", metavar="URI", help="Where to put it.")
    ] = "./demo-warehouse",
) -> None:
    """Train sentiment classifiers on real sentences and take them through every layer.

    Example: mlwarehouse demo --warehouse ./demo-warehouse
    """
    from mlwarehouse.demo import run_demo

    run_demo(warehouse)


@app.command()
def runs(
    warehouse: WarehouseOption = None,
    experiment: Annotated[
        list[str] | None, typer.Option("--experiment", "-e", help="Only of this experiment; may repeat.")
    ] = None,
    filter_string: Annotated[str, typer.Option("--filter", "-f", help="A filter, as for search_runs.")] = "",
    order_by: Annotated[
        list[str] | None, typer.Option("--order-by", "-o", help="An order, as for search_runs; may repeat.")
    ] = None,
    columns: Annotated[str | None, typer.Option("--columns", "-c", help="Columns, with commas between them.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The most runs to print.")] = 20,
    as_of: AsOfOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """List runs.

    Example: mlwarehouse runs --experiment sentiment --filter "metrics.loss < 0.4" --order-by "metrics.loss ASC"
    """
    table = Warehouse(warehouse).search_runs(
        experiment_names=experiment,
        filter_string=filter_string,
        order_by=order_by,
        max_results=limit,
        # Arrow: loading pandas would take as long as everything else.
        output_format="arrow",
        columns=None if columns is None else [c.strip() for c in columns.split(",")],
        as_of=as_of,
        at=at,
    )
    shown = [c for c in table.column_names if columns is not None or _is_shown(c)]
    print_rows(table.to_pylist(), as_json=as_json, columns=shown)


def _is_shown(column: str) -> bool:
    """Whether a table for people has a column unless asked: not the tags that each run gets by itself."""
    return not column.startswith(("tags.mlflow.", "tags.mlwarehouse.")) and column not in ("artifact_uri", "end_time")


@app.command()
def sql(
    query: Annotated[str, typer.Argument(help="One SELECT; tables, views and columns as in the docs.")],
    warehouse: WarehouseOption = None,
    dialect: Annotated[str, typer.Option(help="The SQL dialect it is written in.")] = "duckdb",
    as_of: AsOfOption = None,
    at: AtOption = None,
    locked: Annotated[
        bool, typer.Option("--locked", help="For SQL that you don't trust: shut in, read-only, within limits.")
    ] = False,
    experiment: Annotated[
        list[str] | None, typer.Option("--experiment", "-e", help="With --locked: only rows of this one; may repeat.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Answer one SELECT over tables and views.

    Example: mlwarehouse sql "SELECT run_id, min(value) AS best FROM metrics WHERE key = 'loss' GROUP BY run_id"
    """
    if locked:
        if as_of is not None or dialect != "duckdb":
            raise InvalidInputError("`--locked` answers DuckDB's SQL about now; leave --as-of and --dialect out.")
        with Warehouse(warehouse).locked(experiment_names=experiment) as shut_in:
            answer = shut_in.answer(query)
        table = answer.rows
        if answer.is_truncated:
            note(f"The answer has more than {table.num_rows} rows; those behind are left out.")
    else:
        if experiment:
            raise InvalidInputError("`--experiment` goes with `--locked`; else name it in the question.")
        table = Warehouse(warehouse).sql(query, dialect=dialect, as_of=as_of, at=at, output_format="arrow")
    print_rows(table.to_pylist(), as_json=as_json, columns=table.column_names)


@app.command()
def report(
    name: Annotated[str | None, typer.Argument(help="The report; without one, those that there are.")] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; may repeat, also for a list."),
    ] = None,
    warehouse: WarehouseOption = None,
    as_of: Annotated[str | None, typer.Option("--as-of", help="Only what was recorded by then.")] = None,
    engine: Annotated[str, typer.Option("--engine", help="`embedded`, or `spark` for big warehouses.")] = "embedded",
    as_json: JsonOption = False,
) -> None:
    """Answer one of the reports that come with the package, or list them.

    Example: mlwarehouse report seeds --param metric=val/loss --param experiments=digits
    """
    found = Warehouse(warehouse)
    if name is None:
        print_rows([told(spec) for spec in found.reports()], as_json=as_json)
        return
    parameters = parameters_of(name, param or ())
    table = found.report(name, as_of=as_of, engine=engine, output_format="arrow", **parameters)
    print_rows(table.to_pylist(), as_json=as_json, columns=table.column_names)


@app.command()
def score(
    table: Annotated[Path, typer.Argument(help="A Parquet or CSV file, or a Delta table's folder.")],
    model: Annotated[str, typer.Argument(help="The model, such as models:/sentiment@champion.")],
    key: Annotated[str, typer.Option("--key", "-k", help="The column that names each row.")],
    dataset: Annotated[
        str, typer.Option("--dataset", "-d", help="The name under which labels join to the predictions.")
    ],
    engine: Annotated[str, typer.Option("--engine", help="`embedded`, or `spark`.")] = "embedded",
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Score a table with a model; predictions become rows.

    Example: mlwarehouse score reviews.parquet models:/sentiment@champion --key row_id --dataset reviews
    """
    scored = Warehouse(warehouse).score(table, model, key=key, dataset=dataset, engine=engine)
    if as_json:
        print_json(record(scored))
    else:
        print(f"{scored.n_rows} predictions by {scored.model_uri} for dataset `{scored.dataset}`")


@app.command()
def dashboard(
    warehouse: WarehouseOption = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on.")] = 8050,
) -> None:
    """Serve the dashboards.

    Example: mlwarehouse dashboard --warehouse ./demo-warehouse --port 8050
    """
    found = Warehouse(warehouse)
    found.place()
    try:
        from mlwarehouse.dashboards.app import create_app
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"The dashboards need `{error.name}`, which isn't installed; run `pip install mlwarehouse[dashboards]`."
        ) from error
    application = create_app(found)
    note(f"dashboards of {found.uri} on http://{host}:{port} (Ctrl-C ends)")
    application.run(host=host, port=port)


@app.command()
def mcp(
    warehouse: WarehouseOption = None,
    experiment: Annotated[
        list[str] | None, typer.Option("--experiment", "-e", help="Only rows of this experiment; may repeat.")
    ] = None,
    time_limit_s: Annotated[float, typer.Option("--time-limit", help="Seconds that a question may take.")] = 10.0,
) -> None:
    """Serve schema, runs and read-only SQL by the Model Context Protocol, over standard input and output.

    Example: mlwarehouse mcp --warehouse ./wh --experiment sentiment
    """
    found = Warehouse(warehouse)
    found.place()
    try:
        from mlwarehouse.mcp import create_server
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'The MCP server needs `{error.name}`, which isn\'t installed; run `pip install "mlwarehouse[mcp]"`.'
        ) from error
    with found.locked(experiment_names=experiment, time_limit_s=time_limit_s) as locked:
        create_server(found, locked).run("stdio")


@app.command()
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


@app.command()
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


@app.command()
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
            print("kept snapshot: " + ", ".join(f"{name} {value}" for name, value in _kept_row(kept).items() if value))
        spool = record(health.spool)
        print("spool: " + ", ".join(f"{name} {value}" for name, value in spool.items()))
        for m in mended:
            print(f"{'mended' if m.is_mended else 'not mended'}: {m.what}")
        print("\n".join(f"problem: {p}" for p in health.problems) or "no problems found")
    if health.problems:
        raise typer.Exit(1)


@app.command()
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


@app.command()
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
        rows = [_kept_row(k) for k in found.snapshots()]
        print_rows(rows, as_json=as_json, columns=["name", "taken_at", "kept_by", "note"])
    else:
        taken = found.snapshot(keep=keep is not None, name=keep, note=note, at=at)
        print(taken)


def _kept_row(kept: KeptSnapshot) -> dict[str, Any]:
    taken_at = dt.datetime.fromtimestamp(kept.snapshot.taken_at / 1000, dt.UTC)
    said = {"name": kept.name, "taken_at": taken_at, "kept_by": kept.kept_by, "note": kept.note}
    return said | {"snapshot": str(kept.snapshot)}


@app.command()
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
    from mlwarehouse.ingest.spool_folder import replace

    try:
        replace(path, cursor)
    except OSError as error:
        raise InvalidInputError(f"The cursor can't be kept in `{path}`: {error}") from error


@models_app.command("list")
def models_list(
    warehouse: WarehouseOption = None, as_of: AsOfOption = None, at: AtOption = None, as_json: JsonOption = False
) -> None:
    """List the versions of all registered models.

    Example: mlwarehouse models list
    """
    found = Warehouse(warehouse)
    table = found.sql(
        "SELECT v.name, v.version, v.stage, a.aliases, v.run_id, v.user_id, v.created_at, v.description "
        "FROM model_versions AS v LEFT JOIN (SELECT name, version, string_agg(alias, ', ') AS aliases "
        "FROM model_aliases GROUP BY name, version) AS a ON a.name = v.name AND a.version = v.version "
        "ORDER BY v.name, v.version DESC",
        output_format="arrow",
        as_of=as_of,
        at=at,
    )
    print_rows(table.to_pylist(), as_json=as_json, columns=table.column_names)


@models_app.command("history")
def models_history(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    warehouse: WarehouseOption = None,
    as_of: AsOfOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell everything that happened to a registered model, oldest first.

    Example: mlwarehouse models history sentiment
    """
    found = Warehouse(warehouse)
    found.model_history(name, as_of=as_of, at=at)
    table = found.sql(
        "SELECT seq, event_at, kind, version, alias, stage, key, value, actor, comment FROM registry_events "
        "WHERE model_name = $name ORDER BY seq",
        parameters={"name": name},
        output_format="arrow",
        as_of=as_of,
        at=at,
    )
    print_rows(table.to_pylist(), as_json=as_json, columns=table.column_names)


@models_app.command("register")
def models_register(
    model_uri: Annotated[str, typer.Argument(help="The logged model, runs:/<run_id>/<path>.")],
    name: Annotated[str, typer.Argument(help="The registered model.")],
    comment: Annotated[str | None, typer.Option(help="Why.")] = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a logged model the next version of a registered model.

    Example: mlwarehouse models register runs:/<run_id>/model sentiment
    """
    version = Warehouse(warehouse).register_model(model_uri, name, comment=comment)
    _print_version(version, as_json)


@models_app.command("alias")
def models_alias(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    alias: Annotated[str, typer.Argument(help="The alias.")],
    version: Annotated[int, typer.Argument(help="The version it shall point at.")],
    comment: Annotated[str | None, typer.Option(help="Why.")] = None,
    warehouse: WarehouseOption = None,
) -> None:
    """Point an alias at a version.

    Example: mlwarehouse models alias sentiment champion 3
    """
    Warehouse(warehouse).set_model_alias(name, alias, version, comment=comment)
    print(f"models:/{name}@{alias} is version {version}")


@models_app.command("stage")
def models_stage(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    version: Annotated[int, typer.Argument(help="The version.")],
    stage: Annotated[str, typer.Argument(help="Development, Staging, Production, Archived or None.")],
    comment: Annotated[str | None, typer.Option(help="Why.")] = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a version to a stage.

    Example: mlwarehouse models stage sentiment 3 Production
    """
    moved = Warehouse(warehouse).transition_model_version_stage(name, version, stage, comment=comment)
    _print_version(moved, as_json)


def _print_version(version: Any, as_json: bool) -> None:
    if as_json:
        print_json(record(version))
    else:
        print(f"{version.uri}: stage {version.current_stage}, from run {version.run_id}")


if __name__ == "__main__":
    main()
