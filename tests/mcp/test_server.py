"""The MCP server as its clients meet it: a process, asked through the SDK's own client."""

from __future__ import annotations

import asyncio
import json
import math
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from mlwarehouse import Warehouse

ENDLESS = "SELECT sum(list_reduce(range(i % 2 + 1000), lambda x, y: x + y % 7)) FROM range(1000000000) AS r(i)"
ROOT = Path(__file__).parent.parent.parent


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("mcp") / "wh"
    warehouse = Warehouse(folder, committer="off", capture_code=False)
    for experiment in ("open", "hidden"):
        for number in range(3):
            with warehouse.start_run(experiment=experiment, run_name=f"{experiment}-{number}") as run:
                run.log_param("lr", 0.1 * (number + 1))
                run.log_metric("loss", math.nan if number == 2 else number, step=1)
                run.log_metric(f"{experiment}/score", number)
    warehouse.close()
    return folder


def ask(place: Path, talk: Callable[[Any], Awaitable[Any]], *options: str) -> Any:
    """Start a server as a client does, and talk to it."""
    from mcp import Client, StdioServerParameters

    server = StdioServerParameters(
        command=sys.executable,
        args=["-m", "mlwarehouse", "mcp", "--warehouse", str(place), *options],
        env={"PYTHONPATH": str(ROOT), "MLWAREHOUSE_COMMITTER": "off", "PATH": os.environ["PATH"]},
    )

    async def talked() -> Any:
        async with Client(server, read_timeout_seconds=120) as client:
            return await talk(client)

    # In a thread of its own: where browser tests ran before, this one has a loop already, Playwright's.
    with ThreadPoolExecutor(max_workers=1) as threads:
        return threads.submit(asyncio.run, talked()).result()


def said(result: Any) -> Any:
    assert not result.is_error, result
    return result.structured_content


def test_what_is_offered_can_be_asked(place):
    async def talk(client):
        tools = (await client.list_tools()).tools
        assert {t.name for t in tools} == {"list_tables", "describe_table", "sql", "search_runs"}
        assert all(t.annotations.read_only_hint and t.description for t in tools)
        tables = said(await client.call_tool("list_tables", {}))["result"]
        assert {"runs", "metrics", "registry_events"} <= {t["name"] for t in tables}
        runs = said(await client.call_tool("describe_table", {"name": "runs"}))
        assert "run_id" in runs["columns"]
        query = f"SELECT {', '.join(runs['columns'])} FROM runs"
        assert said(await client.call_tool("sql", {"query": query}))["columns"] == list(runs["columns"])
        resource = await client.read_resource("mlwarehouse://schema")
        assert {t["name"] for t in json.loads(resource.contents[0].text)} == {t["name"] for t in tables}
        one = await client.read_resource("mlwarehouse://tables/runs")
        assert json.loads(one.contents[0].text) == runs

    ask(place, talk)


def test_answers_are_json_and_say_what_they_leave_out(place):
    async def talk(client):
        query = "SELECT value FROM metrics WHERE key = $key ORDER BY run_id, value"
        answer = said(await client.call_tool("sql", {"query": query, "parameters": {"key": "loss"}}))
        assert sorted(map(str, (v for (v,) in answer["rows"]))) == ["0.0", "0.0", "1.0", "1.0", "nan", "nan"]
        assert answer["is_truncated"] is False
        few = said(await client.call_tool("sql", {"query": "SELECT * FROM runs", "row_limit": 2}))
        assert (len(few["rows"]), few["is_truncated"]) == (2, True)
        found = said(
            await client.call_tool(
                "search_runs",
                {"filter_string": "metrics.loss < 1", "columns": ["run_id", "params.lr"], "max_results": 1},
            )
        )
        assert (found["columns"], len(found["rows"]), found["is_truncated"]) == (["run_id", "params.lr"], 1, True)

    ask(place, talk)


def test_what_is_not_allowed_is_said_in_words(place):
    async def talk(client):
        for tool, arguments, words in (
            ("sql", {"query": "DROP TABLE runs"}, "Only SELECT can be asked"),
            ("sql", {"query": "SELECT * FROM read_csv('/etc/passwd')"}, "After FROM come granted tables"),
            ("sql", {"query": "SELECT getenv('HOME')"}, "isn't allowed here"),
            ("sql", {"query": "SELECT * FROM runz"}, "Did you mean `runs`"),
            ("sql", {"query": "SELECT 1", "row_limit": 0}, "must be 1 at least"),
            ("sql", {"query": ENDLESS}, "took longer than"),
            ("describe_table", {"name": "runz"}, "Did you mean `runs`"),
            ("search_runs", {"filter_string": "metrics.los < 1"}, "Did you mean"),
        ):
            result = await client.call_tool(tool, arguments)
            assert result.is_error
            assert words in result.content[0].text
        assert said(await client.call_tool("sql", {"query": "SELECT 1 AS a"}))["rows"] == [[1]]

    ask(place, talk, "--time-limit", "2")


def test_one_experiment_is_all_that_is_seen(place):
    async def talk(client):
        tables = [t["name"] for t in said(await client.call_tool("list_tables", {}))["result"]]
        assert "registry_events" not in tables
        texts = [
            str(said(await client.call_tool("sql", {"query": f"SELECT * FROM {name}"}))["rows"])
            for name in ("runs", "metrics", "experiment_events", "goal_records")
        ]
        texts.append(str(said(await client.call_tool("search_runs", {}))))
        refused = await client.call_tool("search_runs", {"filter_string": "metrics.`hiden/score` < 1"})
        assert refused.is_error
        texts.append(refused.content[0].text)
        assert any("open" in t for t in texts)
        assert not any("hidden" in t for t in texts)

    ask(place, talk, "--experiment", "open")


def test_without_the_sdk_the_extra_is_named(place):
    program = "import sys; sys.modules['mcp'] = None; from mlwarehouse.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", program, "mcp", "--warehouse", str(place)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert 'pip install "mlwarehouse[mcp]"' in done.stderr
    assert "Traceback" not in done.stderr
