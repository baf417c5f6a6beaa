import base64
import contextlib
import hashlib
import hmac
import inspect
import ssl
import sys
import threading
import time
import urllib.parse

import pytest
from azure.eventhub import EventHubProducerClient

from hublog.errors import (
    EventTooLargeError,
    PermanentSendError,
    RejectedSendError,
    SendError,
    TransientSendError,
)
from hublog.senders.event_hub import DEFAULT_SEND_BYTES, EventHubSender, connect_producer
from hublog.settings import EventHubSettings, read_settings
from hublog_local import BASIC_MESSAGE_BYTES, LocalHub

LIMIT_S = 20
NOBODY = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=a2V5;UseDevelopmentEmulator=true"

#: Without TLS the client is looked at in another way than with it.
both_wires = pytest.mark.parametrize("wire", ["plain", "tls"], indirect=True)
with_tls = pytest.mark.parametrize("wire", ["tls"], indirect=True)
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def bodies(hub):
    return [bytes(event.body) for event in hub.events()]


def connections_of(hub):
    return hub.statistics()["connections_total"]


# Where nobody is.


def test_a_broken_connection_string_is_a_permanent_error_without_the_key():
    sender = EventHubSender(EventHubSettings(connection_string="Endpoint=;SharedAccessKey=verysecret"))
    with pytest.raises(PermanentSendError, match="EVENTHUB_NAMESPACE_CONNECTION_STRING") as error:
        sender.send([b"{}"], {})
    assert "verysecret" not in str(error.value)
    assert error.value.__cause__ is None


def test_a_hub_that_refuses_fails_within_a_moment():
    sender = EventHubSender(EventHubSettings(connection_string=NOBODY))
    with pytest.raises(TransientSendError):
        sender.send([b"{}"], {})
    sender.close()


def test_opening_in_vain_is_no_error_and_closing_twice_neither():
    sender = EventHubSender(EventHubSettings(connection_string=NOBODY))
    sender.open()
    sender.close()
    sender.close()


def test_a_sender_that_was_never_used_can_be_cut():
    sender = EventHubSender(EventHubSettings(connection_string=NOBODY))
    sender.cut()
    sender.open()
    with pytest.raises(TransientSendError):
        sender.send([b"{}"], {})


# With a hub.


@both_wires
def test_what_is_sent_arrives_with_its_properties(hub, sender):
    sender.open()
    assert sender.send([b"one", b"two"], {"Compression": "gzip"}) == 2
    assert bodies(hub) == [b"one", b"two"]
    assert connections_of(hub) == 1


def test_as_many_are_sent_as_the_link_takes_at_once():
    with LocalHub({"logs": 1}, max_message_bytes=BASIC_MESSAGE_BYTES) as hub:
        sender = EventHubSender(
            EventHubSettings(connection_string=hub.connection_string(), eventhub_name="logs")
        )
        assert sender.max_send_bytes == DEFAULT_SEND_BYTES
        assert sender.send([bytes(100_000)] * 4, {}) == 2
        assert sender.max_send_bytes == BASIC_MESSAGE_BYTES
        with pytest.raises(EventTooLargeError) as error:
            sender.send([bytes(300_000)], {})
        assert error.value.limit_bytes == BASIC_MESSAGE_BYTES
        assert len(bodies(hub)) == 2
        sender.close()


def test_a_client_made_by_another_is_used_as_it_is():
    class Client:
        def create_batch(self):
            raise OSError("a client of another kind")

        def close(self):
            pass

    sender = EventHubSender(EventHubSettings(), connect=lambda settings: Client())
    with pytest.raises(TransientSendError, match="of another kind"):
        sender.send([b"x"], {})


@with_tls
def test_a_certificate_that_is_not_trusted_is_refused(hub, make_sender):
    sender = make_sender(connection_verify=None)
    with pytest.raises(SendError):
        sender.send([b"secret"], {})
    assert bodies(hub) == []


@with_tls
def test_a_certificate_for_another_host_is_refused(hub, make_sender):
    sender = make_sender(custom_endpoint_address=f"sb://127.0.0.2:{hub.port}")
    with pytest.raises(SendError):
        sender.send([b"secret"], {})
    assert bodies(hub) == []


def test_a_refusal_of_what_is_sent_says_why_and_keeps_the_connection(hub, sender):
    hub.faults.add("reject", condition="com.microsoft:argument-error", description="Not this.", times=None)
    for _ in range(2):
        with pytest.raises(RejectedSendError, match=r"argument-error.*Not this\."):
            sender.send([b"refused"], {})
    before = connections_of(hub)
    hub.faults.clear()
    assert sender.send([b"taken"], {}) == 1
    assert bodies(hub) == [b"taken"]
    assert connections_of(hub) == before


def test_a_refusal_without_a_reason_may_be_the_fault_of_what_is_sent(hub, sender):
    hub.faults.add("reject-bare", times=None)
    with pytest.raises(RejectedSendError, match="unknown-error"):
        sender.send([b"refused"], {})


def test_a_busy_hub_is_not_connected_to_again_and_again(hub, sender):
    hub.faults.add("reject", description="Throttled. Please wait 7 seconds and try again.", times=None)
    with pytest.raises(TransientSendError) as error:
        sender.send([b"x"], {})
    assert error.value.retry_after_s == 7.0
    before = connections_of(hub)
    for _ in range(3):
        with pytest.raises(TransientSendError):
            sender.send([b"x"], {})
    assert connections_of(hub) == before


