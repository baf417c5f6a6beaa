from datetime import UTC, datetime, timedelta
from threading import Condition

import pytest
from azure.eventhub._buffered_producer._partition_resolver import PartitionResolver
from hypothesis import given
from hypothesis import strategies as st

from hublog_local.amqp.messages import SectionCode, read_message, write_section
from hublog_local.amqp.types import Symbol
from hublog_local.errors import LocalHubError
from hublog_local.hub.partitions import EventHub, Partition, Retention, partition_of, read_position

START = datetime(2026, 1, 2, 3, 4, 5, 678_901, tzinfo=UTC)
START_MS = int(START.timestamp() * 1000)


def message(body=b"body", **annotations):
    notes = {Symbol(name.replace("_", "-")): value for name, value in annotations.items()}
    front = write_section(SectionCode.ANNOTATIONS, notes) if notes else b""
    return read_message(memoryview(front + write_section(SectionCode.DATA, body)))


def make_partition(max_events=1000, max_bytes=10**9):
    return Partition("0", retention=Retention(max_events, max_bytes), changed=Condition())


@pytest.fixture
def partition():
    """Five events, a second between each."""
    made = make_partition()
    for number in range(5):
        made.append([message(b"x" * 100)], key=None, now=START + timedelta(seconds=number))
    return made


def test_events_are_numbered_and_timed(partition):
    events = partition.events()
    assert [event.sequence_number for event in events] == [0, 1, 2, 3, 4]
    assert [int(event.offset) for event in events] == sorted({int(event.offset) for event in events})
    assert events[0].enqueued_at == START.replace(microsecond=678_000)


POSITIONS = [
    ("offset > '-1'", 0),
    ("offset >= '0'", 0),
    ("offset > '0'", 1),
    ("offset > '@latest'", 5),
    ("offset >= '@latest'", 5),
    ("sequence-number > '-1'", 0),
    ("sequence-number > '2'", 3),
    ("sequence-number >= '2'", 2),
    ("sequence-number >= '99'", 5),
    (f"enqueued-time > '{START_MS + 1000}'", 2),
    (f"enqueued-time >= '{START_MS + 1000}'", 1),
    (f"enqueued-time >= '{START_MS + 1001}'", 2),
    (f"enqueued-time > '{START_MS + 1500}.0'", 2),
    (f"enqueued-time>'{START_MS + 9000}'", 5),
]


@pytest.mark.parametrize(("selector", "number"), POSITIONS)
def test_a_reader_begins_where_its_filter_says(partition, selector, number):
    assert partition.find(read_position(f"amqp.annotation.x-opt-{selector}")) == number


def test_a_reader_without_filter_begins_with_the_oldest_event(partition):
    assert partition.find(read_position(None)) == 0


def test_positions_count_from_the_oldest_event_that_is_kept():
    partition = make_partition(max_events=2)
    partition.append([message()] * 5, key=None, now=START)
    assert partition.find(read_position(None)) == 3
    assert partition.find(read_position("amqp.annotation.x-opt-sequence-number >= '4'")) == 4
    assert partition.event(4).sequence_number == 4


@pytest.mark.parametrize(
    "selector",
    [
        "",
        "amqp.annotation.x-opt-offset",
        "amqp.annotation.x-opt-offset < '1'",
        "x > '1'",
        "amqp.annotation.x-opt-offset > '1' OR 1",
        "amqp.annotation.x-opt-offset > '" + "9" * 20 + "'",
    ],
)
def test_another_filter_is_refused_with_what_is_allowed(selector):
    with pytest.raises(LocalHubError, match="x-opt-offset"):
        read_position(selector)


def test_the_oldest_events_go_by_number():
    partition = make_partition(max_events=3)
    partition.append([message()] * 5, key=None, now=START)
    assert [event.sequence_number for event in partition.events()] == [2, 3, 4]
    assert (partition.first_sequence_number, partition.events_total) == (2, 5)


