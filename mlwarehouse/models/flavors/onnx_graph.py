"""ONNX: a graph of operators and weights, run by ONNX Runtime; PyTorch's modules are exported to it when asked."""

from __future__ import annotations

import logging
import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.artifacts import clean_path
from mlwarehouse.errors import InvalidInputError, MissingDependencyError, ModelError, SignatureError
from mlwarehouse.models.flavors.base import Flavor, LoadOptions, SaveOptions, loaded
from mlwarehouse.models.frames import input_array

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from mlwarehouse.models.package import ModelPackage

FILE = "model.onnx"
WEIGHTS = "model.onnx.data"

LARGEST_FILE = 2**31 - 2**24
"""Bytes from which weights go into a file of their own: ONNX's format ends at two gigabytes."""

DOMAINS = ("", "ai.onnx", "ai.onnx.ml", "com.microsoft")
"""Whose operators a graph may hold, beside functions that it defines itself."""

_DTYPES = {
    "tensor(float)": "float32",
    "tensor(double)": "float64",
    "tensor(float16)": "float16",
    "tensor(bool)": "bool",
    "tensor(string)": "object",
} | {f"tensor({kind}{bits})": f"{kind}{bits}" for kind in ("int", "uint") for bits in (8, 16, 32, 64)}


def _accepts(model: Any) -> bool:
    onnx = loaded("onnx")
    return onnx is not None and isinstance(model, onnx.ModelProto)


def _save(folder: Path, model: Any, options: SaveOptions) -> dict[str, Any]:
    onnx, _ = _require_onnx()
    if not isinstance(model, onnx.ModelProto):
        model = _exported(model, options.example)
    if _files_of(model):
        raise ModelError(
            "The ONNX model keeps weights in files beside it; load it with onnx.load, which reads them, and save that."
        )
    if model.ByteSize() < LARGEST_FILE:
        onnx.save_model(model, folder / FILE)
    else:
        copy = onnx.ModelProto()  # saving apart rewrites the model that it is given
        copy.CopyFrom(model)
        onnx.save_model(copy, folder / FILE, save_as_external_data=True, location=WEIGHTS)
    return {"data": FILE}


def _exported(model: Any, example: pd.DataFrame | None) -> Any:
    torch = loaded("torch")
    if torch is None or not isinstance(model, torch.nn.Module):
        raise InvalidInputError(
            f"Flavor onnx_graph needs an onnx.ModelProto or a torch.nn.Module and got {type(model).__qualname__}."
        )
    if example is None:
        raise InvalidInputError("Exporting a module needs an input_example= of numbers to trace it with.")
    was_training = model.training
    rows = torch.from_numpy(input_array(example))
    # One row would be taken for a constant of the graph.
    rows = rows if len(rows) > 1 else torch.cat([rows, rows])
    try:
        model.eval()
        with torch.no_grad(), _quiet():
            shapes = ({0: torch.export.Dim.DYNAMIC},)
            exported = torch.onnx.export(model, (rows,), dynamo=True, dynamic_shapes=shapes, verbose=False)
    except Exception as error:
        raise ModelError(
            f"{type(model).__qualname__} can't be exported to ONNX for any number of rows: "
            f"{' '.join(str(error).split())[:500]} Use torch.onnx yourself, or another flavor."
        ) from error
    finally:
        model.train(was_training)
    proto = exported.model_proto
    # The exporter notes where in whose source each node came from: nobody else's business, and equal models would have
    # different digests.
    for message in _messages(proto):
        if "metadata_props" in message.DESCRIPTOR.fields_by_name:
            message.ClearField("metadata_props")
    return proto


def _load(package: ModelPackage, options: LoadOptions) -> Any:
    onnx, runtime = _require_onnx()
    file = package.file(package.options.get("data"))
    if file.is_dir():
        raise ModelError(f"The model in `{package.folder}` lacks its file.")
    try:
        model = onnx.load_model(file, load_external_data=False)
    except Exception as error:
        raise ModelError(f"`{file}` can't be read as ONNX: {error}.") from error
    for name in _files_of(model):
        _check_file(package, file, name)
    _check_operators(model, file)
    providers = ["CPUExecutionProvider"]
    if options.device.partition(":")[0] == "cuda":
        providers.insert(0, "CUDAExecutionProvider")
    elif options.device != "cpu":
        raise InvalidInputError(f"ONNX Runtime runs on cpu or cuda here; got the device `{options.device}`.")
    missing = sorted(set(providers) - set(runtime.get_available_providers()))
    if missing:
        raise ModelError(
            f"The installed ONNX Runtime has no {missing[0]}; install onnxruntime-gpu, or load the model without "
            "device=."
        )
    settings = runtime.SessionOptions()
    settings.log_severity_level = 3
    threads = os.environ.get("OMP_NUM_THREADS", "")
    if threads.isdigit():
        settings.intra_op_num_threads = int(threads)  # ONNX Runtime itself doesn't look there
    try:
        return runtime.InferenceSession(str(file), settings, providers=providers)
    except Exception as error:
        raise ModelError(f"ONNX Runtime can't run `{file}`: {' '.join(str(error).split())}") from error


