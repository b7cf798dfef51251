"""Makes a ``.pt2`` archive safe to hand to ``torch.export.load``.

That function runs Python from an archive in several ways: it unpickles the example inputs, and weights or constants
that say so; it evaluates shape expressions with sympy, which uses `eval`; it compiles the guards' source; it looks
operator names up in the whole `torch` module; and it imports the modules that a container's description names. So
the archive is taken apart here and a new one is made of what can only be data: weights as raw bytes, a graph whose
operators and expressions are of known forms, no example inputs, no guards. PyTorch reads only the new one.
"""

from __future__ import annotations

import ast
import io
import json
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from mlwarehouse.errors import ModelError, PickleRefusedError

_KNOWN_RECORDS = (
    re.compile(r"archive_format|archive_version|byteorder|\.data/version|\.data/serialization_id|version"),
    re.compile(r"data/weights/weight_\d+|data/constants/tensor_\d+"),
)
_PROGRAM = "models/model.json"
_CONFIGS = ("data/weights/model_weights_config.json", "data/constants/model_constants_config.json")
_EXAMPLE_INPUTS = "data/sample_inputs/model.pt"

_OPERATOR = re.compile(r"torch\.ops\.(?!higher_order\.)[A-Za-z]\w*\.\w+\.\w+")
_PLAIN_FUNCTION = re.compile(
    r"_operator\.(getitem|add|sub|mul|truediv|floordiv|mod|pow|neg|pos|eq|ne|lt|le|gt|ge|and_|or_|lshift|rshift)"
    r"|math\.(trunc|ceil|floor)"
    r"|torch\.(sym_not|sym_float|sym_int|sym_max|sym_min|sym_ite|_sym_sqrt)"
)
_HIGHER_ORDER = re.compile(
    r"torch\.ops\.higher_order\.(cond|while_loop|map_impl|scan|associative_scan|flex_attention"
    r"|wrap_with_set_grad_enabled|wrap_with_autocast)"
)
_SYMBOL = re.compile(r"[a-z]{1,3}\d+")
_EXPRESSION_NODES = (
    ast.Expression,
    ast.BinOp,
    ast.UnaryOp,
    ast.Compare,
    ast.Call,
    ast.Name,
    ast.Constant,
    ast.keyword,
    ast.operator,
    ast.unaryop,
    ast.cmpop,
    ast.expr_context,
)
_FUNCTION = re.compile(
    r"FloorDiv|ModularIndexing|Where|PythonMod|Mod|CleanDiv|CeilToInt|FloorToInt|CeilDiv|LShift|RShift|PowByNatural"
    r"|FloatPow|FloatTrueDiv|IntTrueDiv|IsNonOverlappingAndDenseIndicator|TruncToFloat|TruncToInt|RoundToInt"
    r"|RoundDecimal|ToFloat|Identity|Max|Min|Eq|Ne|Lt|Le|Gt|Ge|And|Or|Not|Integer|Float|Rational|Symbol|Add|Mul|Pow"
    r"|Equality|Unequality|LessThan|StrictLessThan|GreaterThan|StrictGreaterThan|Piecewise|ExprCondPair"
)
_KEYWORD = re.compile(r"positive|negative|nonnegative|nonpositive|nonzero|zero|integer|real|finite|precision|evaluate")
_TEXT = re.compile(r"[a-z]{1,3}\d+|[-+]?[0-9.]+(e[-+]?\d+)?")
"""The only texts in an expression: a symbol's name, or a number's digits."""

_NAMES = frozenset({"oo", "int_oo", "True", "False", "true", "false"})


