"""Every command line on a page works: commands and options of ours, targets of make, extras of the package."""

from __future__ import annotations

import re
import shlex
import tomllib

import pytest
import typer.main

from mlwarehouse.cli import app

from .pages import GUIDE, ROOT, blocks, name_of

LINES = [
    pytest.param(line, id=f"{name_of(page)}:{block.line + number}")
    for page in GUIDE
    for block in blocks(page)
    if block.language == "sh"
    for number, line in enumerate(block.code.splitlines(), start=1)
]


def _parse_ours(arguments):
    command, context = typer.main.get_command(app), None
    while hasattr(command, "commands"):
        context = command.context_class(command, info_name="mlwarehouse", parent=context)
        assert arguments, "a group needs a command"
        assert arguments[0] in command.commands, f"there is no command {arguments[0]}"
        command, arguments = command.commands[arguments[0]], arguments[1:]
    command.make_context("command", list(arguments), parent=context)


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_works(line):
    # A shell would run what stands between back-ticks there.
    assert not re.search(r'"[^"]*`[^"]*"', line)
    words = shlex.split(line)
    match words:
        case ["mlwarehouse", *arguments]:
            _parse_ours(arguments)
        case ["make", target]:
            assert re.search(rf"^{target}:", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
        case ["pip", "install", "mlwarehouse"]:
            pass
        case ["python", "-m", module]:
            assert (ROOT / (module.replace(".", "/") + ".py")).is_file()
        case _:
            pytest.fail(f"`{line}` is of a kind that this test doesn't know")


def test_commands_named_in_sentences_exist():
    names = typer.main.get_command(app).commands
    for page in GUIDE:
        for name in re.findall(r"`mlwarehouse ([a-z]+)", page.read_text(encoding="utf-8")):
            assert name in names, f"{name_of(page)}: mlwarehouse {name}"


def test_extras_named_on_pages_exist():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["optional-dependencies"]
    for page in GUIDE:
        for name in re.findall(r"mlwarehouse\[(\w+)\]", page.read_text(encoding="utf-8")):
            assert name in extras, f"{name_of(page)}: {name}"


def test_a_wrong_command_line_is_found():
    with pytest.raises(Exception, match=r"(?i)no such option"):
        _parse_ours(["runs", "--experiments", "x"])
