"""What takes its time over a real connection: answers that come in parts, events that go on, clients that go away."""

from __future__ import annotations

import http.client
import io
import json
import threading
import time
import urllib.parse
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from mlwarehouse import Warehouse
from mlwarehouse.server.api import changes

from .serving import ANSWERS_S, Server, start

ENDLESS = "SELECT sum(list_reduce(range(i % 2 + 1000), lambda x, y: x + y % 7)) FROM range(1000000000) AS r(i)"
"""Takes days, and little memory."""


_open: list[http.client.HTTPConnection] = []


@pytest.fixture(autouse=True)
def closed() -> Iterator[None]:
    """Every connection is closed behind a test."""
    yield
    while _open:
        _open.pop().close()


def connect(server: Server) -> http.client.HTTPConnection:
    _open.append(http.client.HTTPConnection(urllib.parse.urlsplit(server.uri).netloc, timeout=ANSWERS_S))
    return _open[-1]


def ask(server: Server, sql: str, **more: Any) -> http.client.HTTPConnection:
    """A connection over which a question was sent."""
    connection = connect(server)
    body = json.dumps({"sql": sql, **more})
    connection.request("POST", "/api/v1/sql", body, {"Content-Type": "application/json"})
    return connection


def n_questions(server: Server) -> float:
    text = server.ask("GET", "/metrics")[1]
    return float(next(x.split()[-1] for x in text.splitlines() if x.startswith("mlwarehouse_sql_questions ")))


def wait_until(holds: Callable[[], bool]) -> None:
    deadline = time.monotonic() + ANSWERS_S
    while not holds():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def peak_mib(server: Server) -> float:
    status = Path(f"/proc/{server.process.pid}/status").read_text()
    return int(next(x.split()[1] for x in status.splitlines() if x.startswith("VmHWM"))) / 1024


def test_a_large_answer_comes_in_parts_and_constant_memory(server: Server) -> None:
    ask(server, "SELECT 1").getresponse().read()
    before = peak_mib(server)
    answer = ask(server, "SELECT i, i * 2 AS j FROM range(3000000) AS r(i)", format="arrow").getresponse()
    # Its length isn't known when it begins.
    assert (answer.status, answer.getheader("Content-Length")) == (200, None)
    n_rows = sum(batch.num_rows for batch in pa.ipc.open_stream(answer))
    assert n_rows == 3_000_000
    # 48 MB; what is held is a megabyte, and what the libraries took for the first time.
    assert peak_mib(server) - before < 30


def test_an_answer_beyond_the_limit_is_refused_or_broken_off_and_never_cut(server: Server) -> None:
    refused = ask(server, "SELECT repeat('x', 100000000) AS s").getresponse()
    assert (refused.status, json.loads(refused.read())["code"]) == (429, "RESOURCE_EXHAUSTED")
    for form in ("arrow", "csv"):
        answer = ask(server, "SELECT i FROM range(20000000) AS r(i)", format=form).getresponse()
        assert answer.status == 200
        with pytest.raises(http.client.IncompleteRead):
            answer.read()


def test_a_question_is_cancelled_by_its_id(server: Server) -> None:
    connection = ask(server, ENDLESS, query_id="endless-1")
    wait_until(lambda: n_questions(server) == 1)
    assert server.ask("POST", "/api/v1/sql", {"sql": "SELECT 1", "query_id": "endless-1"})[0] == 409
    assert server.ask("DELETE", "/api/v1/sql/endless-1")[0] == 204
    answer = connection.getresponse()
    assert (answer.status, json.loads(answer.read())["code"]) == (408, "CANCELLED")
    assert server.ask("POST", "/api/v1/sql", {"sql": "SELECT 1", "query_id": "endless-1"})[0] == 200


def test_a_question_ends_when_nobody_waits_for_its_answer(server: Server) -> None:
    connection = ask(server, ENDLESS)
    wait_until(lambda: n_questions(server) == 1)
    connection.close()
    wait_until(lambda: n_questions(server) == 0)
    # Likewise one whose rows have begun to come.
    connection = ask(server, "SELECT i FROM range(1000000000) AS r(i)", format="csv", row_limit=10**9)
    answer = connection.getresponse()
    assert len(answer.read(100)) == 100
    answer.close()
    connection.close()
    wait_until(lambda: n_questions(server) == 0)


