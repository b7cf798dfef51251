"""The HTTP server: MLflow's clients, in any language, log to a warehouse through it."""

from mlwarehouse.server.app import create_app
from mlwarehouse.server.oidc import LogInSettings
from mlwarehouse.server.serving import serve

__all__ = ["LogInSettings", "create_app", "serve"]
