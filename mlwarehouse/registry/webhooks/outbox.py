"""What is still to be delivered, on this machine's disk: a file of SQLite's that only its owner can read.

It holds the cursor into the change feed, each delivery with its tries, and the webhooks' secrets. The cursor moves on
once all deliveries of its page are in, so a process that is killed leaves nothing out; and as a delivery's id is worked
out of the event, what is put in a second time is there already.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

from mlwarehouse.disk import is_locked
from mlwarehouse.errors import StorageError

FILE = "outbox.sqlite"

LOCK = "deliverer.lock"
"""The file beside it whose lock the one holds who delivers."""

KEPT_S = 14 * 24 * 3600.0
"""How long what was delivered, or given up, is remembered: longer than a cursor can be used."""

LEFT_ALONE_S = 24 * 3600.0
"""So long after the cursor was last moved somebody should deliver again: it can be used for a week."""

WAITING, DELIVERED, FAILED = "waiting", "delivered", "failed"

_BUSY_S = 30.0

_SCHEMA = """
CREATE TABLE IF NOT EXISTS place (name TEXT PRIMARY KEY, value TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS secrets (webhook_id TEXT PRIMARY KEY, secret TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS deliveries (
    delivery_id TEXT PRIMARY KEY,
    webhook_id TEXT NOT NULL,
    event TEXT NOT NULL,
    model TEXT NOT NULL,
    body BLOB NOT NULL,
    state TEXT NOT NULL,
    tries INTEGER NOT NULL,
    next_at REAL NOT NULL,
    changed_at REAL NOT NULL,
    reason TEXT NOT NULL,
    is_told INTEGER NOT NULL
);
CREATE INDEX IF NOT EXISTS by_webhook ON deliveries (webhook_id, state, next_at);
"""


@dataclass(frozen=True)
class Delivery:
    """One event for one webhook.

    Attributes:
        delivery_id: Its id, the same each time that it is tried: by it a receiver tells repeats.
        webhook_id: The webhook.
        event: The event's name.
        model: The registered model.
        body: What is sent.
        tries: How often it was tried.
        state: ``waiting``, ``delivered``, or ``failed`` when it isn't tried any more.
        reason: What went wrong last; empty where nothing did.
    """

    delivery_id: str
    webhook_id: str
    event: str
    model: str
    body: bytes
    tries: int = 0
    state: str = WAITING
    reason: str = ""


@dataclass(frozen=True)
class Place:
    """How far the change feed was gone through.

    Attributes:
        cursor: Behind which to go on.
        taken_at: When that was the present, seconds since the epoch.
        webhook_ids: The webhooks that there were then.
    """

    cursor: str
    taken_at: float
    webhook_ids: frozenset[str]


@dataclass(frozen=True)
class Unsent:
    """What about an outbox needs attention.

    Attributes:
        n_failed: Deliveries that were given up.
        reason: Why the last of those was.
        is_left_alone: Whether there are webhooks, and no process has delivered for a day.
    """

    n_failed: int = 0
    reason: str = ""
    is_left_alone: bool = False


def look(folder: Path) -> Unsent:
    """Look into an outbox without making one; somebody else's is theirs to look at.

    Raises:
        StorageError: It can't be read.
    """
    try:
        if not (folder / FILE).exists() or not os.access(folder / FILE, os.R_OK | os.W_OK):
            return Unsent()
    except PermissionError:
        return Unsent()
    with closing(Outbox(folder)) as outbox:
        n_failed = sum(n for (_, state), n in outbox.counts().items() if state == FAILED)
        place = outbox.place()
        is_old = place is not None and bool(place.webhook_ids) and time.time() - place.taken_at > LEFT_ALONE_S
        return Unsent(n_failed, outbox.last_failure(), is_old and not is_locked(folder / LOCK))


_COLUMNS = "delivery_id, webhook_id, event, model, body, tries, state, reason"


class Outbox:
    """The file. Threads may share it, and other processes may open it too."""

    def __init__(self, folder: Path) -> None:
        """Open it, or make it.

        Raises:
            StorageError: It can't be, or it is damaged.
        """
        self.path = folder / FILE
        self._lock = threading.Lock()
        try:
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            # SQLite gives its other files the rights of this one.
            os.close(os.open(self.path, os.O_RDWR | os.O_CREAT, 0o600))
            self._db = sqlite3.connect(self.path, timeout=_BUSY_S, check_same_thread=False, isolation_level=None)
            # What is deleted is written over: a secret that was changed is gone.
            self._db.execute("PRAGMA secure_delete = ON")
            self._db.executescript(_SCHEMA)
        except OSError as error:
            raise StorageError(
                f"The webhooks' outbox `{self.path}` can't be opened: {error}. It belongs to the one who made it; the "
                "setting `webhooks_dir` names another folder."
            ) from error
        except sqlite3.Error as error:
            raise StorageError(
                f"The webhooks' outbox `{self.path}` can't be used: {error}. Bring it back from a copy; or remove it "
                "and set the secrets again, and everything is told once more, by the same ids."
            ) from error

    def close(self) -> None:
        """Close it."""
        with self._lock:
            self._db.close()

    def secret(self, webhook_id: str) -> str | None:
        """A webhook's secret; None where this machine has none."""
        with self._changing() as db:
            row = db.execute("SELECT secret FROM secrets WHERE webhook_id = ?", (webhook_id,)).fetchone()
        return None if row is None else str(row[0])

    def keep_secret(self, webhook_id: str, secret: str | None) -> None:
        """Keep a webhook's secret in the place of the one before; None forgets it."""
        with self._changing() as db:
            if secret is None:
                db.execute("DELETE FROM secrets WHERE webhook_id = ?", (webhook_id,))
            else:
                db.execute("INSERT OR REPLACE INTO secrets VALUES (?, ?)", (webhook_id, secret))

    def place(self) -> Place | None:
        """How far the change feed was gone through; None at the beginning."""
        with self._changing() as db:
            row = db.execute("SELECT value FROM place WHERE name = 'cursor'").fetchone()
        if row is None:
            return None
        found = json.loads(row[0])
        return Place(found["cursor"], found["taken_at"], frozenset(found["webhook_ids"]))

    def add(self, deliveries: Iterable[Delivery]) -> None:
        """Put deliveries in; those that are there, or were, stay as they are."""
        now = time.time()
        with self._changing() as db:
            db.executemany(
                f"INSERT OR IGNORE INTO deliveries ({_COLUMNS}, next_at, changed_at, is_told) "
                "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 0)",
                (
                    (d.delivery_id, d.webhook_id, d.event, d.model, d.body, d.tries, d.state, d.reason, now, now)
                    for d in deliveries
                ),
            )

    def go_on(self, place: Place) -> None:
        """Move the cursor, once all before it is in; what is long done is forgotten."""
        value = {"cursor": place.cursor, "taken_at": place.taken_at, "webhook_ids": sorted(place.webhook_ids)}
        with self._changing() as db:
            db.execute("INSERT OR REPLACE INTO place VALUES ('cursor', ?)", (json.dumps(value),))
            db.execute(
                "DELETE FROM deliveries WHERE changed_at < ? AND (state = ? OR (state = ? AND is_told))",
                (time.time() - KEPT_S, DELIVERED, FAILED),
            )

    def keep_only(self, webhook_ids: Sequence[str]) -> None:
        """Forget what is kept for webhooks that aren't there any more."""
        marks = ", ".join("?" * len(webhook_ids))
        with self._changing() as db:
            for table in ("deliveries", "secrets"):
                db.execute(f"DELETE FROM {table} WHERE webhook_id NOT IN ({marks})", webhook_ids)

    def due(self, webhook_id: str, now: float) -> Delivery | None:
        """The first delivery to a webhook whose time has come."""
        with self._changing() as db:
            row = db.execute(
                f"SELECT {_COLUMNS} FROM deliveries WHERE webhook_id = ? AND state = ? AND next_at <= ? "
                "ORDER BY rowid LIMIT 1",
                (webhook_id, WAITING, now),
            ).fetchone()
        return None if row is None else _delivery(row)

    def settle(self, delivery: Delivery, next_at: float) -> None:
        """Write down what came of a try.

        Args:
            delivery: As it is now.
            next_at: When it is tried again, seconds since the epoch, if it waits.
        """
        with self._changing() as db:
            db.execute(
                "UPDATE deliveries SET state = ?, tries = ?, reason = ?, next_at = ?, changed_at = ? "
                "WHERE delivery_id = ?",
                (delivery.state, delivery.tries, delivery.reason, next_at, time.time(), delivery.delivery_id),
            )

    def untold(self) -> list[Delivery]:
        """Deliveries that failed and aren't rows of the registry yet."""
        with self._changing() as db:
            rows = db.execute(
                f"SELECT {_COLUMNS} FROM deliveries WHERE state = ? AND NOT is_told ORDER BY rowid", (FAILED,)
            ).fetchall()
        return [_delivery(row) for row in rows]

    def told(self, deliveries: Iterable[Delivery]) -> None:
        """Note that they are."""
        with self._changing() as db:
            db.executemany(
                "UPDATE deliveries SET is_told = 1 WHERE delivery_id = ?", ((d.delivery_id,) for d in deliveries)
            )

    def try_failed_again(self) -> int:
        """Let what was given up wait again; returns how many."""
        with self._changing() as db:
            done = db.execute(
                "UPDATE deliveries SET state = ?, tries = 0, next_at = 0, is_told = 0 WHERE state = ? AND is_told",
                (WAITING, FAILED),
            )
        return done.rowcount

    def last_failure(self) -> str:
        """Why the last delivery that was given up was; empty where none was."""
        with self._changing() as db:
            row = db.execute(
                "SELECT reason FROM deliveries WHERE state = ? ORDER BY changed_at DESC LIMIT 1", (FAILED,)
            ).fetchone()
        return "" if row is None else str(row[0])

    def counts(self) -> dict[tuple[str, str], int]:
        """How many deliveries there are, by webhook's id and state."""
        with self._changing() as db:
            rows = db.execute(
                "SELECT webhook_id, state, count(*) FROM deliveries GROUP BY webhook_id, state"
            ).fetchall()
        return {(str(webhook_id), str(state)): int(n) for webhook_id, state, n in rows}

    @contextmanager
    def _changing(self) -> Iterator[sqlite3.Connection]:
        try:
            with self._lock, self._transaction():
                yield self._db
        except sqlite3.Error as error:
            raise StorageError(f"The webhooks' outbox `{self.path}` can't be used: {error}.") from error

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        with closing(self._db.cursor()) as cursor:
            cursor.execute("BEGIN IMMEDIATE")
            try:
                yield
            except BaseException:
                cursor.execute("ROLLBACK")
                raise
            cursor.execute("COMMIT")


def _delivery(row: tuple[str, str, str, str, bytes, int, str, str]) -> Delivery:
    return Delivery(*row)