class Events:
    """Reads server-sent events as a browser does."""

    def __init__(self, server: Server, last_id: str = "", **asked: Any) -> None:
        self.connection = connect(server)
        headers = {"Accept": "text/event-stream", **({"Last-Event-ID": last_id} if last_id else {})}
        self.connection.request("GET", f"/api/v1/changes?{urllib.parse.urlencode(asked, doseq=True)}", headers=headers)
        self.answer = self.connection.getresponse()
        assert self.answer.status == 200, self.answer.read()
        assert self.answer.getheader("Content-Type").startswith("text/event-stream")
        self._lines = io.TextIOWrapper(self.answer, encoding="utf-8")
        self.last_id = last_id

    def __iter__(self) -> Iterator[dict[str, Any]]:
        event: dict[str, str] = {}
        for line in self._lines:
            name, colon, value = line.rstrip("\n").partition(": ")
            if colon and name:
                event[name] = value
            elif not line.strip() and event:
                self.last_id = event.get("id", self.last_id)
                yield json.loads(event["data"])
                event = {}

    def until(self, run_id: str) -> list[dict[str, Any]]:
        """The changes that come, up to the one that a run has ended."""
        told = []
        for event in self:
            told += event["changes"]
            if any((c["kind"], c["run_id"]) == ("run_finished", run_id) for c in told):
                return told
        raise AssertionError("the events have ended")

    def close(self) -> None:
        self._lines.close()
        self.connection.close()


def run_with_a_param(server: Server, experiment: str, key: str) -> str:
    run_id = server.run(experiment)
    server.post("runs/log-parameter", run_id=run_id, key=key, value="1")
    server.post("runs/update", run_id=run_id, status="FINISHED")
    return run_id


def test_events_go_on_where_the_last_one_was_seen(server: Server, new_name: Callable[[], str]) -> None:
    name = new_name()
    experiment = server.post("experiments/create", name=name)["experiment_id"]
    runs = [run_with_a_param(server, experiment, "before")]
    seen: list[dict[str, Any]] = []
    last_id = ""
    for number in range(2):
        events = Events(server, last_id, experiment=name, kind=["run_started", "param_set", "run_finished"])
        if number == 0:
            seen += events.until(runs[0])
        while_connected = run_with_a_param(server, experiment, f"during-{number}")
        seen += events.until(while_connected)
        last_id = events.last_id
        events.close()
        runs += [while_connected, run_with_a_param(server, experiment, f"between-{number}")]
    events = Events(server, last_id, experiment=name, kind=["run_started", "param_set", "run_finished"])
    seen += events.until(runs[-1])
    events.close()
    kinds = ("run_started", "param_set", "run_finished")
    assert sorted((c["run_id"], c["kind"]) for c in seen) == sorted((run, kind) for run in runs for kind in kinds)


def test_a_long_page_comes_in_parts_of_which_the_last_has_the_id(tmp_path: Path) -> None:
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False)
    with warehouse.start_run(experiment="many") as run:
        run.log_params({f"p{n}": n for n in range(changes.PART + 5)})
    page = warehouse.changes(kinds=["param_set"])
    parts = changes._written(page)
    assert [part.count(b"\nid: ") for part in parts] == [0, 1]
    told = [json.loads(next(x for x in part.decode().splitlines() if x.startswith("data: "))[6:]) for part in parts]
    assert [(len(t["changes"]), t["is_last"]) for t in told] == [(changes.PART, False), (5, True)]
    assert [c["key"] for t in told for c in t["changes"]] == [change.key for change in page]
    [empty] = changes._written(warehouse.changes(since=page.cursor))
    assert b'"changes":[]' in empty
    assert b"\nid: " in empty
    warehouse.close()


def test_the_server_ends_with_its_events(tmp_path: Path) -> None:
    server = start(tmp_path / "wh")
    events = Events(server)
    ended: list[bool] = []

    def read_on() -> None:
        # An answer that was broken off raises.
        ended.extend(event["is_last"] for event in events)
        ended.append(True)

    thread = threading.Thread(target=read_on)
    thread.start()
    assert server.stop() in (0, -15)
    thread.join(ANSWERS_S)
    assert ended
    assert all(ended)
