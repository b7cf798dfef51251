"""Generated predictions, inputs and labels, as rows of their tables."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd

from tests.reports.data import DAY

Rows = list[dict[str, Any]]


def frame(seed: int, n: int, *, day: float = 0.0, shift: float = 0.0) -> pd.DataFrame:
    """Rows of a scored table: features, a probability, and what came true; some are missing."""
    rng = np.random.default_rng(seed)
    amount = np.round(rng.normal(shift, 1 + shift, n), 2)
    amount[rng.random(n) < 0.05] = math.nan
    city = rng.choice(["Oslo", "Rome", "Lima"], n, p=[0.5 - shift / 4, 0.3, 0.2 + shift / 4]).astype(object)
    city[rng.random(n) < 0.03] = None
    p = np.round(rng.random(n), 3)
    return pd.DataFrame(
        {
            "row_key": [f"{seed}-{i}" for i in range(n)],
            "amount": amount,
            "city": city,
            "p": p,
            "truth": (rng.random(n) < p**1.3).astype(float),
            "is_told": rng.random(n) < 0.8,
            "at": day * DAY + rng.random(n) * DAY / 3,
        }
    )


def tables(
    frames: dict[str, list[pd.DataFrame]], *, version: int = 1, features: tuple[str, ...] = ("amount", "city")
) -> dict[str, Rows]:
    """Rows of `predictions`, `prediction_inputs` and `labels`, by dataset."""
    made: dict[str, Rows] = {"predictions": [], "prediction_inputs": [], "labels": []}
    for dataset, parts in frames.items():
        for part, rows in enumerate(parts):
            model = {"model_name": "m", "model_version": version, "model_digest": f"d{version}", "dataset": dataset}
            scoring = model | {"writer_id": f"score:{dataset}-{part}-{version}"}
            for seq, row in enumerate(rows.to_dict("records")):
                own = {"row_key": row["row_key"], "event_at": row["at"], "recorded_at": row["at"] + 60}
                one = scoring | own | {"writer_seq": seq}
                made["predictions"].append(one | {"output": "p", "value": row["p"], "latency_us": 2.0})
                for feature in features:
                    value = row[feature]
                    is_text = feature == "city"
                    kept = {"text": value} if is_text else {"value": None if seq % 2 and math.isnan(value) else value}
                    made["prediction_inputs"].append(one | {"feature": feature} | kept)
                if row["is_told"] and version == 1:
                    label = {"dataset": dataset, "output": "p", "value": row["truth"], "writer_id": "labels:x"}
                    made["labels"].append(label | own | {"writer_seq": seq})
    return made


def together(*several: dict[str, Rows]) -> dict[str, Rows]:
    """Rows of several."""
    return {name: [row for one in several for row in one[name]] for name in several[0]}
