import contextlib
import gc
import socket
import ssl
import threading
import weakref

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.senders.connections import Connections, tls_context, watched

LIMIT_S = 10


@pytest.fixture
def pair():
    """Two sockets that are connected to each other."""
    left, right = socket.socketpair()
    for end in (left, right):
        end.settimeout(LIMIT_S)
    with left, right:
        yield left, right


class Client:
    """Holds a socket as the client of the hub does."""

    def __init__(self, found=None):
        self.found = found


@pytest.fixture
def silent():
    """The port of a server that takes connections and never says anything."""
    with socket.create_server(("127.0.0.1", 0)) as server, contextlib.ExitStack() as stack:
        server.settimeout(LIMIT_S)

        def take():
            with contextlib.suppress(OSError):
                stack.enter_context(server.accept()[0])

        thread = threading.Thread(target=take)
        thread.start()
        yield server.getsockname()[1]
        thread.join(LIMIT_S)


@pytest.fixture(scope="module")
def roots():
    import certifi

    return certifi.where()


def test_a_cut_ends_a_read_that_waits(pair):
    left, right = pair
    connections = Connections()
    connections.add(left)
    found = []
    thread = threading.Thread(target=lambda: found.append(left.recv(1)))
    thread.start()
    connections.cut()
    thread.join(LIMIT_S)
    assert found == [b""]
    assert right.recv(1) == b""
    assert connections.is_cut


def test_after_a_cut_nothing_can_be_opened(pair):
    connections = Connections()
    connections.cut()
    with pytest.raises(ConnectionAbortedError):
        connections.add(pair[0])


def test_a_socket_is_found_where_the_client_keeps_it_at_the_time(pair):
    left, right = pair
    connections = Connections(lambda client: client.found)
    client = Client()
    connections.add(client)
    client.found = left
    connections.cut()
    assert right.recv(1) == b""


@pytest.mark.parametrize("found", [None, "no socket"])
def test_a_client_without_a_socket_is_cut_in_silence(found):
    connections = Connections(lambda client: client.found)
    connections.add(client := Client(found))
    connections.cut()
    connections.close()
    assert client.found == found


def test_a_socket_that_is_not_connected_is_cut_in_silence():
    with socket.socket() as found:
        connections = Connections()
        connections.add(found)
        connections.cut()
        assert connections.is_cut


def test_a_client_that_is_built_otherwise_is_cut_in_silence():
    connections = Connections(lambda client: client.elsewhere)
    connections.add(client := Client())
    connections.cut()
    connections.close()
    assert not hasattr(client, "elsewhere")


def test_a_connection_is_not_kept_alive():
    connections = Connections()
    client = Client()
    gone = weakref.ref(client)
    connections.add(client)
    del client
    gc.collect()
    assert gone() is None


def test_closing_gives_back_what_is_still_open(pair):
    left, _ = pair
    connections = Connections()
    connections.add(left)
    connections.close()
    assert left.fileno() == -1
    with pytest.raises(ConnectionAbortedError):
        connections.add(left)


@given(st.lists(st.sampled_from(["add", "cut"]), max_size=12))
def test_what_was_taken_is_cut_and_what_comes_later_is_refused(steps):
    connections, taken, is_cut = Connections(), [], False
    with contextlib.ExitStack() as stack:
        for step in steps:
            if step == "cut":
                connections.cut()
                is_cut = True
                continue
            left, right = (stack.enter_context(end) for end in socket.socketpair())
            with pytest.raises(ConnectionAbortedError) if is_cut else contextlib.nullcontext():
                connections.add(left)
                taken.append(right)
        for right in taken:
            right.setblocking(False)
            with contextlib.nullcontext() if is_cut else pytest.raises(BlockingIOError):
                assert right.recv(1) == b""


# TLS.


def test_certificates_and_host_names_are_checked(roots):
    context = tls_context(Connections(), roots=roots)
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.check_hostname
    assert context.protocol is ssl.PROTOCOL_TLS_CLIENT
    assert len(context.get_ca_certs()) > 100


def test_a_handshake_that_is_not_answered_ends_after_its_limit(silent, roots):
    context = tls_context(Connections(), roots=roots, handshake_max_s=0.1)
    with socket.create_connection(("127.0.0.1", silent)) as plain, pytest.raises(TimeoutError):
        context.wrap_socket(plain, server_hostname="localhost")


class SeenConnections(Connections):
    """Tells when something is in sight."""

    def __init__(self):
        super().__init__()
        self.seen = threading.Event()

    def add(self, connection):
        super().add(connection)
        self.seen.set()


def test_a_handshake_that_is_not_answered_is_ended_by_a_cut(silent, roots):
    connections = SeenConnections()
    context = tls_context(connections, roots=roots)
    errors = []

    def connect():
        with socket.create_connection(("127.0.0.1", silent)) as plain:
            try:
                context.wrap_socket(plain, server_hostname="localhost")
            except OSError as error:
                errors.append(error)

    thread = threading.Thread(target=connect)
    thread.start()
    assert connections.seen.wait(LIMIT_S)
    connections.cut()
    thread.join(LIMIT_S / 2)
    assert len(errors) == 1
    assert not isinstance(errors[0], TimeoutError)


def test_a_socket_that_would_wait_for_ever_waits_for_the_limit(roots):
    context = tls_context(Connections(), roots=roots, handshake_max_s=7.0)
    with context.sslsocket_class._create(socket.socket(), context=context, server_hostname="x") as found:
        found.settimeout(None)
        assert found.gettimeout() == 7.0
        found.settimeout(0.2)
        assert found.gettimeout() == 0.2


# Without TLS.


class Transport:
    """Makes clients as the package's own class does."""

    KIND = "pyamqp"

    @staticmethod
    def create_send_client(*, config, target):
        return Client((config, target))

    @staticmethod
    def create_mgmt_client(address, mgmt_auth, config):
        return Client((address, mgmt_auth, config))

    @staticmethod
    def build_message(**kwargs):
        return kwargs


def test_the_clients_that_are_made_are_kept_in_sight_and_nothing_else_changes(pair):
    left, right = pair
    connections = Connections(lambda client: left)
    transport = watched(Transport, connections)
    sending = transport.create_send_client(config=1, target=2)
    managing = transport.create_mgmt_client("address", "auth", config=3)
    assert (sending.found, managing.found) == ((1, 2), ("address", "auth", 3))
    assert (transport.KIND, transport.build_message(a=1)) == ("pyamqp", {"a": 1})
    connections.cut()
    assert right.recv(1) == b""


def test_no_client_is_made_after_a_cut():
    connections = Connections()
    transport = watched(Transport, connections)
    connections.cut()
    with pytest.raises(ConnectionAbortedError):
        transport.create_send_client(config=1, target=2)


def test_a_class_that_is_built_otherwise_is_left_as_it_is():
    class Other:
        @staticmethod
        def make_client():
            return "client"

    connections = Connections()
    assert watched(Other, connections).make_client() == "client"
    connections.cut()
