"""What a flavor is: how one kind of model is written into a package and read back."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from mlwarehouse.models.package import ModelPackage


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded.

    Attributes:
        device: Where its weights go, such as ``cpu`` or ``cuda:0``.
        allow_pickle: Whether a pickle may run.
        allow_code: Whether source that came with the model may run, when its class can't be imported.
    """

    device: str = "cpu"
    allow_pickle: bool = False
    allow_code: bool = True


@dataclass(frozen=True)
class SaveOptions:
    """How a model is saved.

    Attributes:
        init_args: Arguments that rebuild an eager module.
        example: What the model is called with for its input example, for flavors that trace it.
    """

    init_args: Mapping[str, Any] = field(default_factory=dict)
    example: np.ndarray[Any, Any] | None = None


@dataclass(frozen=True)
class Flavor:
    """One kind of model.

    Attributes:
        name: Its name in ``flavor=`` and in ``MLmodel``.
        doc: One line for the reader of the docs.
        load: Reads the model of a package, in evaluation mode.
        accepts: Whether a model is of this kind, when the caller doesn't say; None for a flavor that is only read.
        save: Writes a model's files under a folder and returns the entries of ``MLmodel`` that `load` needs; None for
            a flavor that is only read.
    """

    name: str
    doc: str
    load: Callable[[ModelPackage, LoadOptions], Any]
    accepts: Callable[[Any], bool] | None = None
    save: Callable[[Path, Any, SaveOptions], dict[str, Any]] | None = None
