"""Scoring on Spark: as a function of columns beside a bare ``mapInArrow`` and MLflow's, and a whole table as rows.

Full size is 2 M rows of 32 floats; ``--scale 10`` scores 20 M. Sessions and workers are warm, all sides have the same
cores, and each predicts what bare PyTorch does, to the last bit.
"""

from __future__ import annotations

import functools
import os
import time
import warnings
import zlib
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.harness import Bar, Benchmark, Measured, Side
from benchmarks.scoring import FEATURES, digest, expected, network, table
from benchmarks.stores import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

WARM_ROWS = 20_000
WORDS = 20_000


def session() -> Any:
    """A session with all cores of this machine."""
    from mlwarehouse.engines.spark_session import build_session

    return build_session(app_name="benchmark", config={"spark.driver.memory": "4g"})


def saved(place: Path) -> Path:
    """The network as a package of ours."""
    import torch
    from torch.export import Dim, export

    from mlwarehouse.models import Field, Signature, save_model

    program = export(network(), (torch.zeros(8, 32),), dynamic_shapes=({0: Dim("rows")},))
    signature = Signature(tuple(Field(name, "float") for name in FEATURES), (Field("prediction", "float"),))
    save_model(place / "model", program, signature=signature)
    return place / "model"


def by_udf(spark: Any, frame: Any, place: Path) -> Any:
    """`spark_udf`."""
    from mlwarehouse.udf import spark_udf

    return frame.select("id", spark_udf(spark, saved(place))().alias("p"))


def by_map(spark: Any, frame: Any, place: Path) -> Any:
    """What a careful engineer writes by hand: no checks, no nulls, no version."""
    import torch

    torch.save(network(), place / "network.pt")
    file = str(place / "network.pt")

    def predict(batches: Iterator[Any]) -> Iterator[Any]:
        import numpy as np
        import pyarrow as pa
        import torch

        torch.set_num_threads(1)
        model = torch.load(file, weights_only=False)
        with torch.inference_mode():
            for batch in batches:
                columns = np.stack([batch.column(name).to_numpy() for name in FEATURES])
                found = model(torch.from_numpy(columns.T)).numpy()[:, 0]
                yield pa.record_batch([batch.column("id"), pa.array(found)], names=["id", "p"])

    return frame.mapInArrow(predict, "id bigint, p float")


def by_function(spark: Any, frame: Any, place: Path) -> Any:
    """The same as a function of columns: Spark keeps each row until its prediction comes."""
    import pyarrow as pa
    import torch
    from pyspark.sql.pandas.functions import arrow_udf

    torch.save(network(), place / "network.pt")
    file = str(place / "network.pt")

    def predict(batches: Iterator[tuple[pa.Array, ...]]) -> Iterator[pa.Array]:
        import numpy as np
        import torch

        torch.set_num_threads(1)
        model = torch.load(file, weights_only=False)
        with torch.inference_mode():
            for batch in batches:
                columns = np.stack([column.to_numpy() for column in batch])
                yield pa.array(model(torch.from_numpy(columns.T)).numpy()[:, 0])

    predict.__annotations__ = {"batches": Iterator[tuple[pa.Array, ...]], "return": Iterator[pa.Array]}
    return frame.select("id", arrow_udf(predict, "float")(*FEATURES).alias("p"))


def by_mlflow(spark: Any, frame: Any, place: Path) -> Any:
    """MLflow's function of the same network."""
    import mlflow
    import numpy as np
    import pandas as pd

    example = pd.DataFrame(np.zeros((2, 32), np.float32), columns=FEATURES)
    signature = mlflow.models.infer_signature(example, np.zeros((2, 1), np.float32))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of its own pickle
        mlflow.pytorch.save_model(
            network(),
            str(place / "mlflow"),
            signature=signature,
            pip_requirements=["torch"],
            serialization_format="pickle",
        )
    function = mlflow.pyfunc.spark_udf(spark, str(place / "mlflow"), result_type="float", env_manager="local")
    return frame.select("id", function(*FEATURES).alias("p"))


