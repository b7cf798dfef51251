"""Who may do what with a warehouse that is served: roles, and what they are needed for."""

from mlwarehouse.access.needs import LADDER, LISTED, PUBLIC, Need, On, Role

__all__ = ["LADDER", "LISTED", "PUBLIC", "Need", "On", "Role"]
