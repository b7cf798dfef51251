"""The HTTP server: MLflow's clients, in any language, log to a warehouse through it."""

from mlwarehouse.server.api import Limits
from mlwarehouse.server.app import create_app
from mlwarehouse.server.mlflow_ui import find_page
from mlwarehouse.server.observing import write_line
from mlwarehouse.server.oidc import LogInSettings
from mlwarehouse.server.options import DASHBOARDS, Options
from mlwarehouse.server.serving import serve

__all__ = ["DASHBOARDS", "Limits", "LogInSettings", "Options", "create_app", "find_page", "serve", "write_line"]
