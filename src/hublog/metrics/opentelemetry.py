"""Metrics for OpenTelemetry, which needs the extra ``otel``: ``hublog.metrics.opentelemetry.register()``.

Each process exports what it has itself; the backend adds the processes up. Names, units and attributes are
those of the semantic conventions for the self-observation of an SDK where there is one, else ``hublog.``.
"""

import logging
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, NamedTuple

from opentelemetry.metrics import CallbackOptions, Meter, MeterProvider, Observation, get_meter_provider

from hublog._version import __version__
from hublog.delivery.accounting import INTENTIONAL, Circuit, Drop, State
from hublog.internal_log import LogOutput, cause_of
from hublog.operations.snapshot import PipelineSnapshot
from hublog.runtime.snapshots import own_total

#: What an instrument observes of a snapshot: values with their attributes.
_Read = Callable[[PipelineSnapshot], Iterable[tuple[float, Mapping[str, str]]]]
# The constants of opentelemetry-semantic-conventions are of its incubating part: they may go at any release.
_ERROR: Final = "error.type"
_COMPONENT: Final = {
    "otel.component.type": "hublog.EventHubHandler",
    "otel.component.name": "hublog.EventHubHandler/0",
}
#: Where the hub itself did not accept the record; all other reasons came before it was sent.
_BY_HUB: Final = (Drop.TOO_LARGE, Drop.REJECTED)
_BEFORE: Final = tuple(reason for reason in Drop if reason not in _BY_HUB and reason not in INTENTIONAL)
_RECORDS: Final = "{log_record}"


class _Instrument(NamedTuple):
    kind: str  # of the meter's methods: create_observable_<kind>
    name: str
    unit: str
    text: str
    read: _Read


def register(meter_provider: MeterProvider | None = None) -> None:
    """Let hublog's metrics be read by a meter provider, once, however often this is called.

    Args:
        meter_provider: the global one by default, also one that is set later.
    """
    provider = meter_provider or get_meter_provider()
    is_global = provider is get_meter_provider()
    # OpenTelemetry passes to the global one what was registered before the application had set it.
    if provider in _registered or (is_global and _global):
        return
    _registered.add(provider)
    _global.extend([provider] if is_global else [])
    meter = provider.get_meter("hublog", __version__)
    for instrument in _INSTRUMENTS:
        _create(meter, instrument)


#: Providers that have the instruments, and the one of them that was global then.
_registered: Final[weakref.WeakSet[MeterProvider]] = weakref.WeakSet()
_global: Final[list[MeterProvider]] = []
_trouble: Final = LogOutput("")


def _create(meter: Meter, instrument: _Instrument) -> None:
    def observe(_: CallbackOptions) -> Iterator[Observation]:
        try:
            # The process that asks: after a fork the child has its own counters.
            found = [Observation(value, dict(labels)) for value, labels in instrument.read(own_total())]
        except Exception as error:  # noqa: BLE001  # the application's exporter must not suffer
            _trouble.report(f"OpenTelemetry gets no {instrument.name}: {cause_of(error)}.", logging.ERROR)
            found = []
        yield from found

    create = {
        "counter": meter.create_observable_counter,
        "up_down_counter": meter.create_observable_up_down_counter,
        "gauge": meter.create_observable_gauge,
    }[instrument.kind]
    create(instrument.name, [observe], unit=instrument.unit, description=instrument.text)


def _counter(name: str) -> _Read:
    return lambda total: [(total.counters[name], {})]


def _gauge(name: str, labels: Mapping[str, str] | None = None) -> _Read:
    return lambda total: [(total.gauges[name], labels or {})]


def _time(name: str) -> _Read:
    def read(total: PipelineSnapshot) -> Iterator[tuple[float, Mapping[str, str]]]:
        moment = getattr(total, name)
        if moment is not None:
            yield moment, {}

    return read


def _exported(total: PipelineSnapshot) -> Iterator[tuple[float, Mapping[str, str]]]:
    yield total.counters["sent_total"], _COMPONENT
    yield from _failed(total, _BY_HUB)


def _processed(total: PipelineSnapshot) -> Iterator[tuple[float, Mapping[str, str]]]:
    yield total.counters["sent_total"] + sum(total.dropped.get(reason, 0) for reason in _BY_HUB), _COMPONENT
    yield from _failed(total, _BEFORE)


def _failed(total: PipelineSnapshot, reasons: Iterable[Drop]) -> Iterator[tuple[float, Mapping[str, str]]]:
    # All from the start: an increase needs the value before the first one.
    for reason in reasons:
        yield total.dropped.get(reason, 0), _COMPONENT | {_ERROR: str(reason)}


def _dropped(total: PipelineSnapshot) -> Iterator[tuple[float, Mapping[str, str]]]:
    for reason in Drop:
        yield total.dropped.get(reason, 0), {"hublog.drop.reason": str(reason)}


def _sends(total: PipelineSnapshot) -> Iterator[tuple[float, Mapping[str, str]]]:
    yield total.counters["batches_total"], {}
    yield total.counters["failures_total"], {_ERROR: "_OTHER"}


