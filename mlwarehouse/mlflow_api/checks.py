"""What MLflow allows of names and values, in its words: clients and their tests read them."""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

from mlwarehouse.artifacts import clean_path
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.mlflow_api.messages import said_nothing, said_wrong

MOST_METRICS = 1000
MOST_PARAMS = 100
MOST_TAGS = 100
MOST_ENTRIES = 1000
MOST_BODY_BYTES = 1_000_000
"""Of one batch."""

MOST_DATASETS = 1000
"""Of one call."""

KEY_LENGTH = 250
PARAM_LENGTH = 6000
TAG_LENGTH = 8000
"""Longer values are cut there, as MLflow does by default."""

EXPERIMENT_NAME_LENGTH = 500
EXPERIMENT_TAG_LENGTH = 20_000
LOCATION_LENGTH = 2048

MOST_TIME_MS = 253_402_300_799_999
"""The last millisecond of the year 9999: what every reader of the tables can show."""

_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+-]*")
_HOST = re.compile(r"[A-Za-z0-9][\w.@:-]*")
_LOCAL = frozenset({"file", "runs", "models", "mlflow-artifacts", "mlwarehouse"})
"""Schemes of addresses that mean one thing here and another elsewhere."""

_KEY = re.compile(r"[/\w.\- :]*")
_RUN_ID = re.compile(r"[a-zA-Z0-9][\w\-]{0,255}")

_CHARACTERS = (
    "Names may only contain alphanumerics, underscores (_), dashes (-), periods (.), spaces ( ), colon(:) and "
    "slashes (/)."
)


def check_key(key: str | None, path: str) -> str:
    """Check the key of a metric, param or tag.

    Raises:
        InvalidInputError: It has a character that a key can't have, or reads as a path that means another one.
    """
    if not key:
        raise said_nothing(path)
    if not _KEY.fullmatch(key):
        raise said_wrong(path, key, f": {_CHARACTERS}")
    plain = posixpath.normpath(key)
    if plain != key or plain == "." or plain.startswith(("..", "/")):
        raise said_wrong(
            path,
            key,
            ": Names may be treated as files in certain cases, and must not resolve to other names when treated as "
            f"such. This name would resolve to {plain!r}",
        )
    return key


@lru_cache(maxsize=4096)
def _is_plain(key: str) -> bool:
    """Whether there is nothing to say about a key; a batch has the same few keys many times."""
    if len(key) > KEY_LENGTH:
        return False
    try:
        check_key(key, "")
    except InvalidInputError:
        return False
    return True


def check_length(what: str, value: str | None, limit: int) -> str:
    """Refuse a text that is too long; what is absent is empty."""
    if value is not None and len(value) > limit:
        raise InvalidInputError(f"'{what}' exceeds the maximum length of {limit} characters")
    return value or ""


def check_run_id(run_id: str) -> str:
    """Check that a text can be a run's id."""
    if not _RUN_ID.fullmatch(run_id):
        raise said_wrong("run_id", run_id)
    return run_id


def check_time(name: str, ms: int) -> int:
    """Check a time in milliseconds since the epoch."""
    if not 0 <= ms <= MOST_TIME_MS:
        raise said_wrong(name, ms, f": it is a time in milliseconds since 1970, at most {MOST_TIME_MS}.")
    return ms


def check_metric(metric: Mapping[str, Any], path: str = "") -> tuple[str, float, int, int]:
    """Check a metric point.

    Args:
        metric: ``key``, ``value``, ``timestamp`` (milliseconds), ``step``.
        path: Where it stands in the request, with a dot behind it.

    Returns:
        Key, value, timestamp and step.

    Raises:
        InvalidInputError: It can't be one.
    """
    key, value, timestamp, step = metric["key"], metric["value"], metric["timestamp"], metric["step"] or 0
    if not _is_plain(key):
        check_key(key, f"{path}name")
    if timestamp < 0:
        raise said_wrong(
            f"{path}timestamp",
            timestamp,
            f": metric '{key}' (value={value}). Timestamp must be a nonnegative long (64-bit integer) ",
        )
    if timestamp > MOST_TIME_MS:
        check_time(f"{path}timestamp", timestamp)
    check_length("Metric name", key, KEY_LENGTH)
    return key, value, timestamp, step


def check_param(param: Mapping[str, Any], path: str = "") -> tuple[str, str]:
    """Check a param; its value is cut at `PARAM_LENGTH`."""
    key = check_length("Param key", check_key(param["key"], f"{path}key"), KEY_LENGTH)
    return key, (param["value"] or "")[:PARAM_LENGTH]


def check_tag(tag: Mapping[str, Any], path: str = "") -> tuple[str, str]:
    """Check a run's tag; its value is cut at `TAG_LENGTH`."""
    key = check_length(f"{path}key", check_key(tag["key"], f"{path}key"), KEY_LENGTH)
    return key, (tag["value"] or "")[:TAG_LENGTH]


def check_experiment_tag(tag: Mapping[str, Any]) -> tuple[str, str]:
    """Check an experiment's tag."""
    key = check_length("key", check_key(tag["key"], "key"), KEY_LENGTH)
    return key, check_length("value", tag["value"], EXPERIMENT_TAG_LENGTH)


def check_experiment_name(name: str | None) -> str:
    """Check an experiment's name."""
    if not name:
        raise InvalidInputError(f"Invalid experiment name: '{name or ''}'")
    if not name.strip():
        raise InvalidInputError(f"Invalid experiment name: '{name}'. It needs a character that can be seen.")
    return check_length("name", name, EXPERIMENT_NAME_LENGTH)


def check_batch(metrics: Sequence[Any], params: Sequence[Any], tags: Sequence[Any]) -> None:
    """Refuse a batch that is too large, or that sets a param twice."""
    limits = (("metrics", metrics, MOST_METRICS), ("params", params, MOST_PARAMS), ("tags", tags, MOST_TAGS))
    counts = tuple((what, len(given), most) for what, given, most in limits)
    together = ("metrics, params, and tags", sum(n for _, n, _ in counts), MOST_ENTRIES)
    for what, n, most in (*counts, together):
        if n > most:
            raise InvalidInputError(
                f"A batch logging request can contain at most {most} {what}. Got {n} {what}. Please split up {what} "
                "across multiple requests and try again."
            )
    keys = [key for key, _ in params]
    twice = [key for n, key in enumerate(keys) if key in keys[:n]]
    if twice:
        raise InvalidInputError(
            f"Duplicate parameter keys have been submitted: {twice}. Please ensure the request contains only one param "
            "value per param key."
        )


def is_store_address(address: str) -> bool:
    """Whether a text is the address of what every machine reaches, such as ``s3://bucket/folder``.

    A file of whoever reads it is none, nor is what some program could read as another place.
    """
    scheme, separator, rest = address.partition("://")
    host, _, path = rest.rstrip("/").partition("/")
    if not separator or not _SCHEME.fullmatch(scheme) or scheme.lower() in _LOCAL or not _HOST.fullmatch(host):
        return False
    try:
        return not path or bool(clean_path(path))
    except InvalidInputError:
        return False


def check_page_size(max_results: int | None, most: int) -> int:
    """Check how many entries a page shall have."""
    if max_results is None or max_results < 1:
        raise InvalidInputError(
            f"Invalid value {max_results or 0} for parameter 'max_results' supplied. It must be a positive integer"
        )
    if max_results > most:
        raise InvalidInputError(
            f"Invalid value {max_results} for parameter 'max_results' supplied. It must be at most {most}"
        )
    return max_results
