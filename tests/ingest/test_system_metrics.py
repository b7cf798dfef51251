"""Looks at the machine: true, of this process and its GPUs only, and written seldom."""

from __future__ import annotations

import json
import multiprocessing
import os
import subprocess
import sys
import time

import pytest

from mlwarehouse import Warehouse
from mlwarehouse.ingest import system_metrics
from mlwarehouse.ingest.gpus import Gpus, visible_gpus
from mlwarehouse.ingest.machine import Machine

SMI = """#!/bin/sh
echo "$@" >> "$(dirname "$0")/asked"
echo "NVIDIA H100, 80GB, 1000, 81559, 97, 350.5, 700.00"
echo "NVIDIA H100, 80GB, 0, 81559, [N/A], [N/A], [N/A]"
"""

NVML = """
from types import SimpleNamespace
class NVMLError(Exception): pass
def nvmlInit(): pass
def nvmlDeviceGetCount(): return 2
def nvmlDeviceGetHandleByIndex(n): return f"index-{n}"
def nvmlDeviceGetHandleByUUID(name): return f"uuid-{name}"
def nvmlDeviceGetName(handle): return handle
def nvmlDeviceGetMemoryInfo(handle): return SimpleNamespace(used=2e6, total=8e6)
def nvmlDeviceGetUtilizationRates(handle): return SimpleNamespace(gpu=50)
def nvmlDeviceGetPowerUsage(handle): return 100_000
def nvmlDeviceGetEnforcedPowerLimit(handle): raise NVMLError
"""


def ask(warehouse: Warehouse, question: str) -> list[dict]:
    return warehouse.engine().query(question, reading=warehouse.reading()).to_pylist()


def burn(seconds: float) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        sum(range(1000))


def hold(size: int, held, go) -> None:
    block = bytearray(os.urandom(1024) * (size // 1024))
    held.set()
    go.wait()
    assert block


def test_a_look_is_of_this_process_and_its_children():
    machine = Machine()
    burn(0.3)
    busy = machine.metrics()
    assert 20 < busy["process_cpu_percentage"] < 400
    assert 0 < busy["cpu_utilization_percentage"] <= 100
    assert 0 < busy["system_memory_usage_percentage"] < 100
    assert 0 < busy["disk_usage_percentage"] <= 100
    assert busy["network_receive_megabytes"] >= 0
    context = multiprocessing.get_context("spawn")
    held, go = context.Event(), context.Event()
    child = context.Process(target=hold, args=(200_000_000, held, go))
    child.start()
    held.wait()
    more = machine.metrics()
    assert more["process_memory_megabytes"] > busy["process_memory_megabytes"] + 190
    go.set()
    child.join()
    time.sleep(0.3)
    machine.metrics()
    time.sleep(0.3)
    assert machine.metrics()["process_cpu_percentage"] < busy["process_cpu_percentage"]


def test_a_run_has_its_looks_when_it_ends_with_seconds_as_steps(tmp_path):
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False, system_metrics_s=0.1)
    with warehouse.start_run() as run:
        time.sleep(0.35)
        # Nothing is written meanwhile: a look must not wake the committer.
        assert ask(warehouse, "SELECT count(*) AS n FROM metrics") == [{"n": 0}]
        time.sleep(0.8)
    rows = ask(warehouse, "SELECT key, min(step) AS first, max(step) AS last, count(*) AS n FROM metrics GROUP BY key")
    assert {r["key"] for r in rows} >= {
        "system/cpu_utilization_percentage",
        "system/system_memory_usage_megabytes",
        "system/disk_available_megabytes",
        "system/network_transmit_megabytes",
        "system/process_memory_megabytes",
    }
    assert {(r["first"], r["last"]) for r in rows} <= {(0, 1), (0, 2)}
    assert all(r["n"] >= 4 for r in rows)
    with warehouse.start_run(run_id=run.run_id):
        time.sleep(0.25)
    (steps,) = ask(warehouse, "SELECT min(step) AS first FROM metrics WHERE attempt = 1")
    assert steps["first"] >= 1
    warehouse.close()


def test_looks_are_written_while_a_long_run_goes_on(tmp_path, monkeypatch):
    monkeypatch.setattr(system_metrics, "KEEP_S", 0.2)
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False, system_metrics_s=0.05)
    with warehouse.start_run():
        deadline = time.monotonic() + 10
        while not ask(warehouse, "SELECT key FROM metrics") and time.monotonic() < deadline:
            time.sleep(0.05)
        assert ask(warehouse, "SELECT key FROM metrics")
    warehouse.close()


