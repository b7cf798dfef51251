"""Predictions over HTTP: rows in, predictions out, kept as rows of `predictions` where that is asked for."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Literal

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from mlwarehouse.cli_output import plain
from mlwarehouse.errors import ConflictError, InvalidInputError, SignatureError
from mlwarehouse.models import Predictor
from mlwarehouse.models.arrow_rows import arrow_type
from mlwarehouse.parts.scorable import scorable
from mlwarehouse.server.answers import HEADERS
from mlwarehouse.server.api.bodies import ARROW, JSON, Body, chosen, media_type, parsed, read_bytes
from mlwarehouse.server.api.models import LoadedModel
from mlwarehouse.server.api.problems import guarded, plain_problem
from mlwarehouse.server.api.state import Api, api_of
from mlwarehouse.udf.predicting import try_rows

MOST_ROWS = 100_000
"""Rows of one request; tables are scored by `score`."""


class ScoreOptions(Body):
    """What is done with the rows."""

    model: str = Field(
        description="`models:/<name>/<version>`, `models:/<name>@<alias>`, or `runs:/<run_id>/<path>`.",
        examples=["models:/iris@champion"],
    )
    dataset: str | None = Field(
        None, description="Keep the predictions as rows of `predictions` under this name.", examples=["live"]
    )
    key: str | None = Field(None, description="With `dataset`, the column that names each row.", examples=["id"])
    source_id: str | None = Field(
        None, description="With `dataset`, names this scoring: sent again, it adds nothing and is answered the same."
    )
    on_error: Literal["raise", "null"] = Field(
        "raise", description="What becomes of rows that the model fails on: none is predicted, or theirs are null."
    )


class ScoreRequest(ScoreOptions):
    """Rows to score, and what is done with them."""

    rows: list[dict[str, Any]] = Field(
        description="An object a row, with the columns of the model's signature.",
        examples=[[{"id": "a", "petal_length": 1.4, "petal_width": 0.2}]],
        max_length=MOST_ROWS,
    )


@guarded
async def _score(request: Request) -> Response:
    api, kind = api_of(request), media_type(request)
    if kind not in (JSON, ARROW):
        return plain_problem(415, f"Rows come as {JSON} or {ARROW}; say which by `Content-Type`.")
    form = chosen(request, (ARROW, JSON) if kind == ARROW else (JSON, ARROW))
    if form is None:
        return plain_problem(406, f"Predictions come as {JSON} or {ARROW}; ask for one of these by `Accept`.")
    content = await read_bytes(request)
    options: ScoreOptions
    rows: list[dict[str, Any]] | bytes
    if kind == JSON:
        asked = parsed(content, ScoreRequest)
        options, rows = asked, asked.rows
    else:
        options, rows = parsed(json.dumps(dict(request.query_params)).encode(), ScoreOptions), content
    if options.dataset is None and (options.key is not None or options.source_id is not None):
        raise InvalidInputError("`key` and `source_id` are of predictions that are kept; add `dataset`.")
    if options.dataset is not None and not options.key:
        raise InvalidInputError("To keep predictions, say by `key` which column names the rows.")
    return await api.in_thread(_answer, api, options, rows, form)


def _answer(api: Api, options: ScoreOptions, given: list[dict[str, Any]] | bytes, form: str) -> Response:
    model = api.models.find(options.model)
    rows = _from_arrow(given) if isinstance(given, bytes) else _from_json(given, model.predictor)
    with model.lock:
        if options.dataset is None:
            made = try_rows(model.predictor, rows, on_error=options.on_error)
            outputs, n_failed, n_lacking = made.outputs, made.n_failed, made.n_lacking
            kept: dict[str, Any] = {}
        else:
            scored = api.warehouse.score_rows(
                scorable(api.warehouse, rows, None),
                model.found,
                lambda: model.predictor,
                model.uri,
                key=str(options.key),
                dataset=options.dataset,
                source_id=options.source_id,
                on_error=options.on_error,
            )
            outputs = _kept(api, model, options.dataset, scored.source_id)
            n_failed, n_lacking = scored.n_failed or 0, scored.n_lacking or 0
            kept = {"dataset": options.dataset, "source_id": scored.source_id, "n_added": scored.n_rows}
    if outputs is None:
        raise InvalidInputError("No row could be predicted, and the model doesn't say what its outputs are.")
    told = {"model": model.uri, "n_lacking": n_lacking, "n_failed": n_failed, **kept}
    if form == ARROW:
        headers = {**HEADERS, "X-Model": model.uri}
        return Response(_as_stream(outputs, told), headers=headers, media_type=ARROW)
    body = {**told, "predictions": plain(outputs.to_pylist())}
    return Response(json.dumps(body, ensure_ascii=False, default=str), headers=HEADERS, media_type=JSON)


def _from_arrow(content: bytes) -> pa.Table:
    try:
        rows: pa.Table = pa.ipc.open_stream(content).read_all()
        rows.validate(full=True)
    except (pa.ArrowException, ValueError, OSError) as error:
        raise InvalidInputError(f"The body isn't a stream of Arrow rows: {error}") from None
    if rows.num_rows > MOST_ROWS:
        raise InvalidInputError(f"The body has {rows.num_rows} rows, and {MOST_ROWS} may be sent at once.")
    return rows


def _from_json(given: list[dict[str, Any]], predictor: Predictor) -> pa.Table:
    """Rows with the types that the model takes, and of other columns what their values are."""
    fields = predictor.signature.inputs if predictor.signature is not None else ()
    types: Mapping[str, pa.DataType] = {field.name: arrow_type(field) for field in fields}
    names = list(dict.fromkeys(name for row in given for name in row))
    columns = {}
    for name in names:
        try:
            columns[name] = pa.array([row.get(name) for row in given], types.get(name))
        except (pa.ArrowException, OverflowError, TypeError, ValueError) as error:
            wanted = f", which the model takes as {types[name]}" if name in types else ""
            raise SignatureError(f"The column `{name}`{wanted}, can't be read: {error}") from None
    return pa.table(columns)


def _kept(api: Api, model: LoadedModel, dataset: str, source_id: str) -> pa.Table:
    """The predictions of a scoring as they are kept, in the order of the rows.

    Raises:
        ConflictError: What was scored under that id was something else.
    """
    long: pa.Table = api.warehouse.sql(
        "SELECT row_key, output, value, text FROM predictions WHERE writer_id = $writer AND dataset = $dataset "
        "AND model_digest = $digest ORDER BY writer_seq",
        parameters={"writer": f"score:{source_id}", "dataset": dataset, "digest": model.predictor.digest},
        output_format="arrow",
    )
    outputs = long.column("output").unique().to_pylist()
    if not outputs:
        raise ConflictError(f"By the source id `{source_id}` something else was scored before; choose another one.")
    columns: dict[str, Any] = {"row_key": long.filter(pc.equal(long.column("output"), outputs[0])).column("row_key")}
    signature = model.predictor.signature
    types = {f.name: arrow_type(f) for f in signature.outputs} if signature is not None else {}
    for name in outputs:
        rows = long.filter(pc.equal(long.column("output"), name))
        value, text = rows.column("value"), rows.column("text")
        is_text = value.null_count == len(value) and text.null_count < len(text)
        found = text if is_text else value
        wanted = types.get(name)
        plainly = wanted is not None and not is_text and not pa.types.is_nested(wanted)
        columns[name] = found.cast(wanted) if plainly else found
    return pa.table(columns)


def _as_stream(rows: pa.Table, told: Mapping[str, Any]) -> bytes:
    metadata = {name: str(value) for name, value in told.items()}
    out = pa.BufferOutputStream()
    with pa.ipc.new_stream(out, rows.schema.with_metadata(metadata)) as writer:
        writer.write_table(rows.replace_schema_metadata(metadata))
    return bytes(out.getvalue().to_pybytes())


ROUTES: tuple[Route, ...] = (Route("/api/v1/score", _score, methods=["POST"]),)
"""The address of predictions."""
