"""What a call may say: declared fields, and a request read by them.

The rules are those of protocol buffers' JSON, which MLflow's clients write: numbers may come as texts, unknown fields
are ignored, a field may be written in snake case or camel case, and what is null is absent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from mlwarehouse.errors import InvalidInputError

SEE = " See the API docs for more information about request parameters."
"""How MLflow's messages about parameters end."""

INT64 = range(-(2**63), 2**63)

_SPECIAL = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


@dataclass(frozen=True)
class Field:
    """One field of a request.

    Attributes:
        name: Its name, in snake case.
        kind: ``text``, ``int``, ``float``, ``bool``; ``word``, which is the name of something or its number; or
            ``object``, whose fields are `of`.
        required: Whether it must be there, and not be empty.
        many: Whether it is a list.
        of: The fields of an object; none means that it is taken as it is.
        most: The largest number allowed.
        other: Another name that means the same, from older clients.
    """

    name: str
    kind: str = "text"
    required: bool = False
    many: bool = False
    of: tuple[Field, ...] = ()
    most: int | None = None
    other: str = ""

    @cached_property
    def camel(self) -> str:
        """The name in camel case."""
        first, *rest = self.name.split("_")
        return first + "".join(word.capitalize() for word in rest)


def read_request(body: Any, fields: Sequence[Field]) -> dict[str, Any]:
    """Read a request by its declared fields.

    Args:
        body: The decoded JSON, or the arguments of an address.
        fields: What it may say.

    Returns:
        Values by field name; what wasn't said is None, or an empty list.

    Raises:
        InvalidInputError: A field is missing, is of another type, or is written twice in two ways.
    """
    return _read(body if isinstance(body, Mapping) else {}, fields, "")


def said_wrong(name: str, value: Any, why: str = "") -> InvalidInputError:
    """MLflow's error about a value that can't be."""
    written = json.dumps(value, sort_keys=True, separators=(",", ":"), default=str)
    return InvalidInputError(f"Invalid value {written} for parameter '{name}' supplied{why or '.'}")


def said_nothing(name: str, end: str = SEE) -> InvalidInputError:
    """MLflow's error about a value that isn't there."""
    return InvalidInputError(f"Missing value for required parameter '{name}'.{end}")


def _read(body: Mapping[str, Any], fields: Sequence[Field], path: str) -> dict[str, Any]:
    # A batch has thousands of fields: what is only said in an error is only made for one.
    result: dict[str, Any] = {}
    for field in fields:
        name = field.name
        value = body.get(name)
        if field.camel != name and (again := body.get(field.camel)) is not None:
            if value is not None:
                raise InvalidInputError(f"The field `{name}` is given twice, as `{name}` and as `{field.camel}`.")
            value = again
        if value is None and field.other:
            value = body.get(field.other)
        if field.required and (value is None or value == ""):
            raise said_nothing(f"{path}{name}")
        if not field.many:
            result[name] = None if value is None else _value(value, field, path)
            continue
        values = [] if value is None else value
        if not isinstance(values, list):
            raise _not_of_type(f"{path}{name}", value)
        result[name] = [_value(v, field, path, f"[{n}]") for n, v in enumerate(values)]
    return result


def _value(value: Any, field: Field, path: str, at: str = "") -> Any:
    if field.kind == "object":
        if not isinstance(value, dict):
            raise _not_of_type(f"{path}{field.name}{at}", value)
        return _read(value, field.of, f"{path}{field.name}{at}.") if field.of else dict(value)
    found = _READERS[field.kind](value)
    if found is None or (field.most is not None and found > field.most):
        raise _not_of_type(f"{path}{field.name}{at}", value)
    return found


def _text(value: Any) -> str | None:
    # A number is no text. A byte that is no character would break the tables that it is written to.
    return value if isinstance(value, str) and _is_unicode(value) else None


def _word(value: Any) -> str | None:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else _text(value)


def _bool(value: Any) -> bool | None:
    if isinstance(value, bool):
        return value
    return value == "true" if value in ("true", "false") else None


def _int(value: Any) -> int | None:
    if isinstance(value, bool):
        return None
    if isinstance(value, str):
        value = int(value) if re.fullmatch(r"-?[0-9]{1,19}", value) else None
    elif isinstance(value, float):
        value = int(value) if value.is_integer() else None
    return value if isinstance(value, int) and value in INT64 else None


def _float(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if isinstance(value, str):
        if value in _SPECIAL:
            return _SPECIAL[value]
        if not re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", value):
            return None
    try:
        return float(value)
    except OverflowError:
        return None


_READERS: Mapping[str, Callable[[Any], Any]] = {
    "text": _text,
    "word": _word,
    "bool": _bool,
    "int": _int,
    "float": _float,
}
"""What a JSON value means as each kind; None where it means nothing."""


def _is_unicode(text: str) -> bool:
    if text.isascii():
        return True
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_of_type(name: str, value: Any) -> InvalidInputError:
    return said_wrong(name, value, f":  Hint: Value was of type '{type(value).__name__}'.{SEE}")
