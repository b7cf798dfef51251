"""The datasets that the runs of experiments have used."""

from __future__ import annotations

from typing import Any

from mlwarehouse.access import readable
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.mlflow_api.store import MlflowStore

MOST_EXPERIMENTS = 20
MOST_FOUND = 1000

QUESTION = f"""
    SELECT DISTINCT r.experiment_id, i.name, i.digest, i.context
    FROM inputs AS i INNER JOIN runs AS r ON r.run_id = i.run_id
    WHERE list_contains($ids, r.experiment_id) AND r.lifecycle_stage = 'active'
    ORDER BY ALL LIMIT {MOST_FOUND}"""


def search_datasets(store: MlflowStore, asked: dict[str, Any]) -> dict[str, Any]:
    """The datasets of some experiments, each with what it was used for."""
    given = asked["experiment_ids"]
    if not given:
        raise InvalidInputError("SearchDatasets request must specify at least one experiment_id.")
    if len(given) > MOST_EXPERIMENTS:
        raise InvalidInputError(
            f"SearchDatasets request cannot specify more than {MOST_EXPERIMENTS} experiment_ids. Received "
            f"{len(given)} experiment_ids."
        )
    found = store.query(QUESTION, {"ids": list(readable(given))}).to_pylist()
    summaries = [{name: value for name, value in row.items() if value is not None} for row in found]
    return {"dataset_summaries": summaries} if summaries else {}
