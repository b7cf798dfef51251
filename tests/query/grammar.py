"""Runs and questions by chance: everything that MLflow's filters and orders can say, over everything awkward.

A question is made as a list of clauses and then spelled twice: plainly, with every key in back-ticks, and in one of the
many ways that people write.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from random import Random
from typing import Any

from tests.query.peer import FIRST

METRICS = (
    "loss",
    "val/acc 1",
    "m.dotted.key",
    "Ünï/ключ",
    "top-5",
    "a:b",
    "order",
    "loss.min",
    "1st",
    "0",
    " padded",
    "end",
)
PARAMS = ("lr", "optimizer", "Ünï çode/ключ", "a.b.c", "x-y", "in", "null", "2nd", "p q", "case", "lr.last", "like")
TAGS = ("team", "my.dotted.tag", "Ünï", "mlflow.note.content", "select", "x y", "a-b:c", "and", "size")
NUMBERS = (
    0.0,
    -0.0,
    1.0,
    1.0,
    -1.5,
    0.1,
    0.30000000000000004,
    math.nan,
    math.inf,
    -math.inf,
    1e308,
    5e-324,
    float(2**53 + 2),
    1.2345678901234568e17,
    -1e300,
    1e-7,
)
ORDINARY = tuple(n for n in NUMBERS if not math.isnan(n))
TEXTS = (
    "0.1",
    "0.10",
    "1e-3",
    "auto",
    "Auto",
    "",
    " ",
    "it's",
    'say "x"',
    "`tick`",
    "a%b_c",
    "aXbYc",
    "C:\\temp\\new",
    "😀👩‍🔬",
    "ß",
    "ÜBER",
    "über",
    "NaN",
    "inf",
    "-1",
    "10",
    "9",
    "true",
    "NULL",
    "line\nbreak",
    "tab\there",
    "-- no comment",
    "/* none */",
    "; DROP TABLE runs",
    "' OR '1'='1",
    "a AND b",
    "(x)",
    "x" * 3000,
    "x" * 2999 + "y",
)
DATASETS = ("imdb", "yelp", "Yelp", "it's", "a%b", "😀")
DIGESTS = ("d0", "d1", "D1", "")
CONTEXTS = (None, "training", "eval", "Eval", "a'b")
NAMES = ("run 1", "run 2", "Run 2", "it's", "ünï", "😀", "10", "9")
STATUSES = ("RUNNING", "SCHEDULED", "FINISHED", "FAILED", "KILLED")


def plan(rng: Random, count: int) -> list[dict[str, Any]]:
    """Runs, as `tests.query.peer.log_to_mlflow` takes them."""
    runs: list[dict[str, Any]] = []
    for _ in range(count):
        status = rng.choice(STATUSES)
        start = FIRST + rng.choice([0, 0, 1, 999, 1000, 1001, 60_000, -5_000])
        points = [
            # No two at one moment with a NaN among them: see test_mlflow_differences.
            (key, value, step, time)
            for key in rng.sample(METRICS, rng.randrange(len(METRICS)))
            for value in rng.choice([[v] for v in NUMBERS] + [rng.sample(ORDINARY, 3), rng.sample(ORDINARY, 5)])
            for step, time in [(rng.choice([0, 0, 1, -3, 2**40]), FIRST + rng.randrange(3))]
        ]
        datasets = {
            (name, digest): (name, digest, rng.choice(CONTEXTS))
            for name, digest in [
                (rng.choice(DATASETS), rng.choice(DIGESTS[:3])) for _ in range(rng.choice([0, 0, 1, 3]))
            ]
        }
        runs.append(
            {
                "start": start,
                "end": None if status in ("RUNNING", "SCHEDULED") else start + rng.choice([0, 1, 500, 90_000]),
                "status": status,
                "name": rng.choice(NAMES),
                "metrics": points,
                "params": {key: rng.choice(TEXTS) for key in rng.sample(PARAMS, rng.randrange(len(PARAMS)))},
                "tags": {key: rng.choice(TEXTS) for key in rng.sample(TAGS, rng.randrange(len(TAGS)))},
                "first_tags": {"mlflow.user": rng.choice(["ana", "Bob", "it's"])},
                "deleted": rng.random() < 0.15,
                "datasets": list(datasets.values()),
                "parent": rng.random() < 0.3,
            }
        )
    return runs


@dataclass(frozen=True)
class Clause:
    """One clause of a filter, or with an empty operator one entry of an order."""

    space: str
    key: str
    operator: str
    value: Any = None


@dataclass(frozen=True)
class Question:
    """A search, not yet spelled."""

    clauses: list[Clause] = field(default_factory=list)
    order: list[tuple[Clause, str]] = field(default_factory=list)
    view_type: int = 1
    limit: int = 1000
    experiments: tuple[int, ...] = (0,)


SPELLINGS = {
    "metrics": ("metrics", "metric"),
    "params": ("params", "param", "parameters", "parameter"),
    "tags": ("tags", "tag"),
    "attributes": ("attributes", "attribute", "attr", "run", ""),
    "datasets": ("datasets", "dataset"),
}
ALIASES = {"start_time": ("start_time", "created", "Created"), "run_name": ("run_name", "run name", "Run name")}
COMPARED = ("=", "!=", "<", "<=", ">", ">=")
MATCHED = ("=", "!=", "LIKE", "ILIKE")


def question(rng: Random, run_ids: list[str]) -> Question:
    """A question that MLflow has an answer to."""
    clauses = [clause(rng, run_ids) for _ in range(rng.choice([0, 1, 1, 1, 2, 2, 3]))]
    order: dict[tuple[str, str], tuple[Clause, str]] = {}
    for _ in range(rng.choice([0, 0, 1, 1, 2, 3])):
        entry = ordered_by(rng)
        order.setdefault((entry.space, entry.key), (entry, rng.choice(["", " ASC", " DESC", " asc", " Desc"])))
    return Question(
        clauses,
        list(order.values()),
        view_type=rng.choice([1, 1, 1, 2, 3, 3]),
        limit=rng.choice([1, 5, 1000, 1000]),
        experiments=rng.choice([(0,), (0,), (1,), (0, 1), (1, 2, 0)]),
    )


def clause(rng: Random, run_ids: list[str]) -> Clause:
    """One clause."""
    space = rng.choice(["metrics", "metrics", "params", "params", "tags", "attributes", "attributes", "datasets"])
    if space == "metrics":
        key = rng.choice([*METRICS, "nobody"])
        return Clause(space, key, rng.choice(COMPARED), rng.choice([n for n in ORDINARY if math.isfinite(n)]))
    if space in ("params", "tags"):
        key = rng.choice([*(PARAMS if space == "params" else TAGS), "nobody"])
        if space == "tags" and rng.random() < 0.2:
            key = rng.choice(["mlflow.user", "mlflow.runName", "mlflow.parentRunId"])
        operator = rng.choice([*MATCHED, "IS NULL", "IS NOT NULL"])
        return Clause(space, key, operator, None if "NULL" in operator else text(rng, operator, TEXTS))
    if space == "datasets":
        key = rng.choice(["name", "digest", "context"])
        words = {"name": DATASETS, "digest": DIGESTS, "context": CONTEXTS[1:]}[key]
        operator = rng.choice([*MATCHED, "IN", "NOT IN"])
        if "IN" in operator.split():
            return Clause(space, key, operator, [rng.choice(words) for _ in range(rng.choice([1, 2]))])
        return Clause(space, key, operator, text(rng, operator, words))
    key = rng.choice(["status", "run_name", "run_id", "user_id", "start_time", "end_time"])
    if key in ("start_time", "end_time"):
        return Clause(space, key, rng.choice(COMPARED), FIRST + rng.choice([0, 1, 999, 1000, 1001, 1500, 90_000]))
    if key == "run_id" and rng.random() < 0.5:
        return Clause(space, key, rng.choice(["IN", "NOT IN"]), [rng.choice([*run_ids, "nobody"]) for _ in range(3)])
    operator = rng.choice(MATCHED)
    words = {"status": STATUSES, "run_name": NAMES, "run_id": run_ids, "user_id": ("ana", "Bob", "it's")}[key]
    return Clause(space, key, operator, text(rng, operator, words))


def text(rng: Random, operator: str, words: Any) -> str:
    """A text to compare with: one of some words, or a pattern made of one."""
    word: str = rng.choice([w for w in words if w is not None])
    if "LIKE" not in operator:
        return word
    if operator == "ILIKE" and word.isascii():
        # What SQLite calls a lower-case letter is one of A to Z; see test_mlflow_differences.
        word = rng.choice([word, word.upper(), word.lower()])
    start = rng.randrange(len(word) + 1)
    return rng.choice([word, word[:start] + "%", "%" + word[start:], word[:start] + "_" + word[start + 1 :], "%", "_"])


def ordered_by(rng: Random) -> Clause:
    """One entry of an order."""
    space = rng.choice(["metrics", "metrics", "params", "tags", "attributes"])
    keys = {
        "metrics": [*METRICS, "nobody"],
        "params": [*PARAMS, "nobody"],
        "tags": [*TAGS, "mlflow.user"],
        "attributes": ["status", "run_name", "run_id", "user_id", "start_time", "end_time"],
    }
    return Clause(space, rng.choice(keys[space]), "")


def plain(asked: Question) -> tuple[str, list[str]]:
    """The filter and the order with every key in back-ticks and nothing else that is special."""
    clauses = [
        f"{c.space}.`{c.key}` {c.operator} {value(c.value, lambda t: quoted(t))}".rstrip() for c in asked.clauses
    ]
    return " AND ".join(clauses), [f"{c.space}.`{c.key}`{direction}" for c, direction in asked.order]


def spelled(rng: Random, asked: Question) -> tuple[str, list[str]]:
    """The filter and the order, in one of the many ways to write them."""
    space = rng.choice([" ", " ", "  ", "\n", "\t"])

    def operator(words: str) -> str:
        return rng.choice([words, words.lower(), words.capitalize()])

    def written(c: Clause) -> str:
        name = spelled_name(rng, c)
        if c.value is None:
            return f"{name}{space}{operator(c.operator)}"
        around = "" if c.operator in COMPARED and rng.random() < 0.2 else space
        return f"{name}{around}{operator(c.operator)}{around}{value(c.value, lambda t: quoted(t, rng))}"

    clauses = [written(c) for c in asked.clauses]
    joint = space + operator("AND") + space
    padding = rng.choice(["", "", " "]) if clauses else ""
    return padding + joint.join(clauses) + padding, [
        f"{spelled_name(rng, c)}{direction}" for c, direction in asked.order
    ]


def spelled_name(rng: Random, c: Clause) -> str:
    """A name with one of its prefixes, its key in back-ticks, in double quotes or bare."""
    prefix = rng.choice(SPELLINGS[c.space])
    key = rng.choice(ALIASES.get(c.key, (c.key,))) if c.space == "attributes" else c.key
    if not prefix:
        return key if " " not in key else f"attributes.`{key}`"
    if c.space in ("attributes", "datasets") and " " not in key:
        return f"{prefix}.{key}"
    is_plain = key.replace("_", "a").replace(".", "a").isalnum()
    return f"{prefix}." + rng.choice(
        [f"`{key}`", f'"{key}"' if c.operator else f"`{key}`", key if is_plain else f"`{key}`"]
    )


def value(of: Any, quote: Any) -> str:
    """A value, or a list of values, as text."""
    if of is None:
        return ""
    if isinstance(of, list):
        return f"({', '.join(quote(one) for one in of)})"
    # MLflow takes no sign before an exponent.
    return quote(of) if isinstance(of, str) else repr(of).replace("e+", "e")


def quoted(word: str, rng: Random | None = None) -> str:
    """A text in quotes that it doesn't hold; MLflow has no way to write one that holds both."""
    marks = [mark for mark in ("'", '"') if mark not in word]
    return f"{(mark := rng.choice(marks) if rng else marks[0])}{word}{mark}"
