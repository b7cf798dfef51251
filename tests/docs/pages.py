"""The documentation's hand-written pages, taken apart: code blocks with what is said of them, and words."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent
GUIDE = (ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md")))
"""The hand-written pages that explain; decisions and generated pages aside."""

EVERYTHING = (*GUIDE, ROOT / "CHANGELOG.md", *sorted((ROOT / "docs").glob("*/*.md")))

_FENCE = re.compile(
    r"^(?:<!-- (?P<mark>.+?) -->\n)?```(?P<language>[\w-]+)\n(?P<code>.*?)^```$", re.MULTILINE | re.DOTALL
)
_MARKS = ("spark", "no-run: ")


@dataclass(frozen=True)
class Block:
    """A code block: its language, its code, the line it begins at, and the comment before it."""

    language: str
    code: str
    line: int
    mark: str


def blocks(page: Path) -> list[Block]:
    """The code blocks of a page."""
    text = page.read_text(encoding="utf-8")
    found = []
    for match in _FENCE.finditer(text):
        mark = match["mark"] or ""
        known = mark == "" or any(mark.startswith(m) for m in _MARKS)
        found.append(
            Block(match["language"], match["code"], text.count("\n", 0, match.start("code")), mark if known else "")
        )
    return found


def name_of(page: Path) -> str:
    """A page's name for a test's id."""
    return page.relative_to(ROOT).as_posix()
