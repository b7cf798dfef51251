"""What Prometheus is told: requests as they are answered, and the warehouse's state when it asks."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST
from prometheus_client.metrics_core import Metric
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from mlwarehouse.errors import WarehouseError

if TYPE_CHECKING:
    from mlwarehouse.warehouse import Warehouse

SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""The upper ends of the histogram's bins."""

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Measures:
    """One server's measures."""

    def __init__(self, warehouse: Warehouse | None) -> None:
        """Begin at zero.

        Args:
            warehouse: Whose state is told; None tells of requests alone.
        """
        self._registry = CollectorRegistry()
        self._requests = Counter(
            "mlwarehouse_requests",
            "Requests that were answered; the status 0 is of those whose client went away before.",
            ("method", "route", "status"),
            registry=self._registry,
        )
        self._seconds = Histogram(
            "mlwarehouse_request_seconds",
            "How long requests took, until the last byte of their answers.",
            ("method", "route"),
            buckets=SECONDS,
            registry=self._registry,
        )
        self.questions = Gauge(
            "mlwarehouse_sql_questions", "Questions in SQL that are being answered.", registry=self._registry
        )
        self.followers = Gauge(
            "mlwarehouse_change_followers", "Clients that follow the changes.", registry=self._registry
        )
        ProcessCollector(registry=self._registry)
        if warehouse is not None:
            self._registry.register(_State(warehouse))

    def count(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request.

        Args:
            method: Its method.
            route: What was asked for, without what differs from request to request.
            status: The answer's; 0 where there was none.
            seconds: How long it took.
        """
        known = method if method in ("GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS") else "other"
        self._requests.labels(known, route, str(status)).inc()
        self._seconds.labels(known, route).observe(seconds)

    def text(self) -> bytes:
        """All of it, in Prometheus' text format."""
        return generate_latest(self._registry)


class _State(Collector):
    """The warehouse's state at the moment it is asked for."""

    def __init__(self, warehouse: Warehouse) -> None:
        self._warehouse = warehouse

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        is_up = GaugeMetricFamily("mlwarehouse_up", "Whether the warehouse's state can be read.")
        try:
            yield from self._read()
            is_up.add_metric([], 1)
        except (WarehouseError, OSError):
            is_up.add_metric([], 0)
        yield is_up

    def _read(self) -> list[Metric]:
        spool, versions = self._warehouse.spool_health(), self._warehouse.versions()
        told: list[Metric] = [
            GaugeMetricFamily(f"mlwarehouse_{name}", doc, value=value)
            for name, doc, value in (
                ("spool_segments", "Files in this machine's spool.", spool.n_segments),
                ("spool_waiting_rows", "Rows that are logged and not yet committed.", spool.n_waiting),
                ("spool_lag_seconds", "The age of the oldest of them.", spool.lag_s),
                ("spool_lost_rows", "Logged rows that couldn't be kept, since the spool was made.", spool.n_lost),
                ("committer_alive", "Whether this machine's committer is alive.", int(spool.has_committer)),
                ("committed_batches", "Batches that this machine has committed.", spool.committed_batch),
            )
        ]
        table = GaugeMetricFamily(
            "mlwarehouse_table_version", "Delta version of a table: how often it was committed to.", labels=["table"]
        )
        for name, version in versions.items():
            table.add_metric([name], version)
        return [*told, table]
