"""Names, numbers and addresses that callers give, checked before anything is read."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from mlwarehouse.entities import Stage, VersionStatus
from mlwarehouse.errors import InvalidInputError, did_you_mean

MAX_NAME = 256
_ALIAS = re.compile(r"[\w-]{1,255}")
_RESERVED_ALIAS = re.compile(r"latest|v\d+", re.IGNORECASE)


@dataclass(frozen=True)
class ModelAddress:
    """What a ``models:/`` address names; one of `version`, `alias` and `stage`, or none of them for the newest.

    Attributes:
        name: The registered model.
        version: Its version.
        alias: An alias.
        stage: A stage, meaning the newest version in it.
    """

    name: str
    version: int | None = None
    alias: str | None = None
    stage: Stage | None = None


def model_name(name: str) -> str:
    """Check the name of a registered model.

    Raises:
        InvalidInputError: It is empty, too long, or has a character that its address needs for something else.
    """
    if not isinstance(name, str) or not name.strip():
        raise InvalidInputError(f"A registered model needs a name; got {name!r}.")
    if "/" in name or ":" in name:
        raise InvalidInputError(
            f"A registered model can't be called `{name}`: `/` and `:` separate the parts of its address; "
            "use `-` or `.`."
        )
    if len(name) > MAX_NAME or any(unicodedata.category(c) in ("Cc", "Cs") for c in name):
        raise InvalidInputError(
            f"A registered model can't be called {name[:60]!a}: a name has at most {MAX_NAME} characters, all "
            "printable."
        )
    return name


def alias_name(alias: str) -> str:
    """Check an alias.

    Raises:
        InvalidInputError: It has a character that isn't a letter, digit, ``_`` or ``-``, or means something else.
    """
    if not isinstance(alias, str) or not _ALIAS.fullmatch(alias):
        raise InvalidInputError(f"An alias is letters, digits, `_` and `-`, at most 255; got {alias!r}.")
    if _RESERVED_ALIAS.fullmatch(alias):
        raise InvalidInputError(f"`{alias}` can't be an alias: it would read as a version; choose a word.")
    return alias


def version_number(version: int | str) -> int:
    """A version number, given as a number or as text.

    Raises:
        InvalidInputError: It is neither.
    """
    if isinstance(version, str) and re.fullmatch(r"[0-9]{1,18}", version):
        return int(version)
    if isinstance(version, int) and not isinstance(version, bool):
        return version
    raise InvalidInputError(f"A model version is a number; got {version!r}.")


def stage_named(stage: str) -> Stage:
    """The stage of a name, in any case.

    Raises:
        InvalidInputError: There is none.
    """
    for known in Stage:
        if known.value.lower() == str(stage).lower():
            return known
    names = [s.value for s in Stage]
    raise InvalidInputError(
        f"There is no stage `{stage}`.{did_you_mean(str(stage).capitalize(), names)} The stages are {', '.join(names)}."
    )


def status_named(status: str) -> VersionStatus:
    """The status of a version by its name.

    Raises:
        InvalidInputError: There is none.
    """
    known = {s.value: s for s in VersionStatus}
    if status not in known:
        raise InvalidInputError(f"A version is {', '.join(known)}; got `{status}`.{did_you_mean(str(status), known)}")
    return known[status]


def tag(key: str, value: str | None) -> tuple[str, str | None]:
    """Check a tag.

    Raises:
        InvalidInputError: The key is empty, or one of them isn't text.
    """
    if not isinstance(key, str) or not key:
        raise InvalidInputError(f"A tag needs a key; got {key!r}.")
    if value is not None and not isinstance(value, str):
        raise InvalidInputError(f"The value of tag `{key}` must be text; got {type(value).__name__}.")
    return key, value


def event_number(number: int | str, what: str) -> int:
    """The number of a request or comment, given as a number or as text.

    Raises:
        InvalidInputError: It is neither.
    """
    try:
        return version_number(number)
    except InvalidInputError:
        raise InvalidInputError(f"A {what} is known by its number; got {number!r}.") from None


def roles(given: Iterable[str]) -> frozenset[str]:
    """Check the roles of an actor.

    Raises:
        InvalidInputError: It isn't a list of texts.
    """
    if isinstance(given, str) or not all(isinstance(role, str) and role for role in given):
        raise InvalidInputError(f"Roles are a list of texts, such as ['approver']; got {given!r}.")
    return frozenset(given)


def comment_text(text: str) -> str:
    """Check a comment's text.

    Raises:
        InvalidInputError: There is none.
    """
    if not isinstance(text, str) or not text.strip():
        raise InvalidInputError(f"A comment needs a text; got {text!r}.")
    return text


def tags(given: Mapping[str, Any] | None) -> dict[str, str]:
    """Check tags given together.

    Raises:
        InvalidInputError: As for `tag`.
    """
    checked = dict(tag(k, v) for k, v in (given or {}).items())
    return {k: v for k, v in checked.items() if v is not None}


def model_address(uri: str) -> ModelAddress:
    """Take a ``models:/`` address apart.

    Raises:
        InvalidInputError: It isn't one.
    """
    forms = "models:/<name>/<version>, models:/<name>@<alias>, models:/<name>/<stage> or models:/<name>/latest"
    body = uri.removeprefix("models:/").strip("/")
    if not uri.startswith("models:/") or not body:
        raise InvalidInputError(f"`{uri}` is no address of a registered model; write {forms}.")
    name, slash, rest = body.partition("/")
    if not slash:
        name, at, alias = body.rpartition("@")
        if not at:
            raise InvalidInputError(f"`{uri}` doesn't say which version of `{body}`; write {forms}.")
        return ModelAddress(model_name(name), alias=alias)
    if rest.lower() == "latest":
        return ModelAddress(model_name(name))
    if rest.isdecimal():
        return ModelAddress(model_name(name), version=version_number(rest))
    return ModelAddress(model_name(name), stage=stage_named(rest))
