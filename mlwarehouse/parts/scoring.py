"""The part of a warehouse that scores tables with its models, and keeps predictions and labels."""

from __future__ import annotations

from mlwarehouse.parts.modelling import Modelling


class Scoring(Modelling):
    """Predictions."""
