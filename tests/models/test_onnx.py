"""ONNX: graphs and exported modules, run by ONNX Runtime, that reach nothing outside their package."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import onnx
import pandas as pd
import pytest
import torch
import yaml
from onnx import TensorProto, helper, numpy_helper

from mlwarehouse.errors import DigestMismatchError, InvalidInputError, ModelError, SignatureError
from mlwarehouse.models import Field, Signature, load_model, load_predictor, read_package, save_model
from mlwarehouse.models.flavors import onnx_graph
from mlwarehouse.models.package import MLMODEL

FRAME = pd.DataFrame({"a": np.array([1, 2], "float32"), "b": np.array([3, 4], "float32")})


def graph(nodes, inputs, outputs, weights=(), functions=()):
    made = helper.make_graph(
        nodes,
        "g",
        [helper.make_tensor_value_info(*i) for i in inputs],
        [helper.make_tensor_value_info(*o) for o in outputs],
        list(weights),
    )
    domains = {n.domain for n in nodes} | {f.domain for f in functions} | {""}
    opsets = [helper.make_opsetid(d, 20 if d == "" else 1) for d in sorted(domains)]
    return helper.make_model(made, opset_imports=opsets, functions=functions, ir_version=10)


def linear(node="MatMul", domain=""):
    weights = numpy_helper.from_array(np.array([[2.0], [10.0]], "float32"), "w")
    nodes = [helper.make_node(node, ["x", "w"], ["y"], domain=domain)]
    return graph(nodes, [("x", TensorProto.FLOAT, ["n", 2])], [("y", TensorProto.FLOAT, ["n", 1])], [weights])


@pytest.fixture
def folder(tmp_path):
    save_model(tmp_path / "m", linear(), input_example=FRAME)
    return tmp_path / "m"


def test_a_graph_predicts_and_its_package_says_what_it_takes(folder):
    package = read_package(folder)
    assert package.flavor == "onnx_graph"
    assert package.signature == Signature((Field("a", "float"), Field("b", "float")), (Field("prediction", "float"),))
    assert "mlwarehouse[onnx]==" in (folder / "requirements.txt").read_text()
    assert load_predictor(folder).predict(FRAME)["prediction"].tolist() == [32.0, 44.0]
    (given,) = load_model(folder).get_inputs()
    assert given.name == "x"


def test_a_module_is_exported_for_any_number_of_rows_and_says_nothing_of_its_source(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(2, 3), torch.nn.Dropout(), torch.nn.Linear(3, 2))
    save_model(tmp_path / "1", model, flavor="onnx_graph", input_example=FRAME.head(1))
    assert model.training
    assert b"test_onnx" not in (tmp_path / "1" / "model.onnx").read_bytes()
    expected = model.eval()(torch.tensor(FRAME.to_numpy())).detach().numpy()
    np.testing.assert_allclose(load_predictor(tmp_path / "1").predict(FRAME).to_numpy(), expected, rtol=1e-5)
    with pytest.raises(InvalidInputError, match="input_example"):
        save_model(tmp_path / "n", model, flavor="onnx_graph")
    with pytest.raises(InvalidInputError, match=r"ModelProto or a torch\.nn\.Module and got dict"):
        save_model(tmp_path / "n", {}, flavor="onnx_graph")


def test_several_inputs_are_columns_by_name_and_several_outputs_too(tmp_path):
    nodes = [
        helper.make_node("Add", ["count", "more"], ["sum"]),
        helper.make_node("Identity", ["text"], ["same"]),
        helper.make_node("ReduceSum", ["pixels"], ["light"], keepdims=1),
    ]
    model = graph(
        nodes,
        [
            ("count", TensorProto.INT64, ["n", 1]),
            ("more", TensorProto.INT64, ["n", 1]),
            ("text", TensorProto.STRING, ["n"]),
            ("pixels", TensorProto.DOUBLE, ["n", 2, 2]),
        ],
        [("sum", TensorProto.INT64, ["n", 1]), ("same", TensorProto.STRING, ["n"])],
    )
    frame = pd.DataFrame(
        {"text": ["a", "é"], "count": [2**60, 2], "more": [1, 1], "pixels": [[[1.0, 2.0], [3.0, 4.0]]] * 2}
    )
    package = save_model(tmp_path / "m", model, input_example=frame)
    assert package.signature.outputs == (Field("sum", "long"), Field("same", "string"))
    assert load_predictor(tmp_path / "m").predict(frame).to_dict("list") == {
        "sum": [2**60 + 1, 3],
        "same": ["a", "é"],
    }
    with pytest.raises(SignatureError, match="needs a column `more`"):
        load_predictor(tmp_path / "m").predict(frame.drop(columns="more"))
    with pytest.raises(SignatureError, match="no column `count`"):
        save_model(tmp_path / "n", model, input_example=frame.drop(columns="count"))


def test_wrong_shapes_and_types_name_the_column(tmp_path):
    model = graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        [("x", TensorProto.FLOAT, ["n", 3])],
        [("y", TensorProto.FLOAT, ["n", 3])],
    )
    save_model(tmp_path / "m", model, input_example=pd.DataFrame({"vector": [[1.0, 2.0, 3.0]]}))
    predictor = load_predictor(tmp_path / "m")
    with pytest.raises(ModelError, match=r"shape \[1, 2\], made of `vector`"):
        predictor.predict(pd.DataFrame({"vector": [[1.0, 2.0]]}))
    with pytest.raises(SignatureError, match="Column `vector` is string"):
        predictor.predict(pd.DataFrame({"vector": ["1"]}))


def test_large_weights_have_a_file_of_their_own_that_is_checked(tmp_path, monkeypatch):
    monkeypatch.setattr(onnx_graph, "LARGEST_FILE", 1000)
    weights = numpy_helper.from_array(np.ones((2, 600), "float32"), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["y"])]
    model = graph(nodes, [("x", TensorProto.FLOAT, ["n", 2])], [("y", TensorProto.FLOAT, ["n", 600])], [weights])
    package = save_model(tmp_path / "m", model, input_example=FRAME)
    assert {"model.onnx", "model.onnx.data"} <= set(package.files)
    assert model.graph.initializer[0].raw_data  # the caller's own model is as it was
    assert load_predictor(tmp_path / "m").predict(FRAME)["output_599"].tolist() == [4.0, 6.0]
    data = tmp_path / "m" / "model.onnx.data"
    data.write_bytes(b"\x01" + data.read_bytes()[1:])
    with pytest.raises(DigestMismatchError, match=r"model\.onnx\.data"):
        load_model(tmp_path / "m")


@pytest.mark.parametrize("place", ["../secret", "/etc/passwd", "a/../../secret", "missing", "extra\\x"])
def test_weights_outside_the_package_are_not_read(folder, tmp_path, rewrite, place):
    (tmp_path / "secret").write_bytes(np.ones(2, "float32").tobytes())
    model = linear()
    tensor = model.graph.initializer[0]
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=place)
    rewrite(folder, "model.onnx", model.SerializeToString())
    with pytest.raises(ModelError, match=r"where no model may|lacks its file"):
        load_model(folder)
    with pytest.raises(ModelError, match="in files beside it"):
        save_model(tmp_path / "n", model)


def test_weights_outside_are_found_in_inner_graphs_too(folder, tmp_path, rewrite):
    inner = TensorProto(name="v", dims=[1], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL)
    inner.external_data.add(key="location", value="../secret")
    model = linear()
    model.graph.node.append(helper.make_node("Constant", [], ["c"], value=inner))
    rewrite(folder, "model.onnx", model.SerializeToString())
    with pytest.raises(ModelError, match="where no model may"):
        load_model(folder)


@pytest.mark.parametrize(("name", "domain"), [("Evil", "custom"), ("EPContext", "com.microsoft")])
def test_operators_that_are_not_onnxs_are_refused(folder, rewrite, name, domain):
    rewrite(folder, "model.onnx", linear(name, domain).SerializeToString())
    with pytest.raises(ModelError, match=f"operator `{name}` of `{domain}`"):
        load_model(folder)


def test_a_graphs_own_functions_are_no_strangers(tmp_path):
    body = [helper.make_node("MatMul", ["p", "q"], ["r"])]
    function = helper.make_function("own", "Times", ["p", "q"], ["r"], body, [helper.make_opsetid("", 20)])
    weights = numpy_helper.from_array(np.array([[2.0], [10.0]], "float32"), "w")
    nodes = [helper.make_node("Times", ["x", "w"], ["y"], domain="own")]
    model = graph(
        nodes, [("x", TensorProto.FLOAT, ["n", 2])], [("y", TensorProto.FLOAT, ["n", 1])], [weights], [function]
    )
    save_model(tmp_path / "m", model, input_example=FRAME)
    assert load_predictor(tmp_path / "m").predict(FRAME)["prediction"].tolist() == [32.0, 44.0]


@pytest.mark.parametrize("content", [b"", b"\x00" * 9, b"not onnx", onnx.ModelProto().SerializeToString()])
def test_what_is_no_graph_is_refused(folder, rewrite, content):
    rewrite(folder, "model.onnx", content)
    with pytest.raises(ModelError):
        load_model(folder)


def test_entries_that_name_no_file_of_the_package_are_refused(folder, rewrite):
    described = yaml.safe_load((folder / MLMODEL).read_text())
    described["flavors"]["mlwarehouse"]["data"] = "../../x.onnx"
    rewrite(folder, MLMODEL, yaml.safe_dump(described).encode())
    with pytest.raises(ModelError, match="names a file it can't have"):
        load_model(folder)


def test_devices_that_are_not_here_are_said(folder):
    with pytest.raises(InvalidInputError, match="cpu or cuda"):
        load_model(folder, device="mps")


def test_without_the_libraries_it_says_what_to_install_and_pytorch_is_not_needed(folder):
    script = (
        "import sys\n"
        "sys.modules['torch'] = None\n"
        "from mlwarehouse.models import load_predictor\n"
        "import pandas as pd\n"
        "print(load_predictor(sys.argv[1]).predict(pd.DataFrame({'a': [1.0], 'b': [3.0]}))['prediction'].tolist())\n"
        "sys.modules['onnxruntime'] = None\n"
        "try:\n    load_predictor(sys.argv[1])\n"
        "except Exception as error:\n    print(type(error).__name__, error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[0] == "[32.0]"
    assert "MissingDependencyError" in done.stdout
    assert "pip install 'mlwarehouse[onnx]'" in done.stdout
