"""The sender on networks as companies have them, with the official package, real proxies and real TLS."""

import contextlib
import gc
import os
import socket
import ssl
import sys
import time
import warnings
from datetime import UTC, datetime, timedelta

import proxy as proxy_py
import pytest
import trustme
from tests.senders import peers
from tests.senders.peers import Peer

from hublog.errors import PermanentSendError, TransientSendError
from hublog.senders.event_hub import EventHubSender
from hublog.settings import read_settings
from hublog_local import LocalHub

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")
PASSWORD = "p@ss/w#rd"
LOGIN = "send:p%40ss%2Fw%23rd"
KEY = "SharedAccessKeyName=send;SharedAccessKey=a2V5a2V5"
NETWORK = ("HTTPS_PROXY", "https_proxy", "HTTP_PROXY", "http_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE")


@pytest.fixture(autouse=True)
def own_network(monkeypatch):
    for name in NETWORK:
        monkeypatch.delenv(name, raising=False)
    yield monkeypatch
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <s", ResourceWarning)
        gc.collect()


@pytest.fixture(scope="module")
def authority():
    return trustme.CA(organization_name="Shop Root")


@pytest.fixture(scope="module")
def ca_file(authority, tmp_path_factory):
    path = tmp_path_factory.mktemp("ca") / "ca.pem"
    authority.cert_pem.write_to_path(path)
    return str(path)


def server_context(authority, *names, **dates):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert(*(names or ("127.0.0.1",)), **dates).configure_cert(context)
    return context


@pytest.fixture
def hub(authority):
    with LocalHub({"logs": 1}, keys={"send": "a+key=="}, ssl_context=server_context(authority)) as started:
        yield started


@pytest.fixture
def make_sender():
    with contextlib.ExitStack() as stack:

        def make(connection, *, step_s=None, **names):
            environ = {"EVENTHUB_NAMESPACE_CONNECTION_STRING": connection, "EVENTHUB_LOGS_NAME": "logs"}
            settings = read_settings(environ=environ | names).strict().eventhub
            options = {"socket_timeout": step_s} if step_s else {}
            sender = EventHubSender(settings, options=options)
            stack.callback(sender.close)
            return sender

        yield make


def bodies(hub):
    return [bytes(event.body) for event in hub.events()]


def failure(sender, kind):
    """Return the error of a send, which must not take long."""
    begun = time.monotonic()
    with pytest.raises(kind) as error:
        sender.send([b"secret"], {})
    assert time.monotonic() - begun < 30
    assert PASSWORD not in str(error.value)
    assert LOGIN not in str(error.value)
    return error.value


# What works.


@pytest.mark.parametrize("transport", ["amqp", "websocket"])
def test_an_authority_of_ones_own_is_named_by_a_setting(hub, make_sender, ca_file, transport):
    names = {"EVENTHUB_LOG_CA_FILE": ca_file, "EVENTHUB_LOG_TRANSPORT": transport}
    assert make_sender(hub.connection_string(), **names).send([b"x"], {}) == 1
    assert bodies(hub) == [b"x"]
    assert hub.statistics()["websockets_total"] == (1 if transport == "websocket" else 0)


@pytest.mark.parametrize("transport", ["amqp", "websocket"])
def test_an_authority_of_ones_own_is_named_by_the_variable_of_openssl(
    hub, make_sender, ca_file, transport, own_network
):
    own_network.setenv("SSL_CERT_FILE", ca_file)
    assert make_sender(hub.connection_string(), EVENTHUB_LOG_TRANSPORT=transport).send([b"x"], {}) == 1


@pytest.mark.parametrize("transport", ["amqp", "websocket"])
def test_another_endpoint_is_connected_to_for_the_same_namespace(hub, make_sender, ca_file, transport):
    sender = make_sender(
        f"Endpoint=sb://shop.servicebus.windows.net/;{KEY}",
        EVENTHUB_LOG_ENDPOINT=f"https://127.0.0.1:{hub.port}/",
        EVENTHUB_LOG_TRANSPORT=transport,
        EVENTHUB_LOG_CA_FILE=ca_file,
    )
    # The key is another one: the hub refuses the token, and so was reached.
    assert "the namespace refused the token (401" in str(failure(sender, PermanentSendError))
    assert hub.statistics()["tokens_refused_total"] == 1


