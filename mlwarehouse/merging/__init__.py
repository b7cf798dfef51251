"""Merging two warehouses, and carrying one in a folder of Parquet files.

What is merged are rows of the event tables, as they were written: with their times, their writers and their places
among what those wrote. So whatever is asked of the merged warehouse, also of a past moment, has the answer that the two
would have given together, and a row that is there is known again by its writer and number.
"""

from mlwarehouse.imports.base import Oddity
from mlwarehouse.merging.merger import merge_from
from mlwarehouse.merging.other import Other
from mlwarehouse.merging.parquet import ParquetExport, export_parquet, is_parquet_export, open_parquet_export
from mlwarehouse.merging.report import MergeReport

__all__ = [
    "MergeReport",
    "Oddity",
    "Other",
    "ParquetExport",
    "export_parquet",
    "is_parquet_export",
    "merge_from",
    "open_parquet_export",
]
