"""Bringing in what other trackers have: ids and times kept, whatever was brought in before left alone.

A source is one file here and one entry in `SOURCES`, or an entry point of another package. It yields batches of rows as
Arrow tables, see `mlwarehouse.imports.base`; all that is asked of it besides is that a series' points keep their order.
What of a batch is new is found by looking at the tables, so nothing else remembers what was imported: an import that is
repeated, that finds more, or that goes on after it was killed is the same thing.
"""

from mlwarehouse.imports.base import Batch, Oddity, Source, SourceExperiment, SourceKind
from mlwarehouse.imports.importer import Progress, import_from
from mlwarehouse.imports.report import COUNTED, ImportReport
from mlwarehouse.imports.sources import SOURCES, find_source
from mlwarehouse.registry.importing import SourceModel, SourceVersion

__all__ = [
    "COUNTED",
    "SOURCES",
    "Batch",
    "ImportReport",
    "Oddity",
    "Progress",
    "Source",
    "SourceExperiment",
    "SourceKind",
    "SourceModel",
    "SourceVersion",
    "find_source",
    "import_from",
]
