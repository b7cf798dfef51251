"""Models in plain Python: the class and its arguments are kept, never a pickle."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pytest
import yaml

from mlwarehouse.errors import InvalidInputError, ModelError
from mlwarehouse.models import Field, load_model, load_predictor, save_model
from mlwarehouse.models.package import MLMODEL

TEXTS = pd.DataFrame({"text": ["good good film", "bad"]})
NUMBERS = pd.DataFrame({"x": [1.0, 2.0]})


@pytest.fixture
def plain(monkeypatch):
    spec = importlib.util.spec_from_file_location("plain_models", Path(__file__).with_name("plain.py"))
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "plain_models", module)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def scorer(tmp_path, plain):
    (tmp_path / "words.txt").write_text("good film")
    model = plain.Scorer(weight=2.0)
    model.load_files({"words.txt": tmp_path / "words.txt"})
    save_model(
        tmp_path / "m", model, init_args={"weight": 2.0}, extra_files=[tmp_path / "words.txt"], input_example=TEXTS
    )
    return tmp_path / "m"


def test_a_class_comes_back_with_its_arguments_and_files_where_nobody_has_its_module(scorer):
    script = (
        "import sys, pandas as pd\n"
        "from mlwarehouse.models import load_predictor\n"
        "print(load_predictor(sys.argv[1]).predict(pd.DataFrame({'text': ['film', 'x']}))['prediction'].tolist())\n"
        "print([m for m in ('torch', 'sklearn', 'plain_models') if m in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(scorer)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == ["[2.0, 0.0]", "[]"]


def test_its_signature_is_inferred_and_its_source_needs_leave(scorer, monkeypatch):
    assert load_predictor(scorer).signature.inputs == (Field("text", "string"),)
    assert load_predictor(scorer).signature.outputs == (Field("prediction", "double"),)
    monkeypatch.delitem(sys.modules, "plain_models")
    with pytest.raises(ModelError, match="allow_code=True"):
        load_model(scorer, allow_code=False)


def test_a_state_is_kept_by_the_files_that_the_class_writes(tmp_path, plain):
    model = plain.Mean()
    model.mean = 0.5
    save_model(tmp_path / "m", model, input_example=NUMBERS)
    assert load_predictor(tmp_path / "m").predict(NUMBERS)["x"].tolist() == [0.5, 1.5]
    (tmp_path / "mean.txt").write_text("9")
    with pytest.raises(InvalidInputError, match=r"writes a file `mean\.txt`"):
        save_model(tmp_path / "n", model, extra_files=[tmp_path / "mean.txt"])


def test_a_state_that_would_be_lost_is_found_when_saving(tmp_path, plain):
    model = plain.Forgetful()
    save_model(tmp_path / "as built", model, input_example=NUMBERS)
    model.mean = 0.5
    with pytest.raises(ModelError, match=r"a state that isn't kept.*init_args=.*save_files"):
        save_model(tmp_path / "m", model, input_example=NUMBERS)
    save_model(tmp_path / "dice", plain.Dice(), input_example=NUMBERS)


def test_what_is_no_model_is_refused(tmp_path, plain):
    for kind, match, call in [
        (ModelError, r"predict\(self, frame\)", lambda: save_model(tmp_path / "m", plain.TwoArguments())),
        (ModelError, "init_args=", lambda: save_model(tmp_path / "m", plain.Mean(), init_args={"mean": 1.0})),
        (
            ModelError,
            "columns `x`: no luck",
            lambda: save_model(tmp_path / "m", plain.Failing(), input_example=NUMBERS),
        ),
        (InvalidInputError, "builtins.type", lambda: save_model(tmp_path / "m", plain.Mean)),
        (InvalidInputError, "PyTorch, scikit-learn or ONNX", lambda: save_model(tmp_path / "m", object())),
    ]:
        with pytest.raises(kind, match=match):
            call()


@pytest.mark.parametrize("name", ["subprocess:Popen", "os:system", "builtins:exec", "pathlib:Path"])
def test_a_forged_class_is_not_built(scorer, rewrite, name):
    described = yaml.safe_load((scorer / MLMODEL).read_text())
    described["flavors"]["mlwarehouse"] |= {"model_class": name, "init_args": {"args": ["touch", "/tmp/x"]}}
    rewrite(scorer, MLMODEL, yaml.safe_dump(described).encode())
    with pytest.raises(ModelError, match=r"no method `predict|not a class|gives no class"):
        load_model(scorer)
