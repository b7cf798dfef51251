"""The model registry: events, a fold, and a service that adds to them one at a time."""

from mlwarehouse.registry.differences import Difference
from mlwarehouse.registry.events import Event
from mlwarehouse.registry.fold import ModelState, VersionState, fold
from mlwarehouse.registry.policies import Policy
from mlwarehouse.registry.search import Page, Search
from mlwarehouse.registry.service import Registry

__all__ = ["Difference", "Event", "ModelState", "Page", "Policy", "Registry", "Search", "VersionState", "fold"]
