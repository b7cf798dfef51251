"""The demo, told step by step: train, ask, register, score, join."""

from __future__ import annotations

import time
from pathlib import Path

import pandas as pd

import mlwarehouse as mlw
from mlwarehouse.cli_output import Progress, note

EXPERIMENT = "sentence-polarity"
MODEL = "sentiment"
DATASET = "noisy-reviews"


def run_demo(uri: str) -> None:
    """Take real sentences through every layer of a warehouse.

    Args:
        uri: The warehouse's folder; runs are added to what is there.

    Raises:
        MissingDependencyError: PyTorch or Java isn't installed.
        NotAWarehouseError: The folder holds something else.
    """
    from mlwarehouse.models.torch_import import require_torch

    # A model this small is slower on several threads, and much slower on a machine that is busy.
    require_torch().set_num_threads(1)
    from mlwarehouse.demo.sentences import load_sentences, noisy_reviews
    from mlwarehouse.demo.training import encode, grid, train_one

    started = time.monotonic()
    warehouse = mlw.set_warehouse(uri)

    _title("1. Train a grid of classifiers on real sentences, logging every step")
    split = load_sentences()
    encoded = encode(split)
    choices = list(grid())
    progress = Progress("run", len(choices))
    results = {}
    for choice in choices:
        run_id, accuracy = train_one(choice, split, encoded, EXPERIMENT)
        results[run_id] = accuracy
        progress.step(f"dim {choice.dim}, lr {choice.lr:g}, dropout {choice.dropout:g}: accuracy {accuracy:.3f}")

    _title('2. The leaderboard: mlw.search_runs(order_by=["metrics.`val/accuracy`.max DESC"])')
    shown = ["dim", "lr", "dropout"]
    board = mlw.search_runs(
        experiment_names=[EXPERIMENT],
        order_by=["metrics.`val/accuracy`.max DESC"],
        max_results=len(choices),
        columns=[
            "tags.mlflow.runName",
            *(f"params.{name}" for name in shown),
            "metrics.`val/accuracy`.max",
            "metrics.val/accuracy",
            "metrics.`val/loss`.min",
        ],
    )
    _table(board)

    _title("3. SQL over every metric point: how many steps until the training loss was first below 0.3?")
    question = """
        SELECT r.run_name, count(*) AS points, min(m.value) AS lowest_loss,
               min(m.step) FILTER (WHERE m.value < 0.3) AS first_step_below
        FROM metrics AS m JOIN runs AS r USING (run_id)
        WHERE m.key = 'train/loss' AND r.experiment_name = $experiment
        GROUP BY r.run_id, r.run_name ORDER BY first_step_below NULLS LAST, r.run_name"""
    _table(mlw.sql(question, parameters={"experiment": EXPERIMENT}))

    _title("4. Register the best model and point an alias at it")
    best = max(results, key=lambda run_id: results[run_id])
    version = mlw.register_model(f"runs:/{best}/model", MODEL, comment="best accuracy of the demo's grid")
    mlw.set_model_alias(MODEL, "champion", version.version, comment="first of the leaderboard")
    print(f"models:/{MODEL}@champion is version {version.version}, from run {best}")

    _title("5. Score a table with a Spark UDF, into the predictions table")
    reviews = noisy_reviews(split.hold_out)
    note(f"{len(reviews):,} rows; starting Spark")
    scored_rows = _score(warehouse, reviews)
    print(f"{scored_rows:,} predictions are rows now")

    _title("6. The truth arrives: join predictions to labels, in SQL")
    mlw.log_labels(reviews, dataset=DATASET, key="row_id", output="positive", label="label")
    answer = mlw.sql(
        """
        SELECT split_part(p.row_key, '-', 2) || ' %' AS words_dropped, count(*) AS n,
               avg(CASE WHEN (p.value > 0.5) = (l.value > 0.5) THEN 1.0 ELSE 0.0 END) AS accuracy
        FROM predictions AS p JOIN labels AS l USING (dataset, row_key, output)
        WHERE p.dataset = $dataset AND p.model_name = $model AND p.model_version = $version
        GROUP BY 1 ORDER BY 1""",
        parameters={"dataset": DATASET, "model": MODEL, "version": version.version},
    )
    _table(answer)

    mlw.flush()
    warehouse.close()
    _title(f"Done in {time.monotonic() - started:.0f} s. Everything is in {warehouse.uri}")
    print(f"Open the dashboards:   mlwarehouse dashboard --warehouse {uri}   (in a checkout: .venv/bin/mlwarehouse)")
    print(f'Ask it anything:       mlwarehouse sql --warehouse {uri} "SELECT * FROM runs LIMIT 5"')


def _score(warehouse: mlw.Warehouse, reviews: pd.DataFrame) -> int:
    folder = Path(warehouse.root) / "demo-input"
    folder.mkdir(exist_ok=True)
    file = folder / "noisy_reviews.parquet"
    reviews.to_parquet(file, index=False)
    spark = warehouse.spark()
    try:
        frame = spark.read.parquet(str(file))
        udf = mlw.spark_udf(spark, f"models:/{MODEL}@champion")
        note("three rows of df.withColumn('positive', udf('text')):")
        _table(frame.where("drop_rate = 0").withColumn("positive", udf("text")).limit(3).toPandas())
        scored = mlw.score(frame, f"models:/{MODEL}@champion", key="row_id", dataset=DATASET)
        return int(scored.n_rows)
    finally:
        spark.stop()


def _title(text: str) -> None:
    print(f"\n== {text}", flush=True)


def _table(frame: pd.DataFrame) -> None:
    print(frame.to_string(index=False, max_colwidth=60, float_format=lambda x: f"{x:.4g}"), flush=True)
