"""Files of settings: nested values in YAML or JSON, as params."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from mlwarehouse.imports.base import Oddity
from mlwarehouse.imports.folders import read
from mlwarehouse.imports.yaml_file import MAX_BYTES, YamlError, load_yaml


def params_of(path: str, oddities: list[Oddity]) -> dict[str, str]:
    """The params that a YAML or JSON file has; none where there is no such file.

    Args:
        path: The file.
        oddities: Gets what can't be read.
    """
    return {key: value if isinstance(value, str) else _text(value) for key, value in leaves(path, ".", oddities)}


def leaves(path: str, between: str, oddities: list[Oddity]) -> Iterator[tuple[str, Any]]:
    """The leaves of a file's nested values, each with the names that lead to it.

    Args:
        path: The file.
        between: What stands between names.
        oddities: Gets what can't be read.
    """
    try:
        content = read(path, MAX_BYTES)
        # JSON is YAML too; its own parser knows more of its numbers.
        found = json.loads(content) if path.endswith(".json") else load_yaml(content)
    except FileNotFoundError:
        return
    except (OSError, YamlError, ValueError, RecursionError) as error:
        oddities.append(Oddity("settings unreadable", path, f"{error}; its values were left out"))
        return
    if isinstance(found, dict):
        yield from _leaves(found, "", between)
    elif found is not None:
        oddities.append(Oddity("settings unreadable", path, "it doesn't hold keys and values"))


def _leaves(value: Mapping[Any, Any], prefix: str, between: str) -> Iterator[tuple[str, Any]]:
    for key, each in value.items():
        if isinstance(each, Mapping) and each:
            yield from _leaves(each, f"{prefix}{key}{between}", between)
        else:
            yield f"{prefix}{key}", each


def _text(value: Any) -> str:
    return json.dumps(value, default=str) if isinstance(value, list | dict) else str(value)