def test_none_are_taken_when_that_is_said(tmp_path):
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False, system_metrics_s=0)
    with warehouse.start_run():
        time.sleep(0.2)
    assert ask(warehouse, "SELECT count(*) AS n FROM metrics") == [{"n": 0}]
    warehouse.close()


def test_who_joins_looks_only_where_nobody_else_does(tmp_path):
    program = """
import sys, time
import mlwarehouse as mlw
mlw.set_warehouse(sys.argv[1], committer="off", capture_code=False, system_metrics_s=0.1)
with mlw.start_run(run_id=sys.argv[2]) as run:
    assert run.is_joined
    time.sleep(0.35)
"""
    warehouse = Warehouse(tmp_path / "wh", committer="off", capture_code=False, system_metrics_s=0)
    with warehouse.start_run() as run:
        for rank, local in (("1", "1"), ("2", "0")):
            environment = {**os.environ, "RANK": rank, "LOCAL_RANK": local}
            subprocess.run(
                [sys.executable, "-c", program, str(warehouse.root), run.run_id], check=True, env=environment
            )
    rows = ask(warehouse, "SELECT DISTINCT context, writer_id FROM metrics")
    assert [list(json.loads(r["context"])) for r in rows] == [["host"]]
    warehouse.close()


@pytest.mark.parametrize(
    ("said", "names"),
    [
        (None, None),
        ("", []),
        ("-1", []),
        ("NoDevFiles", []),
        ("0", ["0"]),
        ("3, 1", ["3", "1"]),
        ("1,-1,2", ["1"]),
        ("GPU-8932f937,MIG-5f2a", ["GPU-8932f937", "MIG-5f2a"]),
    ],
)
def test_only_gpus_that_the_process_may_use_count(monkeypatch, said, names):
    if said is None:
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    else:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", said)
    assert visible_gpus() == names


def test_gpus_as_nvidia_smi_tells_them(tmp_path, monkeypatch):
    (tmp_path / "nvidia-smi").write_text(SMI)
    (tmp_path / "nvidia-smi").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setitem(sys.modules, "pynvml", None)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "2,5")
    gpus = Gpus()
    assert gpus.models() == ["NVIDIA H100, 80GB"] * 2
    assert gpus.metrics() == {
        "gpu_0_memory_usage_megabytes": 1048.576,
        "gpu_0_memory_usage_percentage": pytest.approx(1.2261, abs=1e-3),
        "gpu_0_utilization_percentage": 97.0,
        "gpu_0_power_usage_watts": 350.5,
        "gpu_0_power_usage_percentage": pytest.approx(50.0714, abs=1e-3),
        "gpu_1_memory_usage_megabytes": 0.0,
        "gpu_1_memory_usage_percentage": 0.0,
    }
    assert (tmp_path / "asked").read_text().startswith("-i 2,5 --query-gpu=")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert Gpus().metrics() == {}
    (tmp_path / "nvidia-smi").write_text("#!/bin/sh\nexit 9\n")
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES")
    assert Gpus().metrics() == {}


def test_gpus_as_the_management_library_tells_them(tmp_path, monkeypatch):
    (tmp_path / "pynvml.py").write_text(NVML)
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "pynvml", raising=False)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert Gpus().models() == ["index-0", "index-1"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "1,GPU-7")
    gpus = Gpus()
    assert gpus.models() == ["index-1", "uuid-GPU-7"]
    assert gpus.metrics()["gpu_1_memory_usage_percentage"] == 25.0
    assert gpus.metrics()["gpu_1_power_usage_watts"] == 100.0
    assert "gpu_1_power_usage_percentage" not in gpus.metrics()
    monkeypatch.delitem(sys.modules, "pynvml")
