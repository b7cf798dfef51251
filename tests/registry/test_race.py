"""Many processes on one model, some killed at any moment: no number twice, none left out, nothing acknowledged lost."""

from __future__ import annotations

import multiprocessing
import os
import random
import time
from multiprocessing.connection import Connection, wait
from pathlib import Path

from mlwarehouse.engines.embedded import EmbeddedEngine
from mlwarehouse.errors import ConcurrentChangeError
from mlwarehouse.registry import Registry, Search

SOAK = os.environ.get("MLWAREHOUSE_SOAK") == "1"
PROCESSES = 16 if SOAK else 8
CHANGES = 100 if SOAK else 8
VICTIMS = 6 if SOAK else 3
SEED = int(os.environ.get("MLWAREHOUSE_SEED", "20261121"))


def _change(tables: str, who: int, start, out: Connection) -> None:
    engine = EmbeddedEngine(Path(tables))
    registry = Registry(engine, actor=f"actor-{who}")
    registry.create_model_version(f"own-{who}", source="runs:/x/y", run_id=None, digest=None)  # loads the libraries
    start.wait()
    for n in range(CHANGES):
        began = time.monotonic()
        if n % 4 == 3:
            seen = registry.history("hot")[-1]
            try:
                registry.set_model_alias("hot", "champion", 1, comment=f"{who}/{n}", expected_seq=seen.seq)
                out.send(("won", seen.seq, f"{who}/{n}", time.monotonic() - began))
            except ConcurrentChangeError:
                out.send(("lost", seen.seq, None, time.monotonic() - began))
        else:
            source = f"runs:/{who}/{n}"
            made = registry.create_model_version("hot", source=source, run_id=str(who), digest=None)
            out.send(("version", made.version, source, time.monotonic() - began))
    engine.close()


def test_processes_that_are_killed_leave_numbers_without_gaps_or_repeats(engine, registry):
    choose = random.Random(SEED)
    context = multiprocessing.get_context("spawn")
    start = context.Event()
    # After which of its answers each victim is killed, in whatever it does then.
    fates = {who: choose.randrange(1, CHANGES - 1) for who in choose.sample(range(PROCESSES), VICTIMS)}
    processes, answers, open_ends = [], {}, {}
    for who in range(PROCESSES):
        receiving, sending = context.Pipe(duplex=False)
        process = context.Process(target=_change, args=(str(engine.tables.folder), who, start, sending))
        process.start()
        sending.close()
        processes.append(process)
        answers[who], open_ends[receiving] = [], who
    start.set()
    while open_ends:
        for end in wait(list(open_ends)):
            who = open_ends[end]
            try:
                answers[who].append(end.recv())
            except EOFError:
                del open_ends[end]
                continue
            if len(answers[who]) == fates.get(who):
                time.sleep(choose.random() * 0.02)
                processes[who].kill()
    for who, process in enumerate(processes):
        process.join()
        assert (process.exitcode == 0) == (who not in fates), who

    told = [answer for of_one in answers.values() for answer in of_one]
    events = registry.history("hot")
    assert [e.seq for e in events] == list(range(1, len(events) + 1))
    created = {e.change.version: e.change.source for e in events if e.change.kind == "version_created"}
    assert sorted(created) == list(range(1, len(created) + 1))
    acknowledged = {number: source for kind, number, source, _ in told if kind == "version"}
    assert len(acknowledged) == sum(kind == "version" for kind, *_ in told), "no number was given to two"
    assert acknowledged.items() <= created.items()
    moves = {e.seq: e.comment for e in events if e.change.kind == "alias_set"}
    won = {seq + 1: comment for kind, seq, comment, _ in told if kind == "won"}
    assert len(won) == sum(kind == "won" for kind, *_ in told), "of all who asked on one state one won"
    assert won.items() <= moves.items()
    # A victim may have been killed between its commit and the answer, and once at most.
    assert len(created) + len(moves) - len(acknowledged) - len(won) <= VICTIMS
    versions = registry.search_model_versions(Search(on_names="model_name = 'hot'"))
    assert {v.version: v.source for v in versions} == created
    took = sorted(seconds for *_, seconds in told)
    print(f"\n{len(told)} changes, p50 {took[len(took) // 2]:.3f} s, p99 {took[int(len(took) * 0.99)]:.3f} s")
