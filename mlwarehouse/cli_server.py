"""The command that starts the server."""

from __future__ import annotations

from typing import Annotated

import typer

from mlwarehouse.cli_options import WarehouseOption
from mlwarehouse.cli_output import note
from mlwarehouse.errors import MissingDependencyError
from mlwarehouse.warehouse import Warehouse


def serve(
    warehouse: WarehouseOption = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at; 0 takes a free one.")] = 5000,
    open_to_everyone: Annotated[
        bool,
        typer.Option("--open-to-everyone", help="Serve where other machines reach it, without asking who they are."),
    ] = False,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option("--allowed-host", help="A name under which a proxy asks the server; may repeat."),
    ] = None,
    sql_seconds: Annotated[
        float, typer.Option("--sql-seconds", min=0.001, help="The longest that a question in SQL may take.")
    ] = 30.0,
    sql_mib: Annotated[
        int, typer.Option("--sql-mib", min=1, help="The most that an answer to one may hold, in MiB.")
    ] = 256,
    allow_model_code: Annotated[
        bool, typer.Option("--allow-model-code", help="Score with models that bring code of their own.")
    ] = False,
    mlflow_ui: Annotated[
        bool, typer.Option("--mlflow-ui", help="Show MLflow's web page, out of its installed package.")
    ] = False,
    request_log: Annotated[bool, typer.Option(help="Write a line of JSON for each request to standard output.")] = True,
) -> None:
    """Serve a warehouse to MLflow's clients; set MLFLOW_TRACKING_URI to the address that is shown.

    Example: mlwarehouse serve --warehouse ./wh --port 5000
    """
    found = Warehouse(warehouse)
    try:
        from mlwarehouse.server import Limits, Options, find_page, write_line
        from mlwarehouse.server import serve as run
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'The server needs `{error.name}`, which isn\'t installed; run `pip install "mlwarehouse[server]"`.'
        ) from error
    run(
        found,
        host=host,
        port=port,
        is_open=open_to_everyone,
        allowed_hosts=allowed_host or (),
        options=Options(
            limits=Limits(time_s=sql_seconds, answer_bytes=sql_mib << 20),
            allow_code=allow_model_code,
            log=write_line if request_log else None,
            mlflow_page=find_page() if mlflow_ui else None,
        ),
        tell=lambda address: note(f"{found.uri} for MLflow's clients at {address} (Ctrl-C ends)"),
    )
