"""Handing runs and models to a server that speaks MLflow's REST API.

Whatever is made there has a tag that says what it was here, so that it is found again: exporting again sends only what
came since, and an export that was killed goes on.
"""

from mlwarehouse.exports.report import COUNTED, ExportReport
from mlwarehouse.exports.to_mlflow import export_to

__all__ = ["COUNTED", "ExportReport", "export_to"]
