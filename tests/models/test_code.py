"""A class that isn't in an installed package comes back from the source in the package, and only the source needed."""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from mlwarehouse.errors import ModelError
from mlwarehouse.models import load_model, read_package, save_model
from mlwarehouse.models.source import sliced_source


def run(folder: Path, *command: str) -> str:
    """Run Python in a folder as a user would, and return what it printed."""
    environment = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    done = subprocess.run(
        [sys.executable, *command], cwd=folder, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout + done.stderr


def write(folder: Path, **files: str) -> None:
    for name, text in files.items():
        path = folder / (name.replace("__", "/") + ".py")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(textwrap.dedent(text))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    """A folder in which a script has saved its model as `m`, loaded it, and saved that as `again`."""
    folder = tmp_path_factory.mktemp("script")
    write(
        folder,
        train="""
            from __future__ import annotations
            import sys
            from torch import nn
            import torch.nn.functional as F
            from mlwarehouse.models import save_model, load_model

            SLOPE = 0.2
            UNUSED = sys.exit if len(sys.argv) > 5 else print
            print("training")

            def activation(x: nn.Module):
                return F.leaky_relu(x, SLOPE)

            class Block(nn.Module):
                def __init__(self, n):
                    super().__init__()
                    self.layer = nn.Linear(n, n)
                def forward(self, x):
                    return activation(self.layer(x))

            class Net(nn.Module):
                def __init__(self, n, depth):
                    super().__init__()
                    self.blocks = nn.ModuleList(Block(n) for _ in range(depth))
                def forward(self, x):
                    for block in self.blocks:
                        x = block(x)
                    return x

            save_model("m", Net(2, depth=2), init_args={"n": 2, "depth": 2})
            save_model("again", load_model("m"), init_args={"n": 2, "depth": 2})
        """,
    )
    assert run(folder, "train.py").strip() == "training"
    return folder


def test_a_class_of_a_script_comes_back_without_running_the_script(trained, capfd):
    source = (trained / "m" / "code" / "__main__.py").read_text()
    assert "SLOPE = 0.2" in source
    assert "class Block" in source
    for other in ("training", "UNUSED", "save_model"):
        assert other not in source
    for name in ("m", "again"):
        loaded = load_model(trained / name)
        assert loaded(torch.ones(3, 2)).shape == (3, 2)
        assert len(loaded.blocks) == 2
    assert "training" not in capfd.readouterr().out


def test_source_that_came_with_a_model_runs_only_when_that_is_allowed(trained):
    with pytest.raises(ModelError, match="allow_code=True"):
        load_model(trained / "m", allow_code=False)


def test_source_that_fails_says_so(trained, tmp_path, rewrite):
    shutil.copytree(trained / "m", tmp_path / "m")
    rewrite(tmp_path / "m", "code/__main__.py", b"import does_not_exist\n")
    with pytest.raises(ModelError, match="No module named 'does_not_exist'"):
        load_model(tmp_path / "m")


def test_a_class_of_a_notebook_comes_back(tmp_path):
    write(
        tmp_path,
        notebook="""
            import sys
            from IPython.core.interactiveshell import InteractiveShell
            shell = InteractiveShell.instance()
            sys.modules["__main__"] = shell.user_module
            shell.user_module.__name__ = "__main__"
            shell.user_module.__dict__.pop("__file__", None)
            for cell in (
                "import torch\\nfrom torch import nn\\n%config InlineBackend.rc = {}",
                "class Net(nn.Module):\\n    def broken(self",
                "class Net(nn.Module):\\n    old = True",
                "WIDTH = 3\\nclass Net(nn.Module):\\n    def __init__(self):\\n        super().__init__()\\n"
                "        self.layer = nn.Linear(WIDTH, 1)\\n    def forward(self, x):\\n        return self.layer(x)",
                "from mlwarehouse.models import save_model\\nsave_model('m', Net())",
            ):
                result = shell.run_cell(cell, store_history=True)
            result.raise_error()
        """,
    )
    run(tmp_path, "-W", "ignore", "notebook.py")
    source = (tmp_path / "m" / "code" / "__main__.py").read_text()
    assert "WIDTH = 3" in source
    assert "old = True" not in source
    assert load_model(tmp_path / "m").layer.in_features == 3


def test_a_class_without_a_source_is_refused(tmp_path):
    typed = type("Typed", (torch.nn.Module,), {"__module__": "__main__"})
    with pytest.raises(ModelError, match="isn't in any file or notebook cell"):
        save_model(tmp_path / "m", typed())
    assert list(tmp_path.iterdir()) == []


def _project(folder: Path, factor: int) -> None:
    write(
        folder,
        lab__layers=f"FACTOR = {factor}\n",
        lab__unrelated="1 / 0\n",
        lab__nets="""
            import torch
            from .layers import FACTOR
            class Net(torch.nn.Module):
                def __init__(self):
                    super().__init__()
                    self.w = torch.nn.Parameter(torch.ones(1))
                def forward(self, x):
                    return x * self.w * FACTOR
        """,
    )
    (folder / "lab" / "__init__.py").touch()


@contextmanager
def project(folder: Path, factor: int) -> Iterator[Any]:
    """A user's own modules, importable within."""
    _project(folder, factor)
    sys.path.insert(0, str(folder))
    try:
        yield importlib.import_module("lab.nets").Net
    finally:
        sys.path.remove(str(folder))
        for name in [n for n in sys.modules if n.partition(".")[0] == "lab"]:
            del sys.modules[name]
        importlib.invalidate_caches()


def test_local_modules_come_along_and_two_packages_do_not_mix(tmp_path):
    for n in (1, 2):
        with project(tmp_path / f"p{n}", factor=n * 10) as net:
            save_model(tmp_path / f"m{n}", net())
    package = read_package(tmp_path / "m1")
    assert {f for f in package.files if f.startswith("code/")} == {
        "code/lab/__init__.py",
        "code/lab/layers.py",
        "code/lab/nets.py",
    }
    one, two = load_model(tmp_path / "m1"), load_model(tmp_path / "m2")
    assert one(torch.ones(1)).item() == 10
    assert two(torch.ones(1)).item() == 20
    assert "lab" not in sys.modules
    assert not any("m1" in p or "m2" in p for p in sys.path)
    # A model that was loaded can be saved again, and its package is as it was.
    assert save_model(tmp_path / "m3", one).files == package.files
    assert read_package(tmp_path / "m1") == package


def test_where_the_class_can_be_imported_the_import_wins(tmp_path):
    with project(tmp_path / "old", factor=10) as net:
        save_model(tmp_path / "m", net())
    with project(tmp_path / "new", factor=30) as net:
        loaded = load_model(tmp_path / "m", allow_code=False)
        assert type(loaded) is net
        assert loaded(torch.ones(1)).item() == 30


def test_a_module_run_by_name_is_found_by_that_name(tmp_path):
    write(
        tmp_path,
        job="""
            import torch
            from mlwarehouse.models import save_model
            class Net(torch.nn.Linear):
                def __init__(self):
                    super().__init__(1, 1)
            if __name__ == "__main__":
                save_model("m", Net())
        """,
    )
    run(tmp_path, "-m", "job")
    assert read_package(tmp_path / "m").options["model_class"] == "job:Net"
    assert load_model(tmp_path / "m").in_features == 1


@pytest.mark.parametrize(
    ("cells", "kept", "dropped"),
    [
        (["import a\nimport b\nclass C(a.B): pass"], ["import a"], ["import b"]),
        (["try:\n    import q as f\nexcept ImportError:\n    import s as f\nclass C:\n    x = f.y"], ["import s"], []),
        (["if __name__ == '__main__':\n    x = 1\nclass C:\n    y = x"], ["class C"], ["x = 1"]),
        (["from m import *\nclass C: pass"], ["from m import *"], []),
        (["x = 1\nx += 2\nprint(x)\nclass C:\n    y = x"], ["x = 1", "x += 2"], ["print"]),
        (["def f(): return g()\ndef g(): return 1\nclass C:\n    y = f()"], ["def f", "def g"], []),
        (["class C:\n    a = 1", "class C:\n    b = 2"], ["b = 2"], ["a = 1"]),
        (["import a", "from __future__ import annotations\nclass C(a.B): pass"], ["import a"], []),
        (["!broken", "class C: pass"], ["class C"], ["broken"]),
        (["@d\nclass C: pass\ndef d(c): return c"], ["def d"], []),
    ],
)
def test_the_slice_holds_what_the_class_needs(cells, kept, dropped):
    source = sliced_source(cells, "C")
    assert source is not None
    compile(source, "slice", "exec")
    assert all(text in source for text in kept)
    assert not any(text in source for text in dropped)


def test_no_class_no_slice():
    assert sliced_source(["x = 1"], "C") is None
