"""Many processes on one model: numbers without gaps or repeats, and nothing acknowledged is lost."""

from __future__ import annotations

import multiprocessing
from pathlib import Path

from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.registry import Registry, Search

PROCESSES = 8
VERSIONS = 10


def _register(tables: str, who: int, start, results) -> None:
    engine = EmbeddedEngine(Path(tables))
    registry = Registry(engine, actor=f"actor-{who}")
    registry.search_model_versions()  # loads the libraries before the race
    start.wait()
    mine, moves = [], 0
    for n in range(VERSIONS):
        made = registry.create_model_version("hot", source=f"runs:/{who}/{n}", run_id=str(who), digest=None)
        mine.append((made.version, made.source))
        if n % 4 == who % 4:
            registry.set_model_alias("hot", "champion", made.version)
            moves += 1
        if n == 0:
            registry.create_model_version(f"own-{who}", source="runs:/x/y", run_id=None, digest=None)
    engine.close()
    results.put((mine, moves))


def test_eight_processes_number_their_versions_without_gaps_or_repeats(engine, registry):
    context = multiprocessing.get_context("spawn")
    start, results = context.Event(), context.Queue()
    arguments = [(str(engine.tables.folder), who, start, results) for who in range(PROCESSES)]
    processes = [context.Process(target=_register, args=a) for a in arguments]
    for process in processes:
        process.start()
    start.set()
    answers = [results.get(timeout=120) for _ in processes]
    for process in processes:
        process.join()
        assert process.exitcode == 0

    acknowledged = dict(pair for mine, _ in answers for pair in mine)
    assert sorted(acknowledged) == list(range(1, PROCESSES * VERSIONS + 1))
    versions = registry.search_model_versions(Search(on_names="model_name = 'hot'"))
    assert {v.version: v.source for v in versions} == acknowledged

    events = registry.history("hot")
    moves = sum(m for _, m in answers)
    assert [e.seq for e in events] == list(range(1, 1 + 1 + PROCESSES * VERSIONS + moves))
    alias_events = [e for e in events if e.change.alias == "champion"]
    assert len(alias_events) == moves
    assert registry.resolve("models:/hot@champion").version == alias_events[-1].change.version
    assert engine.query("SELECT count(*) AS n FROM audit WHERE outcome = 'allowed'").to_pylist() == [
        {"n": PROCESSES * (VERSIONS + 1) + moves}
    ]
