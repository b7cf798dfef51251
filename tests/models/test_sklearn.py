"""scikit-learn's models: kept without a pickle, and rebuilt from types that are known or were named."""

from __future__ import annotations

import io
import json
import subprocess
import sys
import warnings
import zipfile

import numpy as np
import pandas as pd
import pytest
import skops.io
import yaml
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from mlwarehouse.errors import InvalidInputError, ModelError, PickleRefusedError
from mlwarehouse.models import Field, load_model, load_predictor, read_package, save_model

FRAME = pd.DataFrame({"a": [0.0, 1.0, 2.0, 3.0], "b": [1.0, 0.0, 1.0, 0.0]})
LABELS = ["low", "low", "high", "high"]


class Doubled(TransformerMixin, BaseEstimator):
    """A step of somebody's own."""

    def fit(self, x, y=None):
        return self

    def transform(self, x):
        return x * 2


sys.modules["own_steps"] = sys.modules[__name__]
Doubled.__module__ = "own_steps"


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "m", make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, LABELS))
    return tmp_path / "m"


def test_a_pipeline_predicts_and_its_package_says_what_it_takes(tmp_path):
    model = make_pipeline(StandardScaler(), LogisticRegression()).fit(FRAME, LABELS)
    package = save_model(tmp_path / "m", model, input_example=FRAME)
    assert package.flavor == "sklearn_skops"
    assert package.signature.outputs == (Field("prediction", "string"),)
    assert "mlwarehouse[sklearn]==" in (tmp_path / "m" / "requirements.txt").read_text()
    predicted = load_predictor(tmp_path / "m").predict(FRAME[["b", "a"]])
    assert predicted["prediction"].tolist() == model.predict(FRAME).tolist()
    np.testing.assert_array_equal(load_model(tmp_path / "m")[-1].coef_, model[-1].coef_)
    assert save_model(tmp_path / "n", model, input_example=FRAME).digest == package.digest


def test_a_model_of_types_that_nobody_named_is_refused_with_their_names(tmp_path):
    model = make_pipeline(Doubled(), LogisticRegression()).fit(FRAME, LABELS)
    save_model(tmp_path / "m", model, input_example=FRAME)
    for load in (load_model, load_predictor):
        with pytest.raises(PickleRefusedError, match=r"own_steps\.Doubled.*trusted_types=\['own_steps\.Doubled'\]"):
            load(tmp_path / "m")
    with pytest.raises(InvalidInputError, match=r"must be a list; got the text `own_steps\.Doubled`"):
        load_model(tmp_path / "m", trusted_types="own_steps.Doubled")
    loaded = load_model(tmp_path / "m", trusted_types=["own_steps.Doubled"])
    assert loaded.predict(FRAME).tolist() == model.predict(FRAME).tolist()
    assert isinstance(load_model(tmp_path / "m", allow_pickle=True)[0], Doubled)


def test_a_package_can_not_name_its_own_trusted_types(tmp_path, rewrite):
    save_model(tmp_path / "m", make_pipeline(Doubled(), LogisticRegression()).fit(FRAME, LABELS))
    described = yaml.safe_load((tmp_path / "m" / "MLmodel").read_text())
    described["flavors"]["mlwarehouse"] |= {"trusted_types": ["own_steps.Doubled"]}
    described["flavors"]["sklearn"] = {"skops_trusted_types": ["own_steps.Doubled"], "pickled_model": "model.skops"}
    rewrite(tmp_path / "m", "MLmodel", yaml.safe_dump(described).encode())
    with pytest.raises(PickleRefusedError, match="own_steps"):
        load_model(tmp_path / "m")


def _hostile():
    schema = {
        "__class__": "system",
        "__module__": "os",
        "__loader__": "FunctionNode",
        "content": {"module_path": "os", "function": "system"},
        "protocol": 2,
        "_skops_version": skops.__version__,
    }
    return json.dumps(schema | {"__id__": 1})


def test_a_forged_file_runs_nothing(folder, rewrite):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as archive:
        archive.writestr("schema.json", _hostile())
    rewrite(folder, "model.skops", made.getvalue())
    with pytest.raises(PickleRefusedError, match=r"os\.system"):
        load_model(folder)


@pytest.mark.parametrize("name", ["../../outside", "/etc/cron.d/x", "a\\..\\b", "schema.json"])
def test_an_archive_with_names_that_no_model_has_is_refused(folder, rewrite, name):
    made = io.BytesIO((folder / "model.skops").read_bytes())
    with zipfile.ZipFile(made, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a second file of one name
        archive.writestr(name, "x")
    rewrite(folder, "model.skops", made.getvalue())
    with pytest.raises(ModelError, match=r"a file that no model has|two files `schema\.json`"):
        load_model(folder)


def test_an_archive_that_would_fill_the_memory_is_refused(folder, rewrite):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("schema.json", b" " * (65 * 2**20))
    assert len(made.getvalue()) < 2**20
    rewrite(folder, "model.skops", made.getvalue())
    with pytest.raises(ModelError, match="would unpack to 68157440"):
        load_model(folder)


@pytest.mark.parametrize("content", [b"", b"\x80\x04K\x01.", b"PK\x05\x06" + bytes(18)])
def test_what_is_no_skops_file_is_refused(folder, rewrite, content):
    rewrite(folder, "model.skops", content)
    with pytest.raises(ModelError):
        load_model(folder)


def test_functions_that_nobody_else_can_reach_are_refused_when_saving(tmp_path):
    from sklearn.preprocessing import FunctionTransformer

    with pytest.raises(ModelError, match="can't be rebuilt"):
        save_model(tmp_path / "m", FunctionTransformer(lambda x: x).fit(FRAME), input_example=FRAME)
    with pytest.raises(InvalidInputError, match="init_args"):
        save_model(tmp_path / "m", LogisticRegression(), init_args={"C": 1.0})


def test_without_the_library_it_says_what_to_install(folder):
    script = (
        "import sys\nsys.modules['skops'] = None\n"
        "from mlwarehouse.models import load_model, read_package\n"
        "print(read_package(sys.argv[1]).flavor)\n"
        "try:\n    load_model(sys.argv[1])\nexcept Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == read_package(folder).flavor
    assert "MissingDependencyError" in done.stdout
    assert "pip install 'mlwarehouse[sklearn]'" in done.stdout
