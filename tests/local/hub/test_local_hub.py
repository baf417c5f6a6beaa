import asyncio
import contextlib
import gc
import logging
import os
import socket
import ssl
import subprocess
import sys
import threading
from types import SimpleNamespace

import pytest
from azure.eventhub import EventData, TransportType

from hublog_local import ControlClient, LocalHub, StoredEvent
from hublog_local.errors import LocalHubError

#: The official package does not close the socket of a connection that was reset.
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <socket:ResourceWarning")


def send(producer, body="body"):
    batch = producer.create_batch()
    batch.add(EventData(body))
    producer.send_batch(batch)


def hub_threads():
    return [thread for thread in threading.enumerate() if thread.name == "hublog-local-hub"]


def test_it_starts_on_a_free_port_and_leaves_nothing_behind():
    with LocalHub({"logs": 1}) as hub:
        assert hub.port > 0
        assert len(hub_threads()) == 1
    assert hub_threads() == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", hub.port), timeout=5)


def test_it_stops_while_clients_are_connected(make_raw):
    with LocalHub({"logs": 1}) as hub:
        client = make_raw(hub)
        client.begin()
    client.wait_for_end()
    assert hub_threads() == []


def test_it_stops_although_a_client_does_not_read(make_raw):
    with LocalHub({"logs": 1}) as hub:
        client = make_raw(hub)
        client.begin()
        client.attach_sender("logs", handle=9)
        for number in range(40):
            client.transfer(b"x" * 60_000, number=number, handle=9, settled=True)
        hub.wait_for(40)
        client.attach_receiver("logs/ConsumerGroups/g/Partitions/0")
        client.give_credit(1000)
        client.receive()
    assert hub_threads() == []


def test_stop_is_harmless_before_the_start_and_after_the_end():
    hub = LocalHub({"logs": 1})
    hub.stop()
    with LocalHub({"logs": 1}) as hub:
        hub.stop()
        hub.stop()


def test_it_starts_once():
    with LocalHub({"logs": 1}) as hub, pytest.raises(LocalHubError, match="make a new LocalHub"):
        hub.start()


def test_a_new_hub_on_the_same_port_serves_the_old_clients(make_producer):
    with LocalHub({"logs": 1}) as hub:
        producer = make_producer(hub, retry_total=3)
        send(producer, "before")
        port = hub.port
    with LocalHub({"logs": 1}, port=port) as hub:
        send(producer, "after")
        assert [event.body for event in hub.wait_for(1)] == [b"after"]


def test_a_taken_port_is_reported_with_what_to_do(hub):
    with pytest.raises(LocalHubError, match=rf"Port {hub.port} .* taken .*\(0 takes a free one\)"):
        LocalHub({"logs": 1}, port=hub.port).start()


def test_an_invalid_port_is_reported():
    with pytest.raises(LocalHubError, match="1 to 65535"):
        LocalHub({"logs": 1}, port=70000).start()


def test_the_port_is_ours_again_after_a_pause(hub):
    hub.stop_listening()
    with socket.socket() as other:
        other.bind(("127.0.0.1", hub.port))
        other.listen()
        with pytest.raises(LocalHubError, match="taken"):
            hub.start_listening()
    hub.start_listening()
    hub.start_listening()
    socket.create_connection(("127.0.0.1", hub.port), timeout=5).close()


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.5", "example.com", ""])  # noqa: S104  # must be refused
def test_only_loopback_is_bound(host):
    with pytest.raises(LocalHubError, match="loopback only"):
        LocalHub({"logs": 1}, host=host)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.9", "localhost"])
def test_every_loopback_address_will_do(host):
    with LocalHub({"logs": 1}, host=host) as hub:
        socket.create_connection((host.replace("localhost", "127.0.0.1"), hub.port), timeout=5).close()


WRONG = {
    "no hub": {"hubs": {}},
    "hub name": {"hubs": {"a b": 1}},
    "two cases": {"hubs": {"a": 1, "A": 1}},
    "no partition": {"hubs": {"a": 0}},
    "too many partitions": {"hubs": {"a": 1025}},
    "empty key": {"keys": {"policy": ""}},
    "size": {"max_message_bytes": 10},
    "idle": {"idle_timeout_s": 0},
    "retention": {"retention_events": 0},
    "control path": {"control_path": "/tmp/" + "x" * 120},  # noqa: S108  # never made
}


@pytest.mark.parametrize("settings", WRONG.values(), ids=WRONG)
def test_a_wrong_setting_is_refused(settings):
    with pytest.raises(LocalHubError):
        LocalHub(**{"hubs": {"logs": 1}, **settings})


@pytest.mark.parametrize("act", ["stop_listening", "start_listening", "drop_connections", "expire_tokens"])
def test_what_needs_a_running_hub_says_so(act):
    with pytest.raises(LocalHubError, match="start it first"):
        getattr(LocalHub({"logs": 1}), act)()


