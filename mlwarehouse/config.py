"""Settings: one visible tuple, each readable from the environment.

The environment name of a setting is ``MLWAREHOUSE_`` and its name in capitals; a value given in code wins over it.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from mlwarehouse.errors import InvalidInputError

ENVIRONMENT_PREFIX = "MLWAREHOUSE_"


@dataclass(frozen=True)
class Setting:
    """One setting.

    Attributes:
        name: Lower-case name; the attribute of `Settings` and, with the prefix, the environment variable.
        default: Its value when nobody says otherwise, as text.
        help: One sentence for the reader of the docs.
        choices: The only values allowed; empty when any text, or any number, is.
    """

    name: str
    default: str
    help: str
    choices: tuple[str, ...] = ()

    @property
    def environment_name(self) -> str:
        """The environment variable that sets it."""
        return ENVIRONMENT_PREFIX + self.name.upper()


SETTINGS: tuple[Setting, ...] = (
    Setting("uri", "./mlwarehouse", "Where the warehouse is: a folder, or s3://bucket/prefix."),
    Setting(
        "artifacts_uri",
        "",
        "Where the bytes of artifacts are: a folder, s3://bucket/prefix, or an address of an installed store; empty "
        "means `artifacts/` inside the warehouse.",
    ),
    Setting(
        "spool_dir",
        "",
        "Local folder for this machine's spools; empty means `_spool/` inside the warehouse folder, or, where that is "
        "in an object store, the user's cache folder.",
    ),
    Setting(
        "durability",
        "interval",
        "When a logged record is forced to disk: `interval` (each second and at run end), `always`, or `os`.",
        ("interval", "always", "os"),
    ),
    Setting(
        "committer",
        "auto",
        "`auto` starts the committing process when there is something to commit; `off` waits for `mlwarehouse sync`.",
        ("auto", "off"),
    ),
    Setting("commit_interval_s", "1.0", "Seconds between two commits of the committer while something is logged."),
    Setting("committer_idle_s", "5.0", "Seconds without a live writer after which the committer ends."),
    Setting(
        "maintenance",
        "auto",
        "`auto` lets the committer merge small files and remove unneeded ones; `off` waits for `mlwarehouse maintain`.",
        ("auto", "off"),
    ),
    Setting("heartbeat_s", "30", "Seconds between two heartbeats of a run; a run is lost after missing two."),
    Setting(
        "run_id",
        "",
        "The run of a process's first `start_run`: a launcher sets it for all processes of a job. MLFLOW_RUN_ID too.",
    ),
    Setting(
        "join_timeout_s", "120", "Seconds that a process waits for the one whose run it joins, before it goes on alone."
    ),
    Setting("actor", "", "The name written beside every change; empty means the login name."),
    Setting("roles", "", "What the actor may act as under the registry's policies, joined by commas."),
    Setting(
        "locked_sql",
        "with-landlock",
        "Whether SQL from strangers is answered: `with-landlock` only where the kernel can shut its workers in, "
        "`without-landlock` also where it can't, with what protection is left.",
        ("with-landlock", "without-landlock"),
    ),
    Setting(
        "webhooks_dir",
        "",
        "Local folder for what webhooks keep to themselves: secrets, and what is still to be delivered. Empty means "
        "`_webhooks/` inside the warehouse folder, or, where that is in an object store, the user's folder of states.",
    ),
    Setting("spark_jars_dir", "", "Folder holding Delta's jars for Spark; empty means the user's cache folder."),
    Setting(
        "capture_code",
        "on",
        "Whether a run records what it runs on: git commit and branch, command line, packages, Python, host, GPUs.",
        ("on", "off"),
    ),
    Setting("capture_diff", "on", "Whether it also keeps what was changed since the commit.", ("on", "off")),
    Setting("capture_packages", "on", "Whether it also keeps the list of installed packages.", ("on", "off")),
    Setting(
        "system_metrics_s", "10", "Seconds between two looks at CPU, memory, disk, network and GPUs; 0 means none."
    ),
)


@dataclass(frozen=True)
class Settings:
    """The settings in force, typed. Build it by `load_settings`."""

    uri: str
    artifacts_uri: str
    spool_dir: str
    durability: str
    committer: str
    commit_interval_s: float
    committer_idle_s: float
    maintenance: str
    heartbeat_s: float
    run_id: str
    join_timeout_s: float
    actor: str
    roles: str
    locked_sql: str
    webhooks_dir: str
    spark_jars_dir: str
    capture_code: bool
    capture_diff: bool
    capture_packages: bool
    system_metrics_s: float


def load_settings(**overrides: str | float | bool) -> Settings:
    """Read the settings from the environment, with some given in code.

    Args:
        **overrides: Values by setting name; they win over the environment.

    Returns:
        The settings, typed.

    Raises:
        InvalidInputError: An unknown name, a value outside the choices, or text where a number is needed.
    """
    known = {s.name: s for s in SETTINGS}
    for name in overrides:
        if name not in known:
            raise InvalidInputError(f"Unknown setting `{name}`; the settings are {', '.join(known)}.")
    values = {name: _text(s, overrides.get(name)) for name, s in known.items()}
    return Settings(
        uri=values["uri"],
        artifacts_uri=values["artifacts_uri"],
        spool_dir=values["spool_dir"],
        durability=values["durability"],
        committer=values["committer"],
        commit_interval_s=_number(known["commit_interval_s"], values["commit_interval_s"]),
        committer_idle_s=_number(known["committer_idle_s"], values["committer_idle_s"]),
        maintenance=values["maintenance"],
        heartbeat_s=_number(known["heartbeat_s"], values["heartbeat_s"]),
        run_id=values["run_id"],
        join_timeout_s=_number(known["join_timeout_s"], values["join_timeout_s"]),
        actor=values["actor"],
        roles=values["roles"],
        locked_sql=values["locked_sql"],
        webhooks_dir=values["webhooks_dir"],
        spark_jars_dir=values["spark_jars_dir"],
        capture_code=values["capture_code"] == "on",
        capture_diff=values["capture_diff"] == "on",
        capture_packages=values["capture_packages"] == "on",
        system_metrics_s=_number(known["system_metrics_s"], values["system_metrics_s"]),
    )


def cache_dir() -> Path:
    """The user's cache folder for things that can be fetched or made again (``XDG_CACHE_HOME`` is honoured)."""
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "mlwarehouse"


def state_dir() -> Path:
    """The user's folder for what can't be fetched or made again (``XDG_STATE_HOME`` is honoured)."""
    base = os.environ.get("XDG_STATE_HOME")
    return (Path(base) if base else Path.home() / ".local" / "state") / "mlwarehouse"


def _text(setting: Setting, given: str | float | bool | None) -> str:
    if given is None:
        value = os.environ.get(setting.environment_name, setting.default)
    elif isinstance(given, bool):
        value = "on" if given else "off"
    else:
        value = str(given)
    if setting.choices and value not in setting.choices:
        raise InvalidInputError(
            f"Setting `{setting.name}` ({setting.environment_name}) is `{value}`; it must be one of "
            f"{', '.join(setting.choices)}."
        )
    return value


def _number(setting: Setting, value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise InvalidInputError(
            f"Setting `{setting.name}` ({setting.environment_name}) is `{value}`; it must be a number."
        ) from None
