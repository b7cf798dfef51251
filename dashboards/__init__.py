"""The dashboards: `create_app` builds them over a warehouse.

Three layers: named questions (`data`, `runs_data`), figures (`figures`), pages (`pages`).
"""

from .app import create_app

__all__ = ["create_app"]
