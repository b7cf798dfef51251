"""What a flavor is: how one kind of model is written into a package, read back, and asked for predictions."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd

    from mlwarehouse.models.package import ModelPackage


@dataclass(frozen=True)
class LoadOptions:
    """How a model is loaded.

    Attributes:
        device: Where its weights go, such as ``cpu`` or ``cuda:0``.
        allow_pickle: Whether a pickle may run.
        allow_code: Whether source that came with the model may run, when its class can't be imported.
        trusted_types: Further types, such as ``my_package.steps.Cleaner``, that a scikit-learn model may be made of.
    """

    device: str = "cpu"
    allow_pickle: bool = False
    allow_code: bool = True
    trusted_types: tuple[str, ...] = ()


@dataclass(frozen=True)
class SaveOptions:
    """How a model is saved.

    Attributes:
        init_args: Arguments that rebuild the model's class, for flavors that do.
        example: The input example, for flavors that trace the model with it.
    """

    init_args: Mapping[str, Any] = field(default_factory=dict)
    example: pd.DataFrame | None = None


@dataclass(frozen=True)
class Flavor:
    """One kind of model.

    Attributes:
        name: Its name in ``flavor=`` and in ``MLmodel``.
        doc: One line for the reader of the docs.
        load: Reads the model of a package, ready to predict.
        predict: Calls a loaded model with a frame of the signature's columns; gives a frame, a mapping of columns, or
            an array or tensor of one row for each row.
        predict_array: Calls a loaded model that `takes_array` with the array that `frames.input_array` makes of the
            columns, and their names for what an error says; None for a flavor whose models always get a frame.
        takes_array: Whether a loaded model can be called so.
        accepts: Whether a model is of this kind, when the caller doesn't say; None for a flavor that is only read, or
            only used when asked for by name. It is asked of models of any kind.
        save: Writes a model's files under a folder and returns the entries of ``MLmodel`` that `load` needs; None for
            a flavor that is only read.
        takes_init_args: Whether `save` uses ``SaveOptions.init_args``.
        must_predict_the_same: Whether saving fails when what was saved predicts something else for the input example
            than the model that was given, which therefore has a state that isn't kept.
        reads: The flavor of MLflow's, as in its ``MLmodel`` files, whose packages `load` reads too.
        extra: The extra of mlwarehouse that brings its libraries.
        libraries: The distributions that loading needs; their versions go into ``requirements.txt`` and ``MLmodel``.
    """

    name: str
    doc: str
    load: Callable[[ModelPackage, LoadOptions], Any]
    predict: Callable[[Any, pd.DataFrame], Any]
    predict_array: Callable[[Any, np.ndarray[Any, Any], Sequence[str]], Any] | None = None
    takes_array: Callable[[Any], bool] | None = None
    accepts: Callable[[Any], bool] | None = None
    save: Callable[[Path, Any, SaveOptions], dict[str, Any]] | None = None
    takes_init_args: bool = False
    must_predict_the_same: bool = False
    reads: str | None = None
    extra: str | None = None
    libraries: tuple[str, ...] = ()


def loaded(module: str) -> Any:
    """A library's module, or None while nobody in this process has imported it: then no model is of its kind."""
    return sys.modules.get(module)


def predict_by_method(model: Any, frame: pd.DataFrame) -> Any:
    """Call a model's method ``predict(frame)``."""
    return model.predict(frame)
