"""How soon one process sees what another has logged: on its machine at the next question, elsewhere once committed."""

from __future__ import annotations

import subprocess
import sys

LOGS_ON_DEMAND = """
import sys
from mlwarehouse import Warehouse
warehouse = Warehouse(sys.argv[1], spool_dir=sys.argv[2], committer=sys.argv[3], commit_interval_s=0.2,
                      capture_code=False)
with warehouse.start_run(experiment="e", run_name="live") as run:
    print(run.run_id, flush=True)
    for step, line in enumerate(sys.stdin):
        run.log_metric("loss", float(line), step)
        print("logged", flush=True)
warehouse.close()
"""


class Logging:
    """Another process, which logs a value when it is told to."""

    def __init__(self, root: str, spool: str, committer: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", LOGS_ON_DEMAND, root, spool, committer],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.run_id = self._process.stdout.readline().strip()

    def log(self, value: float) -> None:
        self._process.stdin.write(f"{value}\n")
        self._process.stdin.flush()
        assert self._process.stdout.readline() == "logged\n"

    def end(self) -> None:
        self._process.stdin.close()
        assert self._process.wait(60) == 0
        self._process.stdout.close()


def latest(warehouse) -> list[float]:
    return warehouse.search_runs(columns=["metrics.*"], output_format="arrow").to_pydict().get("metrics.loss", [])


def test_a_process_of_this_machine_is_seen_at_the_next_question(machine):
    reader = machine("a")
    # Without a committer: what is seen comes from the spool, not from a commit.
    other = Logging(str(reader.root), reader.settings.spool_dir, "off")
    for value in (3.0, 2.0, 1.0):
        other.log(value)
        assert latest(reader) == [value]
        assert reader.get_run(other.run_id).data.metrics == {"loss": value}
    assert set(reader.versions().values()) == {0}
    other.end()


def test_another_machine_is_seen_once_its_committer_has_committed(machine):
    reader = machine("a")
    other = Logging(str(reader.root), f"{reader.root}-other", "auto")
    other.log(3.0)
    # The feed waits for the commit, and then the next question sees it.
    (page,) = [next(reader.changes(kinds=["metric_logged"], follow=True, poll_s=0.05))]
    assert [c.number for c in page] == [3.0]
    assert latest(reader) == [3.0]
    other.end()
