"""Writes the reference pages from the code they describe.

``python -m docs.generate`` writes them, ``python -m docs.generate --check`` only says which are stale. The same code
always gives the same pages, so a test compares them with those committed.
"""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from docs.python_api import NOTE, python_page
from mlwarehouse import errors
from mlwarehouse.config import ENVIRONMENT_PREFIX, SETTINGS
from mlwarehouse.query.change_kinds import KINDS
from mlwarehouse.tables import ENVELOPE, EVENT_ORDER, TABLES, Column
from mlwarehouse.tables.reports import DEFAULTS_OF_NOTHING, PARAMETRIC, TYPES, ReportSpec, report_spec
from mlwarehouse.tables.views import REPORTS, VIEWS, ViewSpec, view

FOLDER = Path(__file__).parent / "reference"

HELP_WIDTH = 100
"""Columns of a command's help text, whatever terminal generates it."""


def tables_page() -> str:
    """Every table: its grain, columns, order and rules."""
    lines = [
        "# Tables",
        "",
        f"A warehouse has {len(TABLES)} event tables, each a Delta table in `tables/<name>/`. Rows are only ever "
        "added. The views of the [next page](views.md) reduce them to the present.",
        "",
        "## Columns of every table",
        "",
        *_columns(ENVELOPE),
        "",
        f"Event order is ({', '.join(EVENT_ORDER)}).",
    ]
    for spec in TABLES:
        lines += ["", f"## {spec.name}", "", f"A row is: {_lower(spec.grain)}", ""]
        lines += _columns(spec.columns)
        order = ", ".join(f"`{c}`" for c in spec.sort_by)
        lines += ["", f"Files are sorted by {order}. Schema version {spec.version}."]
        if spec.rules:
            lines += ["", *(f"* {rule}" for rule in spec.rules)]
    return _page(lines)


def views_page() -> str:
    """Every view and report: purpose, grain, sources and columns."""
    lines = [
        "# Views",
        "",
        "Views are SQL over the tables, one a file in `sql/views`. They say what is so now: the fold over all events.",
    ]
    for name in VIEWS:
        lines += _view(view(name))
    lines += ["", "## Reports", "", "Views for dashboards and BI tools, in `sql/reports`."]
    for name in REPORTS:
        lines += _view(view(name), level="###")
    return _page(lines)


def changes_page() -> str:
    """Every kind of change."""
    lines = [
        "# Kinds of changes",
        "",
        "What [`changes`](../changes.md) tells of. Each has `kind`, `event_at`, `recorded_at`, and what it concerns: "
        "`experiment_id`, `run_id`, `model_name`, `model_version`. What `key`, `value`, `number` and `step` say "
        "depends on the kind; where nothing is said, `key` and `value` are those of the row.",
        "",
        "| kind | table | what it tells |",
        "| --- | --- | --- |",
    ]
    lines += [f"| `{kind.name}` | `{kind.table}` | {_cell(kind.doc)} |" for kind in KINDS]
    return _page(lines)


def reports_page() -> str:
    """Every report with parameters: purpose, grain, parameters and columns."""
    lines = [
        "# Reports",
        "",
        "Questions that come with the package, one a file in `sql/parametric`. They are asked by name, as in "
        '`report("seeds", metric="val/loss")` or `mlwarehouse report seeds --param metric=val/loss`. Reports without '
        "parameters are views and stand on [their page](views.md#reports); they can be asked in the same way.",
        "",
        "| type of a parameter | what it takes |",
        "| --- | --- |",
        *(f"| {name} | {_cell(text)} |" for name, text in TYPES.items()),
        r"| a \| b | One of these words. |",
        "",
        "| default | what it stands for |",
        "| --- | --- |",
        *(f"| `{name}` | {text} |" for name, text in DEFAULTS_OF_NOTHING.items()),
    ]
    for name in PARAMETRIC:
        lines += _report(report_spec(name))
    return _page(lines)


def settings_page() -> str:
    """Every setting."""
    lines = [
        "# Settings",
        "",
        f"A setting comes from the environment as `{ENVIRONMENT_PREFIX}` and its name in capitals. A value in code, "
        'as in `set_warehouse(uri, durability="always")`, wins over it.',
    ]
    for setting in SETTINGS:
        default = f"`{setting.default}`" if setting.default else "empty"
        lines += ["", f"## {setting.name}", "", setting.help, "", f"* Environment: `{setting.environment_name}`"]
        lines.append(f"* Default: {default}")
        if setting.choices:
            lines.append(f"* Values: {', '.join(f'`{c}`' for c in setting.choices)}")
    return _page(lines)


