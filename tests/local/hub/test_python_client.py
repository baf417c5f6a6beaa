"""The official Python package, sync and async, unchanged."""

import asyncio
import threading
from datetime import UTC, datetime, timedelta

import pytest
from azure.core.credentials import AccessToken
from azure.eventhub import EventData, EventHubProducerClient
from azure.eventhub.aio import EventHubConsumerClient as AsyncConsumer
from azure.eventhub.aio import EventHubProducerClient as AsyncProducer
from azure.eventhub.exceptions import AuthenticationError, ConnectionLostError, EventHubError

from hublog_local import BASIC_MESSAGE_BYTES, LocalHub

#: The official package does not close the socket of a connection that was reset.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def send(producer, *bodies, **place):
    producer.send_batch([EventData(body) for body in bodies], **place)


def test_a_batch_arrives_with_bodies_and_properties(hub, make_producer):
    producer = make_producer(hub)
    batch = producer.create_batch()
    event = EventData(b"\x00binary")
    event.properties = {"text": "é", "number": 5, "real": 1.5, "yes": True, "bytes": b"x"}
    event.content_type = "application/json"
    event.message_id = "one"
    batch.add(event)
    batch.add(EventData("text é"))
    producer.send_batch(batch)
    first, second = hub.wait_for(2)
    assert batch.max_size_in_bytes == 1 << 20
    assert first.body == b"\x00binary"
    assert first.properties == {"text": "é", "number": 5, "real": 1.5, "yes": True, "bytes": b"x"}
    assert (first.content_type, first.message_id) == ("application/json", "one")
    assert second.body.decode() == "text é"
    assert (second.sequence_number, second.partition_id) == (1, first.partition_id)
    assert datetime.now(UTC) - first.enqueued_at < timedelta(minutes=1)


def test_partition_ids_and_keys_decide_the_partition(make_hub, make_producer):
    hub = make_hub({"logs": 4})
    producer = make_producer(hub)
    send(producer, "to two", partition_id="2")
    send(producer, "a", "b", partition_key="user")
    send(producer, "c", partition_key="user")
    events = {event.body: event for event in hub.wait_for(4)}
    assert events[b"to two"].partition_id == "2"
    assert len({events[body].partition_id for body in (b"a", b"b", b"c")}) == 1
    assert {events[body].partition_key for body in (b"a", b"b", b"c")} == {"user"}


def test_properties_of_hub_and_partition_can_be_read(hub, make_producer):
    producer = make_producer(hub)
    assert producer.get_eventhub_properties()["partition_ids"] == ["0", "1"]
    empty = producer.get_partition_properties("0")
    assert (empty["is_empty"], empty["last_enqueued_sequence_number"]) == (True, -1)
    send(producer, "a", "b", partition_id="0")
    found = producer.get_partition_properties("0")
    last = hub.events()[-1]
    assert found["is_empty"] is False
    assert found["last_enqueued_sequence_number"] == 1
    assert found["last_enqueued_offset"] == last.offset
    assert found["last_enqueued_time_utc"] == last.enqueued_at


def test_an_event_of_a_megabyte_goes_in_and_out(hub, make_producer, subscribe):
    body = "x" * 1_000_000
    send(make_producer(hub), body)
    assert hub.wait_for(1)[0].body == body.encode()
    assert subscribe(hub, starting_position="-1").wait(1) == [body]


def test_hubs_of_one_namespace_are_apart(make_hub, make_producer):
    hub = make_hub({"logs": 1, "Other": 3})
    send(make_producer(hub, "logs"), "one")
    send(make_producer(hub, "other"), "two")
    assert [event.body for event in hub.events("logs")] == [b"one"]
    assert [event.body for event in hub.wait_for(1, hub="OTHER")] == [b"two"]
    assert hub.events_total() == {"logs": 1, "Other": 1}


def test_the_buffered_producer_delivers_and_tells(hub):
    done = []
    producer = EventHubProducerClient.from_connection_string(
        hub.connection_string("logs"), buffered_mode=True, max_wait_time=0.1,
        on_success=lambda events, partition: done.extend(events), on_error=lambda *error: done.append(error),
    )  # fmt: skip
    with producer:
        for number in range(50):
            producer.send_event(EventData(str(number)))
        producer.flush(timeout=20)
    assert sorted(int(event.body) for event in hub.wait_for(50)) == list(range(50))
    assert len(done) == 50


def test_an_unknown_hub_is_refused_as_not_found(hub, make_producer):
    with pytest.raises(ConnectionLostError) as caught:
        send(make_producer(hub, "nowhere"), "lost")
    assert caught.value.error == "not-found"


def test_a_right_key_is_taken_and_a_wrong_one_refused(make_hub, make_producer):
    hub = make_hub(keys={"policy": "c2VjcmV0"})
    send(make_producer(hub), "let in")
    wrong = hub.connection_string("logs").replace("c2VjcmV0", "d3Jvbmc=")
    producer = EventHubProducerClient.from_connection_string(wrong, retry_total=0, retry_backoff_factor=0)
    with producer, pytest.raises(AuthenticationError):
        send(producer, "kept out")
    assert [event.body for event in hub.events()] == [b"let in"]
    assert hub.statistics()["tokens_refused_total"] >= 1


class Credential:
    """Gives a token of some identity provider."""

    def get_token(self, *scopes, **_):
        return AccessToken("head.body.signature", int(datetime.now(UTC).timestamp()) + 3600)


def test_a_token_credential_is_taken_where_there_are_no_keys(hub):
    producer = EventHubProducerClient(f"127.0.0.1:{hub.port}", "logs", Credential(), use_tls=False)
    with producer:
        send(producer, "let in")
    assert len(hub.wait_for(1)) == 1


