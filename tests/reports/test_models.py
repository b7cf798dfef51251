"""Reports about registered models: the funnel of stages, how fresh what is in use is, and what changed."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from tests.reports.conftest import LATER, AskReport
from tests.reports.data import DAY, MadeRun, rows
from tests.views.rows import NOON


def at(days: float) -> dt.datetime:
    return NOON + dt.timedelta(days=days)


def registry(*events: tuple[float, str, int | None, dict[str, Any]], model: str = "m") -> list[dict[str, Any]]:
    """Events of one model: when in days, what, of which version, and more."""
    return [
        {"model_name": model, "seq": n, "kind": kind, "version": version, "at": days * DAY, "run_id": None} | more
        for n, (days, kind, version, more) in enumerate(events, start=1)
    ]


EVENTS = registry(
    (0, "model_created", None, {}),
    (1, "version_created", 1, {"run_id": "r1", "actor": "ana"}),
    (2, "version_created", 2, {}),
    (3, "version_created", 3, {}),
    (3, "version_created", 4, {}),
    (4, "stage_set", 1, {"stage": "Staging"}),
    (5, "stage_set", 1, {"stage": "Production", "actor": "ana"}),
    (6, "stage_set", 2, {"stage": "Staging"}),
    (7, "stage_set", 1, {"stage": "Archived"}),
    (9, "stage_set", 1, {"stage": "Production", "actor": "bob"}),
    (9, "stage_set", 2, {"stage": "None"}),
    (10, "alias_set", 2, {"alias": "champion"}),
    (11, "alias_set", 3, {"alias": "champion", "actor": "cleo"}),
    (12, "stage_set", 4, {"stage": "Staging"}),
    (13, "version_deleted", 4, {}),
) + registry((1, "version_created", 1, {}), model="other")

SCORING = {"model_name": "m", "model_version": 1, "model_digest": "x", "dataset": "d", "output": "y"}
PREDICTIONS = [{**SCORING, "row_key": key, "at": days * DAY} for key, days in (("a", 20), ("b", 21))]

GIVEN = rows([MadeRun("r1", duration_s=3600.0)]) | {"registry_events": EVENTS, "predictions": PREDICTIONS}


def test_the_funnel_counts_where_versions_are_and_have_been(ask: AskReport) -> None:
    found = ask("stage_funnel", GIVEN)
    told = [
        (r["name"], r["stage"], r["n_now"], r["n_ever"], r["share_ever"], r["days_to_reach"], r["last_reached_at"])
        for r in found
    ]
    assert told == [
        ("m", "None", 2, 3, 1.0, 0.0, at(3)),
        ("m", "Staging", 0, 2, 2 / 3, 3.5, at(6)),
        ("m", "Production", 1, 1, 1 / 3, 4.0, at(5)),
        ("m", "Archived", 0, 1, 1 / 3, 6.0, at(7)),
        ("other", "None", 1, 1, 1.0, 0.0, at(1)),
    ]


def test_freshness_is_counted_from_the_last_move(ask: AskReport) -> None:
    age = (LATER - NOON) / dt.timedelta(days=1)
    alias, stage = ask("model_freshness", GIVEN)
    assert alias == {
        "name": "m", "label_type": "alias", "label": "champion", "version": 3, "since": at(11),
        "days_since": pytest.approx(age - 11), "actor": "cleo", "created_at": at(3),
        "days_since_created": pytest.approx(age - 3), "run_id": None, "run_ended_at": None, "last_scored_at": None,
        "n_newer": 0,
    }  # fmt: skip
    assert stage == {
        "name": "m", "label_type": "stage", "label": "Production", "version": 1, "since": at(9),
        "days_since": pytest.approx(age - 9), "actor": "bob", "created_at": at(1),
        "days_since_created": pytest.approx(age - 1), "run_id": "r1", "run_ended_at": NOON + dt.timedelta(hours=1),
        "last_scored_at": at(21), "n_newer": 2,
    }  # fmt: skip


def test_only_some_models_and_another_moment(embedded: AskReport) -> None:
    assert {r["name"] for r in embedded("stage_funnel", GIVEN, models="other")} == {"other"}
    assert embedded("model_freshness", GIVEN, models=["other"]) == []
    (early,) = [r for r in embedded("model_freshness", GIVEN, now=at(10)) if r["label_type"] == "stage"]
    assert early["days_since"] == pytest.approx(1)


def test_changes_tell_what_happened_to_models(ask: AskReport) -> None:
    found = ask("changes", GIVEN, since=at(9), until=at(12))
    assert [(r["at"], r["kind"], r["model_name"], r["version"], r["label"], r["actor"]) for r in found] == [
        (at(9), "stage_set", "m", 1, "Production", "bob"),
        (at(9), "stage_set", "m", 2, "None", None),
        (at(10), "alias_set", "m", 2, "champion", None),
        (at(11), "alias_set", "m", 3, "champion", "cleo"),
    ]
