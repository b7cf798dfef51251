"""Nothing in a package runs, or is used, that its maker didn't put there and its reader didn't allow."""

from __future__ import annotations

import io
import json
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
import yaml

from mlwarehouse.errors import DigestMismatchError, ModelError, PickleRefusedError
from mlwarehouse.models import load_model, load_predictor, read_package, save_model
from mlwarehouse.models.package import MANIFEST, MLMODEL

ARGUMENTS = {"in_features": 2, "out_features": 1}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    save_model(tmp_path / "m", torch.nn.Linear(2, 1), init_args=ARGUMENTS, input_example=np.zeros((2, 2)))
    return tmp_path / "m"


@pytest.fixture(scope="module")
def program(tmp_path_factory) -> bytes:
    file = tmp_path_factory.mktemp("program") / "m.pt2"
    rows = {0: torch.export.Dim("rows")}
    torch.export.save(torch.export.export(torch.nn.Linear(2, 1), (torch.zeros(3, 2),), dynamic_shapes=(rows,)), file)
    return file.read_bytes()


class Evil:
    """Touches a file when it is unpickled."""

    def __init__(self, file: Path) -> None:
        self.file = file

    def __reduce__(self):
        return Path.touch, (self.file,)


def edit(archive: bytes, change) -> bytes:
    """The archive with its records changed by a function of name and content; None drops one."""
    made = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(archive)) as old, zipfile.ZipFile(made, "w") as new:
        for name in old.namelist():
            content = change(name.partition("/")[2], old.read(name))
            if content is not None:
                new.writestr(name, content)
    return made.getvalue()


def edit_program(archive: bytes, change) -> bytes:
    def in_record(name, content):
        if name != "models/model.json":
            return content
        program = json.loads(content)
        change(program)
        return json.dumps(program).encode()

    return edit(archive, in_record)


@pytest.mark.parametrize("name", ["model.safetensors", MLMODEL, "requirements.txt", "input_example.json"])
def test_one_changed_byte_is_found(folder, name):
    content = bytearray((folder / name).read_bytes())
    content[-2] ^= 1
    (folder / name).write_bytes(content)
    for load in (read_package, load_model, load_predictor):
        with pytest.raises((DigestMismatchError, ModelError)) as raised:
            load(folder)
        assert name in str(raised.value)


def test_an_added_and_a_removed_file_are_found(folder):
    (folder / "more.py").write_text("")
    with pytest.raises(DigestMismatchError, match=r"`more\.py`.*was added"):
        read_package(folder)
    (folder / "more.py").unlink()
    (folder / "model.safetensors").unlink()
    with pytest.raises(DigestMismatchError, match=r"`model\.safetensors`.*is gone"):
        read_package(folder)


def test_a_package_without_its_manifest_is_refused(folder):
    (folder / MANIFEST).unlink()
    with pytest.raises(DigestMismatchError, match=r"lacks its `manifest\.json`"):
        load_model(folder)


def test_the_digest_says_when_everything_was_replaced(folder, rewrite):
    digest = read_package(folder).digest
    rewrite(folder, "requirements.txt", b"evil\n")
    assert read_package(folder).digest != digest
    assert read_package(folder).digest == read_package(folder, verify=False).digest


def test_a_link_is_refused(folder):
    (folder / "requirements.txt").unlink()
    (folder / "requirements.txt").symlink_to("/etc/hostname")
    with pytest.raises(ModelError, match="link"):
        read_package(folder)


@pytest.mark.parametrize("name", ["../outside", "/etc/passwd", "a/../../b", "..\\x"])
def test_a_manifest_can_not_name_files_outside(folder, name):
    listed = json.loads((folder / MANIFEST).read_text())
    listed["files"][name] = "0" * 64
    (folder / MANIFEST).write_text(json.dumps(listed))
    for verify in (True, False):
        with pytest.raises(ModelError, match="names a file that no package can have"):
            read_package(folder, verify=verify)


@pytest.mark.parametrize("content", ["", "[]", "{", '{"files": 3}'])
def test_a_damaged_manifest_is_refused(folder, content):
    (folder / MANIFEST).write_text(content)
    with pytest.raises(DigestMismatchError, match="damaged"):
        read_package(folder)


@pytest.mark.parametrize(
    "content", ["", "a: [", "flavors: 3", "flavors: {sklearn: {}}", "!!python/object/apply:os.getcwd []", "\x00"]
)
def test_an_mlmodel_file_that_says_nothing_is_refused(folder, rewrite, content):
    rewrite(folder, MLMODEL, content.encode())
    with pytest.raises(ModelError):
        load_model(folder)


