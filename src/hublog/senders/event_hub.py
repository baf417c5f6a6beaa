"""Takes bodies and properties, gives the number that Event Hubs has accepted, or one of our errors.

The only module that imports ``azure``. It uses the plain producer client with all of its own retries switched
off: the circuit breaker retries. The client is loaded after the first record, used by one thread, and never
shared with a forked child. It can wait for ever for a silent hub; then another thread cuts its connections.
"""

# The client loads this module. The first record may come at the exit, when it can no longer be loaded:
# it registers an exit hook of its own, which ``threading`` refuses by then.
import concurrent.futures.thread  # noqa: F401
import contextlib
import inspect
import platform
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from hublog.errors import EventTooLargeError, PermanentSendError, SendError
from hublog.process_hooks import import_in_parts, importing, is_patched
from hublog.senders.azure_errors import is_expired, is_settled, translate
from hublog.senders.connections import Connections, check_route, socket_of_client, tls_context, watched
from hublog.senders.sign_in import QuietCredential, misconfigured, renewed, warn_of_expiry
from hublog.settings import EventHubSettings
from hublog.settings.connection import PROXY_SETTING, without_port
from hublog.settings.route import Route, route_of

if TYPE_CHECKING:
    from azure.eventhub import EventHubProducerClient as EventHubProducerClient  # noqa: PLC0414  # for others, too

#: Seconds that a send waits for its settlement; the client doubles it by its second round.
SEND_TIMEOUT_S: Final = 10.0
#: Seconds for each step inside WebSockets: connect, the proxy's answer, the upgrade. The client's own one
#: second is too short for a proxy that must look a name up and connect first.
WEBSOCKET_STEP_S: Final = 5.0
#: What Event Hubs takes in one send unless the link says otherwise (the Basic tier says 256 KiB).
DEFAULT_SEND_BYTES: Final = 1 << 20
#: The client and what it needs, the deepest first: a fork waits for one of them. 80 ms in all.
_CLIENT: Final = (
    *("encodings.idna", "subprocess", "asyncio", "typing_extensions", "http.client", "urllib.request"),
    *("xml.etree.ElementTree", "azure.core", "azure.eventhub", "certifi"),
)
#: An extra, 250 ms in all.
_IDENTITY: Final = (
    *("cryptography.hazmat.primitives.serialization", "cryptography.x509", "requests", "jwt"),
    *("msal", "msal_extensions", "azure.identity"),
)


