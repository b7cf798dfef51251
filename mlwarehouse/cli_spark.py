"""The command line's Spark: a server for JDBC clients."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from mlwarehouse.cli_options import WarehouseOption
from mlwarehouse.cli_output import note
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.warehouse import Warehouse


def thrift_server(
    warehouse: WarehouseOption = None,
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="The port to listen on; 0 means a free one.")] = 10_000,
    namespace: Annotated[str, typer.Option(help="The database that holds tables and views.")] = "mlwarehouse",
    master: Annotated[str | None, typer.Option(help="Spark's master; else all cores of this machine.")] = None,
    conf: Annotated[
        list[str] | None, typer.Option("--conf", metavar="NAME=VALUE", help="A setting of Spark; may repeat.")
    ] = None,
) -> None:
    """Serve tables and views to JDBC and ODBC clients by Spark's Thrift server.

    Example: mlwarehouse thrift-server --warehouse ./wh --port 10000
    """
    config = dict(_setting(text) for text in conf or ())
    found = Warehouse(warehouse)
    session = found.spark(master=master, config=config, namespace=namespace)
    with found.thrift_server(host=host, port=port, namespace=namespace, spark=session) as server:
        note(f"tables and views of {found.uri} on {server.url} (Ctrl-C ends)")
        threading.Event().wait()


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise InvalidInputError(f"A setting of Spark is written NAME=VALUE, as spark.driver.memory=4g; got `{text}`.")
    return name, value
