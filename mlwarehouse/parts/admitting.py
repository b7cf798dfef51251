"""The part of a warehouse that knows who may do what on its servers."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING

from mlwarehouse.parts.base import Base

if TYPE_CHECKING:
    from mlwarehouse.access.service import Access


class Admitting(Base):
    """Users, roles and tokens of servers."""

    @cached_property
    def access(self) -> Access:
        """Who may do what on this warehouse's servers, changed in the name of the setting `actor`."""
        from mlwarehouse.access.service import Access
        from mlwarehouse.ingest.identity import login_name

        return Access(self.engine, actor=self.settings.actor or login_name())
