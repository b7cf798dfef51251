"""What is in `deploy/` can be meant: units, images and services are of their formats, and their commands are ours."""

from __future__ import annotations

import json
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main
import yaml

from mlwarehouse.cli import app
from mlwarehouse.config import SETTINGS

ROOT = Path(__file__).parent.parent.parent
DEPLOY = ROOT / "deploy"
UNIT = DEPLOY / "mlwarehouse.service"
IMAGE = DEPLOY / "Dockerfile"
COMPOSE = DEPLOY / "compose.yml"

INSTRUCTIONS = {
    *("FROM", "COPY", "RUN", "ENV", "USER", "WORKDIR", "VOLUME", "EXPOSE", "HEALTHCHECK", "ENTRYPOINT", "CMD"),
}


def parse(arguments: list[str]) -> dict[str, Any]:
    """The values of a command line of ours; it must be one."""
    command, context = typer.main.get_command(app), None
    while hasattr(command, "commands"):
        context = command.context_class(command, info_name="mlwarehouse", parent=context)
        command, arguments = command.commands[arguments[0]], arguments[1:]
    return dict(command.make_context("command", list(arguments), parent=context).params)


def instructions(text: str) -> list[tuple[str, str]]:
    """The instructions of a Dockerfile, with what each is given."""
    lines = [line for line in text.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    whole = re.sub(r"\\\n\s*", "", "\n".join(lines))
    return [(name, rest.strip()) for name, _, rest in (line.partition(" ") for line in whole.splitlines())]


def test_the_unit_starts_our_server() -> None:
    [line] = re.findall(r"^ExecStart=(.+)$", UNIT.read_text(), re.MULTILINE)
    program, *arguments = shlex.split(line)
    assert program.endswith("/bin/mlwarehouse")
    values = parse(arguments)
    # On loopback: others come through a proxy, or the options say more.
    assert (values["host"], values["port"]) == ("127.0.0.1", 5000)
    assert values["warehouse"].startswith("/var/lib/mlwarehouse/")
    assert "StateDirectory=mlwarehouse" in UNIT.read_text()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")
def test_the_unit_is_one_that_systemd_takes(tmp_path: Path) -> None:
    def complaints(text: str) -> str:
        unit = tmp_path / "mlwarehouse.service"
        # The program isn't installed here.
        unit.write_text(text.replace("/opt/mlwarehouse/bin/mlwarehouse", sys.executable))
        done = subprocess.run(["systemd-analyze", "verify", str(unit)], capture_output=True, text=True, check=False)
        return "\n".join(x for x in (done.stdout + done.stderr).splitlines() if "mlwarehouse.service" in x)

    text = UNIT.read_text()
    assert complaints(text) == ""
    assert "KillModes" in complaints(text.replace("KillMode=", "KillModes="))


def test_the_image_runs_our_server_and_not_as_root() -> None:
    found = instructions(IMAGE.read_text())
    assert {name for name, _ in found} <= INSTRUCTIONS
    assert found[0][0] == "FROM"
    stages = [rest.split()[-1] for name, rest in found if name == "FROM" and " AS " in rest]
    copied = [
        x.removeprefix("--from=") for name, rest in found if name == "COPY" for x in rest.split() if "--from=" in x
    ]
    assert set(copied) <= set(stages)
    last = found[max(i for i, (name, _) in enumerate(found) if name == "FROM") :]
    given = dict(last)
    assert given["USER"] not in ("root", "0")
    assert json.loads(given["ENTRYPOINT"]) == ["mlwarehouse"]
    values = parse(json.loads(given["CMD"]))
    assert str(values["port"]) == given["EXPOSE"]
    assert values["warehouse"].startswith(given["VOLUME"] + "/")
    program = json.loads(given["HEALTHCHECK"].partition("CMD ")[2])
    compile(program[-1], "healthcheck", "exec")
    assert f":{given['EXPOSE']}/healthz" in program[-1]
    extras = re.search(r"/src\[([\w,]+)\]", IMAGE.read_text())
    assert extras is not None
    project = (ROOT / "pyproject.toml").read_text()
    assert all(re.search(rf"^{extra} = \[", project, re.MULTILINE) for extra in extras[1].split(","))


def test_the_services_fit_together() -> None:
    said = yaml.safe_load(COMPOSE.read_text())
    assert said.keys() == {"name", "services", "volumes"}
    services = said["services"]
    for service in services.values():
        assert ("image" in service) != ("build" in service)
        assert {x.partition(":")[0] for x in service["volumes"]} <= said["volumes"].keys()
        assert service.get("depends_on", {}).keys() <= services.keys()
        assert all(services[name]["healthcheck"] for name in service.get("depends_on", {}))
    server = services["server"]
    assert (COMPOSE.parent / server["build"]["context"] / server["build"]["dockerfile"]).resolve() == IMAGE
    values = parse(server["command"])
    assert server["ports"] == [f"127.0.0.1:{values['port']}:{values['port']}"]
    environment = server["environment"]
    known = {f"MLWAREHOUSE_{setting.name.upper()}" for setting in SETTINGS}
    assert {name for name in environment if name.startswith("MLWAREHOUSE_")} <= known
    bucket = environment["MLWAREHOUSE_URI"].removeprefix("s3://").partition("/")[0]
    assert f"/data/{bucket}" in services["store"]["entrypoint"][-1]
    assert environment["AWS_ENDPOINT_URL"] == "http://store:9000"
    # Nothing secret has a default.
    for name, value in [(n, v) for s in services.values() for n, v in s["environment"].items()]:
        if re.search("PASSWORD|SECRET|USER|KEY", name):
            assert re.fullmatch(r"\$\{\w+:\?.+\}", value), name


def test_what_a_comment_says_to_run_is_a_command_of_ours() -> None:
    lines = re.findall(r"run --rm server (.+)$", COMPOSE.read_text(), re.MULTILINE)
    assert len(lines) == 3
    for line in lines:
        parse(shlex.split(line))


@pytest.mark.skipif(
    shutil.which("docker") is None
    or subprocess.run(["docker", "compose", "version"], capture_output=True, check=False).returncode != 0,
    reason="needs docker compose",
)
def test_compose_takes_the_services() -> None:
    command = ["docker", "compose", "-f", str(COMPOSE), "config", "--quiet"]
    environment = {"STORE_USER": "user", "STORE_PASSWORD": "password", "PATH": "/usr/bin:/bin:/usr/local/bin"}
    subprocess.run(command, env=environment, check=True)
