"""Each flavor: what is loaded computes what was saved."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from mlwarehouse.errors import ConflictError, InvalidInputError, ModelError, NotFoundError
from mlwarehouse.models import FLAVORS, Field, load_model, load_predictor, read_package, save_model


def _nets():
    spec = importlib.util.spec_from_file_location("model_nets", Path(__file__).with_name("nets.py"))
    module = importlib.util.module_from_spec(spec)
    sys.modules["model_nets"] = module
    spec.loader.exec_module(module)
    return module


nets = _nets()

X = np.random.default_rng(0).normal(size=(5, 3)).astype("float32")
FRAME = pd.DataFrame(X, columns=["a", "b", "c"])


def scripted(model):
    with pytest.warns(FutureWarning):
        return torch.jit.script(model)


def made(flavor: str):
    model = nets.Mlp(3, 2).eval()
    if flavor == "torch_eager":
        return model, model, {"init_args": {"n_in": 3, "n_out": 2}}
    if flavor == "torch_script":
        return model, scripted(model), {}
    rows = torch.export.Dim("rows")
    return model, torch.export.export(model, (torch.from_numpy(X),), dynamic_shapes=({0: rows},)), {}


@pytest.mark.parametrize("flavor", [f.name for f in FLAVORS if f.save is not None and f.extra == "torch"])
def test_a_loaded_model_computes_what_was_saved(tmp_path, flavor):
    model, saved, arguments = made(flavor)
    before = torch.get_rng_state()
    package = save_model(tmp_path / "m", saved, input_example=FRAME, metadata={"team": "nlp"}, **arguments)
    assert torch.equal(torch.get_rng_state(), before)
    expected = model(torch.from_numpy(X)).detach().numpy()

    assert package.flavor == flavor
    assert package.metadata == {"team": "nlp"}
    assert package.signature.inputs == (Field("a", "float"), Field("b", "float"), Field("c", "float"))
    assert package.signature.outputs == (Field("output_0", "float"), Field("output_1", "float"))
    assert read_package(tmp_path / "m") == package

    loaded = load_model(tmp_path / "m")
    assert not loaded.training or flavor == "torch_export"
    np.testing.assert_allclose(loaded(torch.from_numpy(X)).detach().numpy(), expected, rtol=1e-6)
    shuffled = FRAME[["c", "a", "b"]].assign(other="x").set_axis(list("vwxyz"), axis="index")
    predicted = load_predictor(tmp_path / "m").predict(shuffled)
    assert list(predicted.columns) == ["output_0", "output_1"]
    assert list(predicted.index) == list("vwxyz")
    np.testing.assert_allclose(predicted.to_numpy(), expected, rtol=1e-6)


def test_every_flavor_file_is_in_the_tuple():
    folder = Path(sys.modules["mlwarehouse.models.flavors"].__file__).parent
    files = {p.stem for p in folder.glob("*.py")} - {"__init__", "base", "plugins", "pt2_archive"}
    assert {f.name for f in FLAVORS} == files


def test_equal_models_have_equal_digests(tmp_path):
    model = nets.Mlp(3, 1)
    one = save_model(tmp_path / "1", model, init_args={"n_in": 3, "n_out": 1}, input_example=FRAME)
    two = save_model(tmp_path / "2", model, init_args={"n_in": 3, "n_out": 1}, input_example=FRAME)
    assert one.digest == two.digest
    with torch.no_grad():
        model.body[0].bias += 1
    three = save_model(tmp_path / "3", model, init_args={"n_in": 3, "n_out": 1}, input_example=FRAME)
    assert three.digest != one.digest


def test_saving_leaves_the_model_in_training(tmp_path):
    model = nets.Mlp(3, 1).train()
    save_model(tmp_path / "eager", model, init_args={"n_in": 3, "n_out": 1}, input_example=FRAME)
    save_model(tmp_path / "exported", model, flavor="torch_export", input_example=FRAME)
    assert model.training


def test_a_module_is_exported_for_any_number_of_rows(tmp_path):
    model = nets.Mlp(3, 1).eval()
    save_model(tmp_path / "m", model, flavor="torch_export", input_example=FRAME.head(1))
    predicted = load_predictor(tmp_path / "m").predict(FRAME)
    np.testing.assert_allclose(predicted["prediction"], model(torch.from_numpy(X)).detach()[:, 0], rtol=1e-6)
    with pytest.raises(InvalidInputError, match="input_example"):
        save_model(tmp_path / "n", model, flavor="torch_export")


def test_shared_weights_stay_shared(tmp_path):
    model = nets.Tied()
    tokens = torch.tensor([[1, 2, 3], [4, 5, 6]])
    package = save_model(tmp_path / "m", model, input_example=tokens)
    assert package.signature.inputs == (Field("input", "long", dims=1),)
    loaded = load_model(tmp_path / "m")
    assert loaded.head.weight is loaded.embedding.weight
    torch.testing.assert_close(loaded(tokens), model(tokens))
    torch.testing.assert_close(loaded.middle, model.middle)
    predicted = load_predictor(tmp_path / "m").predict(pd.DataFrame({"input": [[1, 2, 3]]}))
    np.testing.assert_allclose(predicted.to_numpy()[0], model(tokens)[0].detach(), rtol=1e-6)


def test_half_precision_stays_half_precision(tmp_path):
    model = nets.Mlp(3, 1).to(torch.bfloat16)
    save_model(tmp_path / "m", model, init_args={"n_in": 3, "n_out": 1}, input_example=FRAME)
    loaded = load_model(tmp_path / "m")
    assert {p.dtype for p in loaded.parameters()} == {torch.bfloat16}
    assert load_predictor(tmp_path / "m").predict(FRAME)["prediction"].notna().all()


def test_a_compiled_model_is_saved_as_what_it_wraps(tmp_path):
    model = nets.Mlp(3, 1)
    save_model(tmp_path / "m", torch.compile(model), init_args={"n_in": 3, "n_out": 1})
    assert type(load_model(tmp_path / "m")).__name__ == "Mlp"


def test_a_class_of_an_installed_package_needs_no_source(tmp_path):
    model = torch.nn.Linear(3, 1)
    package = save_model(tmp_path / "m", model, init_args={"in_features": 3, "out_features": 1})
    assert package.options["model_class"] == "torch.nn.modules.linear:Linear"
    assert not [f for f in package.files if f.startswith("code/")]
    torch.testing.assert_close(load_model(tmp_path / "m").weight, model.weight)


def test_a_text_model_reads_its_vocabulary_and_predicts_from_text(tmp_path):
    (tmp_path / "vocabulary.txt").write_text("good bad film")
    model = nets.Sentiment()
    model.load_files({"vocabulary.txt": tmp_path / "vocabulary.txt"})
    frame = pd.DataFrame({"text": ["good film", "bad"]})
    package = save_model(tmp_path / "m", model, extra_files=[tmp_path / "vocabulary.txt"], input_example=frame)
    (tmp_path / "vocabulary.txt").unlink()
    assert package.signature.inputs == (Field("text", "string"),)
    assert package.signature.outputs == (Field("prediction", "float"),)
    predicted = load_predictor(tmp_path / "m").predict(frame)
    np.testing.assert_allclose(predicted["prediction"], model.predict(frame).detach()[:, 0], rtol=1e-6)
    assert load_model(tmp_path / "m").vocabulary == model.vocabulary


def test_images_are_a_column_of_nested_lists(tmp_path):
    images = torch.rand(2, 1, 5, 5)
    model = nets.Image()
    package = save_model(tmp_path / "m", model, input_example=images)
    assert package.signature.inputs == (Field("input", "double", dims=3),)
    predicted = load_predictor(tmp_path / "m").predict(pd.DataFrame({"input": images.tolist()}))
    np.testing.assert_allclose(predicted.to_numpy(), model(images).detach(), rtol=1e-5)


def test_outputs_by_name_may_be_text(tmp_path):
    package = save_model(tmp_path / "m", nets.Labels(), input_example=pd.DataFrame({"x": [0.1, 3.0]}))
    assert package.signature.outputs == (Field("label", "string"), Field("score", "double"))
    predicted = load_predictor(tmp_path / "m").predict(pd.DataFrame({"x": [3.0, 0.1]}))
    assert list(predicted["label"]) == ["high", "low"]


@pytest.mark.parametrize(
    ("model", "arguments", "says"),
    [
        (lambda: nets.Mlp(3, 2), {}, r"init_args="),
        (lambda: nets.Mlp(3, 2), {"init_args": {"n_in": 4, "n_out": 2}}, r"don't fit `Mlp\(n_in=4, n_out=2\)`"),
        (lambda: nets.Mlp(3, 2), {"init_args": {"n_in": torch.tensor(3)}}, "plain JSON"),
        (lambda: torch.nn.Sequential(torch.nn.Linear(3, 1)), {}, "a class of its own"),
        (lambda: nets.local_class()(), {}, "top level of a module"),
        (lambda: torch.nn.LazyLinear(2), {"init_args": {"out_features": 2}}, "lazy"),
        (lambda: nets.Sentiment(), {}, r"extra files \(there are none\)"),
    ],
    ids=["no arguments", "wrong arguments", "not plain", "container", "local class", "lazy", "file missing"],
)
def test_a_model_that_could_not_be_loaded_is_refused_when_it_is_saved(tmp_path, model, arguments, says):
    with pytest.raises(ModelError, match=says):
        save_model(tmp_path / "m", model(), **arguments)
    assert list(tmp_path.iterdir()) == []


def test_what_can_not_be_meant_is_refused(tmp_path):
    model = torch.nn.Linear(1, 1)
    arguments = {"in_features": 1, "out_features": 1}
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    for kind, match, call in [
        (ConflictError, "holds something", lambda: save_model(tmp_path / "full", model, init_args=arguments)),
        (InvalidInputError, r"builtins\.dict", lambda: save_model(tmp_path / "m", {})),
        (
            InvalidInputError,
            "Did you mean `torch_eager`",
            lambda: save_model(tmp_path / "m", model, flavor="torch_eagr"),
        ),
        (InvalidInputError, "only read", lambda: save_model(tmp_path / "m", model, flavor="mlflow_pytorch")),
        (InvalidInputError, "init_args", lambda: save_model(tmp_path / "m", scripted(model), init_args=arguments)),
        (InvalidInputError, "ScriptModule", lambda: save_model(tmp_path / "m", model, flavor="torch_script")),
        (
            NotFoundError,
            "missing",
            lambda: save_model(tmp_path / "m", model, init_args=arguments, extra_files=["missing"]),
        ),
        (InvalidInputError, "single", lambda: save_model(tmp_path / "m", model, init_args=arguments, extra_files="f")),
        (ModelError, "metadata", lambda: save_model(tmp_path / "m", model, init_args=arguments, metadata={"a": model})),
        (NotFoundError, "no model", lambda: load_model(tmp_path / "full")),
    ]:
        with pytest.raises(kind, match=match):
            call()
    assert [p.name for p in tmp_path.iterdir()] == ["full"]