@pytest.mark.parametrize(
    ("entry", "value", "says"),
    [
        ("model_class", "subprocess:Popen", "isn't a torch.nn.Module"),
        ("model_class", "os:system", "not a class|isn't a torch"),
        ("model_class", "os.system", "names no class"),
        ("model_class", "torch.nn:Nothing", "can't be imported"),
        ("weights", "../../x", "names a file it can't have"),
        ("weights", "missing", "lacks its file"),
        ("init_args", [1], "doesn't say how"),
        ("flavor", "pickle", "install the package that brings it"),
    ],
)
def test_forged_entries_do_not_reach_what_they_name(folder, rewrite, entry, value, says):
    described = yaml.safe_load((folder / MLMODEL).read_text())
    described["flavors"]["mlwarehouse"][entry] = value
    rewrite(folder, MLMODEL, yaml.safe_dump(described).encode())
    with pytest.raises(ModelError, match=says):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"\x00" * 8, b"\xff" * 64, b"\x10\x00\x00\x00\x00\x00\x00\x00{}"])
def test_weights_that_are_not_safetensors_are_refused(folder, rewrite, content):
    rewrite(folder, "model.safetensors", content)
    with pytest.raises(ModelError):
        load_model(folder)


def test_weights_that_are_a_pickle_do_not_run(folder, rewrite, tmp_path):
    rewrite(folder, "model.safetensors", pickle.dumps(Evil(tmp_path / "ran")))
    with pytest.raises(ModelError):
        load_model(folder)
    assert not (tmp_path / "ran").exists()


def _hostile_programs(file: Path):
    pickled = io.BytesIO()
    torch.save(Evil(file), pickled)
    run = f"__import__('pathlib').Path({str(file)!r}).touch()"

    def target(program):
        program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.os.system"

    def library(program):
        program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.load_library.__call__.x"

    def reads_a_file(program):
        program["graph_module"]["graph"]["nodes"][0]["target"] = "torch.ops.aten.from_file.default"

    def expression(program):
        for value in program["graph_module"]["graph"]["tensor_values"].values():
            value["sizes"][0] = {"as_expr": {"expr_str": run, "hint": {"as_int": 2}}}

    def symbol(program):
        program["range_constraints"] = {run: {"min_val": 2, "max_val": None}}

    def container(program):
        program["graph_module"]["module_call_graph"].append({"x": '[1, {"default_factory_module": "antigravity"}]'})

    def use_pickle(name, content):
        if name == "data/weights/weight_0":
            return pickled.getvalue()
        if name == "data/weights/model_weights_config.json":
            config = json.loads(content)
            for payload in config["config"].values():
                payload["use_pickle"] = True
            return json.dumps(config).encode()
        return content

    def old_weights(name, content):
        return None if name.startswith("data/weights/") else content

    return {
        "operator": lambda a: edit_program(a, target),
        "library": lambda a: edit_program(a, library),
        "file": lambda a: edit_program(a, reads_a_file),
        "expression": lambda a: edit_program(a, expression),
        "symbol": lambda a: edit_program(a, symbol),
        "container": lambda a: edit_program(a, container),
        "pickled weights": lambda a: edit(a, use_pickle),
        "legacy weights": lambda a: add(edit(a, old_weights), "data/weights/model.pt", pickled.getvalue()),
        "object": lambda a: add(a, "data/constants/custom_obj_0", pickled.getvalue()),
        "compiled": lambda a: add(a, "data/aotinductor/model/model.so", b"\x7fELF"),
    }


def add(archive: bytes, name: str, content: bytes) -> bytes:
    made = io.BytesIO(archive)
    with zipfile.ZipFile(made, "a") as new:
        new.writestr(f"{new.namelist()[0].partition('/')[0]}/{name}", content)
    return made.getvalue()


@pytest.mark.parametrize("kind", sorted(_hostile_programs(Path("x"))))
def test_a_hostile_exported_program_is_refused_and_does_not_run(tmp_path, program, rewrite, kind):
    (tmp_path / "clean.pt2").write_bytes(program)
    folder = tmp_path / "m"
    save_model(folder, torch.export.load(tmp_path / "clean.pt2"))
    rewrite(folder, "model.pt2", _hostile_programs(tmp_path / "ran")[kind](program))
    with pytest.raises(PickleRefusedError, match="could run code"):
        load_model(folder)
    assert not (tmp_path / "ran").exists()


