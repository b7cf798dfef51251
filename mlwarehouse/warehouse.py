"""The warehouse as one object: the composition root, which picks the engine and wires the parts."""

from __future__ import annotations

from mlwarehouse.parts.admitting import Admitting
from mlwarehouse.parts.hooking import Hooking
from mlwarehouse.parts.importing import Importing
from mlwarehouse.parts.keeping import Keeping
from mlwarehouse.parts.locking import Locking
from mlwarehouse.parts.merging import Merging
from mlwarehouse.parts.reporting import Reporting
from mlwarehouse.parts.score_streams import ScoringStreams
from mlwarehouse.parts.sparking import Sparking
from mlwarehouse.parts.syncing import Syncing


class Warehouse(ScoringStreams, Sparking, Hooking, Importing, Merging, Reporting, Keeping, Syncing, Locking, Admitting):
    """One warehouse: log to it, ask it, keep models in it, score with them, look after it.

    The module-level functions of ``mlwarehouse`` are a thin layer over one of these.
    """
