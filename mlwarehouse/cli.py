"""The command line: the same things that Python offers, for a shell."""

from __future__ import annotations

import sys
from typing import Annotated

import typer

from mlwarehouse._version import __version__
from mlwarehouse.cli_access import grant, revoke, tokens_app, users_app
from mlwarehouse.cli_changes import COMMANDS as PAST
from mlwarehouse.cli_import import import_
from mlwarehouse.cli_maintenance import COMMANDS as MAINTENANCE
from mlwarehouse.cli_merging import COMMANDS as MERGING
from mlwarehouse.cli_models import models_app
from mlwarehouse.cli_options import AsOfOption, AtOption, JsonOption, WarehouseOption
from mlwarehouse.cli_output import note, print_json, print_rows
from mlwarehouse.cli_report import parameters_of, told
from mlwarehouse.cli_scoring import COMMANDS as SCORING
from mlwarehouse.cli_server import serve
from mlwarehouse.cli_spark import thrift_server
from mlwarehouse.cli_sql import sql
from mlwarehouse.cli_webhooks import webhooks_app
from mlwarehouse.errors import MissingDependencyError, WarehouseError
from mlwarehouse.warehouse import Warehouse

app = typer.Typer(
    name="mlwarehouse",
    help="An analytics-first experiment warehouse: runs, metrics, models and predictions as open Delta tables.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(models_app, name="models")
app.add_typer(webhooks_app, name="webhooks")
app.add_typer(users_app, name="users")
app.add_typer(tokens_app, name="tokens")


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


app.command()(sql)
app.command("import")(import_)


@app.command()
def report(
    name: Annotated[str | None, typer.Argument(help="The report; without one, those that there are.")] = None,
    param: Annotated[
        list[str] | None,
        typer.Option("--param", "-p", metavar="NAME=VALUE", help="A parameter; may repeat, also for a list."),
    ] = None,
    warehouse: WarehouseOption = None,
    as_of: AsOfOption = None,
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


for _command in (*SCORING, *MERGING, *MAINTENANCE, *PAST, serve, grant, revoke, thrift_server):
    app.command()(_command)


if __name__ == "__main__":
    main()
