"""The command that starts the server."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated
from wsgiref.types import WSGIApplication

import typer

from mlwarehouse.cli_options import WarehouseOption
from mlwarehouse.cli_output import note
from mlwarehouse.errors import InvalidInputError, MissingDependencyError
from mlwarehouse.warehouse import Warehouse


def serve(
    warehouse: WarehouseOption = None,
    host: Annotated[str, typer.Option(help="The address to listen at.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="The port to listen at; 0 takes a free one.")] = 5000,
    auth: Annotated[
        bool | None,
        typer.Option(
            "--auth/--no-auth",
            help="Whether everybody must say who they are by a token; if not said, only where other machines reach it.",
        ),
    ] = None,
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
    dashboards: Annotated[bool, typer.Option("--dashboards", help="Show the dashboards, under /dashboards.")] = False,
    request_log: Annotated[bool, typer.Option(help="Write a line of JSON for each request to standard output.")] = True,
    tls_cert: Annotated[
        Path | None, typer.Option("--tls-cert", metavar="PEM", help="The certificate's file, to serve by TLS.")
    ] = None,
    tls_key: Annotated[Path | None, typer.Option("--tls-key", metavar="PEM", help="The file of its key.")] = None,
    rate_limit: Annotated[
        float, typer.Option(min=0, help="Requests a second of each user; 0 for as many as come.")
    ] = 1000.0,
    oidc_issuer: Annotated[
        str | None, typer.Option("--oidc-issuer", metavar="URL", help="Let people log in at this OpenID provider.")
    ] = None,
    oidc_client_id: Annotated[
        str | None, typer.Option("--oidc-client-id", help="What the provider calls this server.")
    ] = None,
    oidc_client_secret_file: Annotated[
        Path | None,
        typer.Option("--oidc-client-secret-file", metavar="PATH", help="What this server proves that by, in a file."),
    ] = None,
    oidc_name_claim: Annotated[str, typer.Option(help="What the provider calls a user's name.")] = "email",
    oidc_groups_claim: Annotated[str, typer.Option(help="What it calls the list of their groups.")] = "groups",
    oidc_audience: Annotated[str, typer.Option(help="For whom a program's JWT must be; else the client id.")] = "",
    public_url: Annotated[
        str | None, typer.Option("--public-url", metavar="URL", help="What browsers call this server, for log-ins.")
    ] = None,
) -> None:
    """Serve a warehouse to MLflow's clients; set MLFLOW_TRACKING_URI to the address that is shown.

    Example: mlwarehouse serve --warehouse ./wh --port 5000
    """
    if (tls_cert is None) != (tls_key is None):
        raise InvalidInputError("TLS needs both --tls-cert and --tls-key.")
    found = Warehouse(warehouse)
    try:
        from mlwarehouse.server import DASHBOARDS, Limits, LogInSettings, Options, find_page, write_line
        from mlwarehouse.server import serve as run
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f'The server needs `{error.name}`, which isn\'t installed; run `pip install "mlwarehouse[server]"`.'
        ) from error
    log_in = None
    if oidc_issuer is not None:
        if oidc_client_id is None or oidc_client_secret_file is None or public_url is None:
            raise InvalidInputError("--oidc-issuer needs --oidc-client-id, --oidc-client-secret-file and --public-url.")
        log_in = LogInSettings(
            issuer=oidc_issuer,
            client_id=oidc_client_id,
            client_secret=_secret(oidc_client_secret_file),
            public_url=public_url,
            name_claim=oidc_name_claim,
            groups_claim=oidc_groups_claim,
            audience=oidc_audience,
        )
    run(
        found,
        host=host,
        port=port,
        auth=auth,
        allowed_hosts=allowed_host or (),
        options=Options(
            limits=Limits(time_s=sql_seconds, answer_bytes=sql_mib << 20),
            allow_code=allow_model_code,
            log=write_line if request_log else None,
            mlflow_page=find_page() if mlflow_ui else None,
            dashboards=_dashboards(found, DASHBOARDS) if dashboards else None,
        ),
        tls=None if tls_cert is None or tls_key is None else (tls_cert, tls_key),
        rate_limit=rate_limit,
        log_in=log_in,
        tell=lambda address: _tell(found, address, DASHBOARDS if dashboards else None, "/" if mlflow_ui else None),
    )


def _dashboards(warehouse: Warehouse, path: str) -> WSGIApplication:
    try:
        from mlwarehouse.dashboards.app import create_app
    except ModuleNotFoundError as error:
        raise MissingDependencyError(
            f"The dashboards need `{error.name}`, which isn't installed; run `pip install mlwarehouse[dashboards]`."
        ) from error
    shown: WSGIApplication = create_app(warehouse, prefix=path).server
    return shown


def _tell(warehouse: Warehouse, address: str, dashboards: str | None, page: str | None) -> None:
    """Say what is served, and where."""
    note(f"{warehouse.uri} at {address} (Ctrl-C ends)")
    note(f"  MLflow's clients  MLFLOW_TRACKING_URI={address}")
    note(f"  own API           {address}/api/v1/openapi.json")
    note(f"  probes            {address}/healthz /readyz /metrics")
    if page is not None:
        note(f"  MLflow's page     {address}{page}")
    if dashboards is not None:
        note(f"  dashboards        {address}{dashboards}/")


def _secret(path: Path) -> str:
    """A secret from a file: in an argument everybody on the machine could read it."""
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"The client's secret can't be read from `{path}`: {error}") from error
