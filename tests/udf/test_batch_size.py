"""How many rows a model is given at once, and what it computes with."""

from __future__ import annotations

from dataclasses import dataclass, field

import pyarrow as pa
import torch
from hypothesis import given
from hypothesis import strategies as st

from mlwarehouse.models import load_predictor
from mlwarehouse.udf.batch_size import FIRST_ROWS, LEAST_S, MOST_BYTES, MOST_S, BatchSize
from mlwarehouse.udf.predicting import try_rows
from mlwarehouse.udf.task_resources import TaskResources, resources_of, use_threads

MANY = pa.table({"x": pa.nulls(100_000, pa.int8())})


@given(st.floats(1e-7, 30.0))
def test_a_call_settles_where_it_takes_neither_long_nor_nothing(row_s):
    """Whatever a row costs, after some calls one takes between the least and the most; or is one row, or all."""
    size = BatchSize()
    for _ in range(40):
        n = min(size.of(MANY), MANY.num_rows)
        size.took(n, n * row_s)
    n = min(size.of(MANY), MANY.num_rows)
    assert n * row_s <= MOST_S or n == 1
    assert n * row_s >= LEAST_S or n == MANY.num_rows


@given(st.integers(1, 1 << 16), st.integers(1, 8))
def test_a_call_has_few_bytes_however_fast_it_is(row_bytes, n_rows):
    size = BatchSize()
    for _ in range(20):
        size.took(1 << 30, 0.0)
    rows = pa.table({"x": pa.array([bytes(row_bytes)] * n_rows, pa.binary())})
    assert size.of(rows) * rows.nbytes / n_rows <= MOST_BYTES


def test_large_rows_are_given_one_by_one():
    image = pa.table({"x": pa.array([bytes(MOST_BYTES // 2 + 1)] * 3, pa.binary())})
    assert BatchSize().of(image) == 1


def test_the_last_and_small_call_of_a_batch_makes_none_larger():
    size = BatchSize()
    size.took(10, 0.0)
    assert size.of(MANY) == FIRST_ROWS
    size.took(FIRST_ROWS, 0.0)
    assert size.of(MANY) == 2 * FIRST_ROWS


def test_what_was_asked_for_stays():
    size = BatchSize(7)
    size.took(7, 0.0)
    size.took(7, 100.0)
    assert size.of(MANY) == 7


def test_batches_are_cut_as_the_size_says_and_no_row_is_lost(linear):
    asked: list[int] = []

    class Noting(BatchSize):
        def took(self, n_rows: int, seconds: float) -> None:
            asked.append(n_rows)

    rows = pa.table({"a": [float(i) for i in range(10)], "b": [None if i == 4 else 0.0 for i in range(10)]})
    made = try_rows(load_predictor(linear), rows, size=Noting(4))
    assert asked == [4, 4, 1]
    assert made.outputs is not None
    assert made.outputs.column(0).to_pylist() == [None if i == 4 else 2.0 * i + 1 for i in range(10)]


@dataclass
class Task:
    """As much of Spark's task context as is asked; no test machine gives tasks GPUs."""

    n_cpus: int
    addresses: dict[str, list[str]] = field(default_factory=dict)

    def cpus(self) -> int:
        return self.n_cpus

    def resources(self):
        return {name: type("Information", (), {"addresses": found}) for name, found in self.addresses.items()}


def test_a_task_computes_with_what_spark_gave_it():
    assert resources_of(None) == TaskResources(1, "cpu")
    assert resources_of(Task(1)) == TaskResources(1, "cpu")
    assert resources_of(Task(4, {"gpu": ["2", "3"]})) == TaskResources(4, "cuda:2")
    assert resources_of(Task(2, {"fpga": ["0"]})) == TaskResources(2, "cpu")
    before = torch.get_num_threads()
    try:
        use_threads(3)
        assert torch.get_num_threads() == 3
    finally:
        use_threads(before)
