"""The processes of a soak, and what is seen of them from outside."""

from __future__ import annotations

import json
import os
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

from mlwarehouse import Warehouse
from mlwarehouse.engines import embedded_follow, embedded_maintain, embedded_states
from mlwarehouse.engines.embedded_log import checkpoints, log_entries
from mlwarehouse.ingest import committer, maintaining

PROGRAM = "import sys; from tests.faults import soaking; getattr(soaking, sys.argv[1])(*sys.argv[2:])"

TICK_S = 0.1


@dataclass(frozen=True)
class Pace:
    """How fast a soak goes: its clock may run faster than that of a warehouse at work.

    Attributes:
        seconds: How long it takes.
        points: Points a second of each trainer.
        run_s: Seconds of a run of the trainers that start one after the other.
        program_s: Seconds between two programs that log one run and end.
        interval_s: Seconds between two commits.
        upkeep_s: Seconds between two turns of maintenance.
        clean_s: Seconds between two removals of what nobody needs.
        log_s: How long log entries stay.
        files_s: How long files that were replaced stay.
        cleanups: Checkpoints between two removals of log entries.
        ask_s: Seconds between two rounds of the reader's questions.
        look_s: Seconds between two looks at the processes.
        rss_growth: By how much a process may be larger in the last quarter of the time than in the one before it.
        fds_growth: How many more files it may have open.
    """

    seconds: float
    points: int
    run_s: float
    program_s: float
    interval_s: float
    upkeep_s: float
    clean_s: float
    log_s: float
    files_s: float
    cleanups: int
    ask_s: float
    look_s: float
    rss_growth: float
    fds_growth: int


def start(job: str, *arguments: str | Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "MLWAREHOUSE_COMMITTER": "off", "MLWAREHOUSE_SYSTEM_METRICS_S": "2"}
    words = [sys.executable, "-c", PROGRAM, job, *map(str, arguments)]
    return subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)


def commit(root: str, spool: str, pace: str) -> None:
    """The committer, with its maintenance, by the soak's clock."""
    soak = Pace(**json.loads(pace))
    maintaining.EVERY_S, maintaining.CLEAN_EVERY_S = soak.upkeep_s, soak.clean_s
    embedded_maintain.RETENTION_HOURS = soak.files_s / 3600
    embedded_follow.CLEANUPS = soak.cleanups
    # A seventh of how long log entries stay, as a day is of a week: a fold that is older can't be taken up.
    embedded_states.REFRESH_AGE_S = soak.log_s / 7
    committer.main([root, spool, str(soak.interval_s), "5", "auto"])


def train(root: str, name: str, points: str, run_s: str, n_runs: str) -> None:
    """A trainer: runs, one after the other, at a steady rate, until it is over; says how many steps each has."""
    warehouse = Warehouse(root)
    over = Path(root).parent / "over"
    acknowledged = os.open(Path(root).parent / f"at-{name}", os.O_RDWR | os.O_CREAT)
    with (Path(root).parent / f"steps-{name}").open("w") as done:
        for number in range(int(n_runs)):
            if over.exists():
                break
            with warehouse.start_run(experiment="soak", run_name=f"{name}-{number}", tags={"name": name}) as run:
                run.log_params({f"p{n}": n for n in range(5)})
                run.log_text(f"{name} {number}", "notes/note.txt")
                step = 0
                end = time.monotonic() + float(run_s)
                while time.monotonic() < end and not over.exists():
                    for _ in range(max(1, round(int(points) * TICK_S / 2))):
                        run.log_metrics({"loss": step / 2, "accuracy": 0.5}, step)
                        step += 1
                        os.pwrite(acknowledged, struct.pack("<32sq", run.run_id.encode(), step), 0)
                    time.sleep(TICK_S)
            done.write(f"{run.run_id} {step}\n")
    warehouse.close()