@pytest.mark.parametrize(
    ("condition", "kind"),
    [
        ("com.microsoft:timeout", TransientSendError),
        ("amqp:internal-error", TransientSendError),
        ("amqp:unauthorized-access", PermanentSendError),
        ("amqp:link:message-size-exceeded", EventTooLargeError),
    ],
)
def test_refusals_for_other_reasons_are_no_fault_of_the_records(hub, sender, condition, kind):
    hub.faults.add("reject", condition=condition, times=None)
    with pytest.raises(kind):
        sender.send([b"x"], {})


@pytest.mark.parametrize(("status", "kind"), [(401, PermanentSendError), (500, TransientSendError)])
def test_a_refused_token_is_permanent_unless_the_hub_is_in_trouble(hub, sender, status, kind):
    hub.faults.add("refuse-token", status=status, times=None)
    with pytest.raises(kind):
        sender.send([b"x"], {})


def test_a_connection_that_was_lost_is_made_again(hub, sender):
    sender.send([b"first"], {})
    hub.drop_connections()
    try:
        sender.send([b"second"], {})
    except TransientSendError:
        sender.send([b"second"], {})
    assert bodies(hub) == [b"first", b"second"]


@both_wires
def test_after_a_cut_without_a_send_the_next_one_connects_again(hub, sender):
    sender.send([b"first"], {})
    sender.cut()
    assert sender.send([b"second"], {}) == 1
    assert bodies(hub) == [b"first", b"second"]


@both_wires
def test_cuts_at_any_moment_leave_a_sender_that_works(hub, sender):
    is_over = threading.Event()

    def cut():
        while not is_over.wait(0.003):
            sender.cut()

    thread = threading.Thread(target=cut)
    thread.start()
    try:
        for _ in range(8):
            sender.open()
            with contextlib.suppress(SendError):
                sender.send([b"x"], {})
    finally:
        is_over.set()
        thread.join(LIMIT_S)
    assert sender.send([b"y"], {}) == 1


# Without a key.


def test_the_way_without_a_key_checks_certificates_too():
    settings = EventHubSettings(fully_qualified_namespace="shop.servicebus.windows.net")
    _, client = connect_producer(settings, {})
    with client:
        context = client._config.ssl_context
        assert context.check_hostname
        assert context.verify_mode is ssl.CERT_REQUIRED


def test_a_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.identity", None)
    sender = EventHubSender(EventHubSettings(fully_qualified_namespace="shop.servicebus.windows.net"))
    with pytest.raises(PermanentSendError, match=r"hublog\[identity\]"):
        sender.send([b"{}"], {})


# With a token in place of a key.


def signed(hub, key, *, lifetime_s=3600):
    """A connection string with a token for the namespace, as a generator makes it."""
    resource = urllib.parse.quote(f"sb://127.0.0.1:{hub.port}", safe="").lower()
    expiry = int(time.time() + lifetime_s)
    digest = hmac.new(key.encode(), f"{resource}\n{expiry}".encode(), hashlib.sha256).digest()
    signature = urllib.parse.quote(base64.b64encode(digest).decode(), safe="")
    token = f"SharedAccessSignature sr={resource}&sig={signature}&se={expiry}&skn=send"
    return f"Endpoint=sb://127.0.0.1:{hub.port};UseDevelopmentEmulator=true;SharedAccessSignature={token}"


def test_a_token_in_the_connection_string_is_taken_by_a_hub_that_checks_it():
    with LocalHub({"logs": 1}, keys={"send": "a+key/with=="}) as hub:
        environ = {
            "EVENTHUB_NAMESPACE_CONNECTION_STRING": f'"{signed(hub, "a+key/with==")}"',
            "EVENTHUB_LOGS_NAME": "logs",
        }
        sender = EventHubSender(read_settings(environ=environ).strict().eventhub)
        assert sender.send([b"signed"], {}) == 1
        assert bodies(hub) == [b"signed"]
        sender.close()


def test_a_token_that_is_signed_with_another_key_is_refused():
    with LocalHub({"logs": 1}, keys={"send": "a key"}) as hub:
        settings = EventHubSettings(connection_string=signed(hub, "another"), eventhub_name="logs")
        sender = EventHubSender(settings)
        with pytest.raises(PermanentSendError):
            sender.send([b"signed"], {})
        sender.close()


# Clients that are built otherwise.


def test_a_client_that_knows_no_tls_context_is_kept_in_sight_by_its_own_class(monkeypatch):
    def from_connection_string(conn_str, *, eventhub_name=None, connection_verify=None, **kwargs):
        return kwargs

    monkeypatch.setattr(EventHubProducerClient, "from_connection_string", from_connection_string)
    settings = EventHubSettings(connection_string=NOBODY.replace(";UseDevelopmentEmulator=true", ""))
    _, options = connect_producer(settings, {})
    assert "ssl_context" not in options
    assert options["amqp_transport"].__name__ == "Watched"


@both_wires
def test_a_client_whose_inside_has_changed_sends_but_cannot_be_cut(hub, make_sender, monkeypatch):
    monkeypatch.setitem(sys.modules, "azure.eventhub._transport._pyamqp_transport", None)
    monkeypatch.setattr(inspect, "signature", lambda _: inspect.Signature())
    sender = make_sender()
    assert sender.send([b"first"], {}) == 1
    sender.cut()
    assert sender.send([b"second"], {}) == 1
    assert bodies(hub) == [b"first", b"second"]
