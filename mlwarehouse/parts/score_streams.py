"""The part of a warehouse that scores a stream of Spark's, each row once."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import InvalidInputError
from mlwarehouse.parts.scoring import Predicting

if TYPE_CHECKING:
    from pyspark.sql import DataFrame
    from pyspark.sql.streaming.query import StreamingQuery


class ScoringStreams(Predicting):
    """Predictions of rows as they come in."""

    def score_stream(
        self,
        stream: DataFrame,
        model_uri: str,
        *,
        key: str,
        dataset: str,
        checkpoint: str | Path,
        trigger: Mapping[str, Any] | None = None,
        time: str | None = None,
        keep: Sequence[str] | bool = (),
        on_error: str = "raise",
        batch_rows: int | None = None,
        allow_pickle: bool = False,
        trusted_types: Sequence[str] = (),
    ) -> StreamingQuery:
        """Score a stream of Spark's: each row's predictions become rows of `predictions` once, whoever is killed when.

        Spark repeats a batch of which it doesn't know that it was done, with the same rows and number. A batch is
        committed under the stream's id, which its checkpoint holds, and that number; so a repeated one adds nothing.

        Args:
            stream: A streaming frame of a classic session.
            model_uri: As for `find_model`; the version that it means now is pinned until the stream is started again.
            key: As for `score`.
            dataset: As for `score`.
            checkpoint: The folder in which Spark keeps how far the stream is; driver and workers see it. With another
                one, or when it is removed, it is another stream, which begins again.
            trigger: When there is a batch, as Spark's ``trigger`` takes it: ``{"availableNow": True}`` ends when all
                that is there is scored, ``{"processingTime": "10 seconds"}`` waits between batches; None means always.
            time: As for `score`.
            keep: As for `score`.
            on_error: As for `score`.
            batch_rows: As for `score`.
            allow_pickle: As for `score`.
            trusted_types: As for `score`.

        Returns:
            Spark's query, which runs: ``awaitTermination()`` waits for its end and raises what ended it.

        Raises:
            NotFoundError: No model is there.
            SignatureError: The stream's columns don't fit the model's signature.
            InvalidInputError: It isn't a stream, or one of Spark Connect; there is no column of a name that is given;
                or the checkpoint isn't a folder of this machine.
        """
        from mlwarehouse.udf.score_workers import frame_schema
        from mlwarehouse.udf.shipping import is_connect
        from mlwarehouse.udf.streaming import What

        if is_connect(stream.sparkSession):
            raise InvalidInputError(
                "A session of Spark Connect runs a stream's batches elsewhere; start the stream in a classic session."
            )
        if not stream.isStreaming:
            raise InvalidInputError("The frame isn't a stream; `score` scores a frame.")
        if "://" in str(checkpoint):
            raise InvalidInputError(f"The checkpoint is a folder that this machine sees; got `{checkpoint}`.")
        folder = Path(checkpoint).resolve()
        found = self.find_model(model_uri)
        signature, schema = found.package.signature, frame_schema(stream)
        What.of(key, time, keep, signature, schema).check(signature, schema)
        pinned = f"models:/{found.name}/{found.version}" if found.name else model_uri

        def score_batch(frame: DataFrame, number: int) -> None:
            # Spark writes it before a stream's first batch.
            stream_id = json.loads((folder / "metadata").read_text(encoding="utf-8"))["id"]
            self.score(
                frame,
                pinned,
                key=key,
                dataset=dataset,
                source_id=f"stream {stream_id} batch {number}",
                time=time,
                keep=keep,
                on_error=on_error,
                batch_rows=batch_rows,
                allow_pickle=allow_pickle,
                trusted_types=trusted_types,
            )

        writer = stream.writeStream.foreachBatch(score_batch).option("checkpointLocation", str(folder))
        return (writer.trigger(**trigger) if trigger else writer).start()
