"""The way to the namespace, as sender, doctor and log lines take it."""

from pathlib import Path

import pytest
from websocket._url import get_proxy_info

from hublog.settings import Transport, read_settings
from hublog.settings.route import is_excepted, route_of

PASSWORD = "S3cretS3cret"
NAMESPACE = "shop.servicebus.windows.net"
CONNECTION = f"Endpoint=sb://{NAMESPACE}/;SharedAccessKeyName=send;SharedAccessKey=a2V5a2V5a2V5"
EMULATOR = "Endpoint=sb://127.0.0.1:5999;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true"


def read(connection=CONNECTION, **environ):
    return read_settings(environ={"EVENTHUB_NAMESPACE_CONNECTION_STRING": connection, **environ})


def route(connection=CONNECTION, **environ):
    return route_of(read(connection, **environ).strict().eventhub, environ)


@pytest.mark.parametrize(
    ("connection", "environ", "place"),
    [
        (CONNECTION, {}, f"{NAMESPACE}:5671"),
        (CONNECTION.replace("net/", "net:5999/"), {}, f"{NAMESPACE}:5999"),
        (CONNECTION, {"EVENTHUB_LOG_TRANSPORT": "websocket"}, f"{NAMESPACE}:443"),
        (
            CONNECTION.replace("net/", "net:5671/"),
            {"EVENTHUB_LOG_TRANSPORT": "websocket"},
            f"{NAMESPACE}:443",
        ),
        (
            CONNECTION.replace("net/", "net:8443/"),
            {"EVENTHUB_LOG_TRANSPORT": "websocket"},
            f"{NAMESPACE}:8443",
        ),
        (CONNECTION, {"EVENTHUB_LOG_ENDPOINT": "10.0.0.4"}, "10.0.0.4:5671"),
        (CONNECTION, {"EVENTHUB_LOG_ENDPOINT": "https://gw.example.com:8443/"}, "gw.example.com:8443"),
        (CONNECTION, {"EVENTHUB_LOG_ENDPOINT": "[fd00::4]:443"}, "[fd00::4]:443"),
        (EMULATOR, {}, "127.0.0.1:5999"),
        (EMULATOR.replace(":5999", ""), {}, "127.0.0.1:5672"),
        (EMULATOR, {"EVENTHUB_LOG_TRANSPORT": "websocket"}, "127.0.0.1:5999"),
        (EMULATOR.replace(":5999", ""), {"EVENTHUB_LOG_TRANSPORT": "websocket"}, "127.0.0.1:80"),
        ("", {"EVENTHUB_FULLY_QUALIFIED_NAMESPACE": NAMESPACE}, f"{NAMESPACE}:5671"),
    ],
)
def test_host_and_port_are_those_that_the_client_connects_to(connection, environ, place):
    assert route(connection, **environ).place == place


def test_the_namespace_stays_what_the_token_is_for():
    found = route(EVENTHUB_LOG_ENDPOINT="gw.example.com")
    assert (found.namespace, found.host) == (NAMESPACE, "gw.example.com")


@pytest.mark.parametrize(
    ("stated", "proxy"),
    [
        ("http://proxy:3128", ("proxy", 3128, "", "")),
        ("proxy:3128", ("proxy", 3128, "", "")),
        ("proxy", ("proxy", 80, "", "")),
        ("HTTP://Proxy.example.com/", ("proxy.example.com", 80, "", "")),
        (f"http://send:{PASSWORD}@proxy:3128", ("proxy", 3128, "send", PASSWORD)),
        (f"send:{PASSWORD}@proxy:3128", ("proxy", 3128, "send", PASSWORD)),
        ("http://a%40b:p%2Fq%23@10.0.0.1:8080/", ("10.0.0.1", 8080, "a@b", "p/q#")),
        ("http://[fd00::1]:3128", ("fd00::1", 3128, "", "")),
    ],
)
@pytest.mark.parametrize("name", ["EVENTHUB_LOG_PROXY", "HTTPS_PROXY", "https_proxy"])
def test_a_proxy_is_read_from_the_setting_or_from_the_environment(stated, proxy, name):
    found = route(EVENTHUB_LOG_TRANSPORT="websocket", **{name: stated}).proxy
    assert (found.host, found.port, found.username, found.password) == proxy
    assert found.source == name
    assert PASSWORD not in repr(found) + found.place


def test_a_proxy_that_is_stated_sends_inside_websockets_and_wins_over_the_environment():
    found = route(EVENTHUB_LOG_PROXY="ours:1", HTTPS_PROXY="theirs:2")
    assert found.transport is Transport.WEBSOCKET
    assert found.proxy.place == "ours:1"


def test_a_proxy_of_the_environment_does_not_change_the_transport():
    found = route(HTTPS_PROXY="http://proxy:3128")
    assert (found.transport, found.proxy, found.port) == (Transport.AMQP, None, 5671)


def test_a_default_in_the_yaml_file_does_not_keep_the_proxy_from_being_used():
    document = {"logging": {"eventhub_logging": {"transport": "${EVENTHUB_LOG_TRANSPORT:-amqp}"}}}
    found = read_settings(environ={"EVENTHUB_LOG_PROXY": "proxy:1"}, document=document).strict()
    assert found.eventhub.transport is Transport.WEBSOCKET