@pytest.mark.parametrize("login", ["", f"send:{PASSWORD}"], ids=["open", "with a login"])
def test_a_real_proxy_carries_the_records(hub, make_sender, ca_file, login):
    arguments = ["--hostname", "127.0.0.1", "--port", "0", "--num-workers", "1", "--num-acceptors", "1"]
    arguments += ["--log-level", "ERROR", *(["--basic-auth", login] if login else [])]
    with proxy_py.Proxy(arguments) as running:
        place = f"127.0.0.1:{running.flags.port}"
        sender = make_sender(
            hub.connection_string(),
            EVENTHUB_LOG_PROXY=f"http://{LOGIN}@{place}" if login else place,
            EVENTHUB_LOG_CA_FILE=ca_file,
        )
        assert sender.send([b"x", b"y" * 900_000], {}) == 2
        sender.close()
    assert len(bodies(hub)) == 2


def test_the_proxy_of_the_environment_carries_the_records(hub, make_sender, ca_file, own_network):
    with Peer(peers.tunnelling(f"send:{PASSWORD}")) as proxy:
        own_network.setenv("HTTPS_PROXY", f"http://{LOGIN}@127.0.0.1:{proxy.port}")
        names = {"EVENTHUB_LOG_TRANSPORT": "websocket", "EVENTHUB_LOG_CA_FILE": ca_file}
        sender = make_sender(hub.connection_string(), **names)
        assert sender.send([b"x"], {}) == 1
        assert proxy.taken >= 1
        sender.close()


@pytest.mark.parametrize("named_by", ["EVENTHUB_LOG_PROXY", "HTTPS_PROXY"])
def test_an_excepted_host_is_reached_without_the_proxy(hub, make_sender, ca_file, own_network, named_by):
    with Peer(peers.closing) as proxy:
        own_network.setenv("NO_PROXY", "localhost,127.0.0.0/8")
        own_network.setenv(named_by, f"127.0.0.1:{proxy.port}")
        names = {"EVENTHUB_LOG_TRANSPORT": "websocket", "EVENTHUB_LOG_CA_FILE": ca_file}
        names[named_by] = os.environ[named_by]
        assert make_sender(hub.connection_string(), **names).send([b"x"], {}) == 1
        assert proxy.taken == 0


def test_a_proxy_of_the_environment_has_no_part_in_plain_amqp(hub, make_sender, ca_file, own_network):
    own_network.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    assert make_sender(hub.connection_string(), EVENTHUB_LOG_CA_FILE=ca_file).send([b"x"], {}) == 1


def test_an_emulator_is_reached_inside_websockets_without_tls(make_sender):
    with LocalHub({"logs": 1}) as hub:
        sender = make_sender(hub.connection_string(), EVENTHUB_LOG_TRANSPORT="websocket")
        assert sender.send([b"x"], {}) == 1
        assert hub.statistics()["websockets_total"] == 1
        sender.close()


# What does not, told apart by its cause.


def endpoint(port, host="127.0.0.1"):
    return f"Endpoint=sb://{host}:{port}/;{KEY}"


def free_port():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return taken.getsockname()[1]


@pytest.mark.parametrize("transport", ["amqp", "websocket"])
def test_a_refused_connection(make_sender, transport):
    port = free_port()
    error = failure(make_sender(endpoint(port), EVENTHUB_LOG_TRANSPORT=transport), TransientSendError)
    assert error.cause == f"connection refused by 127.0.0.1:{port}"
    assert f"port {port} of the namespace" in error.advice


@pytest.mark.parametrize("transport", ["amqp", "websocket"])
def test_a_name_that_does_not_resolve(make_sender, transport):
    sender = make_sender(endpoint(443, "no-such-host.invalid"), EVENTHUB_LOG_TRANSPORT=transport)
    error = failure(sender, TransientSendError)
    assert error.cause.startswith("host name not found: no-such-host.invalid (")
    assert "DNS" in error.advice


PAST = datetime(2020, 1, 1, tzinfo=UTC)
TLS_FAULTS = {
    "unknown authority": ({}, None, "unable to get local issuer certificate", "EVENTHUB_LOG_CA_FILE"),
    "another name": ({"names": ("other.example.com",)}, True, "IP address mismatch", "certificate"),
    "expired": ({"not_before": PAST, "not_after": PAST + timedelta(days=1)}, True, "has expired", "clock"),
    "of tomorrow": (
        {"not_before": datetime.now(UTC) + timedelta(days=1), "not_after": datetime.now(UTC) + timedelta(2)},
        True,
        "is not yet valid",
        "clock",
    ),
}