def _predict(session: Any, frame: pd.DataFrame) -> Any:
    inputs = session.get_inputs()
    if len(inputs) == 1:
        feeds = {inputs[0].name: _shaped(_whole(frame, inputs[0]), inputs[0])}
    else:
        missing = [i.name for i in inputs if i.name not in frame.columns]
        if missing:
            raise SignatureError(
                f"The ONNX model takes {', '.join(i.name for i in inputs)}, and there is no column `{missing[0]}`."
            )
        feeds = {i.name: _shaped(_column(frame, i.name, i.type), i) for i in inputs}
    try:
        outputs = session.run(None, feeds)
    except Exception as error:
        shapes = ", ".join(f"`{name}` of shape {list(array.shape)}" for name, array in feeds.items())
        columns = ", ".join(f"`{name}`" for name in frame.columns[:5])
        raise ModelError(
            f"The ONNX model failed on {shapes}, made of {columns}: {' '.join(str(error).split())}"
        ) from error
    if len(outputs) == 1:
        return outputs[0]
    names = [output.name for output in session.get_outputs()]
    return {name: _flat(value) for name, value in zip(names, outputs, strict=True)}


def _whole(frame: pd.DataFrame, wanted: Any) -> np.ndarray[Any, Any]:
    """What a model of one input gets: its only column, or all columns stacked."""
    if len(frame.columns) == 1:
        return _column(frame, str(frame.columns[0]), wanted.type)
    if wanted.type == "tensor(string)":
        return frame.to_numpy(dtype=object)
    return input_array(frame).astype(_dtype(wanted.name, wanted.type))


def _column(frame: pd.DataFrame, name: str, kind: str) -> np.ndarray[Any, Any]:
    if kind == "tensor(string)":
        import numpy as np

        return np.asarray(frame[name].tolist(), dtype=object)
    column = frame[[name]]
    array = input_array(column)
    dtype = _dtype(name, kind)
    # `input_array` makes float32 of a plain column, which holds neither large whole numbers nor double precision.
    return column.to_numpy(dtype=dtype) if array.ndim == 2 and array.shape[1] == 1 else array.astype(dtype)


def _dtype(name: str, kind: str) -> str:
    if kind not in _DTYPES:
        raise ModelError(f"Input `{name}` of the ONNX model is a {kind}, which no column can be made into.")
    return _DTYPES[kind]


def _shaped(array: np.ndarray[Any, Any], wanted: Any) -> np.ndarray[Any, Any]:
    """One value a row as [rows] or [rows, 1], whichever the model takes."""
    rank = len(wanted.shape) if wanted.shape is not None else array.ndim
    if rank == 1 and array.ndim == 2 and array.shape[1] == 1:
        return array[:, 0]
    return array[:, None] if rank == 2 and array.ndim == 1 else array


def _flat(value: Any) -> Any:
    return value[:, 0] if getattr(value, "ndim", 0) == 2 and value.shape[1] == 1 else value


def _messages(message: Any) -> Iterator[Any]:
    """A protobuf message and every message in it."""
    stack = [message]
    while stack:
        found = stack.pop()
        yield found
        for field, value in found.ListFields():
            if field.message_type is not None:
                stack.extend([value] if hasattr(value, "ListFields") else value)


def _files_of(model: Any) -> list[str]:
    """The files beside a model that its tensors name."""
    found = set()
    for message in _messages(model):
        if message.DESCRIPTOR.name == "TensorProto":
            found |= {entry.value for entry in message.external_data if entry.key == "location"}
    return sorted(found)


def _check_file(package: ModelPackage, file: Path, name: str) -> None:
    try:
        path = (file.parent.relative_to(package.folder) / clean_path(name)).as_posix()
    except InvalidInputError as error:
        raise ModelError(f"`{file}` keeps weights where no model may: {error}") from error
    package.file(path)


def _check_operators(model: Any, file: Path) -> None:
    own = {(function.domain, function.name) for function in model.functions}
    for message in _messages(model):
        if message.DESCRIPTOR.name != "NodeProto" or (message.domain, message.op_type) in own:
            continue
        # An EPContext is a compiled program for some accelerator, in a file that it names.
        if message.domain not in DOMAINS or message.op_type == "EPContext":
            raise ModelError(
                f"`{file}` holds the operator `{message.op_type}` of `{message.domain or 'ai.onnx'}`, which isn't one "
                "of ONNX's own; it isn't run."
            )


@contextmanager
def _quiet() -> Iterator[None]:
    """Without the exporter's notes on what it is made of, and on operators of libraries that aren't installed."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _require_onnx() -> tuple[Any, Any]:
    try:
        import onnx
        import onnxruntime
    except ImportError as error:
        raise MissingDependencyError(
            f"ONNX models need onnx and ONNX Runtime ({error}); install them with `pip install 'mlwarehouse[onnx]'`."
        ) from error
    return onnx, onnxruntime


ONNX_GRAPH = Flavor(
    name="onnx_graph",
    doc="An onnx.ModelProto, or a torch.nn.Module exported to ONNX with the input example.",
    load=_load,
    predict=_predict,
    accepts=_accepts,
    save=_save,
    reads="onnx",
    extra="onnx",
    libraries=("onnx", "onnxruntime"),
)
