"""The part of a warehouse that tells what changed."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import TYPE_CHECKING, Any, Literal, overload

from mlwarehouse.entities import Snapshot
from mlwarehouse.errors import InvalidInputError
from mlwarehouse.parts.base import moment
from mlwarehouse.parts.pinning import Pinning

if TYPE_CHECKING:
    from pyspark.sql import DataFrame, SparkSession

    from mlwarehouse.query import ChangePage


EMPTY_EVERY_S = 60.0
"""Who follows gets a page as often as this also when nothing was told, so that the cursor he keeps stays young."""


class Changing(Pinning):
    """The change feed."""

    @overload
    def changes(
        self,
        since: Any = None,
        until: Any = None,
        *,
        kinds: Sequence[str] | None = None,
        experiments: Sequence[str] | None = None,
        best: Mapping[str, str] | None = None,
        follow: Literal[False] = False,
        poll_s: float = 1.0,
    ) -> ChangePage: ...
    @overload
    def changes(
        self,
        since: Any = None,
        until: Any = None,
        *,
        kinds: Sequence[str] | None = None,
        experiments: Sequence[str] | None = None,
        best: Mapping[str, str] | None = None,
        follow: Literal[True],
        poll_s: float = 1.0,
    ) -> Iterator[ChangePage]: ...
    def changes(
        self,
        since: Any = None,
        until: Any = None,
        *,
        kinds: Sequence[str] | None = None,
        experiments: Sequence[str] | None = None,
        best: Mapping[str, str] | None = None,
        follow: bool = False,
        poll_s: float = 1.0,
    ) -> ChangePage | Iterator[ChangePage]:
        """Tell what happened across all tables, as events in one order.

        Events are told when they are committed; what this machine has logged is committed first. Pages that follow
        each other by their cursors hold every event once, also when another machine commits late, files are merged,
        or the process that reads them starts anew in between. Within a page events are in the order in which they were
        recorded.

        Args:
            since: What to tell after: the `cursor` of an earlier page, a snapshot, its text, the name of a kept one, or
                a moment as for `reading`, which is compared with the recorded times. None tells everything.
            until: What to stop at: a snapshot, its text or name, or a moment.
            kinds: Only these kinds of change; None for all.
            experiments: Only changes of these experiments, by name, and of their runs and the versions made from them.
                What was logged to a run before its start is recorded is left out.
            best: Metrics of which a new best is told, with what is better: ``{"val/loss": "min"}``.
            follow: Go on: an iterator of pages that waits for new changes and doesn't end by itself. This machine's are
                then told when its committer commits them.
            poll_s: How often to look for new ones, in seconds, with `follow`.

        Returns:
            A page of changes with a cursor; with `follow` an iterator of pages, empty ones only once a minute, so that
            the cursor doesn't grow old.

        Raises:
            InvalidInputError: No such kind or direction, something that is no time and no snapshot, or `until` with
                `follow`.
            NotFoundError: No such experiment or kept snapshot.
            SnapshotGoneError: What came after `since` can't be told any more: take a new snapshot, read the state in
                it, and go on from there. A cursor can be used for a week, and not across a purge.
        """
        from mlwarehouse.query import chosen_kinds

        chosen_kinds(kinds, best)
        start = self._point(since)
        if follow:
            if until is not None:
                raise InvalidInputError("`follow` waits for what is to come, so it has no `until`; leave one out.")
            return self._follow(start, kinds, experiments, best, poll_s)
        end = self._point(until)
        if isinstance(start, Snapshot) and isinstance(end, Snapshot) and _is_behind(end, start):
            raise InvalidInputError("`until` is an earlier state than `since`; exchange them.")
        stop = self._taken() if not isinstance(end, Snapshot) else end
        return self._page(start, stop, kinds, experiments, best, None if isinstance(end, Snapshot) else end)

    def committed_changes(
        self,
        since: Any = None,
        *,
        kinds: Sequence[str] | None = None,
        experiments: Sequence[str] | None = None,
        best: Mapping[str, str] | None = None,
    ) -> ChangePage:
        """As `changes`, of what is committed at this moment: nothing that this machine has logged is waited for.

        Args:
            since: As for `changes`.
            kinds: As for `changes`.
            experiments: As for `changes`.
            best: As for `changes`.

        Returns:
            A page of changes with a cursor.

        Raises:
            WarehouseError: As for `changes`.
        """
        from mlwarehouse.query import chosen_kinds

        chosen_kinds(kinds, best)
        return self._page(self._point(since), self._state(), kinds, experiments, best, None)

    def changes_stream(self, spark: SparkSession, *, kinds: Sequence[str] | None = None) -> DataFrame:
        """The same events as a stream in Spark: all there are, then each as it is committed.

        The query's own checkpoint says how far it has come, so a query that is started anew goes on where it was.

        Args:
            spark: A session that knows Delta, such as `spark` gives.
            kinds: Only these kinds of change; None for all that are of one row. A stream tells of rows one by one: for
                points, predictions and labels read their tables as streams.

        Returns:
            A streaming frame with the columns of a change; ``experiment_id`` is only there where the row itself says
            it.

        Raises:
            InvalidInputError: No such kind, or one that isn't of one row; or the warehouse is in an object store.
        """
        from mlwarehouse.engines.spark_stream import stream_of
        from mlwarehouse.query import chosen_kinds
        from mlwarehouse.query.change_kinds import FIELDS, NEW_BEST, select

        chosen = [k for k in chosen_kinds(kinds, None) if not FIELDS[k.table].together and k is not NEW_BEST]
        refused = set(kinds or ()) - {k.name for k in chosen}
        if refused:
            raise InvalidInputError(
                f"`{min(refused)}` tells of several rows as one change, which a stream of rows can't; read the table "
                "itself as a stream, or ask `changes`."
            )
        tables = self.tables_for_spark()
        self.flush()
        frames = [
            stream_of(spark, tables / name, select(name, tuple(k for k in chosen if k.table == name)))
            for name in dict.fromkeys(k.table for k in chosen)
        ]
        return reduce(lambda one, other: one.unionByName(other), frames)

    def _follow(
        self,
        start: Snapshot | dt.datetime | None,
        kinds: Sequence[str] | None,
        experiments: Sequence[str] | None,
        best: Mapping[str, str] | None,
        poll_s: float,
    ) -> Iterator[ChangePage]:
        told_at = time.monotonic()
        while True:
            if not isinstance(start, Snapshot) or start.versions != self.versions():
                stop = self._state()
                page = self._page(start, stop, kinds, experiments, best, None)
                start = stop
                if page or time.monotonic() - told_at > EMPTY_EVERY_S:
                    yield page
                    told_at = time.monotonic()
            time.sleep(poll_s)

    def _page(
        self,
        start: Snapshot | dt.datetime | None,
        stop: Snapshot,
        kinds: Sequence[str] | None,
        experiments: Sequence[str] | None,
        best: Mapping[str, str] | None,
        until: dt.datetime | None,
    ) -> ChangePage:
        from mlwarehouse.engines.base import Reading
        from mlwarehouse.query import ChangePage, chosen_kinds, read_changes, resolve_experiments

        # After the versions were looked up, so that the start of each run that they tell of is in it.
        present = self.reading()
        engine = self.engine()
        ids = resolve_experiments(engine, present, experiment_ids=None, experiment_names=experiments)
        since = Reading(versions=start.versions) if isinstance(start, Snapshot) else Reading(as_of=start)
        rows = read_changes(
            engine,
            since=since,
            to=stop.versions,
            present=present,
            kinds=chosen_kinds(kinds, best),
            experiment_ids=ids,
            best=best,
            until=until,
        )
        return ChangePage(rows, str(stop) if until is None else None)

    def _point(self, when: Any) -> Snapshot | dt.datetime | None:
        """A snapshot or a moment, as somebody gave it."""
        if when is None:
            return None
        if isinstance(when, Snapshot) or (isinstance(when, str) and not _is_time(when)):
            return self.find_snapshot(when)
        if not isinstance(when, str | dt.date):
            raise InvalidInputError(
                f"`since` and `until` are a cursor, a snapshot or a moment; got {type(when).__name__}. Of a page of "
                "changes pass its `cursor`."
            )
        return moment(when)


def _is_behind(one: Snapshot, other: Snapshot) -> bool:
    return any(one.versions.get(name, version) < version for name, version in other.versions.items())


def _is_time(text: str) -> bool:
    try:
        moment(text)
    except InvalidInputError:
        return False
    return True
