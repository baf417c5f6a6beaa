"""Every fault as the official client sees it, without its retries."""

import contextlib
import threading
import time
from pathlib import Path

import pytest
from azure.eventhub import EventData
from azure.eventhub.exceptions import (
    AuthenticationError,
    ConnectError,
    ConnectionLostError,
    EventDataSendError,
    EventHubError,
    OperationTimeoutError,
)

from hublog_local import FaultKind

#: The official package does not close the socket of a connection that was reset.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def send(producer, body="body", **settings):
    batch = producer.create_batch()
    batch.add(EventData(body))
    producer.send_batch(batch, **settings)


def bodies(hub):
    return [event.body.decode() for event in hub.events()]


@pytest.fixture
def producer(hub, make_producer):
    """A producer whose link is open."""
    made = make_producer(hub)
    send(made, "first")
    return made


class Hanging:
    """A send in a thread, which the client never ends by itself."""

    def __init__(self, producer):
        self.outcome = None
        self._thread = threading.Thread(target=self._run, args=(producer,), daemon=True)
        self._thread.start()

    def _run(self, producer):
        try:
            send(producer, "hanging")
            self.outcome = "sent"
        except EventHubError as error:
            self.outcome = error

    def hangs(self):
        self._thread.join(0.1)
        return self._thread.is_alive()

    def wait(self):
        self._thread.join(20)
        assert not self._thread.is_alive()
        return self.outcome


# Connections.


@pytest.mark.parametrize("kind", ["refuse", "close-open"])
def test_a_refused_connection_is_an_error_until_the_fault_is_over(hub, make_producer, kind):
    fault = hub.faults.add(kind, times=None)
    with pytest.raises(EventHubError):
        send(make_producer(hub))
    assert fault.fired_total >= 1
    hub.faults.clear()
    send(make_producer(hub))
    assert bodies(hub) == ["body"]


def test_a_hub_that_does_not_listen_is_a_connect_error_and_comes_back_on_its_port(hub, make_producer):
    port = hub.port
    hub.stop_listening()
    with pytest.raises(ConnectError):
        send(make_producer(hub))
    hub.start_listening()
    assert hub.port == port
    send(make_producer(hub))
    assert bodies(hub) == ["body"]


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("silent", {}),
        ("silent-open", {}),
        ("silent-attach", {}),
        ("silent-attach", {"hub": "$cbs"}),
        ("refuse-attach", {"hub": "$cbs", "times": None}),
        ("withhold-token", {}),
    ],
    ids=str,
)
def test_a_silent_hub_hangs_the_client_until_its_connection_is_dropped(hub, make_producer, kind, settings):
    fault = hub.faults.add(kind, **settings)
    hanging = Hanging(make_producer(hub))
    assert fault.wait()
    assert hanging.hangs()
    hub.faults.clear()
    hub.drop_connections()
    hanging.wait()
    assert bodies(hub) in ([], ["hanging"])


def test_a_slow_connection_carries_so_many_bytes_a_second(hub, make_producer):
    fault = hub.faults.add("slow", bytes_per_s=4000)
    begun = time.monotonic()
    send(make_producer(hub), "x" * 4000)
    assert time.monotonic() - begun > 1
    assert fault.fired_total == 1
    assert bodies(hub) == ["x" * 4000]


def test_dropped_connections_are_made_again_by_the_next_send(hub, producer):
    assert hub.drop_connections() >= 1
    try:
        send(producer, "second")
    except EventHubError:
        send(producer, "second")
    assert bodies(hub).count("second") == 1


# Tokens.


@pytest.mark.parametrize("status", [401, 500])
def test_a_refused_token_is_an_authentication_error(hub, make_producer, status):
    hub.faults.add("refuse-token", status=status, times=None, description="no")
    with pytest.raises(AuthenticationError):
        send(make_producer(hub))


def test_a_token_that_expires_detaches_the_link(hub, make_producer):
    hub.faults.add("expire-token", seconds=0, times=None)
    producer = make_producer(hub)
    with pytest.raises(EventHubError):
        send(producer)
    hub.faults.clear()
    send(make_producer(hub))
    assert bodies(hub) == ["body"]


def test_expired_tokens_are_renewed_by_a_new_connection(hub, make_producer):
    producer = make_producer(hub, retry_total=3)
    send(producer, "first")
    hub.expire_tokens()
    send(producer, "second")
    assert sorted(bodies(hub)) == ["first", "second"]


def test_a_consumer_is_detached_when_its_token_expires(hub, subscribe, producer):
    subscription = subscribe(hub, starting_position="-1")
    subscription.wait(1)
    hub.expire_tokens()
    assert "ExpiredToken" in str(subscription.wait_for_error()[0])


# Links and requests.


@pytest.mark.parametrize(
    ("condition", "error", "name"),
    [
        ("amqp:unauthorized-access", ConnectionLostError, "unauthorized-access"),
        ("amqp:not-found", ConnectionLostError, "not-found"),
        ("com.microsoft:server-busy", ConnectError, "server-busy"),
        ("com.microsoft:entity-disabled", ConnectError, "entity-disabled"),
    ],
)
def test_a_refused_link_tells_why(hub, make_producer, condition, error, name):
    hub.faults.add("refuse-attach", condition=condition, times=None)
    with pytest.raises(error) as caught:
        send(make_producer(hub))
    assert caught.value.error == name