def ask(root: str, name: str, pause_s: str) -> None:
    """A reader: what a trainer has logged is seen at once and once, and a kept snapshot stays what it was."""
    warehouse = Warehouse(root)
    at = Path(root).parent / f"at-{name}"
    over = Path(root).parent / "over"
    n = 0
    kept = set()
    while not over.exists():
        run_id, before = _acknowledged(at)
        question = "SELECT count(*) AS n, count(DISTINCT step) AS d FROM metrics WHERE run_id = $r AND key = 'loss'"
        (found,) = warehouse.sql(question, parameters={"r": run_id}, output_format="arrow").to_pylist()
        now_id, after = _acknowledged(at)
        assert found["n"] == found["d"] >= before
        assert now_id != run_id or found["n"] <= after + 1
        assert len(warehouse.search_runs(experiment_names=["soak"], max_results=20)) > 0
        history = warehouse.metric_history([run_id], ["loss"])
        assert len(history) >= before
        kept.add(warehouse.sql("SELECT count(*) AS n FROM metrics", at="kept").n[0])
        assert len(kept) == 1
        n += 1
        (Path(root).parent / "asked").touch()
        time.sleep(float(pause_s))
    print(n)
    warehouse.close()


def _acknowledged(at: Path) -> tuple[str, int]:
    # Read again while it is being written: what is read meanwhile may be half of each.
    while (said := at.read_bytes()) != at.read_bytes():
        pass
    run_id, steps = struct.unpack("<32sq", said)
    return run_id.decode(), steps


@dataclass(frozen=True)
class Look:
    """What was seen at a moment.

    Attributes:
        at: Seconds since the soak began.
        resident: Bytes of memory that each process has, by its name, with the pages of files that it maps.
        rss: Without them.
        fds: Open files of each process.
        n_entries: Log entries of the table `metrics`.
        oldest_version: The version of the oldest of them.
        n_checkpoints: Its checkpoints.
        oldest_s: The age of its oldest log entry or checkpoint that the newest two checkpoints don't need; 0 where
            there is none.
        n_files: Its data files in the folder.
        spool_bytes: What the spool takes of the disk.
        n_segments: Its segments.
    """

    at: float
    resident: dict[str, int]
    rss: dict[str, int]
    fds: dict[str, int]
    n_entries: int
    oldest_version: int
    n_checkpoints: int
    oldest_s: float
    n_files: int
    spool_bytes: int
    n_segments: int


def look(at: float, processes: dict[str, int], metrics: Path, segments: Path) -> Look:
    resident, rss, fds = {}, {}, {}
    for name, pid in processes.items():
        status = Path(f"/proc/{pid}/status").read_text()
        resident[name] = 1024 * int(status.partition("VmRSS:")[2].split()[0])
        # Mapped pages of files are the system's cache, which it takes back.
        rss[name] = 1024 * int(status.partition("RssAnon:")[2].split()[0])
        fds[name] = len(list(Path(f"/proc/{pid}/fd").iterdir()))
    entries, marks = log_entries(metrics), checkpoints(metrics)
    needed = sorted(marks)[-2] if len(marks) > 1 else -1
    ages = [_age(path) for files in (entries, marks) for version, path in files.items() if version < needed]
    found = [s for s in map(_stat, segments.iterdir()) if s is not None]
    return Look(
        at=at,
        resident=resident,
        rss=rss,
        fds=fds,
        n_entries=len(entries),
        oldest_version=min(entries),
        n_checkpoints=len(marks),
        oldest_s=max(ages, default=0.0),
        n_files=len(list(metrics.glob("*.parquet"))),
        spool_bytes=sum(512 * s.st_blocks for s in found),
        n_segments=len(found),
    )


def watch(
    processes: dict[str, subprocess.Popen[str]],
    pace: Pace,
    root: Path,
    segments: Path,
    beside: Callable[[], None],
    seen: Callable[[list[Look]], bool],
) -> list[Look]:
    """Look until the time is over and `seen` says yes; what is seen goes into a file, too.

    On a machine that is busy with other things seconds may be too few for anything to happen.
    """
    pids = {name: process.pid for name, process in processes.items()}
    began = time.monotonic()
    looks = []
    with (root.parent / "looks.jsonl").open("w", buffering=1) as out:
        while (at := time.monotonic() - began) < pace.seconds or not seen(looks):
            assert at < pace.seconds + 120
            for name, process in processes.items():
                assert process.poll() is None, f"{name} has ended: {process.communicate()[1]}"
            looks.append(look(at, pids, root / "tables" / "metrics", segments))
            out.write(json.dumps(asdict(looks[-1])) + "\n")
            beside()
            time.sleep(pace.look_s)
    return looks


def _stat(path: Path) -> os.stat_result | None:
    try:
        return path.stat()
    except FileNotFoundError:
        return None


def _age(path: Path) -> float:
    found = _stat(path)
    return 0.0 if found is None else time.time() - found.st_mtime