def test_a_proxy_and_plain_amqp_contradict_each_other():
    reading = read(EVENTHUB_LOG_PROXY=f"http://u:{PASSWORD}@proxy:1", EVENTHUB_LOG_TRANSPORT="amqp")
    [problem] = reading.problems
    assert problem.startswith("EVENTHUB_LOG_PROXY is set, but EVENTHUB_LOG_TRANSPORT is amqp")
    assert PASSWORD not in problem
    assert reading.settings.eventhub.proxy == ""
    assert reading.settings.eventhub.transport is Transport.AMQP


@pytest.mark.parametrize(
    ("stated", "seen"),
    [
        (f"https://send:{PASSWORD}@proxy:3128", "names an https proxy, which is not supported"),
        (f"socks5://send:{PASSWORD}@proxy:3128", "names a SOCKS proxy, which is not supported"),
        (f"ftp://send:{PASSWORD}@proxy", "names another kind of proxy, which is not supported"),
        (f"http://send:{PASSWORD}/x@proxy:3128", "is not the address of a proxy"),
        (f"http://send:{PASSWORD}@", "is not the address of a proxy"),
        (f"http://send:{PASSWORD}@proxy:99999", "is not the address of a proxy"),
        (f"http://send:{PASSWORD}@proxy/path", "is not the address of a proxy"),
    ],
)
def test_a_proxy_that_cannot_be_used_is_a_problem_without_its_password(stated, seen):
    [problem] = read(EVENTHUB_LOG_PROXY=stated).problems
    assert problem.startswith(f"EVENTHUB_LOG_PROXY {seen}")
    found = route(EVENTHUB_LOG_TRANSPORT="websocket", HTTPS_PROXY=stated)
    assert found.proxy is None
    assert found.proxy_problem.startswith(f"HTTPS_PROXY {seen}")
    assert PASSWORD not in problem + found.proxy_problem


@pytest.mark.parametrize("value", [5, True, ["http://proxy:1"], b"http://proxy:1"])
def test_a_proxy_of_a_wrong_type_is_a_problem(value):
    reading = read_settings(framework={"EVENTHUB_LOG_PROXY": value}.get, environ={})
    assert len(reading.problems) == 1
    assert "proxy:1" not in reading.problems[0]


def test_no_repr_holds_the_password_of_a_proxy():
    reading = read(EVENTHUB_LOG_PROXY=f"http://send:{PASSWORD}@proxy:3128")
    assert PASSWORD not in repr(reading) + repr(reading.settings) + repr(route_of(reading.settings.eventhub))


@pytest.mark.parametrize(
    ("host", "no_proxy", "expected"),
    [
        (NAMESPACE, "", False),
        (NAMESPACE, "localhost, .servicebus.windows.net", True),
        (NAMESPACE, "windows.net", True),
        (NAMESPACE, "ServiceBus.Windows.Net", False),
        (NAMESPACE, NAMESPACE, True),
        (NAMESPACE, "bus.windows.net", False),
        (NAMESPACE, "*", True),
        (NAMESPACE, "10.0.0.0/8,other.example.com", False),
        ("10.1.2.3", "10.0.0.0/8", True),
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.3", "not/a/network, 192.168.0.0/16", False),
        ("fd00::4", "fd00::/8", True),
    ],
)
def test_a_host_may_be_excepted_from_the_proxy(host, no_proxy, expected, monkeypatch):
    assert is_excepted(host, no_proxy) is expected
    # The client's package decides by itself, from the environment: it must come to the same.
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", no_proxy)
    assert (get_proxy_info(host, is_secure=True, proxy_host="proxy", proxy_port=1)[0] is None) is expected


@pytest.mark.parametrize("name", ["NO_PROXY", "no_proxy"])
@pytest.mark.parametrize("proxy", ["EVENTHUB_LOG_PROXY", "HTTPS_PROXY"])
def test_an_excepted_host_is_reached_directly(name, proxy):
    environ = {proxy: "proxy:3128", "EVENTHUB_LOG_TRANSPORT": "websocket", name: ".windows.net"}
    found = route(**environ)
    assert (found.proxy, found.port) == (None, 443)


def test_an_emulator_without_tls_takes_the_proxy_for_http():
    environ = {"EVENTHUB_LOG_TRANSPORT": "websocket", "HTTPS_PROXY": "a:1", "HTTP_PROXY": "b:2"}
    assert route(EMULATOR, **environ).proxy.place == "b:2"


@pytest.mark.parametrize(
    "value",
    ["a b", "ftp://gw", "https://gw/path", "gw:0", "gw:99999", "u:p@gw", "gw?x=1", "-", "", "https://"],
)
def test_an_endpoint_is_a_host_and_perhaps_a_port(value):
    reading = read(EVENTHUB_LOG_ENDPOINT=value)
    assert reading.settings.eventhub.endpoint == ""
    assert len(reading.problems) == (1 if value else 0)


def test_a_file_of_certificates_is_a_path():
    assert route(EVENTHUB_LOG_CA_FILE="/etc/ca.pem").ca_file == Path("/etc/ca.pem")
