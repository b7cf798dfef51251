"""Models that a server holds loaded: the ones that were asked last."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from mlwarehouse.errors import InvalidInputError, ModelError

if TYPE_CHECKING:
    from mlwarehouse.models import Predictor
    from mlwarehouse.parts.packaging import FoundModel
    from mlwarehouse.warehouse import Warehouse

MOST = 4
"""Models that are held at the same time."""

ADDRESSES = ("models:/", "runs:/")
"""How the addresses of models begin; a folder of the server's isn't one."""


@dataclass(frozen=True)
class LoadedModel:
    """A model that is loaded.

    Attributes:
        uri: Its address, with its version.
        found: Where it came from.
        predictor: Predicts; by one thread at a time, which holds `lock`.
        lock: Held while it predicts.
    """

    uri: str
    found: FoundModel
    predictor: Predictor
    lock: threading.Lock = field(default_factory=threading.Lock)


class LoadedModels:
    """The last few models that were asked. Threads may share it."""

    def __init__(self, warehouse: Warehouse, *, allow_code: bool) -> None:
        """Hold none yet.

        Args:
            warehouse: Where they are kept.
            allow_code: Whether models may bring code of their own, which could do in this process whatever it wants.
        """
        self._warehouse = warehouse
        self._allow_code = allow_code
        self._lock = threading.Lock()
        self._held: OrderedDict[tuple[str, str | None], LoadedModel] = OrderedDict()

    def find(self, model_uri: str) -> LoadedModel:
        """The model of an address, as it is meant now.

        Args:
            model_uri: ``models:/name/3``, ``models:/name@alias``, or ``runs:/<run_id>/<path>``.

        Raises:
            InvalidInputError: It is no such address.
            NotFoundError: No model is there.
            ModelError: It can't be loaded, or brings code that may not run here.
        """
        if not model_uri.startswith(ADDRESSES):
            raise InvalidInputError(
                f"`{model_uri[:200]}` isn't a model's address; it is models:/<name>/<version>, models:/<name>@<alias> "
                "or runs:/<run_id>/<path>."
            )
        pinned, digest = model_uri, None
        if model_uri.startswith("models:/"):
            version = self._warehouse.registry_at().resolve(model_uri)
            pinned, digest = f"models:/{version.name}/{version.version}", version.digest
        # One at a time: of two that load the same large model one would do it for nothing.
        with self._lock:
            held = self._held.get((pinned, digest)) if digest is not None else None
            if held is None:
                held = self._load(pinned)
                self._held[(pinned, digest)] = held
            self._held.move_to_end((pinned, digest))
            while len(self._held) > MOST:
                self._held.popitem(last=False)
            return held

    def _load(self, pinned: str) -> LoadedModel:
        from mlwarehouse.models import load_predictor

        found = self._warehouse.find_model(pinned)
        try:
            return LoadedModel(pinned, found, load_predictor(found.package, allow_code=self._allow_code))
        except ModelError as error:
            if self._allow_code:
                raise
            # What a function is passed, a server is told when it is started.
            told = str(error).replace("pass allow_code=True", "start the server with `--allow-model-code`")
            raise type(error)(told) from error