def test_the_oldest_events_go_by_memory():
    partition = make_partition(max_bytes=50_000)
    partition.append([message(b"x" * 20_000)] * 5, key=None, now=START)
    assert [event.sequence_number for event in partition.events()] == [3, 4]


def test_one_event_larger_than_the_memory_goes_too():
    partition = make_partition(max_bytes=1000)
    partition.append([message(b"x" * 2000)], key=None, now=START)
    assert (partition.events(), partition.events_total) == ([], 1)


def make_event_hub(partitions=4):
    return EventHub(
        "logs", partitions, retention=Retention(100, 10**9), changed=Condition(), now=lambda: START
    )


def test_deliveries_without_key_take_turns():
    hub = make_event_hub()
    taken = [hub.store([message(), message()])[0].partition_id for _ in range(5)]
    assert taken == ["0", "1", "2", "3", "0"]


def test_a_delivery_stays_together_and_goes_where_its_key_or_sender_says():
    hub = make_event_hub()
    by_key = {hub.store([message()] * 3, key="user-7")[0].partition_id for _ in range(5)}
    assert by_key == {str(partition_of("user-7", 4))}
    assert hub.store([message()], partition_id="3")[0].partition_id == "3"
    inner = hub.store([message(x_opt_partition_key="user-7")])[0]
    assert {inner.partition_id} == by_key
    assert inner.events()[-1].partition_key == "user-7"


@given(st.text(st.characters(max_codepoint=127), max_size=40), st.integers(1, 32))
def test_a_key_leads_where_the_python_client_would_send_it(key, partitions):
    theirs = PartitionResolver(list(range(partitions)))
    assert partition_of(key, partitions) == theirs.get_partition_id_by_partition_key(key)


def encoded(event):
    return read_message(memoryview(b"".join(event.encode())))


def test_an_event_is_sent_on_with_its_place_and_all_of_its_sections():
    whole = (
        write_section(SectionCode.HEADER, [True])
        + write_section(SectionCode.ANNOTATIONS, {Symbol("x-own"): "kept"})
        + write_section(SectionCode.PROPERTIES, ["id", *[None] * 5, "text/plain"])
        + write_section(SectionCode.APPLICATION_PROPERTIES, {"a": 1})
        + write_section(SectionCode.DATA, b"x" * 300)
    )
    partition = make_partition()
    (event,) = partition.append([read_message(memoryview(whole))], key="k", now=START)
    found = encoded(event)
    assert (event.message_id, event.content_type, event.properties) == ("id", "text/plain", {"a": 1})
    assert bytes(found.header) == write_section(SectionCode.HEADER, [True])
    assert found.annotations == {
        "x-own": "kept",
        "x-opt-sequence-number": 0,
        "x-opt-offset": "0",
        "x-opt-enqueued-time": START_MS,
        "x-opt-partition-key": "k",
    }
    assert [bytes(part) for part in found.data] == [b"x" * 300]
    assert found.application_properties == {"a": 1}


BODIES = {
    "two data sections": (
        write_section(SectionCode.DATA, b"a") + write_section(SectionCode.DATA, b"b"),
        b"ab",
    ),
    "text": (write_section(SectionCode.VALUE, "é"), "é".encode()),
    "binary": (write_section(SectionCode.VALUE, b"b"), b"b"),
    "number": (write_section(SectionCode.VALUE, 5), b""),
    "sequence": (write_section(SectionCode.SEQUENCE, [1]), b""),
    "data and footer": (
        write_section(SectionCode.DATA, b"a") + write_section(SectionCode.FOOTER, {Symbol("f"): 1}),
        b"a",
    ),
    "nothing": (b"", b""),
}


@pytest.mark.parametrize(("tail", "body"), BODIES.values(), ids=BODIES)
def test_every_kind_of_body_is_kept_as_it_came(tail, body):
    (event,) = make_partition().append([read_message(memoryview(tail))], key=None, now=START)
    assert event.body == body
    assert bytes(encoded(event).tail) == tail
