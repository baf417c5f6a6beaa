"""The doctor on networks as companies have them: each step is tried, and the one that fails is named."""

import ssl
import sys
import time

import pytest
import trustme
from tests.doctor.conftest import KEY
from tests.senders import peers
from tests.senders.peers import Peer

from hublog_local import LocalHub

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")
PASSWORD = "p@ss/w#rd"
LOGIN = "send:p%40ss%2Fw%23rd"
REAL = f"Endpoint=sb://{{}}/;SharedAccessKeyName=sender;SharedAccessKey={KEY}"
WAY = ["connection", "dns", "tcp", "proxy", "tls", "websocket", "event hub", "send"]


@pytest.fixture(autouse=True)
def own_network(monkeypatch):
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "SSL_CERT_FILE"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture(scope="module")
def authority():
    return trustme.CA(organization_name="Shop Root")


@pytest.fixture
def trust(authority, tmp_path):
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    return {"EVENTHUB_LOG_CA_FILE": str(tmp_path / "ca.pem")}


@pytest.fixture
def context(authority):
    found = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(found)
    return found


@pytest.fixture
def hub(context):
    with LocalHub({"logs": 1}, keys={"sender": KEY}, ssl_context=context) as started:
        yield started


def way_of(found):
    return [what for what, _ in found.steps if what in WAY]


# All is well.


def test_each_hop_to_a_hub_behind_a_proxy_is_tried_and_named(hub, doctor, trust):
    with Peer(peers.tunnelling(f"send:{PASSWORD}")) as proxy:
        names = {"EVENTHUB_LOG_PROXY": f"http://{LOGIN}@127.0.0.1:{proxy.port}", **trust}
        found = doctor(hub.connection_string(), sends_record=True, **names)
    assert found.failed == []
    assert way_of(found) == WAY
    place = f"127.0.0.1:{hub.port}"
    assert f"AMQP over WebSockets, proxy 127.0.0.1:{proxy.port} of EVENTHUB_LOG_PROXY" in found.lines.replace(
        "\n", " "
    ).replace("  ", "")
    assert f"opens a tunnel to {place}" in found.one("proxy").detail
    assert found.one("tls").detail.endswith("signed by Shop Root")
    assert found.one("websocket").detail == f"{place} accepts AMQP over WebSockets"
    assert hub.statistics()["websockets_total"] >= 2
    assert PASSWORD not in found.lines + found.json
    assert LOGIN not in found.lines + found.json


@pytest.mark.parametrize(("transport", "steps"), [("amqp", ["tls"]), ("websocket", ["tls", "websocket"])])
def test_a_transport_has_its_own_steps(hub, doctor, trust, transport, steps):
    found = doctor(hub.connection_string(), EVENTHUB_LOG_TRANSPORT=transport, **trust)
    assert found.failed == []
    assert way_of(found) == ["connection", "dns", "tcp", *steps, "event hub"]


def test_another_endpoint_is_named_beside_the_namespace(hub, doctor, trust):
    names = {"EVENTHUB_LOG_ENDPOINT": f"127.0.0.1:{hub.port}", **trust}
    found = doctor(REAL.format("shop.servicebus.windows.net"), **names)
    text = f"at shop.servicebus.windows.net, reached at 127.0.0.1:{hub.port}, key of"
    assert text in found.one("connection").detail
    assert found.failed == []


# What fails, and where the way ends.


@pytest.mark.parametrize(
    ("serve", "said"),
    [
        (peers.tunnelling("other:login"), "refused the login (407)"),
        (peers.answering("HTTP/1.1 403 Forbidden\r\n\r\n"), "refused the tunnel to 127.0.0.1:443 (403)"),
        (peers.answering("HTTP/1.1 502 Bad\r\n\r\n"), "refused the tunnel to 127.0.0.1:443 (502)"),
        (peers.answering("what?\r\n\r\n"), "gave no valid answer"),
        (peers.closing, "gave no valid answer"),
        (peers.silent, "did not answer in time"),
    ],
    ids=["login", "forbidden", "gateway", "rubbish", "closed", "silent"],
)
def test_a_proxy_that_opens_no_tunnel_skips_the_steps_after_it(doctor, serve, said):
    begun = time.monotonic()
    with Peer(serve) as proxy:
        names = {"EVENTHUB_LOG_PROXY": f"http://{LOGIN}@127.0.0.1:{proxy.port}"}
        found = doctor(REAL.format("127.0.0.1"), budget={"step_s": 0.5}, **names)
    assert time.monotonic() - begun < 30
    assert found.failed == ["proxy"]
    assert way_of(found) == WAY[:4]
    assert f"proxy 127.0.0.1:{proxy.port} {said}" in found.one("proxy").detail
    assert found.one("proxy").hint.endswith(".")
    assert PASSWORD not in found.lines + found.json
    assert LOGIN not in found.lines + found.json


