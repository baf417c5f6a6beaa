"""Peers that do one thing wrong: servers and HTTP proxies on loopback, each connection in a thread."""

import base64
import contextlib
import re
import select
import socket
import struct
import threading

LIMIT_S = 10


class Peer:
    """A TCP server that hands each connection to a function; use it as a context manager."""

    def __init__(self, serve, *, context=None):
        self.serve = serve
        self.context = context
        self.taken = 0
        self.over = threading.Event()
        self.server = socket.create_server(("127.0.0.1", 0))
        self.server.settimeout(0.05)
        self.port = self.server.getsockname()[1]
        self.threads = [threading.Thread(target=self._accept)]

    def __enter__(self):
        self.threads[0].start()
        return self

    def __exit__(self, *_):
        self.over.set()
        for thread in self.threads:
            thread.join(LIMIT_S)
        self.server.close()

    def _accept(self):
        while not self.over.is_set():
            with contextlib.suppress(TimeoutError):
                connection, _ = self.server.accept()
                self.taken += 1
                thread = threading.Thread(target=self._run, args=(connection,))
                self.threads.append(thread)
                thread.start()

    def _run(self, connection):
        with connection, contextlib.suppress(OSError):
            connection.settimeout(LIMIT_S)
            if self.context is None:
                self.serve(connection, self.over)
            else:
                with self.context.wrap_socket(connection, server_side=True) as secured:
                    self.serve(secured, self.over)


def read_head(connection):
    """Return an HTTP request up to its empty line."""
    head = b""
    while b"\r\n\r\n" not in head:
        piece = connection.recv(1)
        if not piece:
            break
        head += piece
    return head.decode()


def answering(text):
    """Answer an HTTP request with a text, and end the connection."""

    def serve(connection, _):
        read_head(connection)
        connection.sendall(text.encode())

    return serve


def closing(connection, _):
    """End the connection after the first bytes, all of which are read: else it would be reset."""
    connection.recv(65_536)


def resetting(connection, _):
    """Reset the connection after the first bytes."""
    connection.recv(1)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def silent(connection, over):
    """Say nothing until the end."""
    over.wait(LIMIT_S)


def greeting(connection, _):
    """Speak something that is neither TLS nor AMQP nor HTTP."""
    connection.recv(65_536)
    connection.sendall(b"500 what?\r\n")


def tunnelling(login="", to=None):
    """Be an HTTP proxy; with a login if one is given, always to the same port where that is given."""
    wanted = f"Basic {base64.b64encode(login.encode()).decode()}" if login else ""

    def serve(connection, over):
        head = read_head(connection)
        found = re.match(r"CONNECT (\S+):(\d+) HTTP/1\.1\r\n", head)
        if found is None:  # it has only looked whether we are here
            return
        if wanted and f"Proxy-Authorization: {wanted}\r\n" not in head:
            connection.sendall(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        with socket.create_connection((found[1], to or int(found[2])), timeout=LIMIT_S) as target:
            connection.sendall(b"HTTP/1.1 200 Connection established\r\n\r\n")
            pump(connection, target, over)

    return serve


def pump(left, right, over):
    """Carry bytes both ways until one side ends."""
    while not over.is_set():
        readable, _, _ = select.select([left, right], [], [], 0.05)
        for source in readable:
            data = source.recv(65_536)
            if not data:
                return
            (right if source is left else left).sendall(data)
