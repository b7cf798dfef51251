"""Small YAML files of strangers: plain values only, quickly.

Most are lines ``key: value`` as trackers write them; these are taken apart here, at a fraction of a parser's cost. The
others go to libyaml, without aliases: with them a small file could grow to any size.
"""

from __future__ import annotations

import re
from typing import Any

import yaml

MAX_BYTES = 4 * 1024 * 1024
"""Larger files are refused: what is read here are descriptions."""

MAX_DEPTH = 50
"""How deeply values may be nested."""

_LINE = re.compile(
    r"(?P<key>[A-Za-z_][A-Za-z0-9_]*):(?: +(?:(?P<int>-?(?:0|[1-9][0-9]*))|(?P<null>null)|"
    r"'(?P<quoted>[^'\x00-\x1f\x7f-\x9f\u2028\u2029]*)'|(?P<empty>\[\]|\{\})|"
    r"(?P<plain>(?=[0-9]*[a-f])[0-9a-f]{32}|[A-Za-z/](?:[^:#\s]|[:#](?=\S)| (?![ #]))*)))? *"
)
_OTHER = frozenset("true false yes no on off y n null none".split())
"""Plain words that aren't text in YAML, or not in each version of it."""


class YamlError(ValueError):
    """A file that isn't plain YAML; the text says why."""


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """Plain values only; times stay text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in resolvers if tag != "tag:yaml.org,2002:timestamp"]
    for first, resolvers in yaml.SafeLoader.yaml_implicit_resolvers.items()
}

_DOUBTFUL_BYTES = 64 * 1024


def _check(text: str) -> None:
    """Refuse aliases and deep nesting before values are made, which libyaml does by recursion."""
    is_small = len(text) < _DOUBTFUL_BYTES and sum(map(text.count, "[{?-")) < MAX_DEPTH
    if is_small and "*" not in text:
        return
    depth = 0
    for event in yaml.parse(text, Loader=_Loader):
        if isinstance(event, yaml.AliasEvent):
            raise YamlError("it has aliases, which may stand for any amount of text")
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            raise YamlError(f"it is nested more than {MAX_DEPTH} deep")


def load_yaml(content: bytes) -> Any:
    """The value that a YAML file holds.

    Args:
        content: The file's bytes.

    Raises:
        YamlError: It is too large, isn't UTF-8 or YAML, has aliases, or isn't plain values.
    """
    if len(content) > MAX_BYTES:
        raise YamlError(f"it has {len(content):,} bytes, and at most {MAX_BYTES:,} are read")
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise YamlError(f"it isn't UTF-8: {error}") from error
    flat = _flat(text)
    if flat is not None:
        return flat
    try:
        _check(text)
        return yaml.load(text, Loader=_Loader)
    except YamlError:
        raise
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise YamlError(str(error).replace("\n", " ")) from error


def load_mapping(content: bytes) -> dict[str, Any]:
    """The same of a file that must hold a mapping.

    Raises:
        YamlError: As for `load_yaml`; or it holds something else.
    """
    value = load_yaml(content)
    if not isinstance(value, dict):
        raise YamlError("it doesn't hold keys and values")
    return {str(key): each for key, each in value.items()}


def _flat(text: str) -> dict[str, Any] | None:
    """What lines of plain keys and values say; None where there is anything else."""
    found: dict[str, Any] = {}
    for line in text.removesuffix("\n").split("\n"):
        match = _LINE.fullmatch(line)
        if match is None:
            return None
        kind = match.lastgroup
        key = match["key"]
        if kind == "int":
            found[key] = int(match["int"])
        elif kind in ("quoted", "plain"):
            word = match[kind].rstrip() if kind == "plain" else match[kind]
            if kind == "plain" and word.lower() in _OTHER:
                return None
            found[key] = word
        elif kind == "null":
            found[key] = None
        elif kind == "empty":
            found[key] = [] if match["empty"] == "[]" else {}
        else:
            # A value may follow in the next lines.
            return None
    return found or None