def checked_archive(file: Path) -> bytes:
    """Read an archive and make one of the same program that can't run Python.

    Args:
        file: The ``.pt2`` file.

    Returns:
        The new archive's bytes.

    Raises:
        PickleRefusedError: It holds something other than raw weights and a graph of known operators.
        ModelError: It isn't such an archive at all.
    """
    try:
        records = _records(file)
        program = json.loads(records[_PROGRAM])
        configs = {name: json.loads(records[name]) for name in _CONFIGS if name in records}
    except (zipfile.BadZipFile, KeyError, ValueError, RecursionError, OSError) as error:
        raise ModelError(f"`{file}` isn't an exported program (.pt2): {error}.") from error
    for name in records:
        if name not in (_PROGRAM, _EXAMPLE_INPUTS, *_CONFIGS) and not any(k.fullmatch(name) for k in _KNOWN_RECORDS):
            raise _refused(file, f"the record `{name}`")
    for config in configs.values():
        _check_payloads(file, config)
    _check_program(file, program)
    # Guards are Python source; they only repeat what the operators check.
    program["guards_code"] = []
    records[_PROGRAM] = json.dumps(program).encode()
    records[_EXAMPLE_INPUTS] = b""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as archive:
        for name, content in records.items():
            # A fixed date: equal programs make equal files.
            archive.writestr(zipfile.ZipInfo(f"model/{name}"), content)
    return made.getvalue()


def _records(file: Path) -> dict[str, bytes]:
    """Each record's bytes, by its name below the archive's top folder."""
    with zipfile.ZipFile(file) as archive:
        records = {}
        for info in archive.infolist():
            if info.compress_type != zipfile.ZIP_STORED:
                raise zipfile.BadZipFile("its records are compressed")
            records[info.filename.partition("/")[2]] = archive.read(info)
    return records


def _check_payloads(file: Path, config: Any) -> None:
    for name, payload in config["config"].items():
        if payload.get("use_pickle") or not re.fullmatch(r"(weight|tensor)_\d+", str(payload.get("path_name"))):
            raise _refused(file, f"the pickled value `{name}`")


def _check_program(file: Path, program: Any) -> None:
    for key, value in _entries(program):
        if key == "target" and isinstance(value, str):
            if not _is_known_operator(value):
                raise _refused(file, f"the operator `{value}`")
        elif key == "expr_str" and not _is_expression(value):
            raise _refused(file, f"the expression `{value}`")
        elif isinstance(value, str) and "default_factory" in value:
            raise _refused(file, "a container that imports a module")
    for symbol in program.get("range_constraints") or {}:
        if not _is_expression(symbol):
            raise _refused(file, f"the expression `{symbol}`")


def _entries(tree: Any) -> Iterator[tuple[str, Any]]:
    """Every key and value anywhere in JSON."""
    stack = [tree]
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            yield from node.items()
            stack.extend(node.values())
        elif isinstance(node, list):
            stack.extend(node)


def _is_known_operator(target: str) -> bool:
    if _PLAIN_FUNCTION.fullmatch(target) or _HIGHER_ORDER.fullmatch(target):
        return True
    if not _OPERATOR.fullmatch(target):
        return False
    import torch

    # Only what PyTorch has registered as an operator: `torch.ops` also has methods, such as one that loads libraries.
    found: Any = torch.ops
    for name in target.split(".")[2:]:
        found = getattr(found, name, None)
        if not isinstance(found, torch._ops._OpNamespace | torch._ops.OpOverloadPacket | torch._ops.OpOverload):
            return False
    # A registered operator may still read or write a file, such as `aten.from_file`.
    return isinstance(found, torch._ops.OpOverload) and not any(
        "file" in a.name or ("path" in a.name and str(a.type) == "str") for a in found._schema.arguments
    )


def _is_expression(text: Any) -> bool:
    try:
        tree = ast.parse(str(text), mode="eval")
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    for node in ast.walk(tree):
        if not isinstance(node, _EXPRESSION_NODES):
            return False
        if isinstance(node, ast.Call) and not (isinstance(node.func, ast.Name) and _FUNCTION.fullmatch(node.func.id)):
            return False
        if isinstance(node, ast.keyword) and not _KEYWORD.fullmatch(node.arg or ""):
            return False
        if isinstance(node, ast.Name) and not (
            _FUNCTION.fullmatch(node.id) or node.id in _NAMES or _SYMBOL.fullmatch(node.id)
        ):
            return False
        if isinstance(node, ast.Constant) and not (
            isinstance(node.value, int | float) or (isinstance(node.value, str) and _TEXT.fullmatch(node.value))
        ):
            return False
    return True


def _refused(file: Path, what: str) -> PickleRefusedError:
    return PickleRefusedError(
        f"`{file}` holds {what}, which could run code when it is read, so it isn't; export the model again with plain "
        "tensors and PyTorch's operators."
    )
