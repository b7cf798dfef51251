"""Ids that a logging process gives without asking anybody."""

from __future__ import annotations

import getpass
import hashlib
import secrets

DEFAULT_EXPERIMENT = "Default"
DEFAULT_EXPERIMENT_ID = "0"
"""MLflow's name and id of the experiment that runs go to when none was named."""


def experiment_id_of(name: str, tries: int = 0) -> str:
    """The id proposed for a new experiment.

    It is derived from the name, so processes and machines that create the same name at the same time create the same
    experiment. It looks like MLflow's own: 18 decimal digits.

    Args:
        name: The experiment's name.
        tries: Counts the proposals that turned out to belong to an experiment renamed since.
    """
    if name == DEFAULT_EXPERIMENT and not tries:
        return DEFAULT_EXPERIMENT_ID
    digest = hashlib.sha256(f"{name}\0{tries}".encode()).digest()
    return str(10**17 + int.from_bytes(digest[:8], "big") % (9 * 10**17))


def new_run_id() -> str:
    """A new run id: 32 hexadecimal digits."""
    return secrets.token_hex(16)


def login_name() -> str:
    """The name of the user who runs this process."""
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "unknown"


_ADJECTIVES = (
    "amber bold brisk calm clear clever coral crisp deft eager fair fleet gentle glad golden grand hardy jolly keen "
    "kind light lively lucid mellow merry neat nimble noble open plain proud quick quiet rapid ready rosy sharp silver "
    "sleek smart snug solid spry still stout sunny swift tidy true vivid warm wise witty zesty"
).split()
_NOUNS = (
    "aspen badger beech birch bison brook cedar cliff cove crane creek curlew delta dune eagle elm falcon fern finch "
    "fjord fox gorge grove gull hare hawk heron hill island ivy jay kite lagoon lake lark lynx maple marsh meadow moor "
    "oak orca otter owl peak pine plover quail raven reef ridge river robin seal sparrow stork swan tern thrush vale "
    "willow wren yew"
).split()


def new_run_name() -> str:
    """A name for a run whose caller gave none, such as ``brisk-heron-417``."""
    return f"{secrets.choice(_ADJECTIVES)}-{secrets.choice(_NOUNS)}-{secrets.randbelow(900) + 100}"
