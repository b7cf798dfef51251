"""The part of a script or notebook that one class needs, and nothing that would run anything else."""

from __future__ import annotations

import ast
from collections.abc import Sequence


def sliced_source(cells: Sequence[str], name: str) -> str | None:
    """Cut a class and everything it refers to out of sources.

    Kept are the definitions, imports and assignments at the top level that the class needs, directly or through each
    other. Of a class or function defined several times, as in a cell that was run again, the last one is kept.

    Args:
        cells: Sources in the order in which they ran: a script, or a notebook's cells.
        name: The class.

    Returns:
        Python source; None when no cell defines the class.
    """
    statements: list[ast.stmt] = []
    for cell in cells:
        try:
            statements += ast.parse(cell).body
        except SyntaxError:
            continue  # a cell that didn't run
    binds = [_bound_names(s) for s in statements]
    last = {
        s.name: i
        for i, s in enumerate(statements)
        if isinstance(s, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)
    }
    if name not in last:
        return None
    kept: set[int] = set()
    wanted, seen = [name], {name}
    while wanted:
        word = wanted.pop()
        for i, bound in enumerate(binds):
            if word not in bound or i in kept or (word in last and _is_definition(statements[i]) and last[word] != i):
                continue
            kept.add(i)
            new = _used_names(statements[i]) - seen
            seen |= new
            wanted += new
    kept |= {i for i, s in enumerate(statements) if _brings_everything(s)}
    futures = [i for i, s in enumerate(statements) if isinstance(s, ast.ImportFrom) and s.module == "__future__"]
    ordered = [*futures, *sorted(kept - set(futures))]
    return "\n\n".join(ast.unparse(statements[i]) for i in ordered) + "\n"


def _is_definition(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef)


def _brings_everything(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.ImportFrom) and any(a.name == "*" for a in statement.names)


def _bound_names(statement: ast.stmt) -> set[str]:
    """The names that a top-level statement defines."""
    if isinstance(statement, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
        return {statement.name}
    if isinstance(statement, ast.Import):
        return {a.asname or a.name.partition(".")[0] for a in statement.names}
    if isinstance(statement, ast.ImportFrom):
        return {a.asname or a.name for a in statement.names}
    if isinstance(statement, ast.Assign | ast.AnnAssign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        return {n.id for t in targets for n in ast.walk(t) if isinstance(n, ast.Name)}
    if isinstance(statement, ast.If | ast.Try) and not _is_main_guard(statement):
        # An import with a fallback, or a definition that depends on a version.
        inner = [s for field in ("body", "orelse", "finalbody") for s in getattr(statement, field, [])]
        inner += [s for handler in getattr(statement, "handlers", []) for s in handler.body]
        return set().union(*(_bound_names(s) for s in inner))
    return set()


def _is_main_guard(statement: ast.stmt) -> bool:
    return isinstance(statement, ast.If) and any(
        isinstance(n, ast.Name) and n.id == "__name__" for n in ast.walk(statement.test)
    )


def _used_names(statement: ast.stmt) -> set[str]:
    return {n.id for n in ast.walk(statement) if isinstance(n, ast.Name)}
