"""The parts that importers share, each against its definition."""

from __future__ import annotations

import collections
import json
import math

import numpy as np
import pyarrow as pa
import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from mlwarehouse import cli_import
from mlwarehouse.cli import app
from mlwarehouse.imports import SOURCES
from mlwarehouse.imports.known import Known
from mlwarehouse.imports.mlruns_points import read_points
from mlwarehouse.imports.yaml_file import YamlError, load_yaml

from .mlruns_store import START, A, store

series = st.tuples(st.sampled_from("ab"), st.sampled_from(["x", "y", "z"]))


@settings(deadline=None)
@given(points=st.lists(series, max_size=30), known=st.dictionaries(series, st.integers(1, 5), max_size=6))
def test_new_points_are_those_beyond_what_a_series_has(points, known):
    class Engine:
        def query(self, sql, *, reading, parameters):
            rows = [{"run_id": run, "key": key, "n": n} for (run, key), n in known.items()]
            schema = pa.schema([("run_id", pa.string()), ("key", pa.string()), ("n", pa.int64())])
            return pa.Table.from_pylist(rows, schema=schema)

    table = pa.table(
        {
            "run_id": pa.array([run for run, _ in points], pa.string()),
            "key": pa.array([key for _, key in points], pa.string()),
            "step": pa.array(range(len(points)), pa.int64()),
        }
    )
    found = Known(Engine(), [run for run, _ in points]).new_points(table, None).column("step").to_pylist()
    seen = collections.Counter()
    expected = []
    for place, each in enumerate(points):
        seen[each] += 1
        if seen[each] > known.get(each, 0):
            expected.append(place)
    assert found == expected


# Of line breaks that libyaml doesn't keep, PyYAML writes some as they are.
texts = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x85\u2028\u2029"))
plain = st.one_of(st.none(), st.booleans(), st.integers(), texts, st.floats(allow_nan=False), st.dates())
values = st.one_of(plain, st.builds(list), st.builds(dict))


@settings(deadline=None)
@example({"a": " x "})
@given(st.dictionaries(st.from_regex(r"[a-z_]+", fullmatch=True), values, max_size=6))
def test_yaml_of_keys_and_values_is_read_as_a_parser_reads_it(mapping):
    content = yaml.safe_dump(mapping, allow_unicode=True)
    expected = {k: str(v) if hasattr(v, "isoformat") else v for k, v in mapping.items()}
    assert load_yaml(content.encode()) == expected


@settings(deadline=None)
@given(st.text(alphabet="ab:# '\"[]{}-1.\n&*!|>%@`,~?\t\x85\u2028\x0c\r", max_size=40))
def test_yaml_is_read_as_a_parser_reads_it_or_refused(text):
    try:
        found = load_yaml(text.encode())
    except YamlError:
        return
    assert found == yaml.load(text, Loader=yaml.CSafeLoader)


@pytest.mark.parametrize(
    "content", [b"a: &a [1]\nb: *a", b"\xff", b"[" * 9999, b"!!python/object:os.system x", b"a: b: c", b"x" * 5_000_000]
)
def test_yaml_that_could_harm_is_refused(content):
    with pytest.raises(YamlError):
        load_yaml(content)


numbers = st.floats(width=64).map(repr) | st.sampled_from(["nan", "inf", "-inf", "NaN", "1", "-0.0", "1e400"])
point = st.tuples(st.integers(0, 2**45), numbers, st.integers(-(2**63), 2**63 - 1))


@settings(deadline=None)
@given(st.lists(st.lists(point, min_size=1, max_size=5), max_size=5))
def test_points_are_those_of_the_lines(files):
    given_files = [
        (f"run{n}", "loss", "", "".join(f"{at} {value} {step}\n" for at, value, step in points).encode())
        for n, points in enumerate(files)
    ]
    oddities = []
    # A line of two columns has a file read line by line.
    for more in ([], [("old", "loss", "", b"1534546522 0.5\n")]):
        table = read_points(given_files + more, oddities).table()
        expected = [
            (f"run{n}", step, float(value), at * 1000) for n, points in enumerate(files) for at, value, step in points
        ]
        found = [(r["run_id"], r["step"], r["value"], r["event_at"]) for r in table.to_pylist() if r["run_id"] != "old"]
        assert len(found) == len(expected)
        for one, other in zip(found, expected, strict=True):
            assert (one[0], one[1], one[3]) == (other[0], other[1], other[3])
            assert np.float64(one[2]).tobytes() == np.float64(other[2]).tobytes() or math.isnan(one[2] + other[2])
    assert {o.kind for o in oddities} == {"metric lines of two columns"}


def test_the_command_imports_and_reports(tmp_path, monkeypatch):
    root = store(tmp_path / "mlruns")
    monkeypatch.setenv("MLWAREHOUSE_COMMITTER", "off")
    arguments = ["import", str(root), "--warehouse", str(tmp_path / "wh"), "--source-id", "ours"]
    planned = CliRunner().invoke(app, [*arguments, "--dry-run"])
    assert planned.exit_code == 0
    assert "runs: 7 found, would add 7" in planned.stdout
    done = json.loads(CliRunner().invoke(app, [*arguments, "--json"]).stdout)
    assert (done["source_id"], done["kind"], done["added"]["points"], done["is_dry_run"]) == (
        "ours",
        "mlruns",
        9,
        False,
    )
    assert {"kind", "place", "detail"} == set(done["oddities"][0])
    again = CliRunner().invoke(app, arguments).stdout
    assert "runs: 7 found, added 0" in again
    assert "1 × run of an old layout, the first in" in again


def test_watching_brings_what_comes_until_it_is_interrupted(tmp_path, monkeypatch):
    root = store(tmp_path / "mlruns")
    monkeypatch.setenv("MLWAREHOUSE_COMMITTER", "off")
    waits = []

    def wait(seconds):
        waits.append(seconds)
        if len(waits) == 2:
            with (root / "1" / A / "metrics" / "acc").open("a") as file:
                file.write(f"{START} 1 9\n")
        if len(waits) == 4:
            raise KeyboardInterrupt

    monkeypatch.setattr(cli_import, "sleep", wait)  # not that of the whole process, whose threads sleep too
    arguments = ["import", str(root), "--warehouse", str(tmp_path / "wh"), "--watch", "5", "--json"]
    done = CliRunner().invoke(app, arguments)
    assert (done.exit_code, waits) == (0, [5, 5, 5, 5])
    # Passes that found nothing new say nothing.
    assert [json.loads(line)["added"]["points"] for line in done.stdout.splitlines()] == [9, 1]


def test_each_kind_of_source_is_named_once():
    assert len({s.name for s in SOURCES}) == len(SOURCES)
    assert START > 0
