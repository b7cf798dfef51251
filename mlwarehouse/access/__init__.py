"""Who may do what with a warehouse that is served: roles, what they are needed for, and who has them."""

from mlwarehouse.access.needs import LADDER, LISTED, PUBLIC, Need, On, Role
from mlwarehouse.access.principals import EVERYTHING, EXPERIMENTS, MODELS, Principal, Right, acting, acting_as, readable

__all__ = [
    "EVERYTHING",
    "EXPERIMENTS",
    "LADDER",
    "LISTED",
    "MODELS",
    "PUBLIC",
    "Need",
    "On",
    "Principal",
    "Right",
    "Role",
    "acting",
    "acting_as",
    "readable",
]