def test_what_pytorch_would_run_by_itself_is_left_out(tmp_path, program, rewrite):
    """Pickled example inputs and guards' source: dropped, and the program still loads."""
    folder = tmp_path / "m"
    (tmp_path / "clean.pt2").write_bytes(program)
    save_model(folder, torch.export.load(tmp_path / "clean.pt2"))
    pickled = io.BytesIO()
    torch.save(Evil(tmp_path / "ran"), pickled)
    hostile = edit(program, lambda name, c: pickled.getvalue() if name == "data/sample_inputs/model.pt" else c)

    def guards(program):
        program["guards_code"] = [f"__import__('pathlib').Path({str(tmp_path / 'ran')!r}).touch() is None"]

    rewrite(folder, "model.pt2", edit_program(hostile, guards))
    loaded = load_model(folder)
    assert loaded(torch.zeros(4, 2)).shape == (4, 1)
    assert not (tmp_path / "ran").exists()

    # The test bites: PyTorch's own loader does run it.
    (tmp_path / "hostile.pt2").write_bytes(hostile)
    script = "import sys, torch; torch.export.load(sys.argv[1])"
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "hostile.pt2")], capture_output=True, check=False)
    assert (tmp_path / "ran").exists()


@pytest.fixture
def script(tmp_path):
    with pytest.warns(FutureWarning):
        scripted = torch.jit.script(torch.nn.Sequential(torch.nn.Linear(2, 1)))
    save_model(tmp_path / "m", scripted)
    return tmp_path / "m"


def is_of_container(name: str) -> bool:
    """Whether it is the code of `Sequential`, which a process that scripts it again gives a mangled name."""
    return name.endswith(".py") and "/container" in name


@pytest.mark.parametrize(
    "line",
    [
        b'torch.save(input, "FILE")',
        b'ops.aten.save(input, "FILE")',
        b'input.save("FILE")',
        b'y = "FILE".from_file(True, 4)',
        b'getattr(torch, "sa" "ve")(input, "FILE")',
        b'getattr(torch, "\\x73ave")(input, "FILE")',
        b"y : __torch__.torch.classes.aoti.AOTIModelPackageLoader = input",
    ],
)
def test_a_script_whose_code_reaches_files_is_refused_before_it_is_loaded(script, rewrite, tmp_path, line):
    def hostile(name, content):
        if not is_of_container(name):
            return content
        head, _, rest = content.partition(b"input: Tensor) -> Tensor:\n")
        into = b"    " + line.replace(b"FILE", str(tmp_path / "ran").encode()) + b"\n"
        return head + b"input: Tensor) -> Tensor:\n" + into + rest

    rewrite(script, "model.pt", edit((script / "model.pt").read_bytes(), hostile))
    with pytest.raises(PickleRefusedError, match="could read or write files"):
        load_model(script)


def test_a_script_that_saves_a_file_would_have_run(script, tmp_path):
    """The test above bites: PyTorch loads such a script and runs it."""

    def hostile(name, content):
        line = f'input: Tensor) -> Tensor:\n    torch.save(input, "{tmp_path / "ran"}")\n'.encode()
        return content.replace(b"input: Tensor) -> Tensor:\n", line) if is_of_container(name) else content

    (tmp_path / "hostile.pt").write_bytes(edit((script / "model.pt").read_bytes(), hostile))
    with pytest.warns(FutureWarning):
        torch.jit.load(tmp_path / "hostile.pt")(torch.zeros(1, 2))
    assert (tmp_path / "ran").exists()


@pytest.mark.parametrize("content", [b"", b"not a zip", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_program_is_refused(tmp_path, program, rewrite, content):
    (tmp_path / "clean.pt2").write_bytes(program)
    save_model(tmp_path / "m", torch.export.load(tmp_path / "clean.pt2"))
    rewrite(tmp_path / "m", "model.pt2", content)
    with pytest.raises(ModelError, match="isn't an exported program"):
        load_model(tmp_path / "m")


def test_missing_pytorch_is_said_with_the_extra_that_brings_it(folder):
    script = (
        "import sys; sys.modules['torch'] = None\n"
        "from mlwarehouse.models import load_model, read_package\n"
        "from mlwarehouse.errors import MissingDependencyError\n"
        "assert read_package(sys.argv[1]).flavor == 'torch_eager'\n"
        "try:\n    load_model(sys.argv[1])\n"
        "except MissingDependencyError as error:\n    print(error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    assert "pip install 'mlwarehouse[torch]'" in done.stdout


def test_importing_the_models_package_loads_nothing_heavy():
    script = (
        "import sys; import mlwarehouse.models; "
        "print(*({'torch', 'pandas', 'numpy', 'safetensors', 'mlflow', 'duckdb', 'deltalake'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_a_predictor_knows_its_packages_digest(folder):
    predictor = load_predictor(folder)
    assert predictor.digest == read_package(folder).digest
    assert list(predictor.predict(pd.DataFrame(np.zeros((1, 2)))).columns) == ["prediction"]
    package = read_package(folder)
    assert load_predictor(package).digest == package.digest
    torch.testing.assert_close(load_model(package).weight, predictor.model.weight)
