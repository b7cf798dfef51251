"""The command line's webhooks."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mlwarehouse.cli_options import JsonOption, WarehouseOption
from mlwarehouse.cli_output import note, print_json, print_rows, record
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.warehouse import Warehouse

if TYPE_CHECKING:
    from mlwarehouse.registry.webhooks import Webhook
    from mlwarehouse.registry.webhooks.outbox import Delivery

webhooks_app = typer.Typer(
    no_args_is_help=True,
    help="Webhooks: addresses that are told what happens to registered models.",
    rich_markup_mode=None,
)

NameArgument = Annotated[str, typer.Argument(help="The webhook's name or id.")]
EventOption = Annotated[list[str] | None, typer.Option("--event", "-e", help="What it is told of; may repeat.")]
ModelsOption = Annotated[str | None, typer.Option(help="Only of these registered models; * and ? as in file names.")]
SecretOption = Annotated[
    Path | None,
    typer.Option("--secret-file", metavar="PATH", help="What requests are signed by, in a file; - reads it from here."),
]
PrivateOption = Annotated[
    bool | None,
    typer.Option("--allow-private/--no-allow-private", help="Whether it may be in a private network."),
]
HttpOption = Annotated[bool | None, typer.Option("--allow-http/--no-allow-http", help="Whether it may go without TLS.")]
DescriptionOption = Annotated[str | None, typer.Option(help="What it is for.")]
CommentOption = Annotated[str | None, typer.Option(help="Why.")]


@webhooks_app.command("add")
def webhooks_add(
    name: Annotated[str, typer.Argument(help="Its name.")],
    url: Annotated[str, typer.Argument(help="Where the requests go.")],
    event: EventOption = None,
    models: ModelsOption = None,
    secret_file: SecretOption = None,
    allow_private: PrivateOption = None,
    allow_http: HttpOption = None,
    description: DescriptionOption = None,
    comment: CommentOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Let an address be told what happens to registered models from now on; takes the role admin.

    Example: mlwarehouse webhooks add ci https://ci.example.org/hook -e model_version.created --secret-file ./secret
    """
    made = Warehouse(warehouse).create_webhook(
        name,
        url,
        event or [],
        description,
        _secret(secret_file),
        models=models or "*",
        allow_private=bool(allow_private),
        allow_http=bool(allow_http),
        comment=comment,
    )
    _print_webhook(made, as_json)
    if not made.is_signed:
        note("Its requests aren't signed: receivers can't tell them from anybody else's. Give it a --secret-file.")


@webhooks_app.command("update")
def webhooks_update(
    name: NameArgument,
    url: Annotated[str | None, typer.Option(help="Where the requests go.")] = None,
    event: EventOption = None,
    models: ModelsOption = None,
    secret_file: SecretOption = None,
    allow_private: PrivateOption = None,
    allow_http: HttpOption = None,
    enable: Annotated[
        bool | None, typer.Option("--enable/--disable", help="Whether it is told anything at present.")
    ] = None,
    description: DescriptionOption = None,
    comment: CommentOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Change a webhook; what isn't given stays as it is.

    Example: mlwarehouse webhooks update ci --secret-file ./new-secret
    """
    changed = Warehouse(warehouse).update_webhook(
        name,
        url=url,
        events=event or None,
        models=models,
        secret=_secret(secret_file),
        allow_private=allow_private,
        allow_http=allow_http,
        status=None if enable is None else "ACTIVE" if enable else "DISABLED",
        description=description,
        comment=comment,
    )
    _print_webhook(changed, as_json)


@webhooks_app.command("list")
def webhooks_list(warehouse: WarehouseOption = None, as_json: JsonOption = False) -> None:
    """List the webhooks, with what they couldn't be told.

    Example: mlwarehouse webhooks list
    """
    rows = [record(webhook) for webhook in Warehouse(warehouse).list_webhooks()]
    columns = ["name", "status", "url", "events", "models", "is_signed", "n_failed", "last_failure"]
    print_rows(rows, as_json=as_json, columns=columns)


@webhooks_app.command("test")
def webhooks_test(
    name: NameArgument,
    event: Annotated[str | None, typer.Option("--event", "-e", help="Of which event.")] = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Send an example to a webhook, once; exit status 1 where it isn't taken.

    Example: mlwarehouse webhooks test ci
    """
    result = Warehouse(warehouse).test_webhook(name, event)
    if as_json:
        print_json(record(result))
    else:
        print(f"{name}: {'taken' if result.success else result.error_message}")
    if not result.success:
        raise typer.Exit(1)


@webhooks_app.command("remove")
def webhooks_remove(
    name: NameArgument, comment: CommentOption = None, warehouse: WarehouseOption = None, as_json: JsonOption = False
) -> None:
    """Remove a webhook, with its secret and what it had still to deliver.

    Example: mlwarehouse webhooks remove ci
    """
    Warehouse(warehouse).delete_webhook(name, comment=comment)
    if as_json:
        print_json({"removed": name})
    else:
        print(f"the webhook {name} is removed")


@webhooks_app.command("deliver")
def webhooks_deliver(
    follow: Annotated[bool, typer.Option("--follow", help="Go on, until Ctrl-C.")] = False,
    failed: Annotated[bool, typer.Option("--failed", help="Also try again what was given up.")] = False,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Tell webhooks what has happened; exit status 1 where a delivery was given up. With --json: a line for each.

    Example: mlwarehouse webhooks deliver --follow
    """
    found = Warehouse(warehouse)
    if follow and failed:
        raise InvalidInputError("--failed is for one round; leave --follow out, and start that again behind it.")
    rounds = found.follow_webhooks() if follow else [found.deliver_webhooks(failed=failed)]
    given_up = False
    for done in rounds:
        for delivery in done.deliveries:
            given_up |= delivery.state == "failed"
            _print_delivery(delivery, as_json)
        if not follow and not as_json:
            print(f"{len(done.deliveries)} tried, {done.n_waiting} wait for their time")
        sys.stdout.flush()
    if given_up:
        raise typer.Exit(1)


def _secret(path: Path | None) -> str | None:
    """A secret from a file: in an argument everybody on the machine could read it."""
    if path is None:
        return None
    try:
        return (sys.stdin.read() if str(path) == "-" else path.read_text(encoding="utf-8")).strip()
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"The secret can't be read from `{path}`: {error}") from error


def _print_webhook(webhook: Webhook, as_json: bool) -> None:
    if as_json:
        print_json(record(webhook))
    else:
        print(f"webhook {webhook.name}: {webhook.url}, of {', '.join(webhook.events)} of models {webhook.models}")


def _print_delivery(delivery: Delivery, as_json: bool) -> None:
    if as_json:
        print_json({word: value for word, value in record(delivery).items() if word != "body"})
    else:
        said = f": {delivery.reason}" if delivery.reason else ""
        print(f"{delivery.state} {delivery.event} of {delivery.model}, try {delivery.tries}{said}")