def test_the_size_of_basic_is_announced_and_enforced(make_hub, make_producer):
    producer = make_producer(make_hub(max_message_bytes=BASIC_MESSAGE_BYTES))
    assert producer.create_batch().max_size_in_bytes == 262144
    with pytest.raises(EventHubError):
        producer.send_event(EventData("x" * 300_000))


POSITIONS = {
    "earliest": ({"starting_position": "-1"}, ["0", "1", "2", "3", "4"]),
    "offset": ({"starting_position": "OFFSET"}, ["3", "4"]),
    "offset inclusive": (
        {"starting_position": "OFFSET", "starting_position_inclusive": True},
        ["2", "3", "4"],
    ),
    "sequence number": ({"starting_position": 2}, ["3", "4"]),
    "sequence number inclusive": (
        {"starting_position": 2, "starting_position_inclusive": True},
        ["2", "3", "4"],
    ),
    "enqueued time": ({"starting_position": "TIME"}, ["3", "4"]),
    "enqueued time inclusive": (
        {"starting_position": "TIME", "starting_position_inclusive": True},
        ["2", "3", "4"],
    ),
}


@pytest.fixture(scope="module")
def filled():
    """Five events in one partition, at different times."""
    with LocalHub({"logs": 1}) as hub:
        producer = EventHubProducerClient.from_connection_string(hub.connection_string("logs"))
        with producer:
            for number in range(5):
                while hub.events() and datetime.now(UTC) - hub.events()[-1].enqueued_at < timedelta(
                    milliseconds=5
                ):
                    pass
                send(producer, str(number))
        hub.wait_for(5)
        yield hub


def test_every_consumer_begins_where_it_wants(filled, subscribe):
    third = filled.events()[2]
    places = {"OFFSET": third.offset, "TIME": third.enqueued_at}
    started = {}
    for name, (settings, bodies) in POSITIONS.items():
        start = settings["starting_position"]
        place = {**settings, "starting_position": places.get(start, start)}
        started[name] = (subscribe(filled, **place), len(bodies))
    found = {name: subscription.wait(number) for name, (subscription, number) in started.items()}
    assert found == {name: bodies for name, (_, bodies) in POSITIONS.items()}


def wait_for_readers(hub, number):
    deadline = threading.Event()
    for _ in range(2000):
        if hub.statistics()["readers"] == number:
            return
        deadline.wait(0.01)
    raise AssertionError(hub.statistics())


def test_the_latest_position_gives_only_what_comes(filled, subscribe, make_producer):
    subscription = subscribe(filled, starting_position="@latest")
    wait_for_readers(filled, 1)
    send(make_producer(filled), "new")
    assert subscription.wait(1) == ["new"]


def test_an_open_consumer_gets_events_with_their_places_as_they_come(hub, subscribe, make_producer):
    subscription = subscribe(hub, starting_position="-1", track_last_enqueued_event_properties=True)
    wait_for_readers(hub, 2)
    send(make_producer(hub), "live", partition_key="k")
    assert subscription.wait(1) == ["live"]
    event, stored = subscription.events[0], hub.events()[0]
    assert (event.sequence_number, event.offset) == (stored.sequence_number, stored.offset)
    assert (event.enqueued_time, event.partition_key) == (stored.enqueued_at, b"k")
    assert subscription.metrics[0]["sequence_number"] == 0
    assert subscription.metrics[0]["offset"] == stored.offset
    assert subscription.metrics[0]["enqueued_time"] == stored.enqueued_at


def test_a_thousand_events_are_read_in_their_order(hub, subscribe, make_producer):
    producer = make_producer(hub)
    for part in range(10):
        send(producer, *(str(part * 100 + number) for number in range(100)), partition_id="0")
    assert subscribe(hub, starting_position="-1").wait(1000) == [str(number) for number in range(1000)]


def test_a_consumer_with_a_higher_epoch_takes_the_partition(make_hub, subscribe, make_producer):
    hub = make_hub({"logs": 1})
    first = subscribe(hub, starting_position="-1", partition_id="0", owner_level=1)
    wait_for_readers(hub, 1)
    second = subscribe(hub, starting_position="-1", partition_id="0", owner_level=2)
    assert "stolen" in str(first.wait_for_error()[0])
    third = subscribe(hub, starting_position="-1", partition_id="0")
    assert "epoch of '2'" in str(third.wait_for_error()[0])
    send(make_producer(hub), "mine")
    assert second.wait(1) == ["mine"]


def test_the_async_clients_send_and_receive(hub):
    async def run():
        connection = hub.connection_string("logs")
        async with AsyncProducer.from_connection_string(connection) as producer:
            batch = await producer.create_batch(partition_key="k")
            batch.add(EventData("one"))
            await producer.send_batch(batch)
            await producer.send_event(EventData("x" * 500_000))
            assert (await producer.get_eventhub_properties())["eventhub_name"] == "logs"
        bodies, done = [], asyncio.Event()

        async def take(_context, event):
            bodies.append(event.body_as_str())
            if len(bodies) == 2:
                done.set()

        consumer = AsyncConsumer.from_connection_string(connection, "$Default", load_balancing_interval=0.5)
        async with consumer:
            task = asyncio.create_task(consumer.receive(take, starting_position="-1"))
            await asyncio.wait_for(done.wait(), 20)
            await consumer.close()
            await task
        return sorted(bodies, key=len)

    assert asyncio.run(run()) == ["one", "x" * 500_000]
