"""The Event Hub: the only module that imports ``azure``.

The plain producer client with all of its own retries switched off: the breaker retries. The client
is loaded after the first record, used by one thread, and never shared with a forked child. It can wait
for ever for a hub that says nothing; then another thread cuts its connections.
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
from hublog.imports import importing
from hublog.senders.client_errors import is_settled, translate
from hublog.senders.connections import Connections, tls_context, watched
from hublog.settings import EventHubSettings
from hublog.settings.connection_string import parts_of

if TYPE_CHECKING:
    from azure.eventhub import EventHubProducerClient

#: Seconds that a send waits for its settlement; the client doubles it by its second round.
SEND_TIMEOUT_S: Final = 10.0
#: What Event Hubs takes in one send unless the link says otherwise (the Basic tier says 256 KiB).
DEFAULT_SEND_BYTES: Final = 1 << 20


class EventHubSender:
    """Sends bodies as events to one event hub; making it loads the client, about 0.1 s.

    Args:
        settings: where to; ``connection_string`` or ``fully_qualified_namespace`` is set.
        connect: makes the client; replaced in benchmarks, which leave out the socket only.
        options: more keywords for the client, such as another address of the namespace.
    """

    def __init__(
        self,
        settings: EventHubSettings,
        *,
        connect: "Callable[[EventHubSettings], EventHubProducerClient] | None" = None,
        options: Mapping[str, object] | None = None,
    ) -> None:
        with importing():
            _load(has_identity=not settings.connection_string)
        self._settings = settings
        self._connect = connect
        self._options = dict(options or {})
        self._client: EventHubProducerClient | None = None
        self._connections = Connections()
        self._max_send_bytes = DEFAULT_SEND_BYTES

    @property
    def max_send_bytes(self) -> int:
        """What the link takes in one send; 1 MiB until the link is open."""
        return self._max_send_bytes

    def open(self) -> None:
        """Connect now, which takes about half a second; what fails is told by the first send."""
        try:
            self._max_send_bytes = self._ready_client().create_batch().max_size_in_bytes
        except Exception:  # noqa: BLE001  # the first send meets it again, and there it is told
            self._forget()

    def send(self, bodies: Sequence[bytes], properties: Mapping[str, str]) -> int:
        """Send as many of the leading bodies as fit into one batch, and wait for the settlement.

        Args:
            bodies: payloads, one for each event.
            properties: application properties of every event.

        Returns:
            How many events the hub accepted.

        Raises:
            TransientSendError: away, slow or busy.
            PermanentSendError: wrong name, wrong key, no right, an extra is missing.
            EventTooLargeError: the first body alone does not fit.
            RejectedSendError: the hub refuses what was sent.
        """
        try:
            return self._send(self._ready_client(), bodies, properties)
        except SendError:
            raise
        except Exception as error:
            if not is_settled(error):
                self._forget()
            raise translate(error) from error

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
            self._connections, self._client = self._new_client()
        return self._client

    def _new_client(self) -> "tuple[Connections, EventHubProducerClient]":
        if self._connect is not None:
            return Connections(), self._connect(self._settings)
        return connect_producer(self._settings, self._options)

    def _send(
        self, client: "EventHubProducerClient", bodies: Sequence[bytes], properties: Mapping[str, str]
    ) -> int:
        from azure.eventhub import EventData  # noqa: PLC0415  # azure is loaded by the sender's thread

        batch = client.create_batch()
        self._max_send_bytes = batch.max_size_in_bytes
        number = 0
        for body in bodies:
            event = EventData(body)
            if properties:
                event.properties = dict(properties.items())
            try:
                batch.add(event)
            except ValueError:  # the client's word for "full"
                break
            number += 1
        if number == 0:
            raise EventTooLargeError(
                f"An event of {len(bodies[0])} bytes is over the link's limit of {self._max_send_bytes}.",
                limit_bytes=self._max_send_bytes,
            )
        client.send_batch(batch, timeout=SEND_TIMEOUT_S)
        return number

    def _forget(self) -> None:
        """Drop a client whose state is unknown; the next send makes a new one."""
        with contextlib.suppress(Exception):  # it failed already, and that is what is reported
            self.close()


def _load(*, has_identity: bool) -> None:
    """Load the client, and what it would load at its first connection."""
    import encodings.idna  # noqa: PLC0415
    import subprocess  # noqa: PLC0415  # for platform.platform(), which starts a process

    import azure.eventhub  # noqa: PLC0415
    import certifi  # noqa: PLC0415

    certifi.where()
    platform.platform()  # for the client's name; ``platform`` remembers it
    if has_identity:
        with contextlib.suppress(ImportError):  # told when it is needed, see ``_credential``
            import azure.identity  # noqa: PLC0415  # an extra, and 250 ms to load
    del encodings, azure, subprocess


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
        PermanentSendError: the connection string is malformed, or the extra ``identity`` is missing.
    """
    from azure.eventhub import EventHubProducerClient  # noqa: PLC0415  # azure is loaded by the sender's thread

    connections, hooks = _hooks(settings, extra)
    options: dict[str, Any] = {"retry_total": 0, "retry_backoff_factor": 0, "logging_enable": False}
    options |= {**extra, **hooks}
    if settings.connection_string:
        try:
            client = EventHubProducerClient.from_connection_string(
                settings.connection_string, eventhub_name=settings.eventhub_name, **options
            )
        except ValueError:
            raise PermanentSendError(
                "EVENTHUB_NAMESPACE_CONNECTION_STRING is not a connection string of Event Hubs; copy it"
                " from the namespace's shared access policies."
            ) from None  # the client's message may quote the key
    else:
        client = EventHubProducerClient(
            settings.fully_qualified_namespace, settings.eventhub_name, _credential(), **options
        )
    return connections, client


def _hooks(settings: EventHubSettings, extra: Mapping[str, object]) -> tuple[Connections, dict[str, object]]:
    """Return what keeps the connections of a client in sight, and the keywords that make it do so."""
    from azure.eventhub import EventHubProducerClient  # noqa: PLC0415  # azure is loaded by the sender's thread

    is_plain = parts_of(settings.connection_string).get("usedevelopmentemulator") == "true"
    known = inspect.signature(EventHubProducerClient.from_connection_string).parameters
    if "ssl_context" in known and not is_plain:
        import certifi  # noqa: PLC0415  # what the client itself takes

        connections = Connections()
        roots = extra.get("connection_verify") or certifi.where()
        context = tls_context(connections, roots=str(roots))
        return connections, {"ssl_context": context, "connection_verify": None}
    # Without TLS, and before azure-eventhub 5.13, there is no public way to the socket. Where the private one
    # has changed, a cut does nothing: then a send that hangs is given up, and hangs on.
    connections = Connections(lambda client: client._connection._transport.sock)  # noqa: SLF001  # see above
    with contextlib.suppress(ImportError):
        from azure.eventhub._transport._pyamqp_transport import PyamqpTransport  # noqa: PLC0415  # see above

        return connections, {"amqp_transport": watched(PyamqpTransport, connections)}
    return connections, {}


def _credential() -> Any:  # noqa: ANN401  # a TokenCredential of a package that may be missing
    try:
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415  # an extra, and 250 ms to load
    except ImportError:
        raise PermanentSendError(
            "EVENTHUB_FULLY_QUALIFIED_NAMESPACE needs azure-identity: pip install 'hublog[identity]'."
        ) from None
    return DefaultAzureCredential()
