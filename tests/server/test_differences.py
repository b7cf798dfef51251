"""The same calls to MLflow's server and to ours are answered alike.

Where the answers differ on purpose it is stated here: ids, the times of the server's own clock, an infinity (MLflow's
is the largest double), and that a run has no end while it runs (MLflow's keeps the one that it had, or was told).
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from .peer import Peer
from .serving import Server

pytestmark = pytest.mark.filterwarnings(
    "ignore:The ``noload`` loader strategy:DeprecationWarning", "ignore:starlette.middleware.wsgi is deprecated"
)

START = 1_772_366_400_000
NAMES = itertools.count()
KEYS = ("loss", "val/loss", "a.b", "x y", "", "a//b", "../up", "k\nk", "ä", "k" * 251, "k" * 250)
VALUES = ("1", "", "text", "v" * 6001, "t" * 8001, "ä")


@pytest.fixture(scope="module")
def peer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Peer]:
    with pytest.MonkeyPatch.context() as patch:
        yield Peer(tmp_path_factory.mktemp("mlflow"), patch)


class Both:
    """Two servers, asked the same; what one of them calls by an id of its own is called by its number."""

    def __init__(self, ours: Server, theirs: Peer) -> None:
        self.servers = (ours, theirs)
        self.ids: list[tuple[str, str]] = []

    def add(self, ours: str, theirs: str) -> int:
        self.ids.append((ours, theirs))
        return len(self.ids) - 1

    def ask(self, method: str, path: str, body: Any = None, **arguments: Any) -> Any:
        """The answer of both, which must be the same."""
        answers = []
        for side, server in enumerate(self.servers):
            asked = [self._named(each, side) for each in (body, arguments)]
            status, answer = server.ask(method, path, asked[0], **asked[1])
            answers.append((status, answer))
        ours, theirs = ((status, self._plain(answer, side)) for side, (status, answer) in enumerate(answers))
        assert ours == theirs, (method, path, body, arguments)
        return [answer for _, answer in answers]

    def _named(self, said: Any, side: int) -> Any:
        if isinstance(said, dict):
            return {key: self._named(value, side) for key, value in said.items()}
        if isinstance(said, list):
            return [self._named(value, side) for value in said]
        return self.ids[said.number][side] if isinstance(said, Id) else said

    def _plain(self, answer: Any, side: int) -> Any:
        """An answer without what differs on purpose."""
        if isinstance(answer, list):
            return [self._plain(each, side) for each in answer]
        if isinstance(answer, dict):
            if "error_code" in answer:
                return {"error_code": answer["error_code"], "message": self._worded(answer["message"], side)}
            plain = {key: self._plain(value, side) for key, value in answer.items()}
            for own in ("creation_time", "last_update_time", "next_page_token", "run_uuid"):
                if own in plain:
                    plain[own] = "there"
            for many in ("tags", "params", "metrics"):
                if isinstance(plain.get(many), list) and all(
                    "timestamp" not in e or many == "metrics" for e in plain[many]
                ):
                    plain[many] = sorted(plain[many], key=lambda e: (e["key"], e.get("timestamp", 0), e.get("step", 0)))
            # What is empty may be left out.
            return {key: value for key, value in plain.items() if value not in ([], {}, "")}
        if isinstance(answer, str):
            return self._worded(answer, side)
        if isinstance(answer, float) and abs(answer) > 1e308:
            return "Infinity" if answer > 0 else "-Infinity"
        return answer

    def _worded(self, text: str, side: int) -> str:
        if text.startswith("Experiment(name=") and " already exists." in text:
            return text.partition(" already exists.")[0]
        for number, names in enumerate(self.ids):
            # MLflow's experiments have short numbers, which also mean other things.
            before = "" if len(names[side]) > 30 else r"(?<=mlflow-artifacts:/)|^"
            text = re.sub(rf"({before}){re.escape(names[side])}(?!\w)", f"<{number}>", text)
        return text


class Id:
    """Stands for an id, by its number."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __repr__(self) -> str:
        return f"<{self.number}>"


