"""The command line's registered models."""

from __future__ import annotations

import enum
from typing import Annotated, Any

import typer

from mlwarehouse.cli_model_changes import COMMANDS as CHANGES
from mlwarehouse.cli_options import AsOfOption, AtOption, JsonOption, WarehouseOption
from mlwarehouse.cli_output import print_json, print_rows, record
from mlwarehouse.entities import TransitionRequest
from mlwarehouse.warehouse import Warehouse


class Decision(enum.StrEnum):
    """What can become of a request."""

    approve = "approve"
    reject = "reject"
    cancel = "cancel"


models_app = typer.Typer(
    no_args_is_help=True,
    help="Registered models: list, search, history, register, alias, stage, rename, ...; requests, gates, policies.",
    rich_markup_mode=None,
)


@models_app.command("list")
def models_list(
    warehouse: WarehouseOption = None, as_of: AsOfOption = None, at: AtOption = None, as_json: JsonOption = False
) -> None:
    """List the versions of all registered models.

    Example: mlwarehouse models list
    """
    found = Warehouse(warehouse)
    table = found.sql(
        "SELECT v.name, v.version, v.stage, a.aliases, v.run_id, v.user_id, v.created_at, v.description "
        "FROM model_versions AS v LEFT JOIN (SELECT name, version, string_agg(alias, ', ') AS aliases "
        "FROM model_aliases GROUP BY name, version) AS a ON a.name = v.name AND a.version = v.version "
        "ORDER BY v.name, v.version DESC",
        output_format="arrow",
        as_of=as_of,
        at=at,
    )
    print_rows(table.to_pylist(), as_json=as_json, columns=table.column_names)


