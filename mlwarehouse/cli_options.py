"""Options that several commands have."""

from __future__ import annotations

from typing import Annotated

import typer

WarehouseOption = Annotated[
    str | None,
    typer.Option(
        "--warehouse", "-w", metavar="URI", help="The warehouse's folder; else MLWAREHOUSE_URI or ./mlwarehouse."
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
