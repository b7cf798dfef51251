"""The command line: the same things that Python offers, for a shell."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from mlwarehouse._version import __version__
from mlwarehouse.cli_output import Progress, note, print_json, print_rows, record
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
    as_of: Annotated[str | None, typer.Option("--as-of", help="Only what was recorded by then.")] = None,
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
        table = Warehouse(warehouse).sql(query, dialect=dialect, as_of=as_of, output_format="arrow")
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
    """Merge small files, write checkpoints, and remove files that no version of the last week needs, and no pin.

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
        f"({done.n_blob_bytes} bytes), {done.n_pins} pins {said}"
    )


@app.command()
def pin(
    name: Annotated[str, typer.Argument(help="A name for the pin.")],
    warehouse: WarehouseOption = None,
    remove: Annotated[bool, typer.Option("--remove", help="Let the pin of this name go.")] = False,
) -> None:
    """Keep the tables as they are now readable under a name, however old they get.

    Example: mlwarehouse pin paper-2026 --warehouse ./wh
    """
    found = Warehouse(warehouse)
    if remove:
        found.unpin(name)
        print(f"pin {name} is gone")
    else:
        print(found.pin(name))


@models_app.command("list")
def models_list(warehouse: WarehouseOption = None, as_json: JsonOption = False) -> None:
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
    )
    print_rows(table.to_pylist(), as_json=as_json, columns=table.column_names)


@models_app.command("history")
def models_history(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell everything that happened to a registered model, oldest first.

    Example: mlwarehouse models history sentiment
    """
    found = Warehouse(warehouse)
    found.get_registered_model(name)
    table = found.sql(
        "SELECT seq, event_at, kind, version, alias, stage, key, value, actor, comment FROM registry_events "
        "WHERE model_name = $name ORDER BY seq",
        parameters={"name": name},
        output_format="arrow",
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