def test_the_connection_string_names_what_clients_need(make_hub):
    hub = make_hub({"logs": 1, "other": 1}, keys={"policy": "secret"})
    assert hub.connection_string() == (
        f"Endpoint=sb://127.0.0.1:{hub.port};SharedAccessKeyName=policy;SharedAccessKey=secret;"
        "UseDevelopmentEmulator=true"
    )
    assert hub.connection_string("OTHER").endswith(";EntityPath=other")
    with pytest.raises(LocalHubError, match="there is logs, other"):
        hub.connection_string("third")
    with pytest.raises(LocalHubError, match="there is logs, other"):
        hub.events()


def test_no_key_is_shown(make_hub):
    hub = make_hub(keys={"policy": "secret"})
    assert repr(hub) == f"LocalHub({{'logs': 2}}, host='127.0.0.1', port={hub.port})"


@pytest.mark.parametrize(("policy", "key"), [("other", "new"), ("policy", "")])
def test_a_key_needs_a_policy_and_a_value(make_hub, policy, key):
    hub = make_hub(keys={"policy": "secret"})
    with pytest.raises(LocalHubError, match="A key needs a policy of this hub and a value; there is policy"):
        hub.set_key(policy, key)


def test_a_key_that_was_revoked_is_refused_and_the_new_one_taken(make_hub, make_producer):
    hub = make_hub(keys={"policy": "secret"})
    before = hub.connection_string()
    producer = make_producer(hub)
    send(producer)
    hub.set_key("policy", "another")
    with pytest.raises(Exception, match=r"(?i)signature|expired|auth"):
        send(producer)
    with pytest.raises(Exception, match=r"(?i)signature|auth"):
        send(make_producer(SimpleNamespace(connection_string=lambda hub=None: before)))
    send(make_producer(hub))
    assert hub.events_total() == {"logs": 2}


def test_waiting_ends_at_its_limit_with_what_there_is(hub):
    assert hub.wait_for(1, timeout_s=0.01) == []


def test_the_callback_sees_every_event_before_its_sender_goes_on(make_hub, make_producer):
    seen = []
    hub = make_hub(on_event=lambda name, event: seen.append((name, event)))
    send(make_producer(hub))
    assert [(name, type(event), event.body) for name, event in seen] == [("logs", StoredEvent, b"body")]


def test_a_callback_that_fails_costs_nothing_and_is_logged_once(make_hub, make_producer, caplog):
    hub = make_hub(on_event=lambda name, event: 1 / 0)
    producer = make_producer(hub)
    with caplog.at_level(logging.ERROR, "hublog.internal"):
        for _ in range(3):
            send(producer)
    assert len(hub.wait_for(3)) == 3
    assert hub.statistics()["callback_errors_total"] == 3
    assert len([record for record in caplog.records if record.name == "hublog.internal"]) == 1


def test_memory_is_bounded(make_hub, make_producer):
    hub = make_hub({"logs": 1}, retention_bytes=300_000)
    producer = make_producer(hub)
    for number in range(5):
        send(producer, str(number) * 100_000)
    events = hub.wait_for(5)
    assert [event.sequence_number for event in events] == [3, 4]
    assert producer.get_partition_properties("0")["beginning_sequence_number"] == 3


def test_it_runs_in_the_foreground_until_it_is_stopped():
    async def run():
        hub = LocalHub({"logs": 1})
        ready = asyncio.Event()
        task = asyncio.create_task(hub.serve(ready.set))
        await ready.wait()
        _, writer = await asyncio.open_connection("127.0.0.1", hub.port)
        hub.drop_connections()
        writer.close()
        hub.stop()
        await task
        return hub

    hub = asyncio.run(run())
    with pytest.raises(LocalHubError, match="started already"):
        asyncio.run(hub.serve())


def test_it_runs_in_the_foreground_until_it_is_cancelled():
    async def run():
        hub = LocalHub({"logs": 1})
        ready = asyncio.Event()
        task = asyncio.create_task(hub.serve(ready.set))
        await ready.wait()
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        return hub.port

    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", asyncio.run(run())), timeout=5)


@pytest.fixture(scope="session")
def certificate(tmp_path_factory):
    """A certificate for 127.0.0.1 that signs itself."""
    folder = tmp_path_factory.mktemp("certificate")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1",
         "-keyout", folder / "key.pem", "-out", folder / "certificate.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