def new_experiment(both: Both) -> Id:
    name = f"generated-{next(NAMES)}"
    made = [server.ask("POST", "experiments/create", {"name": name}) for server in both.servers]
    assert [status for status, _ in made] == [200, 200]
    return Id(both.add(made[0][1]["experiment_id"], made[1][1]["experiment_id"]))


def new_run(both: Both, experiment: Id, start: int, **body: Any) -> Id:
    made = []
    for side, server in enumerate(both.servers):
        asked = {"experiment_id": both.ids[experiment.number][side], "start_time": start, **body}
        status, answer = server.ask("POST", "runs/create", asked)
        assert status == 200, answer
        made.append(answer["run"]["info"]["run_id"])
    return Id(both.add(*made))


keys = st.sampled_from(KEYS)
values = st.sampled_from(VALUES)
numbers = st.one_of(
    st.floats(-1e6, 1e6), st.sampled_from(["NaN", "Infinity", "-Infinity", 0, -0.0, 1e-300, "12.5", "text", None])
)
times = st.one_of(st.integers(START, START + 5), st.sampled_from([0, -1, str(START), None]))
steps = st.one_of(st.integers(-2, 4), st.sampled_from([2**63 - 1, -(2**63), "3", None]))


def said(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries(parts)


points = said(key=keys, value=numbers, timestamp=times, step=steps)
pairs = said(key=keys, value=values)
calls = st.one_of(
    st.tuples(st.just("runs/log-metric"), points),
    st.tuples(st.just("runs/log-parameter"), pairs),
    st.tuples(st.just("runs/set-tag"), pairs),
    st.tuples(st.just("runs/delete-tag"), said(key=keys)),
    st.tuples(
        st.just("runs/log-batch"),
        said(
            metrics=st.lists(said(key=keys, value=st.floats(-9, 9), timestamp=times, step=steps), max_size=3),
            params=st.lists(pairs, max_size=3),
            tags=st.lists(pairs, max_size=3),
        ),
    ),
    st.tuples(
        st.just("runs/update"),
        said(
            status=st.sampled_from(["FINISHED", "FAILED", "KILLED"]),
            end_time=st.integers(START + 10, START + 20),
            run_name=st.sampled_from(["renamed", None, ""]),
        ),
    ),
    st.tuples(st.just("runs/update"), st.just({"status": "NONSENSE"})),
    st.tuples(st.just("runs/delete"), st.just({})),
    st.tuples(st.just("runs/restore"), st.just({})),
)


def without_nothing(body: Any) -> Any:
    """Null is another thing than absent to some servers; clients never say it."""
    if isinstance(body, dict):
        return {key: without_nothing(value) for key, value in body.items() if value is not None}
    return [without_nothing(each) for each in body] if isinstance(body, list) else body


@settings(
    max_examples=10,
    deadline=None,
    derandomize=True,
    phases=[Phase.generate],
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(plan=st.lists(st.tuples(st.integers(0, 1), calls), min_size=6, max_size=14))
def test_generated_calls_are_answered_alike(server: Server, peer: Peer, plan: list[Any]) -> None:
    both = Both(server, peer)
    experiment = new_experiment(both)
    runs = [new_run(both, experiment, START + n, run_name=f"run {chr(97 + n)}") for n in range(2)]
    for which, (path, body) in plan:
        both.ask("POST", path, without_nothing({"run_id": runs[which], **body}))
    for run in runs:
        both.ask("GET", "runs/get", run_id=run)
        for key in ("loss", "val/loss"):
            both.ask("GET", "metrics/get-history", run_id=run, metric_key=key)
            both.ask("GET", "metrics/get-history", run_id=run, metric_key=key, max_results=2)
    both.ask("POST", "runs/search", {"experiment_ids": [experiment]})
    both.ask("POST", "runs/search", {"experiment_ids": [experiment], "run_view_type": "ALL", "max_results": 1})
    both.ask("GET", "metrics/get-history-bulk-interval", run_ids=runs, metric_key="loss", max_results=3)


SEARCHES: tuple[dict[str, Any], ...] = (
    {},
    {"filter": "metrics.loss < 2"},
    {"filter": "metrics.`val/loss` >= 0.5 AND params.lr = '0.1'"},
    {"filter": "tags.team != 'a'"},
    {"filter": "params.lr LIKE '0.%'", "order_by": ["metrics.loss DESC"]},
    {"filter": "attributes.status = 'FINISHED'", "order_by": ["params.lr ASC", "start_time ASC"]},
    {"filter": "run_name ILIKE 'RUN%'", "order_by": ["attributes.start_time ASC"], "max_results": 3},
    {"filter": "datasets.name = 'd1'"},
    {"run_view_type": "DELETED_ONLY"},
    {"run_view_type": "ALL", "max_results": 2},
    {"filter": "metrics.nan != 1"},
    {"filter": "metrics.nan < 1"},
    {"max_results": 50_000},
)
REFUSED: tuple[dict[str, Any], ...] = ({"max_results": 0}, {"max_results": 50_001}, {"page_token": "nonsense"})


def test_searches_find_the_same_runs_in_the_same_order(server: Server, peer: Peer) -> None:
    both = Both(server, peer)
    experiment = new_experiment(both)
    for n in range(8):
        tags = [{"key": "team", "value": "ab"[n % 2]}] if n % 3 else []
        run = new_run(both, experiment, START + n, run_name=f"run {chr(97 + n)}", tags=tags)
        both.ask("POST", "runs/log-parameter", {"run_id": run, "key": "lr", "value": f"0.{n % 4}"})
        for step in range(n % 4):
            both.ask(
                "POST",
                "runs/log-metric",
                {
                    "run_id": run,
                    "key": ("loss", "val/loss")[n % 2],
                    "value": n / (step + 1),
                    "timestamp": START,
                    "step": step,
                },
            )
        if n % 4 == 0:
            both.ask("POST", "runs/log-metric", {"run_id": run, "key": "nan", "value": "NaN", "timestamp": START})
        dataset = {"name": f"d{n % 2}", "digest": "0", "source_type": "local", "source": "{}"}
        tagged = {"tags": [{"key": "mlflow.data.context", "value": "training"}], "dataset": dataset}
        both.ask("POST", "runs/log-inputs", {"run_id": run, "datasets": [tagged]})
        if n % 2:
            both.ask("POST", "runs/update", {"run_id": run, "status": "FINISHED", "end_time": START + 50 + n})
        if n == 7:
            both.ask("POST", "runs/delete", {"run_id": run})
    for search in SEARCHES:
        token: list[str | None] = [None, None]
        while True:
            asked = {"experiment_ids": [experiment], **search}
            answers = []
            for side, one in enumerate(both.servers):
                body = both._named({**asked, **({"page_token": token[side]} if token[side] else {})}, side)
                answers.append(one.ask("POST", "runs/search", body))
            plain = [(status, both._plain(answer, side)) for side, (status, answer) in enumerate(answers)]
            assert plain[0] == plain[1], search
            token = [answer.get("next_page_token") for _, answer in answers]
            assert (token[0] is None) == (token[1] is None)
            if token[0] is None:
                break
    for search in REFUSED:
        answers = [
            s.ask("POST", "runs/search", both._named({"experiment_ids": [experiment], **search}, n))
            for n, s in enumerate(both.servers)
        ]
        assert [status for status, _ in answers] == [400, 400], search
        assert answers[0][1]["error_code"] == answers[1][1]["error_code"] == "INVALID_PARAMETER_VALUE"


BAD: tuple[tuple[str, str, dict[str, Any]], ...] = (
    ("POST", "experiments/create", {}),
    ("POST", "experiments/create", {"name": ""}),
    ("POST", "experiments/create", {"name": 123}),
    ("POST", "experiments/create", {"name": "n" * 501}),
    ("GET", "experiments/get", {}),
    ("GET", "experiments/get", {"experiment_id": "letters"}),
    ("GET", "experiments/get", {"experiment_id": "9876"}),
    ("GET", "experiments/get-by-name", {}),
    ("GET", "experiments/get-by-name", {"experiment_name": "nobody's"}),
    ("POST", "experiments/search", {}),
    ("POST", "experiments/search", {"max_results": 0}),
    ("POST", "experiments/search", {"max_results": 1_000_000}),
    ("POST", "experiments/update", {"experiment_id": "9876", "new_name": "x"}),
    ("POST", "experiments/delete", {"experiment_id": "9876"}),
    ("POST", "runs/create", {"experiment_id": "9876"}),
    ("POST", "runs/create", {"experiment_id": 0, "tags": 1}),
    ("POST", "runs/create", {"experiment_id": "0", "start_time": "soon"}),
    ("POST", "runs/create", {"run_name": "a", "tags": [{"key": "mlflow.runName", "value": "b"}]}),
    ("GET", "runs/get", {}),
    ("GET", "runs/get", {"run_id": "nothing"}),
    ("GET", "runs/get", {"run_uuid": "nothing"}),
    ("POST", "runs/update", {"run_id": "nothing"}),
    ("POST", "runs/log-metric", {"run_id": "nothing", "key": "k", "value": 1, "timestamp": 1}),
    ("POST", "runs/log-metric", {"run_id": "nothing", "value": 1, "timestamp": 1}),
    ("POST", "runs/log-metric", {"run_id": "nothing", "key": "k", "timestamp": 1}),
    ("POST", "runs/log-batch", {"run_id": "not an id!"}),
    ("POST", "runs/log-batch", {"run_id": "x", "metrics": [{"key": "k", "value": 1, "timestamp": 1}] * 1001}),
    ("POST", "runs/log-batch", {"run_id": "x", "params": [{"key": f"k{n}", "value": ""} for n in range(101)]}),
    ("POST", "runs/log-batch", {"run_id": "x", "params": [{"key": "k", "value": "1"}] * 2}),
    ("GET", "metrics/get-history", {"run_id": "nothing", "metric_key": "k"}),
    ("GET", "metrics/get-history", {"run_id": "nothing"}),
    ("GET", "metrics/get-history", {"run_id": "nothing", "metric_key": "k", "max_results": "-1"}),
)


@pytest.mark.parametrize(("method", "path", "said"), BAD, ids=lambda v: str(v)[:60])
def test_what_can_not_be_meant_is_refused_in_the_same_words(
    server: Server, peer: Peer, method: str, path: str, said: dict[str, Any]
) -> None:
    both = Both(server, peer)
    if method == "GET":
        both.ask("GET", path, **said)
    else:
        both.ask("POST", path, said)


def test_samples_of_long_histories_are_the_same(server: Server, peer: Peer) -> None:
    both = Both(server, peer)
    experiment = new_experiment(both)
    runs = [new_run(both, experiment, START) for _ in range(2)]
    for run, n in zip(runs, (103, 7), strict=True):
        metrics = [{"key": "m", "value": math.sin(i), "timestamp": START + i // 3, "step": i // 2} for i in range(n)]
        both.ask("POST", "runs/log-batch", {"run_id": run, "metrics": metrics})
    for size in (1, 2, 7, 10, 50, 102, 103, 104, 2500):
        both.ask("GET", "metrics/get-history-bulk-interval", run_ids=runs, metric_key="m", max_results=size)
    both.ask(
        "GET",
        "metrics/get-history-bulk-interval",
        run_ids=runs,
        metric_key="m",
        max_results=5,
        start_step=3,
        end_step=40,
    )
    both.ask("GET", "metrics/get-history-bulk-interval", run_ids=runs, metric_key="m", start_step=3)
    both.ask("GET", "metrics/get-history-bulk-interval", run_ids=runs, metric_key="other")
