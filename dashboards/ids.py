"""The ids of the components, one enum a page; nothing else in the dashboards spells an id."""

from __future__ import annotations

import enum


class Shell(enum.StrEnum):
    """What surrounds every page."""

    FRAME = "shell-frame"
    BURGER = "shell-burger"
    MENU_OPEN = "shell-menu-open"
    LOCATION = "shell-location"
    NAVIGATION = "shell-navigation"
    CONTENT = "shell-content"
    CLOCK = "shell-clock"
    VERSIONS = "shell-versions"
    MOMENT = "shell-moment"
    READ_AT = "shell-read-at"
    TROUBLE = "shell-trouble"


class Progress(enum.StrEnum):
    """The page *Project progress*."""

    LOCATION = "progress-location"
    EXPERIMENTS = "progress-experiments"
    GOAL = "progress-goal"
    DIRECTION = "progress-direction"
    GROUP_BY = "progress-group-by"
    NOTICE = "progress-notice"
    NUMBERS = "progress-numbers"
    BEST = "progress-best"
    ACTIVITY = "progress-activity"
    OUTCOMES = "progress-outcomes"
    LEADERBOARD = "progress-leaderboard"


class Runs(enum.StrEnum):
    """The page *Runs*."""

    LOCATION = "runs-location"
    EXPERIMENTS = "runs-experiments"
    FILTER = "runs-filter"
    COLUMNS = "runs-columns"
    QUESTION = "runs-question"
    PURGED = "runs-purged"
    COUNT = "runs-count"
    GRID = "runs-grid"
    GRID_BOX = "runs-grid-box"
    TROUBLE = "runs-trouble"
    COMPARED = "runs-compared"
    EXPORT = "runs-export"
    DOWNLOAD = "runs-download"
    CURVE_KEY = "runs-curve-key"
    CURVES = "runs-curves"
