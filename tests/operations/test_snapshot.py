"""The snapshot of a process: what is written is read, and nothing else is."""

import json
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.delivery.accounting import Circuit, State, Stats
from hublog.delivery.durations import BOUNDS_S, Durations, Histogram
from hublog.operations.snapshot import (
    COUNTERS,
    GAUGES,
    PipelineSnapshot,
    ProcessSnapshot,
    decode,
    encode,
    summed,
)

COUNTS = st.integers(0, 1 << 40)
MOMENTS = st.floats(0, 4e9)
DURATIONS = st.builds(
    Durations, st.tuples(*[st.integers(0, 1 << 30)] * (len(BOUNDS_S) + 1)), st.floats(0, 1e12)
)
PIPELINES = st.builds(
    PipelineSnapshot,
    destination=st.text(max_size=20),
    counters=st.fixed_dictionaries(dict.fromkeys(COUNTERS, COUNTS)),
    gauges=st.fixed_dictionaries(dict.fromkeys(GAUGES, COUNTS)),
    dropped=st.dictionaries(st.text(max_size=10), COUNTS, max_size=4),
    dropped_by_level=st.dictionaries(st.text(max_size=10), COUNTS, max_size=4),
    state=st.sampled_from(State),
    state_since_s=MOMENTS,
    circuit=st.sampled_from(Circuit),
    circuit_since_s=MOMENTS,
    oldest_s=st.none() | MOMENTS,
    last_success_s=st.none() | MOMENTS,
    last_failure_s=st.none() | MOMENTS,
    last_error=st.text(max_size=20),
    latency=DURATIONS,
    send_duration=DURATIONS,
)
SNAPSHOTS = st.builds(
    ProcessSnapshot,
    pid=st.integers(0, 1 << 22),
    host=st.text(max_size=10),
    started_s=MOMENTS,
    written_s=MOMENTS,
    pipelines=st.lists(PIPELINES, max_size=3).map(tuple),
)


@given(snapshot=SNAPSHOTS, rest=st.binary(max_size=50))
def test_what_is_written_is_read_whatever_a_longer_one_has_left_behind_it(snapshot, rest):
    assert decode(encode(snapshot) + rest) == snapshot


@given(snapshot=SNAPSHOTS, data=st.data())
def test_one_that_is_cut_or_changed_anywhere_is_refused(snapshot, data):
    written = encode(snapshot)
    at = data.draw(st.integers(0, len(written) - 1))
    with pytest.raises(ValueError, match="it "):
        decode(written[:at])
    flipped = bytearray(written)
    flipped[at] ^= 1 << data.draw(st.integers(0, 7))
    try:
        found = decode(bytes(flipped))
    except ValueError:
        return
    assert found == snapshot  # the case of a hexadecimal digit, or the blank between the two numbers


@given(data=st.binary(max_size=300))
def test_any_bytes_are_refused_with_a_reason(data):
    with pytest.raises(ValueError, match="it "):
        decode(data)


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("pid",), -1),
        (("pid",), 1.5),
        (("pid",), True),
        (("host",), 7),
        (("pipelines",), {}),
        (("pipelines",), [{}] * 101),
        (("written_s",), "now"),
        (("pipelines", 0, "state"), "fine"),
        (("pipelines", 0, "counters"), [1]),
        (("pipelines", 0, "counters", "sent_total"), -1),
        (("pipelines", 0, "counters", "sent_total"), 1 << 64),
        (("pipelines", 0, "dropped"), {str(number): 1 for number in range(300)}),
        (("pipelines", 0, "latency", "counts"), [1, 2]),
        (("pipelines", 0, "latency", "counts"), [1] * 1_000),
        (("format",), 2),
    ],
)
def test_nonsense_with_a_valid_checksum_is_refused(path, value):
    found = json.loads(encode(ProcessSnapshot(pid=1, pipelines=(PipelineSnapshot(),))).partition(b"\n")[2])
    part = found
    for name in path[:-1]:
        part = part[name]
    part[path[-1]] = value
    body = json.dumps(found).encode()
    with pytest.raises(ValueError, match=r".+"):
        decode(b"%08x %08x\n%b" % (len(body), zlib.crc32(body), body))


def test_what_a_newer_version_adds_does_not_matter():
    found = json.loads(encode(ProcessSnapshot(pid=1, pipelines=(PipelineSnapshot(),))).partition(b"\n")[2])
    found["news"] = found["pipelines"][0]["news"] = {"a": 1}
    body = json.dumps(found).encode()
    assert decode(b"%08x %08x\n%b" % (len(body), zlib.crc32(body), body)).pid == 1


@given(parts=st.lists(PIPELINES, min_size=1, max_size=4))
def test_a_sum_has_all_counts_and_the_worst_state(parts):
    total = summed(parts)
    for name in COUNTERS:
        assert total.counters[name] == sum(part.counters[name] for part in parts)
    for name in GAUGES:
        combine = max if name == "spool_bytes_max" else sum  # they share it
        assert total.gauges[name] == combine(part.gauges[name] for part in parts)
    assert total.dropped_total == sum(part.dropped_total for part in parts)
    assert total.latency.count == sum(part.latency.count for part in parts)
    assert total.state in {part.state for part in parts}
    if any(part.circuit is Circuit.OPEN for part in parts):
        assert total.circuit is Circuit.OPEN
    oldest = [part.oldest_s for part in parts if part.oldest_s is not None]
    assert total.oldest_s == (min(oldest) if oldest else None)
    assert total.held == sum(part.held for part in parts)


def test_each_counter_is_one_of_the_stats():
    assert all(isinstance(getattr(Stats(), name), int) for name in COUNTERS)


def test_shares_are_of_records_or_bytes_whichever_is_more():
    gauges = dict.fromkeys(GAUGES, 0) | {"queued": 60, "in_flight": 20, "queue_records_max": 100}
    part = PipelineSnapshot(gauges={**gauges, "queue_bytes": 90, "queue_bytes_max": 100})
    assert part.queue_share == 0.9
    assert PipelineSnapshot(gauges=gauges).queue_share == 0.8
    assert PipelineSnapshot().queue_share == PipelineSnapshot().spool_share == 0.0


@given(durations=st.lists(st.floats(-10, 5_000), max_size=20))
def test_a_histogram_counts_each_duration_in_its_class(durations):
    histogram = Histogram()
    for seconds in durations:
        histogram.add(seconds)
    found = histogram.read()
    for number, bound in enumerate(BOUNDS_S):
        assert sum(found.counts[: number + 1]) == sum(seconds <= bound for seconds in durations)
    assert found.count == len(durations)
    assert found.total_s == pytest.approx(sum(max(seconds, 0.0) for seconds in durations))


@given(number=st.integers(0, 500))
def test_the_lines_of_an_event_are_counted_by_a_few_of_them(number):
    histogram = Histogram()
    line = b'{"timestamp":"2026-11-23T13:10:31.000000Z","x":1}'
    histogram.add_ages([[line] * number, [b"{}"]], 1_795_439_431.0 + 3)
    assert histogram.read().count == number
    assert histogram.read().total_s == pytest.approx(3 * number)