def predicted(place: Path, n: int, *, by: Callable[[Any, Any, Path], Any]) -> Measured:
    """Predict all rows and throw the predictions away; what they were is looked at after that."""
    found, seconds = _predictions(place, table(n), table(WARM_ROWS), by)
    return Measured(n / seconds / 1e6, digest(found))


def _predictions(place: Path, path: Path, few: Path, by: Callable[[Any, Any, Path], Any]) -> tuple[Any, float]:
    """The predictions of a file's rows by id, and how many seconds it took to make them once; a few rows warm up."""
    spark = session()
    (place / "few").mkdir()
    by(spark, spark.read.parquet(str(few)), place / "few").write.format("noop").mode("overwrite").save()
    (place / "all").mkdir()
    frame = by(spark, spark.read.parquet(str(path)), place / "all")
    frame.limit(1).collect()
    begun = time.perf_counter()
    frame.write.format("noop").mode("overwrite").save()
    seconds = time.perf_counter() - begun
    found = frame.toArrow().sort_by("id")["p"].to_numpy()
    spark.stop()
    return found, seconds


def scored(place: Path, n: int) -> Measured:
    """`score` of the file on Spark: predictions as rows, durable."""
    import mlwarehouse as mlw

    spark, path, few = session(), table(n), table(WARM_ROWS)
    warehouse = mlw.set_warehouse(place / "wh", capture_code=False, committer="off")
    with mlw.start_run(experiment="bench"):
        model = str(saved(place))
        mlw.score(few, model, key="id", dataset="warm", engine=spark)
        begun = time.perf_counter()
        mlw.score(path, model, key="id", dataset="bench", engine=spark)
        seconds = time.perf_counter() - begun
    found = mlw.sql("SELECT row_key, value FROM predictions WHERE dataset = 'bench'", output_format="arrow")
    found = found.set_column(0, "row_key", found["row_key"].cast("int64")).sort_by("row_key")
    warehouse.close()
    spark.stop()
    return Measured(n / seconds / 1e6, digest(found["value"].to_numpy()))


def written(place: Path, n: int) -> Measured:
    """MLflow's function, and its predictions with their keys written as Parquet, neither committed nor synced."""
    spark, path, few = session(), table(n), table(WARM_ROWS)
    (place / "few").mkdir()
    by_mlflow(spark, spark.read.parquet(str(few)), place / "few").write.parquet(str(place / "few" / "out"))
    (place / "all").mkdir()
    frame = by_mlflow(spark, spark.read.parquet(str(path)), place / "all")
    frame.limit(1).collect()
    begun = time.perf_counter()
    frame.write.parquet(str(place / "all" / "out"))
    seconds = time.perf_counter() - begun
    found = spark.read.parquet(str(place / "all" / "out")).toArrow().sort_by("id")
    spark.stop()
    return Measured(n / seconds / 1e6, digest(found["p"].to_numpy()))


class Mood:
    """A bag of words, hashed, and a linear layer: a text model whose words take longer than its tensors."""

    def __init__(self) -> None:
        """Make its layers, the same in each process."""
        import torch

        torch.manual_seed(0)
        self.layers = torch.nn.ModuleList([torch.nn.EmbeddingBag(4096, 16), torch.nn.Linear(16, 1)])

    def predict(self, frame: Any) -> Any:
        """A score for each text."""
        import torch

        numbers, begins = [], []
        for text in frame["text"]:
            begins.append(len(numbers))
            numbers += [zlib.crc32(word.encode()) % 4096 for word in text.split()]
        with torch.inference_mode():
            bags = self.layers[0](torch.tensor(numbers), torch.tensor(begins))
            return self.layers[1](bags)[:, 0].numpy()


def texts(n: int) -> Path:
    """A Parquet file of `n` texts of 20 words, made once."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    path = Path(os.environ[VARIABLE]) / f"texts-{n}.parquet"
    if not path.exists():
        words = np.random.default_rng(0).integers(0, WORDS, (n, 20))
        column = [" ".join(f"w{word}" for word in row) for row in words]
        pq.write_table(pa.table({"id": range(n), "text": column}), path, row_group_size=n // 8 + 1)
    return path


@functools.cache
def expected_of_texts(n: int) -> tuple[int, str]:
    """The answer, predicted in the batches that Spark makes."""
    import pandas as pd

    return digest(_rounded(Mood().predict(pd.read_parquet(texts(n)))))


def _rounded(values: Any) -> Any:
    """What doesn't depend on how many texts came at once: sums of one bag are added up in the same order."""
    import numpy as np

    return np.round(np.asarray(values, np.float64), 5)