@pytest.mark.parametrize("way", ["amqp", "websocket", "proxy"])
@pytest.mark.parametrize("fault", TLS_FAULTS)
def test_a_certificate_that_is_not_good(make_sender, authority, ca_file, way, fault):
    made, is_trusted, why, advised = TLS_FAULTS[fault]
    dates = {name: value for name, value in made.items() if name != "names"}
    context = server_context(authority, *made.get("names", ()), **dates)
    names = {"EVENTHUB_LOG_CA_FILE": ca_file} if is_trusted else {}
    with Peer(peers.silent, context=context) as server, Peer(peers.tunnelling()) as proxy:
        if way == "proxy":
            names["EVENTHUB_LOG_PROXY"] = f"127.0.0.1:{proxy.port}"
        else:
            names["EVENTHUB_LOG_TRANSPORT"] = way
        error = failure(make_sender(endpoint(server.port), **names), PermanentSendError)
    assert error.cause.startswith(f"TLS certificate verify failed for 127.0.0.1:{server.port}: ")
    assert why in error.cause
    assert advised in error.advice


@pytest.mark.parametrize("transport", ["amqp", "websocket"])
def test_a_server_that_speaks_no_tls(make_sender, transport):
    with Peer(peers.greeting) as server:
        error = failure(
            make_sender(endpoint(server.port), EVENTHUB_LOG_TRANSPORT=transport), TransientSendError
        )
    assert error.cause.startswith(f"TLS handshake with 127.0.0.1:{server.port} failed (")
    assert "host and port" in error.advice


@pytest.mark.parametrize("transport", ["amqp", "websocket"])
@pytest.mark.parametrize(("serve", "how"), [(peers.closing, "closed in"), (peers.resetting, "was reset")])
def test_a_connection_that_is_ended_in_the_handshake(make_sender, transport, serve, how):
    with Peer(serve) as server:
        error = failure(
            make_sender(endpoint(server.port), EVENTHUB_LOG_TRANSPORT=transport), TransientSendError
        )
    assert error.cause.startswith(f"connection to 127.0.0.1:{server.port} was ")
    assert how in error.cause


@pytest.mark.parametrize(("serve", "how"), [(peers.closing, "was closed"), (peers.resetting, "was reset")])
def test_an_emulator_that_ends_the_connection(make_sender, serve, how):
    with Peer(serve) as server:
        error = failure(
            make_sender(f"{endpoint(server.port)};UseDevelopmentEmulator=true"), TransientSendError
        )
    assert error.cause.startswith(f"connection to 127.0.0.1:{server.port} {how}")


UPGRADES = {
    "not found": ("HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n", "refused by {} (404)", True),
    "no right": ("HTTP/1.1 403 Forbidden\r\nContent-Length: 4\r\n\r\nsorr", "refused by {} (403)", True),
    "busy": ("HTTP/1.1 503 Unavailable\r\nContent-Length: 0\r\n\r\n", "refused by {} (503)", False),
    "a page": ("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi", "refused by {} (200)", True),
    "another subprotocol": (
        "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
        "failed: {} answered something else",
        False,
    ),
    "rubbish": ("220 mail.example.com ESMTP\r\n\r\n", "{}", False),
}


@pytest.mark.parametrize("name", UPGRADES)
def test_an_upgrade_that_is_refused(make_sender, authority, ca_file, name):
    text, said, is_permanent = UPGRADES[name]
    with Peer(peers.answering(text), context=server_context(authority)) as server:
        names = {"EVENTHUB_LOG_TRANSPORT": "websocket", "EVENTHUB_LOG_CA_FILE": ca_file}
        kind = PermanentSendError if is_permanent else TransientSendError
        error = failure(make_sender(endpoint(server.port), **names), kind)
    assert said.format(f"127.0.0.1:{server.port}") in error.cause
    assert error.cause.startswith("WebSocket upgrade")


def test_an_upgrade_without_an_answer(make_sender, authority, ca_file):
    with Peer(peers.silent, context=server_context(authority)) as server:
        names = {"EVENTHUB_LOG_TRANSPORT": "websocket", "EVENTHUB_LOG_CA_FILE": ca_file}
        error = failure(make_sender(endpoint(server.port), step_s=0.3, **names), TransientSendError)
    assert error.cause == f"WebSocket upgrade timed out: no answer from 127.0.0.1:{server.port}"


