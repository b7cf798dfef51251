"""What every page gets: how to read, and how to link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .reader import Reader


@dataclass(frozen=True)
class Site:
    """One app's surroundings.

    Attributes:
        reader: Asks the warehouse.
        prefix: The path that the app is mounted at, with a slash at both ends.
    """

    reader: Reader
    prefix: str = "/"

    def href(self, path: str, search: str = "") -> str:
        """The address of a page, as the browser needs it."""
        return self.prefix + path.removeprefix("/") + search

    def path(self, pathname: str | None) -> str:
        """The page's own path in a browser's path."""
        inner = (pathname or "").removeprefix(self.prefix.rstrip("/"))
        return "/" + inner.strip("/")


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        name: Its entry in the navigation.
        path: Its path below the app's prefix.
        icon: The picture beside its name.
        layout: Builds the page for a query string.
        register: Adds the page's callbacks to an app.
    """

    name: str
    path: str
    icon: str
    layout: Callable[[Site, str], Any]
    register: Callable[[Any, Site], None]
