"""Webhooks on the command line."""

from __future__ import annotations

import json

from typer.testing import CliRunner

from mlwarehouse.cli import app
from mlwarehouse.errors import WarehouseError

SECRET = "correct horse battery staple"


def run(*arguments: str, status: int = 0, roles: str = "admin", given: str = "") -> str:
    """What a command prints, with the error that the program would print behind it."""
    done = CliRunner().invoke(app, ["webhooks", *arguments], input=given, env={"MLWAREHOUSE_ROLES": roles})
    assert done.exit_code == status, done.output
    assert isinstance(done.exception, WarehouseError | SystemExit | None), done.exception
    said = f"{done.output}{done.exception}"
    assert SECRET not in said
    return done.stdout if done.exception is None else said


def test_webhooks_on_the_command_line(warehouse, receiver, tmp_path):
    place = ("-w", str(warehouse.root))
    secret = tmp_path / "secret"
    secret.write_text(f"{SECRET}\n")
    event = ("-e", "model_version.created", "-e", "gate.failed")
    allowed = ("--allow-private", "--allow-http")
    refused = run("add", "ci", receiver.url, *event, *place, status=1)
    assert "goes without TLS" in refused
    assert "takes the role `admin`" in run("add", "ci", receiver.url, *event, *allowed, *place, status=1, roles="")
    added = run("add", "ci", receiver.url, *event, *allowed, "--secret-file", str(secret), *place, "--json")
    assert json.loads(added)["is_signed"]
    assert "ci: taken" in run("test", "ci", "-e", "gate.failed", *place)
    warehouse.registry.create_model_version("mood", source="runs:/r/m", run_id=None, digest=None)
    [told] = [json.loads(line) for line in run("deliver", *place, "--json").splitlines()]
    assert (told["state"], told["event"], told["tries"]) == ("delivered", "model_version.created", 1)
    assert receiver.events() == ["gate.failed", "model_version.created"]
    receiver.answer = lambda handler, request: 410
    assert "the receiver answered 410" in run("test", "ci", *place, status=1)
    warehouse.registry.create_model_version("mood", source="runs:/r/m", run_id=None, digest=None)
    assert "failed model_version.created of mood, try 1" in run("deliver", *place, status=1)
    run("update", "ci", "--secret-file", "-", "--disable", *place, given=SECRET)
    listed = run("list", *place)
    assert "DISABLED" in listed
    assert "the receiver answered 410" in listed
    assert run("remove", "ci", *place) == "the webhook ci is removed\n"
    assert json.loads(run("list", *place, "--json")) == []
