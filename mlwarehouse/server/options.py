"""What a server can be told."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from wsgiref.types import WSGIApplication

from mlwarehouse.server.api import Limits

DASHBOARDS = "/dashboards"
"""Where the dashboards are."""


@dataclass(frozen=True)
class Options:
    """What a server does beside answering MLflow's clients.

    Attributes:
        limits: What a question in SQL may take.
        allow_code: Whether models that are scored with may run code that they bring.
        log: Takes a line for each request; None logs none.
        mlflow_page: The folder of MLflow's web page; None for none.
        dashboards: The dashboards as a WSGI application, made for the path `DASHBOARDS`; None for none.
    """

    limits: Limits = field(default_factory=Limits)
    allow_code: bool = False
    log: Callable[[str], None] | None = None
    mlflow_page: Path | None = None
    dashboards: WSGIApplication | None = None
