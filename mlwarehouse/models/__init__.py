"""Models as packages: folders that MLflow can load, whose every file is checked, read without running a pickle.

Importing this loads neither PyTorch nor any other library of models, nor pandas.
"""

from mlwarehouse.models.flavors import FLAVORS, Flavor, LoadOptions, SaveOptions
from mlwarehouse.models.loading import known_types, load_model, load_predictor
from mlwarehouse.models.package import ModelPackage, read_package
from mlwarehouse.models.predictor import Predictor
from mlwarehouse.models.saving import save_model
from mlwarehouse.models.signature import Field, Signature, infer_signature

__all__ = [
    "FLAVORS",
    "Field",
    "Flavor",
    "LoadOptions",
    "ModelPackage",
    "Predictor",
    "SaveOptions",
    "Signature",
    "infer_signature",
    "known_types",
    "load_model",
    "load_predictor",
    "read_package",
    "save_model",
]
