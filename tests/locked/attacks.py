"""The cases of ``tests/cases/attacks.txt``, and the large texts that stand there by name."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

FILE = Path(__file__).parent.parent / "cases" / "attacks.txt"

LARGE = {
    "@deep-parentheses": f"SELECT {'(' * 5000}1{')' * 5000}",
    "@deep-lists": f"SELECT {'[' * 500}1{']' * 500}",
    "@deep-subqueries": f"{'SELECT (' * 100}SELECT 1{')' * 100}",
    "@deep-not": f"SELECT {'NOT ' * 4000}true",
    "@deep-minus": f"SELECT {'- ' * 8000}1",
    "@deep-casts": f"SELECT 1{'::int' * 2000}",
    "@deep-case": f"SELECT {'CASE WHEN true THEN ' * 500}1{' END' * 500}",
    "@long-list": f"SELECT 1 IN ({', '.join('1' * 9 for _ in range(100_000))})",
    "@long-text": f"SELECT '{'x' * 10_000_000}'",
    "@many-unions": " UNION ".join(["SELECT 1"] * 100_000),
}


@dataclass(frozen=True)
class Attack:
    """What a stranger may try.

    Attributes:
        kind: The heading that it stands under.
        by: Who refuses it.
        attack: Its SQL.
        twin: SQL of the same shape that does no harm.
        line: Its line in the file.
    """

    kind: str
    by: str
    attack: str
    twin: str
    line: int


def read_attacks() -> list[Attack]:
    """All cases, in order."""
    found: list[Attack] = []
    kind, waiting = "", None
    for number, line in enumerate(FILE.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("## "):
            kind = line.removeprefix("## ")
        elif line and not line.startswith("#"):
            word, _, text = line.strip().partition(" ")
            sql = LARGE.get(text.strip(), _decoded(text.strip()))
            if word == "twin":
                assert waiting is not None, f"line {number}: a twin without an attack"
                found.append(Attack(kind, *waiting, sql, number - 1))
                waiting = None
            else:
                assert waiting is None, f"line {number}: an attack without a twin"
                waiting = (word, sql)
    return found


def _decoded(text: str) -> str:
    escapes = {"\\n": "\n", "\\t": "\t", "\\\\": "\\"}
    return re.sub(r"\\(?:u[0-9A-Fa-f]{4}|[nt\\])", lambda m: escapes.get(m[0]) or chr(int(m[0][2:], 16)), text)
