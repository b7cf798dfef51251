"""What importing and logging load, and that the layers' contract sees every module."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import grimp

ROOT = Path(__file__).parent.parent

HEAVY = (
    "dash",
    "deltalake",
    "duckdb",
    "fastapi",
    "numpy",
    "pandas",
    "plotly",
    "pyarrow",
    "pyspark",
    "safetensors",
    "sqlglot",
    "torch",
    "typer",
    "yaml",
)
"""Libraries that a process which only trains and logs must not pay for."""

_LOADED = f"import sys; print(sorted(m for m in {HEAVY!r} if m in sys.modules))"

_LOGGING = """
import mlwarehouse as mlw

mlw.set_warehouse("wh", committer="off")
with mlw.start_run(experiment="e", tags={"a": "b"}) as run:
    mlw.log_params({"lr": 0.1})
    mlw.log_metric("loss", 0.5, step=1, context={"subset": "val"})
    mlw.log_metrics({"loss": 0.4, "accuracy": 0.9}, step=2)
    mlw.log_text("fine", "notes.md")
with mlw.start_run():
    mlw.log_metric("loss", 0.3)
mlw.get_warehouse().close()
"""


def _loaded_after(program: str, folder: Path) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-c", f"{program}\n{_LOADED}"], cwd=folder, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1:]


def test_importing_loads_no_heavy_library(tmp_path):
    assert _loaded_after("import mlwarehouse", tmp_path) == ["[]"]


def test_logging_a_run_loads_no_heavy_library(tmp_path):
    assert _loaded_after(_LOGGING, tmp_path) == ["[]"]
    assert list((tmp_path / "wh" / "_spool").rglob("*.seg"))


def test_the_engine_loads_what_logging_does_not(tmp_path):
    # Or else the lists above would prove nothing.
    (loaded,) = _loaded_after("import mlwarehouse.engines.embedded", tmp_path)
    assert {"deltalake", "duckdb", "pyarrow", "sqlglot"} <= set(ast.literal_eval(loaded))


def test_the_layers_contract_sees_every_module():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    roots = project["tool"]["importlinter"]["root_packages"]
    seen = grimp.build_graph(*roots, cache_dir=None).modules
    files = list((ROOT / "mlwarehouse").rglob("*.py"))
    files += [p for link in ("dashboards", "sql") for p in (ROOT / "mlwarehouse" / link).rglob("*.py")]
    modules = {".".join(p.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__") for p in files}
    assert "mlwarehouse.dashboards.app" in modules
    assert "mlwarehouse.engines.embedded" in modules
    assert modules - seen == set()
