"""The connections of one client, kept in sight so that another thread can cut them.

The client waits without a limit in several places and has no way to end that. Ending the socket under it
does: its read fails, and so does the send.
"""

import contextlib
import os
import socket
import threading
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from hublog.errors import PermanentSendError
from hublog.settings.route import Route

if TYPE_CHECKING:
    import ssl

#: Where the client waits without a limit, in the handshakes of TLS and SASL, each step gets this much.
HANDSHAKE_MAX_S: Final = 10.0


class Connections:
    """What is open now, and whether it may be; once cut or closed, nothing can be opened any more.

    Args:
        socket_of: returns the socket of what ``add`` is given; may raise when there is none.

    Attributes:
        is_cut: whether they were cut or closed.
    """

    def __init__(self, socket_of: Callable[[Any], socket.socket] = lambda sock: sock) -> None:
        self._socket_of = socket_of
        self._lock = threading.Lock()
        self._open: weakref.WeakSet[object] = weakref.WeakSet()
        self.is_cut = False

    def add(self, connection: object) -> None:
        """Keep a connection in sight for as long as it lives.

        Raises:
            ConnectionAbortedError: they were cut; a client that connects again would only hang again.
        """
        with self._lock:
            if self.is_cut:
                raise ConnectionAbortedError("the connection was given up")
            self._open.add(connection)

    def cut(self) -> None:
        """End all of them, for both sides; from any thread, never blocks, never raises."""
        for connection in self._end():
            with contextlib.suppress(Exception):  # it has no socket yet, or none any more
                # Not the method of a TLS socket: it would forget its keys, and go on in clear text.
                socket.socket.shutdown(self._socket_of(connection), socket.SHUT_RDWR)

    def close(self) -> None:
        """Give back what the client left open: it does not close the socket of a connection that broke."""
        for connection in self._end():
            with contextlib.suppress(Exception):  # it has no socket any more, as it should be
                self._socket_of(connection).close()

    def _end(self) -> list[object]:
        with self._lock:  # held for a moment only
            self.is_cut = True
            return list(self._open)


def check_route(route: Route) -> None:
    """Refuse a route by which nothing can be sent.

    Raises:
        PermanentSendError: the proxy or the address cannot be used, or an extra is missing.
    """
    if ":" in route.host:
        raise PermanentSendError(
            f"azure-eventhub cannot connect to an IPv6 address ({route.host})",
            advice="give a host name that resolves to it",
        )
    if route.proxy_problem:
        raise PermanentSendError(
            route.proxy_problem.removesuffix("."),
            advice="correct it, or set EVENTHUB_LOG_PROXY, or add the namespace to NO_PROXY",
        )
    if not route.is_websocket:
        return
    try:
        from websocket import create_connection  # noqa: F401, PLC0415  # what the client uses of the extra
    except ImportError:
        raise PermanentSendError(
            "EVENTHUB_LOG_TRANSPORT=websocket needs websocket-client",
            advice="pip install 'hublog[websocket]'",
        ) from None


def tls_context(
    connections: Connections,
    *,
    roots: str,
    ca_file: Path | None = None,
    handshake_max_s: float = HANDSHAKE_MAX_S,
) -> "ssl.SSLContext":
    """Return what a client makes its TLS sockets with: as strict as its own, in sight, and with an end.

    Trusted are ``roots``, the certificates of the operating system, which ``SSL_CERT_FILE`` and
    ``SSL_CERT_DIR`` name, and ``ca_file``.

    Args:
        connections: where they are kept in sight.
        roots: file with the certificates that the client itself trusts.
        ca_file: file with more of them.
        handshake_max_s: seconds for each step of a handshake.

    Raises:
        PermanentSendError: ``ca_file`` cannot be used.
    """
    # Here and not above: classes made before a late gevent patch would block all of its greenlets.
    import ssl  # noqa: PLC0415

    class Socket(ssl.SSLSocket):
        def settimeout(self, value: float | None) -> None:
            super().settimeout(handshake_max_s if value is None else value)

    class Context(ssl.SSLContext):
        sslsocket_class = Socket

        def wrap_socket(
            self,
            sock: socket.socket,
            *arguments: Any,  # noqa: ANN401  # passed on as they come
            **options: Any,  # noqa: ANN401  # passed on as they come
        ) -> ssl.SSLSocket:
            before_s = sock.gettimeout()
            sock.settimeout(handshake_max_s)
            options["do_handshake_on_connect"] = False  # but below, once it is in sight
            wrapped = super().wrap_socket(sock, *arguments, **options)
            try:
                connections.add(wrapped)
                wrapped.do_handshake()
                wrapped.settimeout(before_s)
            except BaseException:
                wrapped.close()
                raise
            return wrapped

    context = Context(ssl.PROTOCOL_TLS_CLIENT)  # which checks certificate and host name
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN  # as Python's own contexts, from 3.13 on
    context.load_verify_locations(roots)
    context.load_default_certs()
    if ca_file is not None:
        try:
            context.load_verify_locations(ca_file)
        except OSError as error:
            is_read = isinstance(error, ssl.SSLError)  # one of them, with numbers of its own
            why = "it holds no certificates in PEM form" if is_read else os.strerror(error.errno or 0)
            raise PermanentSendError(
                f"EVENTHUB_LOG_CA_FILE is {ca_file}, which cannot be used ({why})",
                advice="name a file with certificates in PEM form that this process may read",
            ) from None
    return context


def watched(transport: type[Any], connections: Connections) -> type[Any]:
    """Return the client's class that makes its connections, so that they are kept in sight."""

    def watching(make: Callable[..., object]) -> Callable[..., object]:
        def made(*arguments: object, **options: object) -> object:
            connection = make(*arguments, **options)
            connections.add(connection)
            return connection

        return made

    # Private names: where they are others, nothing is in sight and a cut does nothing.
    makers = [name for name in ("create_send_client", "create_mgmt_client") if hasattr(transport, name)]
    return type(
        "Watched", (transport,), {name: staticmethod(watching(getattr(transport, name))) for name in makers}
    )


def socket_of_client(client: Any) -> Any:  # noqa: ANN401  # what a ``watched`` class makes
    """Return the socket of a connection of the client, by private names as well."""
    sock = client._connection._transport.sock  # noqa: SLF001  # there is no public name
    return getattr(sock, "sock", sock)  # that of a WebSocket lies one deeper
