"""Flavors of other installed packages, by a real entry point of a distribution on the path."""

from __future__ import annotations

import sys

import pandas as pd
import pytest

from mlwarehouse.errors import InvalidInputError, ModelError
from mlwarehouse.models import FLAVORS, load_model, load_predictor, read_package, save_model

PACKAGE = '''
import json
from mlwarehouse.models import Flavor


class Table(dict):
    """Looks answers up."""


def save(folder, model, options):
    (folder / "table.json").write_text(json.dumps(model))
    return {"table": "table.json"}


def load(package, options):
    return Table(json.loads(package.file(package.options["table"]).read_text()))


TABLE = Flavor(
    name="look_up",
    doc="A table of answers.",
    load=load,
    predict=lambda model, frame: frame["key"].map(model).tolist(),
    accepts=lambda model: type(model) is Table,
    save=save,
    libraries=("look-up",),
)
'''
FRAME = pd.DataFrame({"key": ["a", "b"]})


@pytest.fixture
def install(tmp_path, monkeypatch):
    """Put a distribution on the path, as an installer would."""
    monkeypatch.syspath_prepend(tmp_path)

    def put(distribution, entry, module="look_up_flavor", source=PACKAGE):
        info = tmp_path / f"{distribution.replace('-', '_')}-1.2.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {distribution}\nVersion: 1.2\n")
        (info / "entry_points.txt").write_text(f"[mlwarehouse.flavors]\n{entry}\n")
        (tmp_path / f"{module}.py").write_text(source)

    yield put
    sys.modules.pop("look_up_flavor", None)


def test_a_flavor_of_another_package_saves_loads_and_predicts(install, tmp_path, monkeypatch):
    install("look-up", "look_up = look_up_flavor:TABLE")
    assert "look_up_flavor" not in sys.modules
    import look_up_flavor

    model = look_up_flavor.Table(a=1.0, b=2.0)
    package = save_model(tmp_path / "m", model, input_example=FRAME)
    assert package.flavor == "look_up"
    assert "look-up==1.2" in (tmp_path / "m" / "requirements.txt").read_text()
    assert load_model(tmp_path / "m") == model
    assert load_predictor(tmp_path / "m").predict(FRAME)["prediction"].tolist() == [1.0, 2.0]
    save_model(tmp_path / "n", model, flavor="look_up")
    with pytest.raises(InvalidInputError, match="look_up"):
        save_model(tmp_path / "o", model, flavor="lookup")

    monkeypatch.setattr(sys, "path", [p for p in sys.path if p != str(tmp_path)])
    with pytest.raises(ModelError, match=r"flavor `look_up`, which isn't here; install the package"):
        read_package(tmp_path / "m")


def test_packages_are_imported_only_when_they_are_needed(install, tmp_path):
    import torch

    install("look-up", "look_up = look_up_flavor:TABLE")
    save_model(tmp_path / "m", torch.nn.Linear(1, 1), init_args={"in_features": 1, "out_features": 1})
    load_model(tmp_path / "m")
    assert "look_up_flavor" not in sys.modules


@pytest.mark.parametrize(
    ("entry", "source", "says"),
    [
        (
            "look_up_2 = look_up_flavor:TABLE",
            "raise RuntimeError('half installed')",
            "can't be imported.*half installed",
        ),
        ("look_up_3 = look_up_flavor:TABLE", "TABLE = {}", "is a dict at"),
        ("look_up_4 = look_up_flavor:TABLE", PACKAGE, "is the flavor `look_up` at"),
        ("look_up_5 = look_up_flavor:NONE", PACKAGE, "can't be imported"),
    ],
)
def test_a_broken_package_is_named(install, tmp_path, entry, source, says):
    install("broken-flavors", entry, source=source)
    with pytest.raises(ModelError, match=f"`broken-flavors`.*{says}"):
        save_model(tmp_path / "m", {}, flavor=entry.partition(" ")[0])


def test_two_packages_of_one_flavor_are_named(install, tmp_path):
    install("one", "look_up_6 = look_up_flavor:TABLE")
    install("other", "look_up_6 = other_flavor:TABLE", module="other_flavor")
    with pytest.raises(ModelError, match=r"2 packages \(one, other\)"):
        save_model(tmp_path / "m", {}, flavor="look_up_6")


def test_a_package_can_not_take_the_name_of_a_flavor_that_is_here(install, tmp_path):
    install("taker", f"{FLAVORS[0].name} = look_up_flavor:TABLE", source="raise RuntimeError")
    with pytest.raises(InvalidInputError, match="ScriptModule"):
        save_model(tmp_path / "m", {}, flavor=FLAVORS[0].name)
