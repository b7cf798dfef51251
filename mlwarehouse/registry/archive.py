"""The registry's events as they are asked for: of one model, of some, or of the next ones by name.

Rows are sorted by model within files, so that a question about some names reads little of them, however many models
there are. Only what names can't decide is asked of the views, which fold everything.
"""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.errors import NotFoundError, did_you_mean
from mlwarehouse.registry.events import EVENT_COLUMNS, Event, from_row
from mlwarehouse.registry.fold import ModelState, fold

MAX_SUGGESTED = 1000
"""Of so many names the one is chosen that was meant."""

MODELS_AT_MOST = 5000
"""Models that are read together, in the order of their names."""

_SELECT = f"SELECT {', '.join(EVENT_COLUMNS)} FROM registry_events"


class Archive:
    """Reads the events of models. Threads may share it."""

    def __init__(self, engine: Engine, reading: Reading | None = None) -> None:
        """Ask an engine, about a reading or the newest committed state."""
        self._engine = engine
        self._reading = reading

    def events(self, name: str) -> tuple[Event, ...]:
        """The events of one model, in order."""
        rows = self._ask(f"{_SELECT} WHERE model_name = $name ORDER BY seq", {"name": name})
        return tuple(map(from_row, rows))

    def state(self, name: str) -> ModelState:
        """The state of a model that exists.

        Raises:
            NotFoundError: It doesn't; the message has names like it.
        """
        state = fold(name, self.events(name))
        if not state.exists:
            raise self.unknown(name, state.moved_to)
        return state

    def states(self, names: Sequence[str]) -> dict[str, ModelState]:
        """The states of some models, by name; of names that were never used there is none."""
        found: dict[str, ModelState] = {}
        ordered = sorted(names)
        for begin in range(0, len(ordered), MODELS_AT_MOST):
            some = ordered[begin : begin + MODELS_AT_MOST]
            # The bounds tell the reader of files where to look.
            rows = self._ask(
                f"{_SELECT} WHERE model_name BETWEEN $low AND $high AND model_name IN (SELECT UNNEST($names)) "
                "ORDER BY model_name, seq",
                {"names": some, "low": some[0], "high": some[-1]},
            )
            groups = itertools.groupby(rows, key=lambda r: str(r["model_name"]))
            found |= {name: fold(name, map(from_row, group)) for name, group in groups}
        return found

    def walk(self, where: str, parameters: Mapping[str, Any], after: str, at_once: int) -> Iterator[ModelState]:
        """The states of existing models, by name.

        Args:
            where: A condition over ``model_name``.
            parameters: Values of its ``$`` marks.
            after: Only names behind this one.
            at_once: How many are read first.
        """
        while True:
            rows = self._ask(
                # Each model, and each that was made anew under a name, begins by such a row.
                "SELECT DISTINCT model_name FROM (SELECT model_name FROM registry_events WHERE kind = 'model_created' "
                f"AND model_name > $after AND ({where}) ORDER BY model_name LIMIT $n) AS names ORDER BY model_name",
                {**parameters, "after": after, "n": at_once},
            )
            names = [str(r["model_name"]) for r in rows]
            states = self.states(names)
            yield from (states[name] for name in names if states[name].exists)
            if not names:
                return
            after, at_once = names[-1], min(2 * at_once, MODELS_AT_MOST)

    def unknown(self, name: str, moved_to: str | None = None) -> NotFoundError:
        """The error for a name that no model has."""
        if moved_to is not None:
            return NotFoundError(f"There is no registered model `{name}`: it was renamed to `{moved_to}`.")
        # Only names that begin alike: there may be a model for each of a million devices.
        rows = self._ask(
            "SELECT DISTINCT model_name FROM (SELECT model_name FROM registry_events WHERE kind = 'model_created' "
            "AND starts_with(lower(model_name), $start) LIMIT $n) AS names",
            {"start": name[:1].lower(), "n": MAX_SUGGESTED},
        )
        states = self.states(difflib.get_close_matches(name, [str(r["model_name"]) for r in rows]))
        close = did_you_mean(name, [n for n, state in states.items() if state.exists])
        return NotFoundError(f"There is no registered model `{name}`.{close}")

    def _ask(self, sql: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
        return list(self._engine.query(sql, reading=self._reading, parameters=parameters).to_pylist())
