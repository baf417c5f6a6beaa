"""Metrics for Prometheus, which needs the extra ``prometheus``: ``hublog.metrics.prometheus.register()``.

Whichever process answers a scrape shows the sums over all processes of the application, which it reads from
the snapshots in the spool's root. So ``PROMETHEUS_MULTIPROC_DIR`` is not needed, and may be set.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from prometheus_client import CollectorRegistry
from prometheus_client.core import (
    REGISTRY,
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
    Metric,
)
from prometheus_client.registry import Collector

from hublog._version import __version__
from hublog.delivery.accounting import Circuit, Drop, State
from hublog.delivery.durations import BOUNDS_S, Durations
from hublog.operations.overview import Overview
from hublog.runtime.snapshots import overview

#: Name without ``_total``, its counter in a snapshot, and what it counts.
_COUNTERS: Final = (
    ("hublog_records_accepted", "accepted_total", "Records that log calls handed over."),
    ("hublog_records_sent", "sent_total", "Records that the event hub has accepted."),
    ("hublog_records_recovered", "recovered_total", "Records of ended processes that were taken over."),
    ("hublog_records_replayed", "replayed_total", "Records that were sent after they had been stored."),
    (
        "hublog_records_possibly_duplicated",
        "possible_duplicates_total",
        "Records of sends that failed without an answer.",
    ),
    ("hublog_events_sent", "events_total", "Events that the event hub has accepted."),
    ("hublog_sent_bytes", "sent_bytes_total", "Bytes of their bodies."),
    ("hublog_send_failures", "failures_total", "Failed sends."),
    ("hublog_type_mismatches", "type_mismatches_total", "Values that did not fit the type of their column."),
)
#: Name, its gauge in a snapshot, and what it shows.
_GAUGES: Final = (
    ("hublog_queue_records", "queued", "Records in the memory queues."),
    ("hublog_queue_bytes", "queue_bytes", "Bytes in the memory queues."),
    ("hublog_queue_limit_records", "queue_records_max", "Records that the memory queues may hold."),
    ("hublog_queue_limit_bytes", "queue_bytes_max", "Bytes that the memory queues may hold."),
    ("hublog_in_flight_records", "in_flight", "Records that are being sent."),
    ("hublog_spool_records", "spooled", "Records on disk."),
    ("hublog_spool_bytes", "spool_bytes", "Bytes of records on disk."),
    ("hublog_spool_limit_bytes", "spool_bytes_max", "Bytes that the spool may have."),
    ("hublog_buffered_records", "buffered", "Records of open requests, under tail sampling."),
    ("hublog_abandoned_sends", "abandoned_sends", "Sends that timed out and have not returned."),
)
_CIRCUITS: Final = {Circuit.CLOSED: 0, Circuit.HALF_OPEN: 1, Circuit.OPEN: 2}


class HublogCollector(Collector):
    """Collects the metrics of all processes of this application.

    Args:
        spool_dir: the root of their spool; by default that of this process's settings.
    """

    def __init__(self, spool_dir: Path | None = None) -> None:
        self._spool_dir = spool_dir

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics; called for each scrape."""
        return _metrics(overview(self._spool_dir))

    def describe(self) -> Iterator[Metric]:
        """Yield them without values that mean anything; by their names a registry notices a second one."""
        return _metrics(Overview())


def register(registry: CollectorRegistry = REGISTRY, *, spool_dir: Path | None = None) -> HublogCollector:
    """Add hublog's metrics to a registry, that of ``prometheus_client`` by default; returns the collector.

    Args:
        registry: where they go.
        spool_dir: see ``HublogCollector``.

    Raises:
        ValueError: they are there already.
    """
    collector = HublogCollector(spool_dir)
    registry.register(collector)
    return collector


def _metrics(found: Overview) -> Iterator[Metric]:
    yield InfoMetricFamily("hublog", "Version of hublog.", value={"version": __version__})
    yield from _counters(found)
    yield from _gauges(found)
    yield _histogram(
        "hublog_delivery_latency_seconds", "From the log call to the hub's answer.", found.total.latency
    )
    yield _histogram(
        "hublog_send_duration_seconds",
        "Duration of sends, also of those that failed.",
        found.total.send_duration,
    )


def _counters(found: Overview) -> Iterator[Metric]:
    total = found.total
    for name, counter, text in _COUNTERS:
        yield CounterMetricFamily(name, text, value=total.counters[counter])
    # All reasons from the start: a rule that asks for an increase needs the value before the first one.
    reasons = dict.fromkeys(map(str, Drop), 0) | dict(total.dropped)
    yield _labelled(
        CounterMetricFamily("hublog_records_dropped", "Records not sent, by reason.", labels=["reason"]),
        reasons,
    )
    yield _labelled(
        CounterMetricFamily(
            "hublog_records_dropped_by_level",
            "Records not sent, by level, as far as it is known.",
            labels=["level"],
        ),
        total.dropped_by_level,
    )


def _labelled(family: CounterMetricFamily, counts: Mapping[str, int]) -> Metric:
    for value, number in sorted(counts.items()):
        family.add_metric([value], number)
    return family


def _gauges(found: Overview) -> Iterator[Metric]:
    total = found.total
    for name, gauge, text in _GAUGES:
        yield GaugeMetricFamily(name, text, value=total.gauges[gauge])
    yield GaugeMetricFamily("hublog_processes", "Processes that live.", value=len(found.living))
    yield GaugeMetricFamily(
        "hublog_status_problems", "Files of snapshots that cannot be used.", value=len(found.problems)
    )
    yield GaugeMetricFamily(
        "hublog_queue_fill_ratio",
        "Part of the memory queue in use, in the process where it is most.",
        value=found.queue_share,
    )
    yield GaugeMetricFamily("hublog_spool_fill_ratio", "Part of the spool in use.", value=total.spool_share)
    yield GaugeMetricFamily(
        "hublog_circuit_state",
        "State of the circuit: 0 closed, 1 half open, 2 open; the worst of all processes.",
        value=_CIRCUITS[total.circuit],
    )
    states = GaugeMetricFamily(
        "hublog_delivery_state", "State of delivery, the worst of all processes.", labels=["state"]
    )
    for state in State:
        states.add_metric([str(state)], int(state is total.state))
    yield states
    yield from _times(found)


def _times(found: Overview) -> Iterator[Metric]:
    total = found.total
    yield GaugeMetricFamily(
        "hublog_oldest_record_age_seconds",
        "Age of the oldest record that waits; 0 where none does.",
        value=found.age_s(total.oldest_s) or 0.0,
    )
    for name, text, moment in (
        ("hublog_last_success_timestamp_seconds", "When the hub accepted something.", total.last_success_s),
        ("hublog_last_failure_timestamp_seconds", "When a send failed.", total.last_failure_s),
        (
            "hublog_circuit_since_timestamp_seconds",
            "Since when the circuit is in its state.",
            total.circuit_since_s if found.living else None,
        ),
        (
            "hublog_delivery_state_since_timestamp_seconds",
            "Since when delivery is in its state.",
            total.state_since_s if found.living else None,
        ),
    ):
        if moment is not None:
            yield GaugeMetricFamily(name, text, value=moment)


def _histogram(name: str, text: str, durations: Durations) -> Metric:
    buckets, count = [], 0
    for bound, number in zip((*BOUNDS_S, "+Inf"), durations.counts, strict=True):
        count += number
        buckets.append((str(bound), float(count)))
    return HistogramMetricFamily(name, text, buckets=buckets, sum_value=durations.total_s)
