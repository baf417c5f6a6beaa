"""A client of frames, and clients of the official package with all of their retries off."""

import contextlib
import gc
import socket
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest
from azure.eventhub import EventHubConsumerClient, EventHubProducerClient

from hublog_local import LocalHub
from hublog_local.amqp.frames import (
    SASL_FRAME,
    Attach,
    Begin,
    Flow,
    Open,
    SaslInit,
    Transfer,
    frame_size,
    read_frame,
    write_frame,
)
from hublog_local.amqp.messages import SectionCode, write_section
from hublog_local.amqp.types import Described, Symbol, ULong

LIMIT_S = 20
ANONYMOUS = SaslInit("ANONYMOUS")


class RawClient:
    """Speaks frames over a socket; reads what comes, with a time limit."""

    def __init__(self, hub, *, login=True):
        self.socket = socket.create_connection(("127.0.0.1", hub.port), timeout=LIMIT_S)
        self.buffer = b""
        if login:
            self.log_in()

    def log_in(self, init=ANONYMOUS):
        self.socket.sendall(b"AMQP\x03\x01\x00\x00")
        assert self.read(8) == b"AMQP\x03\x01\x00\x00"
        self.receive()
        self.send(init, kind=SASL_FRAME)
        outcome = self.receive().performative
        if outcome.code == 0:
            self.socket.sendall(b"AMQP\x00\x01\x00\x00")
            assert self.read(8) == b"AMQP\x00\x01\x00\x00"
        return outcome.code

    def begin(self, *, max_frame_size=65536, incoming_window=5000, idle_time_out=None):
        self.send(Open("raw", max_frame_size=max_frame_size, idle_time_out=idle_time_out))
        opened = self.receive().performative
        self.send(Begin(None, 0, incoming_window, 5000))
        self.receive()
        return opened

    def send(self, performative, *, channel=0, kind=0, payload=b""):
        data = write_frame(performative, channel=channel, kind=kind, payload_bytes=len(payload))
        self.socket.sendall(data + payload)

    def attach_sender(self, address, *, handle=0):
        target = Described(ULong(0x29), [address])
        source = Described(ULong(0x28), [])
        self.send(
            Attach(f"sender-{handle}", handle, False, source=source, target=target, initial_delivery_count=0)
        )
        return self.receive().performative

    def attach_receiver(self, address, *, handle=1, mode=None, selector=None, **fields):
        filters = {Symbol("apache.org:selector-filter:string"): selector} if selector else None
        source = Described(ULong(0x28), [address, *[None] * 6, filters])
        target = Described(ULong(0x29), [f"reply-{handle}"])
        name = f"receiver-{handle}"
        self.send(Attach(name, handle, True, snd_settle_mode=mode, source=source, target=target, **fields))
        return self.receive().performative

    def transfer(self, body, *, number=0, handle=0, **fields):
        message = write_section(SectionCode.DATA, body)
        self.send(Transfer(handle, number, b"tag", 0, **fields), payload=message)

    def give_credit(self, credit, *, handle=1, seen=0, incoming_window=5000, next_incoming_id=0, **fields):
        self.send(Flow(next_incoming_id, incoming_window, 0, 5000, handle, seen, credit, **fields))

    def read(self, number):
        while len(self.buffer) < number:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("closed")
            self.buffer += data
        data, self.buffer = self.buffer[:number], self.buffer[number:]
        return data

    def receive(self):
        head = self.read(8)
        return read_frame(memoryview(head + self.read(frame_size(memoryview(head), 1 << 20) - 8)))

    def receive_until(self, kind):
        while True:
            frame = self.receive()
            if isinstance(frame.performative, kind):
                return frame

    def wait_for_end(self):
        """Read until the peer ends the connection."""
        with contextlib.suppress(ConnectionError):
            while True:
                self.buffer = b""
                self.read(1)

    def close(self):
        self.socket.close()


@pytest.fixture
def make_hub():
    """Start hubs that are stopped at the end."""
    with contextlib.ExitStack() as stack:
        yield lambda hubs=None, **settings: stack.enter_context(LocalHub(hubs or {"logs": 2}, **settings))


@pytest.fixture
def hub(make_hub):
    return make_hub()


@pytest.fixture
def make_raw():
    """Open raw connections that are closed at the end."""
    with contextlib.ExitStack() as stack:

        def make(hub, **settings):
            client = RawClient(hub, **settings)
            stack.callback(client.close)
            return client

        yield make


@contextlib.contextmanager
def sockets_left_behind():
    """Collect the sockets that the official package forgets to close after a reset."""
    yield
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)
        gc.collect()


@pytest.fixture
def make_producer():
    """Make producers of the official package that do not retry."""
    with sockets_left_behind(), contextlib.ExitStack() as stack:

        def make(hub, name="logs", **settings):
            settings = {"retry_total": 0, "retry_backoff_factor": 0, **settings}
            producer = EventHubProducerClient.from_connection_string(
                hub.connection_string(), eventhub_name=name, **settings
            )
            return stack.enter_context(producer)

        yield make


class Subscription:
    """A consumer of the official package, in a thread of its own."""

    def __init__(self, hub, name, settings, client_settings):
        self.events = []
        self.errors = []
        self.metrics = []
        self._changed = threading.Condition()
        self._client = EventHubConsumerClient.from_connection_string(
            hub.connection_string(),
            "$Default",
            eventhub_name=name,
            load_balancing_interval=0.5,
            **{"retry_total": 0, "retry_backoff_factor": 0, **client_settings},
        )
        self._thread = threading.Thread(
            # One by one the client takes one event for each turn of all partitions, 0.2 s for an empty one.
            target=self._client.receive_batch,
            kwargs={"on_event_batch": self._take, "on_error": self._note, **settings},
            daemon=True,
        )
        self._thread.start()

    def _take(self, context, events):
        with self._changed:
            self.events += events
            self.metrics.append(context.last_enqueued_event_properties)
            self._changed.notify_all()

    def _note(self, context, error):
        with self._changed:
            self.errors.append(error)
            self._changed.notify_all()

    def wait(self, number, timeout_s=LIMIT_S):
        with self._changed:
            self._changed.wait_for(lambda: len(self.events) >= number, timeout_s)
            return [event.body_as_str() for event in self.events]

    def wait_for_error(self, timeout_s=LIMIT_S):
        with self._changed:
            self._changed.wait_for(lambda: self.errors, timeout_s)
            return self.errors

    def close(self):
        self._client.close()
        self._thread.join(LIMIT_S)
        assert not self._thread.is_alive()


@pytest.fixture
def subscribe():
    """Read with the official package until the end of the test."""
    started = []

    def start(hub, name="logs", client_settings=None, **settings):
        started.append(Subscription(hub, name, settings, client_settings or {}))
        return started[-1]

    with sockets_left_behind(), ThreadPoolExecutor(max_workers=8) as pool:  # each close takes a second
        yield start
        list(pool.map(Subscription.close, started))