def cli_page() -> str:
    """Every command's own help text."""
    import typer.main

    from mlwarehouse.cli import app

    root = typer.main.get_command(app)
    lines = ["# Command line", "", "What each command prints for `--help`."]
    lines += _help(root, "mlwarehouse", None)
    return _page(lines)


def errors_page() -> str:
    """Every error class: its place in the tree, code and HTTP status."""
    tree = inspect.cleandoc(errors.__doc__ or "").split("::\n\n", 1)[1].split("\n\n")[0]
    classes = [c for c in vars(errors).values() if inspect.isclass(c) and issubclass(c, errors.WarehouseError)]
    lines = [
        "# Errors",
        "",
        "Every failure that the package raises on purpose is a `WarehouseError`. A message is one sentence: what was "
        "asked, what was found, what to do. All classes are in `mlwarehouse.errors`.",
        "",
        "```text",
        inspect.cleandoc(tree),
        "```",
        "",
        "`code` is a stable name for programs, in the vocabulary of MLflow's REST API where that has a word; "
        "`http_status` is what a server answers with.",
        "",
        "| class | code | HTTP status | raised when |",
        "| --- | --- | --- | --- |",
    ]
    for cls in classes:
        text = " ".join(inspect.cleandoc(cls.__doc__ or "").split("\n\n")[0].split()).replace("``", "`")
        lines.append(f"| `{cls.__name__}` | `{cls.code}` | {cls.http_status} | {_cell(text)} |")
    return _page(lines)


PAGES: dict[str, Callable[[], str]] = {
    "tables.md": tables_page,
    "views.md": views_page,
    "changes.md": changes_page,
    "reports.md": reports_page,
    "settings.md": settings_page,
    "cli.md": cli_page,
    "errors.md": errors_page,
    "python.md": python_page,
}
"""The generated pages by file name."""


def stale_pages() -> list[str]:
    """Names of the pages whose files differ from what would be generated now."""
    return [name for name, page in PAGES.items() if _text(FOLDER / name) != page()]


def write_pages() -> None:
    """Write all pages."""
    FOLDER.mkdir(exist_ok=True)
    for name, page in PAGES.items():
        (FOLDER / name).write_text(page(), encoding="utf-8")


def _page(lines: list[str]) -> str:
    return "\n".join([NOTE, "", *lines]) + "\n"


def _columns(columns: tuple[Column, ...]) -> list[str]:
    rows = ["| column | type | may be null | what it holds |", "| --- | --- | --- | --- |"]
    for column in columns:
        null = "yes" if column.nullable else "no"
        rows.append(f"| `{column.name}` | {column.type} | {null} | {_cell(column.doc)} |")
    return rows


def _view(spec: ViewSpec, level: str = "##") -> list[str]:
    depends = ", ".join(f"`{d}`" for d in spec.depends)
    lines = ["", f"{level} {spec.name}", "", spec.purpose, "", f"A row is: {_lower(spec.grain)} Reads {depends}."]
    lines += ["", "| column | what it holds |", "| --- | --- |"]
    return lines + [f"| `{name}` | {_cell(text)} |" for name, text in spec.columns.items()]


def _report(spec: ReportSpec) -> list[str]:
    depends = ", ".join(f"`{d}`" for d in spec.depends)
    lines = ["", f"## {spec.name}", "", spec.purpose, "", f"A row is: {_lower(spec.grain)} Reads {depends}."]
    lines += ["", "| parameter | type | default | what it does |", "| --- | --- | --- | --- |"]
    for p in spec.parameters:
        default = "needed" if p.default is None else f"`{p.default}`"
        lines.append(f"| `{p.name}` | {_cell(p.type)} | {default} | {_cell(p.doc)} |")
    lines += ["", "| column | what it holds |", "| --- | --- |"]
    return lines + [f"| `{name}` | {_cell(text)} |" for name, text in spec.columns.items()]


def _help(command: Any, path: str, parent: Any) -> list[str]:
    options = {"terminal_width": HELP_WIDTH, "max_content_width": HELP_WIDTH, **command.context_settings}
    context = command.context_class(command, info_name=path.split()[-1], parent=parent, **options)
    lines = ["", f"## {path}", "", "```text", command.get_help(context).rstrip(), "```"]
    for name in getattr(command, "commands", {}):
        lines += _help(command.commands[name], f"{path} {name}", context)
    return lines


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _lower(text: str) -> str:
    return text[:1].lower() + text[1:]


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main(arguments: list[str]) -> int:
    """Write the pages, or with ``--check`` say which are stale; exit status 1 when one is."""
    if arguments != ["--check"]:
        write_pages()
        return 0
    stale = stale_pages()
    for name in stale:
        print(f"docs/reference/{name} is stale; run `python -m docs.generate` and commit the difference.")
    return 1 if stale else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
