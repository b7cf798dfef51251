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
AsOfOption = Annotated[
    str | None, typer.Option("--as-of", metavar="TIME", help="Only what was recorded by then, such as 2026-11-01.")
]
AtOption = Annotated[
    str | None, typer.Option("--at", metavar="SNAPSHOT", help="In a snapshot: its text, or the name of a kept one.")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