def test_it_speaks_tls(make_hub, make_producer, certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    hub = make_hub(ssl_context=context)
    assert "UseDevelopmentEmulator" not in hub.connection_string()
    producer = make_producer(
        hub,
        custom_endpoint_address=f"sb://localhost:{hub.port}",
        transport_type=TransportType.Amqp,
        connection_verify=str(certificate / "certificate.pem"),
    )
    send(producer, "x" * 500_000)
    assert len(hub.wait_for(1)[0].body) == 500_000


def test_it_stops_while_a_client_is_in_its_handshake_or_was_just_accepted(certificate):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate / "certificate.pem", certificate / "key.pem")
    for ssl_context in (None, context):
        for _ in range(5):
            with LocalHub({"logs": 1}, ssl_context=ssl_context) as hub:
                client = socket.create_connection(("127.0.0.1", hub.port), timeout=20)
            with contextlib.suppress(ConnectionError):
                assert client.recv(1) == b""
            client.close()
    gc.collect()
    assert hub_threads() == []


SERVER = """
import sys
from hublog_local import LocalHub
with LocalHub({"logs": 1}, control_path=sys.argv[1]):
    print("ready", flush=True)
    sys.stdin.readline()
"""


@pytest.fixture
def control(tmp_path):
    """A hub in another process, and the way to control it."""
    path = tmp_path / "control"
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout.readline() == "ready\n"
    with ControlClient(path) as client:
        yield client
        process.communicate("\n", timeout=20)
    assert process.returncode == 0
    assert not path.exists()


class Remote:
    """Stands for the hub of another process where a connection string is asked for."""

    def __init__(self, control):
        self.connection_string = control.connection_string


def test_another_process_is_controlled(control, make_producer):
    producer = make_producer(Remote(control))
    send(producer)
    assert control.events_total() == {"logs": 1}
    assert control.statistics()["deliveries_total"] == 1
    control.add_fault("reject", times=None)
    assert [fault["kind"] for fault in control.faults()] == ["reject"]
    with pytest.raises(Exception, match="throttled"):
        send(producer)
    control.clear_faults()
    send(producer)
    control.expire_tokens()
    with pytest.raises(LocalHubError, match="this hub takes any token"):
        control.set_key("local", "new")
    assert control.drop_connections() >= 1
    control.stop_listening()
    port = int(control.connection_string("logs").split(";")[0].rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), timeout=5)
    control.start_listening()
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
    assert control.recent_errors() == []


@pytest.fixture
def controlled(tmp_path, make_hub):
    path = tmp_path / "control"
    return make_hub(control_path=path), path


def test_only_this_user_may_control(controlled):
    assert controlled[1].stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("request_line", "error"),
    [
        (b'{"do": "explode"}', "not known"),
        (b'{"do": "add_fault", "kind": "explode"}', "must be one of"),
        (b'{"do": "add_fault"}', "argument"),
        (b'{"do": ["a"]}', "one JSON object"),
        (b"{}", "one JSON object"),
        (b"[]", "one JSON object"),
        (b"rubbish", "one JSON object"),
        (b"\xff", "one JSON object"),
    ],
)
def test_a_wrong_request_is_answered_and_the_next_one_works(controlled, request_line, error):
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(os.fspath(controlled[1]))
        lines = client.makefile("rb")
        client.sendall(request_line + b"\n")
        answer = lines.readline()
        assert b'"ok": false' in answer
        assert error in answer.decode()
        client.sendall(b'{"do": "events_total"}\n')
        assert lines.readline() == b'{"ok": true, "result": {"logs": 0}}\n'
        with contextlib.suppress(ConnectionError):  # it hangs up as soon as that is too long
            client.sendall(b"x" * 200_000)
            assert lines.readline() == b""
        lines.close()


def test_a_control_socket_in_use_is_refused(controlled):
    with pytest.raises(LocalHubError, match="Another local hub"):
        LocalHub({"logs": 1}, control_path=controlled[1]).start()


def test_the_control_socket_of_a_killed_hub_is_taken_over(tmp_path):
    path = tmp_path / "control"
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(os.fspath(path))
    with LocalHub({"logs": 1}, control_path=path), ControlClient(path) as client:
        assert client.events_total() == {"logs": 0}


def test_a_file_is_not_taken_for_a_control_socket(tmp_path):
    path = tmp_path / "control"
    path.write_text("precious")
    with pytest.raises(LocalHubError, match="not a socket"):
        LocalHub({"logs": 1}, control_path=path).start()
    assert path.read_text() == "precious"


def test_a_control_socket_in_a_missing_folder_is_reported(tmp_path):
    with pytest.raises(LocalHubError, match="Cannot make"):
        LocalHub({"logs": 1}, control_path=tmp_path / "nowhere" / "control").start()


def test_the_client_tells_that_nothing_listens_or_that_the_hub_ended(tmp_path):
    with pytest.raises(LocalHubError, match="No local hub answers"):
        ControlClient(tmp_path / "nothing")
    path = tmp_path / "control"
    hub = LocalHub({"logs": 1}, control_path=path).start()
    with ControlClient(path) as client:
        hub.stop()
        with pytest.raises(LocalHubError, match=r"has ended|does not answer"):
            client.statistics()
