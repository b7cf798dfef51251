"""The command line's scoring: predictions of models as rows, and the truth about them."""

from __future__ import annotations

from typing import Annotated

import typer

from mlwarehouse.cli_options import JsonOption, WarehouseOption
from mlwarehouse.cli_output import print_json, record
from mlwarehouse.warehouse import Warehouse

RowsArgument = Annotated[
    str, typer.Argument(help="A Parquet or CSV file, a Delta table's folder, a table or view by name, or a SELECT.")
]
KeyOption = Annotated[str, typer.Option("--key", "-k", help="The column that names each row.")]
DatasetOption = Annotated[
    str, typer.Option("--dataset", "-d", help="The name under which labels join to the predictions.")
]
SourceOption = Annotated[
    str | None, typer.Option("--source-id", metavar="ID", help="Names what is added: the same again adds nothing.")
]


def score(
    rows: RowsArgument,
    model: Annotated[str, typer.Argument(help="The model, such as models:/sentiment@champion.")],
    key: KeyOption,
    dataset: DatasetOption,
    warehouse: WarehouseOption = None,
    at: Annotated[
        str | None, typer.Option("--at", metavar="VERSION", help="The version of a table; or a snapshot, for SQL.")
    ] = None,
    time: Annotated[
        str | None, typer.Option("--time", metavar="COLUMN", help="The column that says when each row happened.")
    ] = None,
    keep: Annotated[
        list[str] | None, typer.Option("--keep", metavar="COLUMN", help="Keep this input's values; may repeat.")
    ] = None,
    keep_all: Annotated[
        bool, typer.Option("--keep-all", help="Keep the values of all inputs of the signature.")
    ] = False,
    on_error: Annotated[
        str, typer.Option("--on-error", help="A row that the model fails on: `raise`, or `null`.")
    ] = "raise",
    batch_rows: Annotated[
        int | None, typer.Option("--batch-rows", metavar="N", help="The most rows that the model gets at once.")
    ] = None,
    source_id: SourceOption = None,
    engine: Annotated[str, typer.Option("--engine", help="`embedded`, or `spark`.")] = "embedded",
    trusted_type: Annotated[
        list[str] | None, typer.Option("--trusted-type", metavar="TYPE", help="Let a scikit-learn model use it.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Score rows with a model; predictions become rows. A terminal shows how far it is.

    Example: mlwarehouse score reviews.parquet models:/sentiment@champion --key row_id --dataset reviews --keep-all
    """
    scored = Warehouse(warehouse).score(
        rows,
        model,
        key=key,
        dataset=dataset,
        source_id=source_id,
        at=int(at) if at is not None and at.isdigit() else at,
        time=time,
        keep=True if keep_all else keep or (),
        on_error=on_error,
        engine=engine,
        batch_rows=batch_rows,
        progress=True,
        trusted_types=trusted_type or (),
    )
    if as_json:
        print_json(record(scored))
        return
    gaps = ((scored.n_lacking, "rows lack a value"), (scored.n_failed, "made the model fail"))
    told = ", ".join(f"{n} {why}" for n, why in gaps if n)
    print(
        f"{scored.n_rows} predictions by {scored.model_uri} for dataset `{scored.dataset}`"
        f"{f' ({told})' if told else ''}"
    )


def label(
    rows: RowsArgument,
    key: KeyOption,
    dataset: DatasetOption,
    label: Annotated[str, typer.Option("--label", "-l", metavar="COLUMN", help="The column with the truth.")],
    output: Annotated[str, typer.Option("--output", help="The output that it is the truth for.")] = "prediction",
    warehouse: WarehouseOption = None,
    source_id: SourceOption = None,
    as_json: JsonOption = False,
) -> None:
    """Record the truth for rows that were, or will be, scored.

    Example: mlwarehouse label truth.csv --key row_id --dataset reviews --label is_positive
    """
    n = Warehouse(warehouse).log_labels(rows, dataset=dataset, key=key, label=label, output=output, source_id=source_id)
    if as_json:
        print_json({"dataset": dataset, "n_rows": n})
    else:
        print(f"{n} labels for dataset `{dataset}`")


COMMANDS = (score, label)
