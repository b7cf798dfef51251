"""Every failure that the package raises on purpose.

The tree::

    WarehouseError
    ├── InvalidInputError            the caller passed something that can't be meant
    │   ├── FilterError              a filter or order that can't be understood
    │   ├── SqlError                 a SQL question that an engine refused
    │   │   └── SqlLimitError        one that took more time, memory or room than it may
    │   ├── CastError                data that doesn't fit a table's declared types without loss
    │   └── SignatureError           a model's input doesn't fit its signature
    ├── NotFoundError                a run, experiment, model, version, artifact or column isn't there
    │   └── WarehouseNotFoundError   no warehouse at the given place
    ├── ConflictError                the request contradicts what is recorded
    │   ├── ParamConflictError       a param set twice with another value
    │   ├── RunFinishedError         logging to a run that has ended
    │   └── ConcurrentChangeError    somebody else's change came first
    ├── PermissionDeniedError        the actor may not do this
    │   └── GateNotPassedError       a check that a policy wants hasn't passed
    ├── StorageError                 reading or writing the tables failed
    │   ├── NotAWarehouseError       a folder that holds something else
    │   ├── StoreRefusedError        the artifact store takes no file: full, read-only, failing or away
    │   ├── UnsupportedTableError    a table with features or a schema this version must not touch
    │   ├── FoldsGoneError           kept folds were dropped while a question was answered from them
    │   └── SnapshotGoneError        the past that a snapshot or cursor names can't be read any more
    ├── ModelError                   a model package that can't be written or read
    │   ├── DigestMismatchError      a file's bytes aren't those that were logged
    │   └── PickleRefusedError       reading it would run a pickle, and nobody allowed that
    ├── QueryCancelledError          a question was ended before it was answered
    ├── MissingDependencyError       an optional library, or Java, isn't installed
    └── SandboxUnavailableError      the machine can't shut in what strangers ask for

A message is one sentence that says what was asked, what was found, and what to do.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from contextlib import contextmanager


class WarehouseError(Exception):
    """Base of all errors of this package.

    Attributes:
        code: Stable machine-readable name, in the vocabulary of MLflow's REST API where that has a word for it.
        http_status: The status a server answers with.
    """

    code = "INTERNAL_ERROR"
    http_status = 500


class InvalidInputError(WarehouseError):
    """The caller passed something that can't be meant; the message says what would be right."""

    code = "INVALID_PARAMETER_VALUE"
    http_status = 400


class FilterError(InvalidInputError):
    """A filter or order-by expression that can't be understood."""


class SqlError(InvalidInputError):
    """A SQL question that couldn't be parsed or that the engine refused."""


class SqlLimitError(SqlError):
    """A SQL question that took more time, memory or room for its answer than it may, and was ended."""

    code = "RESOURCE_EXHAUSTED"
    http_status = 429


class CastError(InvalidInputError):
    """Data that doesn't fit a table's declared types without loss."""


class SignatureError(InvalidInputError):
    """Columns or types that don't fit a model's signature."""


class NotFoundError(WarehouseError):
    """A run, experiment, model, version, alias, artifact or column that isn't there."""

    code = "RESOURCE_DOES_NOT_EXIST"
    http_status = 404


class WarehouseNotFoundError(NotFoundError):
    """No warehouse at the given place."""


class ConflictError(WarehouseError):
    """The request contradicts what is recorded."""

    code = "RESOURCE_ALREADY_EXISTS"
    http_status = 409


class ParamConflictError(ConflictError):
    """A param was set twice with different values; params are written once."""

    code = "INVALID_PARAMETER_VALUE"
    http_status = 400


class RunFinishedError(ConflictError):
    """Something was logged to a run that has ended; resume it by ``start_run(run_id=...)``."""

    code = "INVALID_STATE"
    http_status = 400


class ConcurrentChangeError(ConflictError):
    """Another writer's change to the same thing was recorded first; nothing of this one was."""

    code = "RESOURCE_CONFLICT"


class PermissionDeniedError(WarehouseError):
    """The actor may not do this; the message says who may."""

    code = "PERMISSION_DENIED"
    http_status = 403


class GateNotPassedError(PermissionDeniedError):
    """A check that a policy wants before a model version is moved hasn't passed, or wasn't run."""

    code = "INVALID_STATE"
    http_status = 400


class StorageError(WarehouseError):
    """Reading or writing the warehouse's tables failed below this package."""


class NotAWarehouseError(StorageError):
    """The folder exists and holds something that isn't a warehouse."""

    http_status = 400


class StoreRefusedError(StorageError):
    """The artifact store takes no file: it is full, read-only, failing or away. The file itself is fine."""


class UnsupportedTableError(StorageError):
    """A table whose Delta features or schema version this release must not read or write."""

    http_status = 400


class SnapshotGoneError(StorageError):
    """The table versions that a snapshot or a cursor names can't be read any more, or aren't those that it named."""

    code = "RESOURCE_DOES_NOT_EXIST"
    http_status = 410


class FoldsGoneError(StorageError):
    """Kept folds were dropped, as by a purge, while a question was answered from them; asked again it is answered."""


class ModelError(WarehouseError):
    """A model package that can't be written or read."""

    code = "INVALID_PARAMETER_VALUE"
    http_status = 400


class DigestMismatchError(ModelError):
    """A file's bytes aren't the bytes that were logged."""


class PickleRefusedError(ModelError):
    """Reading the model would run a pickle, and the caller hasn't allowed that for this model."""


class QueryCancelledError(WarehouseError):
    """A question was ended before it was answered: by its time limit, or by a cancel."""

    code = "CANCELLED"
    http_status = 408


class MissingDependencyError(WarehouseError):
    """An optional library, or Java, isn't installed; the message says how to get it."""


class SandboxUnavailableError(WarehouseError):
    """The machine lacks what shuts in a process that runs strangers' SQL; the message says what, and what to set."""

    http_status = 501


@contextmanager
def within_depth(error: type[WarehouseError], message: str) -> Iterator[None]:
    """Refuse what is nested too deeply to be worked through, in place of Python's own error; also a decorator.

    Args:
        error: What to raise.
        message: What it says.
    """
    try:
        yield
    except RecursionError:
        raise error(message) from None


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """A suggestion to append to an error message.

    Args:
        word: What the caller wrote.
        known: The words that would have been right.

    Returns:
        ``" Did you mean `x`?"`` with up to three close matches, or an empty string when nothing is close.
    """
    close = difflib.get_close_matches(word, list(known), n=3, cutoff=0.6)
    return f" Did you mean {' or '.join(f'`{c}`' for c in close)}?" if close else ""
