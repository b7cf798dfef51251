"""One run by its id."""

from __future__ import annotations

from mlwarehouse.engines.base import Engine, Reading
from mlwarehouse.entities import Run, ViewType
from mlwarehouse.errors import NotFoundError, did_you_mean
from mlwarehouse.query.loading import LIST_ATTRIBUTES, load_kept_run, load_runs
from mlwarehouse.query.pages import KINDS, load_page
from mlwarehouse.query.question import Question, Scope

HEAD = 6
"""Runs whose ids share so many first characters with an unknown id are looked at for a suggestion."""

LOOKED_AT = 100
SHOWN = 3


def get_run(engine: Engine, reading: Reading | None, run_id: str) -> Run:
    """The run with an id, deleted ones included.

    Args:
        engine: Answers the questions.
        reading: The state to look at; None means the newest committed one.
        run_id: Its id.

    Raises:
        NotFoundError: There is none; the message names the runs whose ids begin so.
    """
    reading = engine.with_kept(reading or Reading())
    kept = load_kept_run(engine, reading, str(run_id))
    if kept is not None:
        return kept
    scope = Scope(run_ids=(str(run_id),), view_type=ViewType.ALL)
    page = load_page(engine, reading, Question(scope, attributes=LIST_ATTRIBUTES, limit=1), KINDS)
    runs = load_runs(engine, reading, page)
    if not runs:
        raise unknown_run(engine, reading, str(run_id))
    return runs[0]


def unknown_run(engine: Engine, reading: Reading | None, run_id: str) -> NotFoundError:
    """The error about a run that isn't there, with those it might have meant: the ones whose ids begin alike."""
    alike = engine.query(
        "SELECT run_id FROM runs WHERE STARTS_WITH(run_id, $head) ORDER BY STARTS_WITH(run_id, $whole) DESC, run_id "
        f"LIMIT {LOOKED_AT}",
        reading=reading,
        parameters={"head": run_id[:HEAD], "whole": run_id},
    )
    known = alike.column("run_id").to_pylist() if run_id else []
    longer = [f"`{i}`" for i in known if i.startswith(run_id)][:SHOWN]
    hint = f" Did you mean {' or '.join(longer)}?" if longer else did_you_mean(run_id, known)
    return NotFoundError(f"There is no run `{run_id}`.{hint}")
