"""The commands about who may do what on a server."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

import typer

from mlwarehouse.cli_options import JsonOption, WarehouseOption
from mlwarehouse.cli_output import note, print_json, print_rows, record
from mlwarehouse.errors import InvalidInputError, NotFoundError
from mlwarehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from mlwarehouse.access.state import Token

users_app = typer.Typer(no_args_is_help=True, help="Users of a server, and what they may do.", rich_markup_mode=None)
tokens_app = typer.Typer(no_args_is_help=True, help="Tokens by which programs log in.", rich_markup_mode=None)

UserArgument = Annotated[str, typer.Argument(help="The user.")]
PrincipalArgument = Annotated[str, typer.Argument(metavar="USER", help="The user, or group:NAME for all of a group.")]
RoleArgument = Annotated[
    str, typer.Argument(help="reader, writer, approver or admin; or a role that policies of the registry name.")
]
ExperimentOption = Annotated[
    str | None, typer.Option("--experiment", "-e", help="Only on this experiment: its name or id.")
]
ModelOption = Annotated[
    str | None, typer.Option("--model", "-m", help="Only on registered models of this name; * and ? as in file names.")
]
CommentOption = Annotated[str | None, typer.Option(help="Why.")]


@users_app.command("add")
def users_add(
    user: UserArgument,
    role: Annotated[str | None, typer.Option(help="What they may act as, on everything.")] = None,
    comment: CommentOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let there be a user: a program, or a person by the name that a log-in gives them.

    Example: mlwarehouse users add ada --role reader
    """
    access = Warehouse(warehouse).access
    access.add_user(user, comment)
    if role is not None:
        access.grant(role, user, comment=comment)
    _say(as_json, {"user": user, "role": role}, f"user {user}" + (f", {role} on everything" if role else ""))


@users_app.command("list")
def users_list(warehouse: WarehouseOption = None, as_json: JsonOption = False) -> None:
    """List users and groups, each with a row for every role.

    Example: mlwarehouse users list
    """
    state = Warehouse(warehouse).access.state()
    rows = [
        {"user": name, "role": right.role, "on": right.object}
        for name in sorted(state.rights)
        for right in sorted(state.rights[name], key=lambda r: (r.object, r.role))
    ]
    without = [{"user": n, "role": None, "on": None} for n in sorted(state.users - state.rights.keys())]
    print_rows([*rows, *without], as_json=as_json, columns=["user", "role", "on"])


@users_app.command("remove")
def users_remove(
    user: UserArgument, comment: CommentOption = None, warehouse: WarehouseOption = None, as_json: JsonOption = False
) -> None:
    """Take a user away, with their roles; their tokens end.

    Example: mlwarehouse users remove ada
    """
    Warehouse(warehouse).access.remove_user(user, comment)
    _say(as_json, {"removed": user}, f"the user {user} is removed")


@tokens_app.command("create")
def tokens_create(
    user: UserArgument,
    name: Annotated[str, typer.Argument(help="What the token is called, such as the machine that has it.")],
    role: Annotated[str | None, typer.Option(help="The most that it may do; else all that its user may.")] = None,
    days: Annotated[float, typer.Option(help="How many days it holds; 0 for ever.")] = 90,
    comment: CommentOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a token for a user. It is shown this once: the warehouse keeps only a hash of it.

    Example: mlwarehouse tokens create ci build-machine --role writer --days 30
    """
    text, made = Warehouse(warehouse).access.create_token(
        user, name, role=role, days=None if days == 0 else days, comment=comment
    )
    if as_json:
        print_json({"token": text, **_told(made)})
    else:
        print(text)
        note(
            f"token {made.token_id} of {user}, {_until(made)}. It isn't shown again; give it to MLflow's clients by "
            "MLFLOW_TRACKING_TOKEN."
        )


@tokens_app.command("list")
def tokens_list(
    everything: Annotated[bool, typer.Option("--all", help="Also those that don't hold any more.")] = False,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List tokens, of which nobody can tell the text.

    Example: mlwarehouse tokens list
    """
    access = Warehouse(warehouse).access
    now = access.now()
    found = [t for t in access.state().tokens.values() if everything or t.holds(now)]
    columns = ["token_id", "user", "name", "role", "created_at", "expires_at", "revoked_at"]
    print_rows([_told(token) for token in found], as_json=as_json, columns=columns)


@tokens_app.command("revoke")
def tokens_revoke(
    token_id: Annotated[str, typer.Argument(help="The token's id, which is the middle of its text.")],
    comment: CommentOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """End a token, on every server within a second.

    Example: mlwarehouse tokens revoke 0123456789ab
    """
    ended = Warehouse(warehouse).access.revoke_token(token_id, comment)
    _say(as_json, _told(ended), f"the token {token_id} of {ended.user} is revoked")


def grant(
    role: RoleArgument,
    user: PrincipalArgument,
    experiment: ExperimentOption = None,
    model: ModelOption = None,
    comment: CommentOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let somebody act as something on a server: on everything, an experiment, or registered models.

    Example: mlwarehouse grant writer ada --experiment sentiment
    """
    found = Warehouse(warehouse)
    on = _object(found, experiment, model)
    found.access.grant(role, user, on, comment)
    _say(as_json, {"user": user, "role": role, "on": on}, f"{user} is {role} on {_said(on)}")


def revoke(
    role: RoleArgument,
    user: PrincipalArgument,
    experiment: ExperimentOption = None,
    model: ModelOption = None,
    comment: CommentOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take back what `grant` gave.

    Example: mlwarehouse revoke writer ada --experiment sentiment
    """
    found = Warehouse(warehouse)
    on = _object(found, experiment, model)
    found.access.revoke(role, user, on, comment)
    _say(as_json, {"user": user, "role": role, "on": on}, f"{user} isn't {role} on {_said(on)} any more")


def _object(warehouse: Warehouse, experiment: str | None, model: str | None) -> str:
    if experiment is not None and model is not None:
        raise InvalidInputError("A role is for an experiment or for a model; grant two.")
    if model is not None:
        return f"models/{model}"
    if experiment is None:
        return "*"
    from mlwarehouse.query import resolve_experiments

    engine, reading = warehouse.engine(), warehouse.reading()
    try:
        found = resolve_experiments(engine, reading, experiment_ids=None, experiment_names=[experiment])
    except NotFoundError:
        if not experiment.isdecimal():
            raise
        found = resolve_experiments(engine, reading, experiment_ids=[experiment], experiment_names=None)
    return f"experiments/{next(iter(found or ()))}"


def _told(token: Token) -> dict[str, Any]:
    return {name: value for name, value in record(token).items() if name != "token_hash"}


def _until(token: Token) -> str:
    return "for ever" if token.expires_at is None else f"until {token.expires_at:%Y-%m-%d}"


def _said(on: str) -> str:
    return "everything" if on == "*" else on


def _say(as_json: bool, told: dict[str, Any], said: str) -> None:
    if as_json:
        print_json(told)
    else:
        print(said)