def test_a_refused_management_request_is_an_error(hub, make_producer):
    hub.faults.add("refuse-request", status=500, times=None, description="broken")
    with pytest.raises(EventHubError):
        make_producer(hub).get_eventhub_properties()


def test_a_withheld_answer_hangs_until_the_connection_is_dropped(hub, make_producer):
    fault = hub.faults.add("withhold-reply")
    producer = make_producer(hub)

    def ask():
        with pytest.raises(EventHubError):
            producer.get_eventhub_properties()

    thread = threading.Thread(target=ask, daemon=True)
    thread.start()
    assert fault.wait()
    thread.join(0.1)
    assert thread.is_alive()
    hub.drop_connections()
    thread.join(20)
    assert not thread.is_alive()


# Deliveries.


@pytest.mark.parametrize(
    ("condition", "name"),
    [
        ("com.microsoft:server-busy", "server-busy"),
        ("amqp:unauthorized-access", "unauthorized-access"),
        ("amqp:link:message-size-exceeded", "link:message-size-exceeded"),
        ("com.microsoft:timeout", "timeout"),
    ],
)
def test_a_rejected_delivery_is_not_stored_and_tells_why(hub, producer, condition, name):
    hub.faults.add("reject", condition=condition, times=None)
    with pytest.raises(EventDataSendError) as caught:
        send(producer, "rejected")
    assert caught.value.error.endswith(name)
    assert bodies(hub) == ["first"]


def test_a_rejection_without_an_error_is_a_send_error(hub, producer):
    hub.faults.add("reject-bare", times=None)
    with pytest.raises(EventDataSendError):
        send(producer, "rejected")
    assert bodies(hub) == ["first"]


@pytest.mark.parametrize("kind", ["reject-short", "release", "modify", "swallow", "withhold", "mute"])
def test_an_outcome_the_client_cannot_take_hangs_it_until_its_connection_is_dropped(hub, producer, kind):
    fault = hub.faults.add(kind)
    hanging = Hanging(producer)
    assert fault.wait()
    assert hanging.hangs()
    assert bodies(hub) == (["first", "hanging"] if kind == "withhold" else ["first"])
    hub.drop_connections()
    hanging.wait()


@pytest.mark.parametrize("kind", ["detach", "close", "drop", "drop-frame"])
def test_a_delivery_that_is_cut_off_is_not_stored(hub, producer, kind):
    fault = hub.faults.add(kind, times=None)
    with pytest.raises(EventHubError):
        send(producer, "lost")
    assert fault.fired_total >= 1
    assert bodies(hub) == ["first"]
    hub.faults.clear()
    send(producer, "found")
    assert bodies(hub).count("found") == 1


def test_an_ended_session_stores_nothing_and_the_client_gets_on_once_its_connection_is_dropped(hub, producer):
    fault = hub.faults.add("end")
    hanging = Hanging(producer)
    assert fault.wait()
    hanging.hangs()
    hub.drop_connections()
    hanging.wait()
    send(producer, "found")
    assert bodies(hub).count("found") == 1
    assert bodies(hub).count("hanging") <= 1


def test_a_large_delivery_is_cut_off_in_its_middle(hub, producer):
    fault = hub.faults.add("drop-frame", after=5)
    with contextlib.suppress(EventHubError):
        send(producer, "x" * 900_000)
    assert fault.fired_total == 1
    assert all(len(body) in (5, 900_000) for body in bodies(hub))


def test_a_delivery_stored_before_the_drop_comes_twice(hub, producer):
    hub.faults.add("store-and-drop")
    try:
        send(producer, "twice")
    except EventHubError:
        send(producer, "twice")
    assert bodies(hub).count("twice") == 2


def test_a_late_settlement_is_waited_for(hub, producer):
    hub.faults.add("delay", seconds=0.5)
    begun = time.monotonic()
    send(producer, "late")
    assert time.monotonic() - begun >= 0.45
    assert bodies(hub).count("late") == 1


def test_a_withheld_settlement_ends_with_the_time_limit_of_the_send(hub, producer):
    hub.faults.add("withhold", times=None)
    with pytest.raises(OperationTimeoutError):
        send(producer, "withheld", timeout=0.5)


def test_faults_begin_after_so_many_deliveries(hub, producer):
    fault = hub.faults.add("reject", after=3, times=None)
    for number in range(3):
        send(producer, str(number))
    with pytest.raises(EventDataSendError):
        send(producer, "rejected")
    assert sorted(bodies(hub)) == ["0", "1", "2", "first"]
    assert fault.fired_total >= 1


def test_every_kind_of_fault_is_tried_here():
    source = Path(__file__).read_text(encoding="utf-8")
    assert [kind for kind in FaultKind if f'"{kind}"' not in source] == []