class EventHubSender:
    """Sends bodies as events to one event hub; making it loads the client, 0.1 s or more.

    Args:
        settings: where to; ``connection_string`` or ``fully_qualified_namespace`` is set.
        connect: makes the client; replaced in benchmarks, which leave out the socket only.
        options: more keywords for the client, such as another address of the namespace.

    Attributes:
        max_send_bytes: what the link takes in one send; 1 MiB until the link is open.
    """

    def __init__(
        self,
        settings: EventHubSettings,
        *,
        connect: "Callable[[EventHubSettings], EventHubProducerClient] | None" = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        _load(has_identity=not settings.connection_string, is_websocket=route_of(settings).is_websocket)
        self.max_send_bytes = DEFAULT_SEND_BYTES
        self._settings = settings
        self._connect = connect
        self._options = dict(options or {})
        self._client: EventHubProducerClient | None = None
        self._connections = Connections()

    def open(self) -> None:
        """Connect now, which takes about half a second; what fails is reported by the first send."""
        warn_of_expiry(self._settings.connection_string)
        try:
            self.max_send_bytes = self._ready_client().create_batch().max_size_in_bytes
        except Exception:  # noqa: BLE001  # the first send meets it again, and there it is reported
            self._forget()

    def send(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> int:
        """Send as many of the leading bodies as fit into one batch, and wait for the settlement.

        Args:
            bodies: payloads, one for each event.
            properties: application properties of every event.

        Returns:
            How many events the hub accepted.

        Raises:
            TransientSendError: the hub is unavailable, slow or busy.
            PermanentSendError: wrong name, wrong key, no right, an extra is missing.
            EventTooLargeError: the first body alone does not fit.
            RejectedSendError: the hub refuses what was sent.
        """
        while True:
            is_new = self._client is None
            try:
                return self._send(bodies, properties)
            except SendError:
                raise
            except Exception as error:
                # Where the token had expired while the connection was idle, a new connection gets a new one.
                before, self._settings = self._settings, renewed(self._settings)
                is_renewed = (not is_new and is_expired(error)) or self._settings is not before
                if is_renewed or not is_settled(error):
                    self._forget()
                if not is_renewed:
                    raise translate(error, route_of(self._settings)) from error

    def close(self) -> None:
        """Close the connection; may block as long as the peer is silent, so never at the exit."""
        client, self._client = self._client, None
        if client is not None:
            try:
                client.close()
            finally:
                self._connections.close()

    def cut(self) -> None:
        """End what is under way, by ending its connections; from any thread, never blocks, never raises.

        What has no connection yet cannot be ended: a name that is looked up, or a token that is fetched.
        """
        self._connections.cut()

    def _ready_client(self) -> "EventHubProducerClient":
        """Return the client, a new one after a failure or a cut."""
        if self._connections.is_cut:
            self._forget()
        if self._client is None:
            if self._connect is None:
                self._connections, self._client = connect_producer(self._settings, self._options)
            else:
                self._connections, self._client = Connections(), self._connect(self._settings)
        return self._client

    def _send(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> int:
        from azure.eventhub import EventData  # noqa: PLC0415  # azure is loaded by the sender's thread

        client = self._ready_client()
        batch = client.create_batch()
        self.max_send_bytes = batch.max_size_in_bytes
        number = 0
        for body in bodies:
            event = EventData(body)
            message: Any = event.raw_amqp_message
            # Nothing is in them, and the client looks through all their fields: 23 of 38 us for an event.
            message.header = message.properties = None
            if properties:
                event.properties = dict(properties.items())
            try:
                batch.add(event)
            except ValueError:  # the client's word for "full"
                break
            number += 1
        if number == 0:
            raise EventTooLargeError(
                f"An event of {len(bodies[0])} bytes is over the link's limit of {self.max_send_bytes}.",
                limit_bytes=self.max_send_bytes,
            )
        client.send_batch(batch, timeout=SEND_TIMEOUT_S)
        return number

    def _forget(self) -> None:
        """Drop a client whose state is unknown; the next send makes a new one."""
        with contextlib.suppress(Exception):  # it failed already, and that is what is reported
            self.close()


def _load(*, has_identity: bool, is_websocket: bool) -> None:
    """Load the client, and what it would load at its first connection."""
    import_in_parts(_CLIENT)
    _know_platform()
    with importing():
        import azure.eventhub  # noqa: PLC0415  # loaded by now; else this says why it is not
        import certifi  # noqa: PLC0415

        certifi.where()
    if has_identity:  # where it is missing, that is reported when it is needed, see ``_credential``
        import_in_parts(_IDENTITY)
    if is_websocket:  # an extra as well, see ``check_route``
        import_in_parts(["websocket"])
    del azure


def _know_platform() -> None:
    """Have ``platform`` remember what the client's name is made of; it starts a process to find it out."""
    if is_patched():
        # Under gevent only the main thread can start one, and a child complains of the other threads.
        with contextlib.suppress(Exception):
            vars(platform.uname()).setdefault("processor", "")  # which is what needs the process
    platform.platform()


def connect_producer(
    settings: EventHubSettings, extra: Mapping[str, object]
) -> "tuple[Connections, EventHubProducerClient]":
    """Make a client that neither retries nor buffers; it connects at its first use.

    Args:
        settings: where to.
        extra: more keywords for the client.

    Returns:
        What can cut its connections, and the client.

    Raises:
        PermanentSendError: the connection string is malformed, the proxy or the file of certificates cannot
            be used, an extra is missing, or no way to sign in is configured.
    """
    from azure.eventhub import EventHubProducerClient  # noqa: PLC0415  # azure is loaded by the sender's thread

    route = route_of(settings)
    check_route(route)
    connections, hooks = _hooks(EventHubProducerClient, route, extra)
    options: dict[str, Any] = {"retry_total": 0, "retry_backoff_factor": 0, "logging_enable": False}
    options |= {**_way(route, settings), **extra, **hooks}
    if settings.connection_string:
        # The client ignores a port where there is TLS, and would ask for a token with it.
        string = without_port(settings.connection_string) if route.has_tls else settings.connection_string
        try:
            client = EventHubProducerClient.from_connection_string(
                string, eventhub_name=settings.eventhub_name, **options
            )
        except ValueError:
            raise PermanentSendError(
                "EVENTHUB_NAMESPACE_CONNECTION_STRING is not a connection string of Event Hubs",
                advice="copy it from the namespace's shared access policies",
            ) from None  # the client's message may quote the key
    else:
        client = EventHubProducerClient(
            settings.fully_qualified_namespace, settings.eventhub_name, _credential(route), **options
        )
    return connections, client


def _way(route: Route, settings: EventHubSettings) -> dict[str, object]:
    """Return the client's keywords for where and how it connects."""
    from azure.eventhub import TransportType  # noqa: PLC0415  # azure is loaded by the sender's thread

    keywords: dict[str, object] = {"transport_type": TransportType.Amqp}
    if route.is_websocket:
        keywords = {"transport_type": TransportType.AmqpOverWebsocket, "socket_timeout": WEBSOCKET_STEP_S}
    # Of an emulator's connection string the client takes the port itself, but not inside WebSockets.
    is_odd_port = route.port != route.default_port and (route.has_tls or route.is_websocket)
    if settings.endpoint or is_odd_port:
        keywords["custom_endpoint_address"] = f"sb://{route.place}"
    if route.proxy is not None:
        login = {"username": route.proxy.username, "password": route.proxy.password}
        keywords["http_proxy"] = {
            "proxy_hostname": route.proxy.host,
            "proxy_port": route.proxy.port,
            **{name: value for name, value in login.items() if value},
        }
    return keywords


def _hooks(
    client: "type[EventHubProducerClient]", route: Route, extra: Mapping[str, object]
) -> tuple[Connections, dict[str, object]]:
    """Return what keeps the connections of a client in sight, and the keywords that make it do so."""
    known = inspect.signature(client.from_connection_string).parameters
    if "ssl_context" in known and route.has_tls:
        import certifi  # noqa: PLC0415  # what the client itself takes

        connections = Connections()
        roots = extra.get("connection_verify") or certifi.where()
        context = tls_context(connections, roots=str(roots), ca_file=route.ca_file)
        return connections, {"ssl_context": context, "connection_verify": None}
    # Without TLS, and before azure-eventhub 5.13, there is no public way to the socket. Where the private one
    # has changed, a cut does nothing: then a send that hangs is given up, and hangs on.
    connections = Connections(socket_of_client)
    has_file = route.ca_file is not None and route.has_tls
    hooks: dict[str, object] = {"connection_verify": str(route.ca_file)} if has_file else {}
    with contextlib.suppress(ImportError):
        from azure.eventhub._transport._pyamqp_transport import PyamqpTransport  # noqa: PLC0415  # see above

        hooks["amqp_transport"] = watched(PyamqpTransport, connections)
    return connections, hooks


def _credential(route: Route) -> Any:  # noqa: ANN401  # a TokenCredential of a package that may be missing
    try:
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415  # an extra, and 250 ms to load
    except ImportError:
        raise PermanentSendError(
            "EVENTHUB_FULLY_QUALIFIED_NAMESPACE needs azure-identity", advice="pip install 'hublog[identity]'"
        ) from None
    options: dict[str, Any] = {}
    if route.proxy is not None and route.proxy.source == PROXY_SETTING:
        # That of the environment it finds by itself. What is not HTTPS is an address of this machine.
        options["proxies"] = {"https": route.proxy.url}
    try:
        return QuietCredential(DefaultAzureCredential(**options))
    except Exception as error:  # noqa: BLE001  # a ValueError for most variables, an OSError for a certificate
        raise misconfigured(error) from None
