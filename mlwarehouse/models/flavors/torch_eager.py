"""Eager modules: weights as safetensors, and the class by reference with its arguments; no pickle."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mlwarehouse.errors import ModelError
from mlwarehouse.models.code import CODE_FOLDER, ClassReference, find_class, plain_arguments, reference_of, write_code
from mlwarehouse.models.flavors.base import Flavor, LoadOptions, SaveOptions, loaded
from mlwarehouse.models.torch_calling import predict_by_torch, predict_tensor, takes_tensor
from mlwarehouse.models.torch_import import require_torch

if TYPE_CHECKING:
    from mlwarehouse.models.package import ModelPackage

WEIGHTS = "model.safetensors"


def _accepts(model: Any) -> bool:
    torch = loaded("torch")
    return torch is not None and isinstance(model, torch.nn.Module)


def _save(folder: Path, model: Any, options: SaveOptions) -> dict[str, Any]:
    require_torch()
    from safetensors.torch import save_file

    model = _unwrapped(model)
    reference = reference_of(type(model))
    tensors, aliases = _weights(model)
    arguments = plain_arguments(options.init_args or _hyperparameters(model), reference)
    has_code = write_code(folder, type(model), reference)
    cls = find_class(reference, folder / CODE_FOLDER, allow_code=True)
    # Built now, from what the package will hold: a model that can't be rebuilt must fail while its maker is there.
    _build(cls, arguments, tensors, aliases, "cpu")
    try:
        save_file(tensors, folder / WEIGHTS, metadata={"format": "pt"})
    except Exception as error:
        raise ModelError(f"The weights of `{reference}` can't be written as safetensors: {error}.") from error
    return {
        "model_class": str(reference),
        "init_args": arguments,
        "weights": WEIGHTS,
        "shared_weights": aliases,
        "code": CODE_FOLDER if has_code else None,
    }


def _load(package: ModelPackage, options: LoadOptions) -> Any:
    require_torch()
    from safetensors.torch import load_file

    reference = ClassReference.parse(str(package.options.get("model_class")))
    arguments, aliases = package.options.get("init_args"), package.options.get("shared_weights")
    if not isinstance(arguments, dict) or not isinstance(aliases, dict):
        raise ModelError(f"The model in `{package.folder}` doesn't say how its class `{reference}` is built.")
    weights = package.file(package.options.get("weights"))
    cls = find_class(reference, package.folder / CODE_FOLDER, allow_code=options.allow_code)
    try:
        tensors = load_file(weights)
    except Exception as error:
        raise ModelError(f"The weights `{weights}` can't be read: {error}.") from error
    return _build(cls, arguments, tensors, aliases, options.device)


def _unwrapped(model: Any) -> Any:
    """The user's module inside `torch.compile` and data-parallel wrappers."""
    torch = require_torch()
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif isinstance(model, torch.nn.DataParallel | torch.nn.parallel.DistributedDataParallel):
            model = model.module
        else:
            return model


def _hyperparameters(model: Any) -> dict[str, Any]:
    """What a Lightning module was built with, if it has kept that by ``save_hyperparameters()``."""
    names = {f"{c.__module__.partition('.')[0]}.{c.__qualname__}" for c in type(model).__mro__}
    if names.isdisjoint(("lightning.LightningModule", "pytorch_lightning.LightningModule")):
        return {}
    # With `logger=False` and the like it also keeps names that `__init__` doesn't take.
    taken = inspect.signature(type(model).__init__).parameters
    takes_any = any(p.kind is p.VAR_KEYWORD for p in taken.values())
    return {str(k): v for k, v in dict(model.hparams).items() if takes_any or k in taken}


def _weights(model: Any) -> tuple[dict[str, Any], dict[str, str]]:
    """A module's tensors, each once, and which names share another's tensor."""
    torch = require_torch()
    tensors: dict[str, Any] = {}
    aliases: dict[str, str] = {}
    first: dict[tuple[Any, ...], str] = {}
    for name, tensor in model.state_dict().items():
        if not isinstance(tensor, torch.Tensor) or torch.nn.parameter.is_lazy(tensor):
            raise ModelError(
                f"`{name}` in the state of {type(model).__qualname__} isn't a tensor with values, so it can't be "
                "saved as safetensors; run the model once if it is lazy, or save it with flavor='torch_export'."
            )
        same = (tensor.device, tensor.data_ptr(), tuple(tensor.shape), tensor.stride(), tensor.dtype)
        if tensor.numel() and same in first:
            aliases[name] = first[same]
            continue
        first[same] = name
        # A copy of its own: safetensors refuses tensors that are views of one another.
        tensors[name] = tensor.detach().cpu().contiguous().clone()
    return tensors, aliases


def _build(
    cls: type, arguments: Mapping[str, Any], tensors: Mapping[str, Any], aliases: Mapping[str, str], device: str
) -> Any:
    torch = require_torch()
    if not issubclass(cls, torch.nn.Module):
        raise ModelError(f"`{cls.__module__}:{cls.__qualname__}` isn't a torch.nn.Module, so it isn't built.")
    name = cls.__qualname__
    try:
        # Initialising a module draws random numbers; a training that saves its model must not notice.
        with torch.random.fork_rng(devices=[]):
            model = cls(**arguments)
    except Exception as error:
        raise ModelError(
            f"`{name}({', '.join(arguments)})` can't be built: {error}. Pass what its `__init__` needs as init_args=, "
            "as plain values."
        ) from error
    state = dict(tensors) | {alias: tensors[kept] for alias, kept in aliases.items() if kept in tensors}
    for key, own in model.state_dict(keep_vars=True).items():
        if key in state and isinstance(own, torch.Tensor) and own.dtype != state[key].dtype:
            own.data = own.data.to(state[key].dtype)
    try:
        model.load_state_dict(state)
    except Exception as error:
        raise ModelError(
            f"The weights don't fit `{name}({', '.join(f'{k}={v!r}' for k, v in arguments.items())})`: "
            f"{' '.join(str(error).split())} Pass the init_args= that the model was built with; a "
            "module made of other modules needs a class of its own, or flavor='torch_export'."
        ) from error
    return model.to(device).eval()


TORCH_EAGER = Flavor(
    name="torch_eager",
    doc="A torch.nn.Module as safetensors weights and a reference to its class.",
    load=_load,
    predict=predict_by_torch,
    predict_array=predict_tensor,
    takes_array=takes_tensor,
    accepts=_accepts,
    save=_save,
    takes_init_args=True,
    extra="torch",
    libraries=("torch", "safetensors"),
)
