"""Snapshots as metrics in the formats of Prometheus.

Names, kinds and sentences are those of `table.METRICS`. A room that is not in it, as one
of another maker's plugin, is told too: each field as a gauge ``lyredb_<room>_<field>``.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator, Sequence

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from lyredb.server.metrics.snapshot import Snapshot
from lyredb.server.metrics.table import BY_FIELD, REPORT_AGE, MetricRow

LABELS = ("process", "worker")


def exposition(
    snapshots: Sequence[Snapshot], *, accept: str = "", now_s: float | None = None
) -> tuple[str, bytes]:
    """Return content type and text of all snapshots.

    Args:
        snapshots: Of all processes, in any order.
        accept: The request's Accept header: OpenMetrics when it asks for that.
        now_s: Seconds since 1970, from which the age of each snapshot is told.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Snapshots(snapshots, time.time() if now_s is None else now_s))
    encoder, content_type = choose_encoder(accept)
    return content_type, encoder(registry)


class _Snapshots(Collector):
    """Gives the client library families that are made from numbers others counted."""

    def __init__(self, snapshots: Sequence[Snapshot], now_s: float) -> None:
        self._snapshots = snapshots
        self._now_s = now_s

    def collect(self) -> Iterable[Metric]:
        families: dict[str, Metric] = {}
        for row, labels, value in self._samples():
            family = families.get(row.name)
            if family is None:
                family = families[row.name] = _family(row)
            family.add_metric(labels, value)  # type: ignore[attr-defined]  # of both families
        return families.values()

    def _samples(self) -> Iterator[tuple[MetricRow, list[str], float]]:
        for snapshot in self._snapshots:
            process = [snapshot.process, str(snapshot.worker or "")]
            yield REPORT_AGE, process, max(0.0, self._now_s - snapshot.taken_s)
            for room, numbers in snapshot.numbers.items():
                for field, value in numbers.items():
                    row = BY_FIELD.get((room, field)) or _unknown(room, field)
                    yield row, [*process, *row.labels.values()], value


def _family(row: MetricRow) -> Metric:
    labels = [*LABELS, *row.labels]
    if row.kind == "counter":
        return CounterMetricFamily(row.name, row.sentence, labels=labels)
    return GaugeMetricFamily(row.name, row.sentence, labels=labels)


def _unknown(room: str, field: str) -> MetricRow:
    name = re.sub(r"\W", "_", f"lyredb_{room}_{field}", flags=re.ASCII)
    return MetricRow(room, field, name, "gauge", f"{field} of the plugin {room}.")
