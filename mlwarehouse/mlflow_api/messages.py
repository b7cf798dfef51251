"""What a call may say: declared fields, and a request read by them.

The rules are those of protocol buffers' JSON, which MLflow's clients write: numbers may come as texts, unknown fields
are ignored, a field may be written in snake case or camel case, and what is null is absent.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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

    @property
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
    result: dict[str, Any] = {}
    for field in fields:
        names = [n for n in dict.fromkeys((field.name, field.camel)) if body.get(n) is not None]
        if len(names) > 1:
            raise InvalidInputError(f"The field `{field.name}` is given twice, as `{names[0]}` and as `{names[1]}`.")
        value = body[names[0]] if names else body.get(field.other) if field.other else None
        where = f"{path}{field.name}"
        if field.required and (value is None or value == ""):
            raise said_nothing(where)
        if not field.many:
            result[field.name] = None if value is None else _value(value, field, where)
            continue
        values = [] if value is None else value
        if not isinstance(values, list):
            raise _not_of_type(where, value)
        result[field.name] = [_value(v, field, f"{where}[{n}]") for n, v in enumerate(values)]
    return result


def _value(value: Any, field: Field, where: str) -> Any:
    if field.kind == "object":
        if not isinstance(value, Mapping):
            raise _not_of_type(where, value)
        return _read(value, field.of, f"{where}.") if field.of else dict(value)
    if field.kind == "word" and isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if field.kind in ("text", "word"):
        # A number is no text. A byte that is no character would break the tables that it is written to.
        if not isinstance(value, str) or not _is_unicode(value):
            raise _not_of_type(where, value)
        return value
    if field.kind == "bool":
        if isinstance(value, bool):
            return value
        if value in ("true", "false"):
            return value == "true"
        raise _not_of_type(where, value)
    number = _number(value, is_whole=field.kind == "int")
    if number is None or (field.most is not None and number > field.most):
        raise _not_of_type(where, value)
    return number


def _number(value: Any, *, is_whole: bool) -> int | float | None:
    """The number that a JSON value means; None where it means none."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    if is_whole:
        if isinstance(value, str):
            value = int(value) if re.fullmatch(r"-?[0-9]{1,19}", value) else None
        if isinstance(value, float):
            value = int(value) if value.is_integer() else None
        return value if value is not None and value in INT64 else None
    if isinstance(value, str):
        if value in _SPECIAL:
            return _SPECIAL[value]
        if not re.fullmatch(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?", value):
            return None
    try:
        return float(value)
    except OverflowError:
        return None


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _not_of_type(name: str, value: Any) -> InvalidInputError:
    return said_wrong(name, value, f":  Hint: Value was of type '{type(value).__name__}'.{SEE}")
