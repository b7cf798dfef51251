"""The command line's registered models: names, deletions, descriptions, tags, comments, searches, and many at once."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Annotated, Any

import typer

from mlwarehouse.cli_options import AsOfOption, AtOption, JsonOption, WarehouseOption
from mlwarehouse.cli_output import note, print_json, print_rows, record
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.warehouse import Warehouse

NameArgument = Annotated[str, typer.Argument(help="The registered model.")]
VersionOption = Annotated[int | None, typer.Option("--version", "-v", help="Only this version of it.")]
CommentOption = Annotated[str | None, typer.Option(help="Why.")]


def rename(
    name: NameArgument,
    new_name: Annotated[str, typer.Argument(help="Its name from now on.")],
    comment: CommentOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Give a registered model another name, with all that it has been through.

    Example: mlwarehouse models rename mood sentiment --comment "as the team calls it"
    """
    renamed = Warehouse(warehouse).registry.rename_registered_model(name, new_name, comment)
    _print(record(renamed), f"{name} is {renamed.name} from now on", as_json)


def delete(
    name: NameArgument,
    version: VersionOption = None,
    comment: CommentOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Delete a registered model, or one of its versions; `restore` takes it back.

    Example: mlwarehouse models delete sentiment --version 3
    """
    registry = Warehouse(warehouse).registry
    if version is None:
        registry.delete_registered_model(name, comment)
    else:
        registry.delete_model_version(name, version, comment)
    _print({"name": name, "version": version}, f"{_said(name, version)} is deleted", as_json)


def restore(
    name: NameArgument,
    version: VersionOption = None,
    comment: CommentOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take the deletion of a registered model, or of one of its versions, back.

    Example: mlwarehouse models restore sentiment --version 3
    """
    registry = Warehouse(warehouse).registry
    restored: Any = (
        registry.restore_registered_model(name, comment)
        if version is None
        else registry.restore_model_version(name, version, comment)
    )
    _print(record(restored), f"{_said(name, version)} is back", as_json)


def describe(
    name: NameArgument,
    text: Annotated[str, typer.Argument(help="Markdown; - reads it from here, and an empty one takes it away.")],
    version: VersionOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Describe a registered model, or one of its versions, anew.

    Example: mlwarehouse models describe sentiment "Tells a text's *mood*."
    """
    registry = Warehouse(warehouse).registry
    given = _read(text) or None
    described: Any = (
        registry.update_registered_model(name, given)
        if version is None
        else registry.update_model_version(name, version, given)
    )
    _print(record(described), f"{_said(name, version)} is described", as_json)


def tag(
    name: NameArgument,
    key: Annotated[str, typer.Argument(help="The tag's key.")],
    value: Annotated[str | None, typer.Argument(help="Its value; without one the tag is removed.")] = None,
    version: VersionOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Set or remove a tag of a registered model, or of one of its versions.

    Example: mlwarehouse models tag sentiment checked yes --version 3
    """
    registry = Warehouse(warehouse).registry
    if version is None:
        registry.set_registered_model_tag(name, key, value)
    else:
        registry.set_model_version_tag(name, version, key, value)
    done = {"name": name, "version": version, "key": key, "value": value}
    _print(done, f"tag {key} of {_said(name, version)} is {'removed' if value is None else value}", as_json)


def comment(
    name: NameArgument,
    text: Annotated[str | None, typer.Argument(help="What to say, in Markdown; - reads it from here.")] = None,
    version: VersionOption = None,
    edit: Annotated[int | None, typer.Option("--edit", metavar="ID", help="Your comment to say otherwise.")] = None,
    delete: Annotated[int | None, typer.Option("--delete", metavar="ID", help="Your comment to delete.")] = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Comment on a registered model, or on one of its versions; without a text, list the comments.

    Example: mlwarehouse models comment sentiment "Slower than version 1?" --version 2
    """
    registry = Warehouse(warehouse).registry
    if delete is not None:
        if text is not None or edit is not None:
            raise InvalidInputError("--delete takes a comment away; leave the text and --edit out.")
        registry.delete_comment(name, delete)
        _print({"deleted": delete}, f"comment {delete} on {name} is deleted", as_json)
    elif text is None:
        if edit is not None:
            raise InvalidInputError("--edit needs a text: what the comment shall say.")
        rows = [record(found) for found in registry.comments(name, version)]
        print_rows(rows, as_json=as_json, columns=["comment_id", "version", "user_id", "text"])
    else:
        said = registry.add_comment(name, _read(text), version) if edit is None else None
        found = said or registry.edit_comment(name, edit or 0, _read(text))
        _print(record(found), f"comment {found.comment_id} on {_said(name, found.version)}", as_json)


def search(
    filter_string: Annotated[str, typer.Argument(help="A filter, as for search_model_versions; empty for all.")] = "",
    models: Annotated[bool, typer.Option("--models", help="Of models, and not of their versions.")] = False,
    order_by: Annotated[list[str] | None, typer.Option("--order-by", "-o", help="An order; may repeat.")] = None,
    limit: Annotated[int, typer.Option("--limit", "-n", min=1, help="The most to print.")] = 100,
    page_token: Annotated[str | None, typer.Option("--page", help="`token` of the page before.")] = None,
    warehouse: WarehouseOption = None,
    as_of: AsOfOption = None,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Find versions of registered models, or models; with --json also the token of the next page.

    Example: mlwarehouse models search "stage = 'Production' AND tags.team = 'nlp'"
    """
    found = Warehouse(warehouse)
    asked: dict[str, Any] = {
        "order_by": order_by or None,
        "max_results": limit,
        "page_token": page_token,
        "as_of": as_of,
        "at": at,
    }
    page: Any = (
        found.search_registered_models(filter_string, **asked)
        if models
        else found.search_model_versions(filter_string, **asked)
    )
    rows = [record(entry) for entry in page]
    if as_json:
        print_json({"token": page.token, "entries": rows})
        return
    shown = ["name", "description", "tags", "aliases"] if models else ["name", "version", "current_stage", "aliases"]
    print_rows(rows, as_json=False, columns=shown if models else [*shown, "tags", "run_id"])
    if page.token is not None:
        note(f"There are more: --limit {10 * limit}, or --page {page.token}")


def bulk(
    table: Annotated[Path, typer.Argument(help="A Parquet or CSV file of versions, see the docs for its columns.")],
    source_id: Annotated[str, typer.Option("--source-id", help="Names these versions: they are registered once.")],
    comment: CommentOption = None,
    warehouse: WarehouseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Register many versions of many models, all or none, and once by their source id.

    Example: mlwarehouse models bulk devices.parquet --source-id devices-2026-11
    """
    versions = _table(table)
    note(f"registering {versions.num_rows} versions from {table}")
    done = Warehouse(warehouse).registry.bulk_register(versions, source_id=source_id, comment=comment)
    was = "" if done.is_new else f"; {source_id} was registered before"
    _print(record(done), f"{done.n_versions} versions of {done.n_models} models registered{was}", as_json)


def _table(path: Path) -> Any:
    import pyarrow as pa
    from pyarrow import csv, parquet

    try:
        if path.suffix == ".csv":
            with csv.open_csv(path) as reader:
                names = reader.schema.names
            texts = csv.ConvertOptions(
                column_types=dict.fromkeys(names, pa.string()), null_values=[""], strings_can_be_null=True
            )
            return csv.read_csv(path, convert_options=texts)
        return parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise InvalidInputError(f"Versions can't be read from `{path}`: {error}") from error


def _read(text: str) -> str:
    return sys.stdin.read().strip() if text == "-" else text


def _said(name: str, version: int | None) -> str:
    return f"models:/{name}" if version is None else f"models:/{name}/{version}"


def _print(done: Mapping[str, Any], text: str, as_json: bool) -> None:
    if as_json:
        print_json(done)
    else:
        print(text)


COMMANDS: Mapping[str, Callable[..., None]] = MappingProxyType(
    {
        "search": search,
        "rename": rename,
        "delete": delete,
        "restore": restore,
        "describe": describe,
        "tag": tag,
        "comment": comment,
        "bulk": bulk,
    }
)
"""The commands of this module by name, in the order of the help."""