def mood_by_udf(spark: Any, frame: Any, place: Path) -> Any:
    """`spark_udf` of the text model."""
    from mlwarehouse.models import Field, Signature, save_model
    from mlwarehouse.udf import spark_udf

    signature = Signature((Field("text", "string"),), (Field("prediction", "float"),))
    save_model(place / "mood", Mood(), signature=signature)
    return frame.select("id", spark_udf(spark, place / "mood")().alias("p"))


def mood_by_mlflow(spark: Any, frame: Any, place: Path) -> Any:
    """MLflow's function of the same."""
    import mlflow
    import pandas as pd

    class Wrapped(mlflow.pyfunc.PythonModel):  # type: ignore[misc, unused-ignore]
        def load_context(self, context: Any) -> None:
            self.model = Mood()

        def predict(self, context: Any, model_input: Any, params: Any = None) -> Any:
            return self.model.predict(model_input)

    signature = mlflow.models.infer_signature(pd.DataFrame({"text": ["a b"]}))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of missing type hints
        mlflow.pyfunc.save_model(
            str(place / "mlflow"), python_model=Wrapped(), signature=signature, pip_requirements=["torch"]
        )
    function = mlflow.pyfunc.spark_udf(spark, str(place / "mlflow"), result_type="float", env_manager="local")
    return frame.select("id", function("text").alias("p"))


def read_texts(place: Path, n: int, *, by: Callable[[Any, Any, Path], Any]) -> Measured:
    """Predict all texts and throw the predictions away."""
    found, seconds = _predictions(place, texts(n), texts(WARM_ROWS // 10), by)
    return Measured(n / seconds / 1e3, digest(_rounded(found)))


def _sides(work: Callable[..., Measured], size: int, *sides: tuple[str, Callable[..., Any]]) -> Sequence[Side]:
    return [Side(name, partial(work, by=by), size) for name, by in sides]


_ROWS, _TEXTS = 2_000_000, 200_000
_UDF = _sides(
    predicted,
    _ROWS,
    ("mlwarehouse `spark_udf`", by_udf),
    ("`mapInArrow` by hand", by_map),
    ("`arrow_udf` by hand (limit of a function of columns)", by_function),
    ("MLflow `spark_udf`", by_mlflow),
)
_MOOD = _sides(read_texts, _TEXTS, ("mlwarehouse `spark_udf`", mood_by_udf), ("MLflow `spark_udf`", mood_by_mlflow))

BENCHMARKS = (
    Benchmark(
        name="spark_score",
        what="score 32 floats a row with a small network on Spark, from Parquet to rows",
        unit="M rows/s",
        is_better_low=False,
        us=Side("mlwarehouse `score(engine=spark)`, predictions committed", scored, _ROWS),
        others=(Side("MLflow `spark_udf`, written as Parquet", written, _ROWS),),
        bar=Bar("≥ 3 times MLflow", lambda value, best: value >= 3 * best),
        expected=expected,
    ),
    Benchmark(
        name="spark_udf",
        what="a small network as a function of 32 columns in Spark, predictions thrown away",
        unit="M rows/s",
        is_better_low=False,
        us=_UDF[0],
        others=tuple(_UDF[1:]),
        bar=Bar("≥ 95 % of the best of them", lambda value, best: value >= 0.95 * best),
        expected=expected,
    ),
    Benchmark(
        name="spark_text",
        what="a text model as a function of a column in Spark, predictions thrown away",
        unit="k rows/s",
        is_better_low=False,
        us=_MOOD[0],
        others=tuple(_MOOD[1:]),
        bar=Bar("faster than MLflow", lambda value, best: value > best),
        expected=expected_of_texts,
    ),
)
