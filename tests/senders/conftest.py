"""The sender with the official package, against a local hub: without TLS as in development, and with it."""

import contextlib
import gc
import ssl
import subprocess
import warnings

import pytest
from azure.eventhub import TransportType

from hublog.senders.event_hub import EventHubSender
from hublog.settings import EventHubSettings
from hublog_local import LocalHub


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself, and its key, as paths."""
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder / "certificate.pem", folder / "key.pem"


@pytest.fixture
def wire(request):
    """How the hub is reached: ``plain`` unless the test says ``tls``, or either of them inside WebSockets."""
    return getattr(request, "param", "plain")


@pytest.fixture
def hub(wire, certificate):
    context = None
    if wire.endswith("tls"):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*certificate)
    with LocalHub({"logs": 1}, ssl_context=context) as started:
        yield started


@pytest.fixture
def options(wire, hub, certificate):
    """What the client needs to reach the hub."""
    found = {}
    if wire.endswith("tls"):
        found = {
            "custom_endpoint_address": f"sb://127.0.0.1:{hub.port}",
            "transport_type": TransportType.Amqp,
            "connection_verify": str(certificate[0]),
        }
    if wire.startswith("websocket"):
        found |= {
            "custom_endpoint_address": f"sb://127.0.0.1:{hub.port}",
            "transport_type": TransportType.AmqpOverWebsocket,
        }
    return found


@pytest.fixture
def make_sender(hub, options):
    """Make senders that are closed at the end."""
    settings = EventHubSettings(connection_string=hub.connection_string(), eventhub_name="logs")
    with contextlib.ExitStack() as stack:

        def make(**more):
            sender = EventHubSender(settings, options={**options, **more})
            stack.callback(sender.close)
            return sender

        yield make
    # Without TLS the official package forgets to close the socket of a connection that was reset.
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <socket", ResourceWarning)
        gc.collect()


@pytest.fixture
def sender(make_sender):
    return make_sender()