PROXIES = {
    "another login": (peers.tunnelling("other:login"), "refused the login (407)", True),
    "no right": (peers.answering("HTTP/1.1 403 Forbidden\r\n\r\n"), "refused the tunnel to {} (403)", True),
    "no way": (peers.answering("HTTP/1.1 502 Bad Gateway\r\n\r\n"), "refused the tunnel to {} (502)", False),
    "busy": (peers.answering("HTTP/1.1 503 Busy\r\n\r\n"), "refused the tunnel to {} (503)", False),
    "rubbish": (peers.answering("what?\r\n\r\n"), "gave no valid answer to the request", False),
    "closed": (peers.closing, "closed the connection to the request", False),
    "silent": (peers.silent, "did not answer in time to the request", False),
}


@pytest.mark.parametrize("name", PROXIES)
def test_a_proxy_that_opens_no_tunnel(make_sender, name):
    serve, said, is_permanent = PROXIES[name]
    with Peer(serve) as proxy:
        place = f"127.0.0.1:{proxy.port}"
        sender = make_sender(endpoint(443), step_s=0.3, EVENTHUB_LOG_PROXY=f"http://{LOGIN}@{place}")
        error = failure(sender, PermanentSendError if is_permanent else TransientSendError)
    assert error.cause.startswith(f"proxy {place} {said.format('127.0.0.1:443')}")
    assert error.advice


def test_a_proxy_that_wants_a_login_and_gets_none(make_sender):
    with Peer(peers.tunnelling("a:b")) as proxy:
        sender = make_sender(endpoint(443), EVENTHUB_LOG_PROXY=f"127.0.0.1:{proxy.port}")
        error = failure(sender, PermanentSendError)
    assert error.cause == f"proxy 127.0.0.1:{proxy.port} refused the tunnel without a login (407)"
    assert "EVENTHUB_LOG_PROXY" in error.advice


def test_a_proxy_that_is_reached_by_tls_is_no_http_proxy(make_sender, authority):
    with Peer(peers.silent, context=server_context(authority)) as proxy:
        sender = make_sender(endpoint(443), step_s=0.5, EVENTHUB_LOG_PROXY=f"127.0.0.1:{proxy.port}")
        error = failure(sender, TransientSendError)
    assert error.cause.startswith(f"proxy 127.0.0.1:{proxy.port} ")


def test_a_proxy_where_nobody_listens_and_one_that_does_not_resolve(make_sender):
    port = free_port()
    error = failure(make_sender(endpoint(443), EVENTHUB_LOG_PROXY=f"127.0.0.1:{port}"), TransientSendError)
    assert error.cause == f"connection refused by proxy 127.0.0.1:{port}"
    error = failure(
        make_sender(endpoint(443), EVENTHUB_LOG_PROXY="no-such-proxy.invalid"), TransientSendError
    )
    assert error.cause.startswith("host name not found: no-such-proxy.invalid (")


def test_a_proxy_of_the_environment_that_cannot_be_used_is_named(make_sender, own_network):
    own_network.setenv("HTTPS_PROXY", f"https://{LOGIN}@127.0.0.1:1")
    error = failure(make_sender(endpoint(443), EVENTHUB_LOG_TRANSPORT="websocket"), PermanentSendError)
    assert error.cause.startswith("HTTPS_PROXY names an https proxy, which is not supported")


@pytest.mark.parametrize("transport", ["amqp", "websocket"])
def test_an_address_that_the_client_cannot_connect_to_is_named(make_sender, transport):
    error = failure(
        make_sender(endpoint(443, "[fd00::4]"), EVENTHUB_LOG_TRANSPORT=transport), PermanentSendError
    )
    assert error.cause == "azure-eventhub cannot connect to an IPv6 address (fd00::4)"


def test_a_missing_package_for_websockets_is_named(make_sender, monkeypatch):
    monkeypatch.setitem(sys.modules, "websocket", None)
    error = failure(make_sender(endpoint(443), EVENTHUB_LOG_TRANSPORT="websocket"), PermanentSendError)
    assert "EVENTHUB_LOG_TRANSPORT=websocket needs websocket-client" in error.cause
    assert "hublog[websocket]" in error.advice


@pytest.mark.parametrize(
    ("make", "why"),
    [
        (lambda path: None, "No such file"),
        (lambda path: path.write_text("no certificate"), "no certificates in PEM form"),
        (lambda path: path.mkdir(), ""),
    ],
    ids=["missing", "rubbish", "a directory"],
)
def test_a_file_of_certificates_that_cannot_be_used_is_named(make_sender, tmp_path, make, why):
    path = tmp_path / "ca.pem"
    make(path)
    error = failure(make_sender(endpoint(443), EVENTHUB_LOG_CA_FILE=str(path)), PermanentSendError)
    assert error.cause.startswith(f"EVENTHUB_LOG_CA_FILE is {path}, which cannot be used (")
    assert why in error.cause