_INSTRUMENTS: Final = (
    # By the semantic conventions, https://opentelemetry.io/docs/specs/semconv/otel/sdk-metrics
    _Instrument(
        "counter",
        "otel.sdk.exporter.log.exported",
        _RECORDS,
        "Records that the event hub has accepted, or has not, by error.type.",
        _exported,
    ),
    _Instrument(
        "up_down_counter",
        "otel.sdk.exporter.log.inflight",
        _RECORDS,
        "Records that are being sent.",
        _gauge("in_flight", _COMPONENT),
    ),
    _Instrument(
        "counter",
        "otel.sdk.processor.log.processed",
        _RECORDS,
        "Records that have left the queue for good, those that were not sent by error.type.",
        _processed,
    ),
    _Instrument(
        "up_down_counter",
        "otel.sdk.processor.log.queue.size",
        _RECORDS,
        "Records in the memory queue.",
        _gauge("queued", _COMPONENT),
    ),
    _Instrument(
        "up_down_counter",
        "otel.sdk.processor.log.queue.capacity",
        _RECORDS,
        "Records that the memory queue may hold.",
        _gauge("queue_records_max", _COMPONENT),
    ),
    # Ours.
    _Instrument(
        "counter",
        "hublog.records.accepted",
        _RECORDS,
        "Records that log calls handed over.",
        _counter("accepted_total"),
    ),
    _Instrument("counter", "hublog.records.dropped", _RECORDS, "Records not sent, by reason.", _dropped),
    _Instrument(
        "counter",
        "hublog.records.dropped_by_level",
        _RECORDS,
        "Records not sent, by level, as far as it is known.",
        lambda total: [(number, {"hublog.level": level}) for level, number in total.dropped_by_level.items()],
    ),
    _Instrument(
        "counter",
        "hublog.records.recovered",
        _RECORDS,
        "Records of ended processes that were taken over.",
        _counter("recovered_total"),
    ),
    _Instrument(
        "counter",
        "hublog.records.replayed",
        _RECORDS,
        "Records that were sent after they had been stored.",
        _counter("replayed_total"),
    ),
    _Instrument(
        "counter",
        "hublog.records.possibly_duplicated",
        _RECORDS,
        "Records of sends that failed without an answer.",
        _counter("possible_duplicates_total"),
    ),
    _Instrument(
        "counter",
        "hublog.type_mismatches",
        "{value}",
        "Values that did not fit the type of their column.",
        _counter("type_mismatches_total"),
    ),
    _Instrument(
        "counter",
        "hublog.send.events",
        "{event}",
        "Events that the event hub has accepted.",
        _counter("events_total"),
    ),
    _Instrument("counter", "hublog.send.size", "By", "Bytes of their bodies.", _counter("sent_bytes_total")),
    _Instrument(
        "counter", "hublog.send.attempts", "{send}", "Sends, those that failed with error.type.", _sends
    ),
    _Instrument(
        "counter",
        "hublog.send.time",
        "s",
        "Time that sends took, also those that failed.",
        lambda total: [(total.send_duration.total_s, {})],
    ),
    _Instrument(
        "counter",
        "hublog.delivery.measured",
        _RECORDS,
        "Records whose time from the log call to the hub's answer was measured.",
        lambda total: [(total.latency.count, {})],
    ),
    _Instrument(
        "counter",
        "hublog.delivery.time",
        "s",
        "Sum of the times from the log call to the hub's answer.",
        lambda total: [(total.latency.total_s, {})],
    ),
    _Instrument(
        "up_down_counter",
        "hublog.queue.usage",
        "By",
        "Bytes in the memory queue.",
        _gauge("queue_bytes"),
    ),
    _Instrument(
        "up_down_counter",
        "hublog.queue.limit",
        "By",
        "Bytes that the memory queue may hold.",
        _gauge("queue_bytes_max"),
    ),
    _Instrument(
        "gauge",
        "hublog.queue.utilization",
        "1",
        "Part of the memory queue in use, by records or bytes, whichever is more.",
        lambda total: [(total.queue_share, {})],
    ),
    _Instrument("up_down_counter", "hublog.spool.records", _RECORDS, "Records on disk.", _gauge("spooled")),
    _Instrument(
        "up_down_counter", "hublog.spool.usage", "By", "Bytes of records on disk.", _gauge("spool_bytes")
    ),
    _Instrument(
        "gauge",
        "hublog.spool.limit",
        "By",
        "Bytes that the spool may have, which all processes share.",
        _gauge("spool_bytes_max"),
    ),
    _Instrument(
        "up_down_counter",
        "hublog.buffered.records",
        _RECORDS,
        "Records of open requests, under tail sampling.",
        _gauge("buffered"),
    ),
    _Instrument(
        "up_down_counter",
        "hublog.send.abandoned",
        "{send}",
        "Sends that timed out and have not returned.",
        _gauge("abandoned_sends"),
    ),
    _Instrument(
        "up_down_counter",
        "hublog.circuit.status",
        "{process}",
        "1 for the state that the circuit is in, else 0; added up, the processes in each state.",
        lambda total: [(int(each is total.circuit), {"hublog.circuit.state": str(each)}) for each in Circuit],
    ),
    _Instrument(
        "up_down_counter",
        "hublog.delivery.status",
        "{process}",
        "1 for the state that delivery is in, else 0; added up, the processes in each state.",
        lambda total: [(int(each is total.state), {"hublog.delivery.state": str(each)}) for each in State],
    ),
    _Instrument(
        "gauge",
        "hublog.oldest_record.timestamp",
        "s",
        "When the oldest record that waits was logged, seconds since 1970.",
        _time("oldest_s"),
    ),
    _Instrument(
        "gauge",
        "hublog.last_success.timestamp",
        "s",
        "When the event hub accepted something, seconds since 1970.",
        _time("last_success_s"),
    ),
    _Instrument(
        "gauge",
        "hublog.last_failure.timestamp",
        "s",
        "When a send failed, seconds since 1970.",
        _time("last_failure_s"),
    ),
)