@models_app.command("history")
def models_history(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    warehouse: WarehouseOption = None,
    as_of: AsOfOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell everything that happened to a registered model, oldest first.

    Example: mlwarehouse models history sentiment
    """
    found = Warehouse(warehouse)
    found.model_history(name, as_of=as_of, at=at)
    table = found.sql(
        "SELECT seq, event_at, kind, version, alias, stage, key, value, actor, comment FROM registry_events "
        "WHERE model_name = $name ORDER BY seq",
        parameters={"name": name},
        output_format="arrow",
        as_of=as_of,
        at=at,
    )
    print_rows(table.to_pylist(), as_json=as_json, columns=table.column_names)


@models_app.command("diff")
def models_diff(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    since: Annotated[str, typer.Option(help="The earlier moment, such as 2026-11-01 or 2026-11-01T09:30.")],
    until: Annotated[str | None, typer.Option(help="The later one; now by default.")] = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell what is different about a registered model between two moments.

    Example: mlwarehouse models diff sentiment --since 2026-11-01
    """
    found = Warehouse(warehouse).model_differences(name, since, until)
    columns = ["what", "version", "key", "before", "after"]
    print_rows([record(difference) for difference in found], as_json=as_json, columns=columns)


@models_app.command("register")
def models_register(
    model_uri: Annotated[str, typer.Argument(help="The logged model, runs:/<run_id>/<path>.")],
    name: Annotated[str, typer.Argument(help="The registered model.")],
    parent: Annotated[
        str | None, typer.Option(help="The version that it was made from, such as models:/sentiment/2.")
    ] = None,
    comment: Annotated[str | None, typer.Option(help="Why.")] = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Make a logged model the next version of a registered model.

    Example: mlwarehouse models register runs:/<run_id>/model sentiment
    """
    version = Warehouse(warehouse).register_model(model_uri, name, parent=parent, comment=comment)
    _print_version(version, as_json)


@models_app.command("alias")
def models_alias(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    alias: Annotated[str, typer.Argument(help="The alias.")],
    version: Annotated[int, typer.Argument(help="The version it shall point at.")],
    comment: Annotated[str | None, typer.Option(help="Why.")] = None,
    warehouse: WarehouseOption = None,
) -> None:
    """Point an alias at a version.

    Example: mlwarehouse models alias sentiment champion 3
    """
    Warehouse(warehouse).set_model_alias(name, alias, version, comment=comment)
    print(f"models:/{name}@{alias} is version {version}")


@models_app.command("stage")
def models_stage(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    version: Annotated[int, typer.Argument(help="The version.")],
    stage: Annotated[str, typer.Argument(help="Development, Staging, Production, Archived or None.")],
    comment: Annotated[str | None, typer.Option(help="Why.")] = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Move a version to a stage.

    Example: mlwarehouse models stage sentiment 3 Production
    """
    moved = Warehouse(warehouse).transition_model_version_stage(name, version, stage, comment=comment)
    _print_version(moved, as_json)


@models_app.command("requests")
def models_requests(
    name: Annotated[str | None, typer.Argument(help="Only of this registered model.")] = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """List the requests to move versions that wait for a decision.

    Example: mlwarehouse models requests
    """
    table = Warehouse(warehouse).sql(
        "SELECT name, request_id, version, stage, alias, user_id, requested_at, comment FROM transition_requests "
        "WHERE status = 'open' AND COALESCE(name = $name, TRUE) ORDER BY requested_at",
        parameters={"name": name},
        output_format="arrow",
    )
    print_rows(table.to_pylist(), as_json=as_json, columns=table.column_names)


@models_app.command("request")
def models_request(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    version: Annotated[int, typer.Argument(help="The version.")],
    stage: Annotated[str | None, typer.Option(help="The stage it shall come to.")] = None,
    alias: Annotated[str | None, typer.Option(help="Or the alias.")] = None,
    comment: Annotated[str | None, typer.Option(help="Why.")] = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Request that a version is moved to a stage or alias, for somebody who may to decide.

    Example: mlwarehouse models request sentiment 3 --stage Production --comment "better on every subset"
    """
    registry = Warehouse(warehouse).registry
    _print_request(registry.request_transition(name, version, stage=stage, alias=alias, comment=comment), as_json)


@models_app.command("decide")
def models_decide(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    request_id: Annotated[int, typer.Argument(help="The request, as `requests` lists it.")],
    decision: Annotated[Decision, typer.Argument(help="What becomes of it.")],
    comment: Annotated[str | None, typer.Option(help="Why.")] = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Decide on a request: approve moves the version, reject leaves it, cancel takes your own request back.

    Example: mlwarehouse models decide sentiment 7 approve --comment "agreed on Monday"
    """
    registry = Warehouse(warehouse).registry
    act = {
        Decision.approve: registry.approve_request,
        Decision.reject: registry.reject_request,
        Decision.cancel: registry.cancel_request,
    }[decision]
    _print_request(act(name, request_id, comment), as_json)


@models_app.command("gate")
def models_gate(
    name: Annotated[str, typer.Argument(help="The registered model.")],
    version: Annotated[int, typer.Argument(help="The version.")],
    gate: Annotated[str, typer.Argument(help="The check, as a policy names it.")],
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run a check that a policy wants, and record what came of it; fails where the version does.

    Example: mlwarehouse models gate sentiment 3 "beats the champion"
    """
    result = Warehouse(warehouse).registry.run_gate(name, version, gate)
    if as_json:
        print_json(record(result))
    else:
        print(f"{result.gate}: {'passed' if result.passed else 'failed'} {result.detail or ''}".rstrip())
    if not result.passed:
        raise typer.Exit(1)


@models_app.command("policies")
def models_policies(warehouse: WarehouseOption = None, as_json: JsonOption = False) -> None:
    """List the policies: who may move which models' versions where.

    Example: mlwarehouse models policies
    """
    table = Warehouse(warehouse).sql(
        "SELECT policy, rule, user_id, set_at, comment FROM registry_policies ORDER BY policy", output_format="arrow"
    )
    print_rows(table.to_pylist(), as_json=as_json, columns=table.column_names)


for _name, _command in CHANGES.items():
    models_app.command(_name)(_command)


def _print_request(request: TransitionRequest, as_json: bool) -> None:
    if as_json:
        print_json(record(request))
        return
    target = f"stage {request.stage}" if request.alias is None else f"alias {request.alias}"
    print(f"request {request.request_id}: {request.name}/{request.version} to {target}, {request.status}")


def _print_version(version: Any, as_json: bool) -> None:
    if as_json:
        print_json(record(version))
    else:
        print(f"{version.uri}: stage {version.current_stage}, from run {version.run_id}")