def test_a_proxy_where_nobody_listens_and_one_without_a_name(doctor):
    found = doctor(REAL.format("127.0.0.1"), EVENTHUB_LOG_PROXY="127.0.0.1:1")
    assert found.one("tcp").detail == "connection refused by proxy 127.0.0.1:1"
    assert "EVENTHUB_LOG_PROXY" in found.one("tcp").hint
    found = doctor(REAL.format("127.0.0.1"), EVENTHUB_LOG_PROXY="no-such-proxy.invalid:3128")
    assert found.one("dns").detail.startswith("host name not found: no-such-proxy.invalid (")


def test_a_proxy_of_the_environment_that_cannot_be_used_skips_the_steps_after_it(doctor, own_network):
    own_network.setenv("HTTPS_PROXY", f"socks5://{LOGIN}@127.0.0.1:1")
    found = doctor(REAL.format("127.0.0.1"), EVENTHUB_LOG_TRANSPORT="websocket")
    assert found.failed == ["connection"]
    assert "HTTPS_PROXY names a SOCKS proxy, which is not supported" in found.one("connection").detail
    assert LOGIN not in found.lines + found.json


@pytest.mark.parametrize("way", ["amqp", "websocket", "proxy"])
def test_an_authority_that_is_not_known_is_reported_with_the_setting(hub, doctor, way, own_network):
    own_network.setenv("SSL_CERT_FILE", "/no/such.pem")
    with Peer(peers.tunnelling()) as proxy:
        names = {"EVENTHUB_LOG_TRANSPORT": way}
        if way == "proxy":
            names = {"EVENTHUB_LOG_PROXY": f"127.0.0.1:{proxy.port}"}
        found = doctor(hub.connection_string(), **names)
    assert found.failed == ["tls"]
    assert "TLS certificate verify failed for" in found.one("tls").detail
    assert "EVENTHUB_LOG_CA_FILE" in found.one("tls").hint
    assert "SSL_CERT_FILE is /no/such.pem, which cannot be read." in found.one("tls").hint


def test_a_file_of_certificates_that_cannot_be_used_is_named(hub, doctor, tmp_path):
    found = doctor(hub.connection_string(), EVENTHUB_LOG_CA_FILE=str(tmp_path / "none.pem"))
    assert found.failed == ["tls"]
    assert "EVENTHUB_LOG_CA_FILE is" in found.one("tls").detail


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("HTTP/1.1 404 Not Found\r\n\r\n", "WebSocket upgrade refused by 127.0.0.1:{} (404)"),
        ("220 mail\r\n\r\n", "WebSocket upgrade failed: 127.0.0.1:{} answered something else"),
    ],
)
def test_a_host_that_takes_no_websocket_is_named(doctor, trust, context, text, said):
    with Peer(peers.answering(text), context=context) as server:
        names = {"EVENTHUB_LOG_TRANSPORT": "websocket", **trust}
        found = doctor(REAL.format(f"127.0.0.1:{server.port}"), **names)
    assert found.failed == ["websocket"]
    assert found.one("websocket").detail == said.format(server.port)


def test_a_host_that_does_not_answer_to_the_upgrade_times_out(doctor, trust, context):
    with Peer(peers.silent, context=context) as server:
        names = {"EVENTHUB_LOG_TRANSPORT": "websocket", **trust}
        found = doctor(REAL.format(f"127.0.0.1:{server.port}"), budget={"step_s": 0.5}, **names)
    assert found.failed == ["websocket"]
    assert "timed out" in found.one("websocket").detail


# Signing in.


SIGN_INS = {
    "nonsense": ("Invalid value for AZURE_TOKEN_CREDENTIALS", "AZURE_"),
    "EnvironmentCredential": (
        "sign-in failed: no credential is available here (tried Environment)",
        "Azure Event Hubs Data Sender",
    ),
}


@pytest.mark.parametrize("chain", SIGN_INS)
def test_a_sign_in_that_fails_ends_with_advice(hub, doctor, trust, own_network, chain):
    for name in ("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_CLIENT_SECRET"):
        own_network.delenv(name, raising=False)
    own_network.setenv("AZURE_TOKEN_CREDENTIALS", chain)
    said, hint = SIGN_INS[chain]
    settings = {
        "EVENTHUB_FULLY_QUALIFIED_NAMESPACE": "shop.servicebus.windows.net",
        "EVENTHUB_LOG_ENDPOINT": f"127.0.0.1:{hub.port}",
    }
    found = doctor(**settings, **trust)
    assert found.failed == ["event hub"]
    assert said in found.one("event hub").detail
    assert hint in found.one("event hub").hint
    assert "report this" not in found.lines


def test_a_missing_package_for_websockets_is_named(hub, doctor, trust, monkeypatch):
    monkeypatch.setitem(sys.modules, "websocket", None)
    found = doctor(hub.connection_string(), EVENTHUB_LOG_TRANSPORT="websocket", **trust)
    assert found.failed == ["event hub"]
    assert "hublog[websocket]" in found.one("event hub").hint
