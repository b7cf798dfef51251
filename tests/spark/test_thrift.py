"""A JDBC client that knows nothing of us asks Spark's Thrift server, which the command line has started."""

from __future__ import annotations

import csv
import io
import signal
import subprocess
import threading
from pathlib import Path

import pytest
from typer.testing import CliRunner

from mlwarehouse.cli import app
from mlwarehouse.engines.spark_java import require_java
from mlwarehouse.errors import StorageError

pytestmark = pytest.mark.spark

STATEMENTS = """
!set outputformat csv2
SELECT run_name, round(min, 4) AS best FROM runs JOIN metric_summaries USING (run_id) WHERE key = 'loss' ORDER BY best;
!tables
!columns metric_summaries
INSERT INTO metrics SELECT * FROM metrics;
"""


@pytest.fixture(scope="module")
def beeline() -> list[str]:
    """Hive's command line over its JDBC driver, of the jars that pyspark brings."""
    import pyspark

    jars = Path(pyspark.__file__).parent / "jars"
    for kind in ("hive-beeline", "hive-jdbc", "spark-hive-thriftserver"):
        if not list(jars.glob(f"{kind}*.jar")):
            pytest.skip(f"this pyspark has no jar of {kind}")
    return [str(require_java()), "-cp", f"{jars}/*", "org.apache.hive.beeline.BeeLine"]


def test_a_jdbc_client_asks_views_by_their_names(spark, warehouse, shown, beeline, tmp_path, monkeypatch):
    statements = tmp_path / "statements.sql"
    statements.write_text(STATEMENTS)
    told, lines, answers = threading.Event(), [], []

    def note(line: str) -> None:
        lines.append(line)
        told.set()

    def ask() -> None:
        told.wait()
        if not lines:
            return
        url = lines[0].split(" on ")[-1].split()[0]
        command = [*beeline, "-u", url, "-n", "somebody", "--silent=true", "--force=true", "-f", str(statements)]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False, cwd=tmp_path)
            answers.append((url, done))
        finally:
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)  # Ctrl-C

    monkeypatch.setattr("mlwarehouse.cli_spark.note", note)
    versions = warehouse.versions()
    client = threading.Thread(target=ask)
    client.start()
    try:
        CliRunner().invoke(app, ["thrift-server", "-w", warehouse.uri, "--port", "0", "--namespace", shown])
    finally:
        told.set()  # where it has told nothing, the client has nobody to ask
        client.join()
    ((url, done),) = answers
    assert url.startswith("jdbc:hive2://127.0.0.1:")
    assert url.endswith(f"/{shown}")
    rows = list(csv.reader(io.StringIO(done.stdout)))
    ours = warehouse.sql(
        "SELECT run_name, round(min, 4) AS best FROM runs JOIN metric_summaries USING (run_id) WHERE key = 'loss' "
        "ORDER BY best"
    )
    assert ["run_name", "best"] in rows, done.stdout + done.stderr
    start = rows.index(["run_name", "best"])
    assert [(name, float(best)) for name, best in rows[start + 1 : start + 4]] == list(ours.itertuples(index=False))
    # What tools show in a tree: names, kinds, columns and what they are.
    assert any(row[1:4] == [shown, "metric_summaries", "VIEW"] for row in rows), rows
    assert any(row[1:4] == [shown, "metric_summaries", "min_step"] for row in rows), rows
    assert "view" in done.stderr.lower()  # why nothing was inserted
    assert warehouse.versions() == versions


def test_a_port_that_is_taken_is_said(spark, warehouse, shown):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StorageError, match=rf"didn't start on 127\.0\.0\.1:{port}"):
            warehouse.thrift_server(port=port, namespace=shown, spark=spark)


def test_a_setting_without_a_value_is_refused(warehouse):
    answer = CliRunner().invoke(app, ["thrift-server", "-w", warehouse.uri, "--conf", "spark.x"])
    assert "NAME=VALUE" in str(answer.exception)
