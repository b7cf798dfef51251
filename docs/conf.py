"""Sphinx's configuration; ``make docs`` builds with warnings as errors."""

from pathlib import Path

_version: dict[str, str] = {}
exec((Path(__file__).parent.parent / "mlwarehouse" / "_version.py").read_text(encoding="utf-8"), _version)

project = "mlwarehouse"
author = "the mlwarehouse contributors"
copyright = "2026, the mlwarehouse contributors"
release = version = _version["__version__"]
extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"mlwarehouse {release}"
myst_heading_anchors = 3
nitpicky = True
