"""The Event Hub: the only module that imports ``azure``.

The plain producer client with all of its own retries switched off: the breaker retries. The client
is loaded after the first record, used by one thread, and never shared with a forked child.
"""

# The client loads this module. The first record may come at the exit, when it can no longer be loaded:
# it registers an exit hook of its own, which ``threading`` refuses by then.
import concurrent.futures.thread  # noqa: F401
import contextlib
import os
import platform
import re
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

from hublog.errors import EventTooLargeError, PermanentSendError, SendError, TransientSendError
from hublog.settings import EventHubSettings

if TYPE_CHECKING:
    from azure.eventhub import EventHubProducerClient

#: Seconds that a send waits for its settlement; the client doubles it by its second round.
SEND_TIMEOUT_S: Final = 10.0
#: What Event Hubs takes in one send unless the link says otherwise (the Basic tier says 256 KiB).
DEFAULT_SEND_BYTES: Final = 1 << 20
#: The service asks for four seconds in the text of its refusal; nothing of it is a field.
BUSY_WAIT_S: Final = 4.0

_BUSY = ("server-busy", "resource-limit-exceeded")
_ADVICE: Final = {
    "not-found": "check EVENTHUB_LOGS_NAME and the namespace",
    "unauthorized": "check the key and its Send right (or the role Azure Event Hubs Data Sender)",
    "entity-disabled": "the event hub is disabled: enable it in the portal",
    "client-error": "the namespace refuses the key or token: check the connection string",
}
_SECRET = re.compile(r"(?i)(SharedAccessKey|SharedAccessSignature|sig|password|token)(\s*[=:]\s*)[^\s;&'\"]+")


class EventHubSender:
    """Sends bodies as events to one event hub; making it loads the client, about 0.1 s.

    Args:
        settings: where to; ``connection_string`` or ``fully_qualified_namespace`` is set.
        connect: makes the client; replaced in benchmarks, which leave out the socket only.
    """

    def __init__(
        self,
        settings: EventHubSettings,
        *,
        connect: "Callable[[EventHubSettings], EventHubProducerClient] | None" = None,
    ) -> None:
        with _loading.lock:
            _load()
        # For the client's name; remembered by ``platform``. Outside the lock: under gevent it forks.
        platform.platform()
        self._settings = settings
        self._connect = connect or connect_producer
        self._client: EventHubProducerClient | None = None
        self._max_send_bytes = DEFAULT_SEND_BYTES

    @property
    def max_send_bytes(self) -> int:
        """What the link takes in one send; 1 MiB until the link is open."""
        return self._max_send_bytes

    def open(self) -> None:
        """Connect now, which takes about half a second; what fails is told by the first send."""
        try:
            self._client = self._connect(self._settings)
            self._max_send_bytes = self._client.create_batch().max_size_in_bytes
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
        """
        try:
            if self._client is None:
                self._client = self._connect(self._settings)
            return self._send(self._client, bodies, properties)
        except SendError:
            raise
        except Exception as error:
            self._forget()
            raise translate(error) from error

    def close(self) -> None:
        """Close the connection; may block as long as the peer is silent, so never at the exit."""
        client, self._client = self._client, None
        if client is not None:
            client.close()

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
        client, self._client = self._client, None
        if client is not None:
            with contextlib.suppress(Exception):  # it failed already, and that is what is reported
                client.close()


class _Loading:
    """Keeps a fork from happening in the middle of an import.

    A child inherits the import locks that another thread held, and nobody there to release them: its
    own thread would wait for them for ever. So a fork waits until the client is loaded, about 0.1 s,
    once in the life of a process; and never longer than the limit.
    """

    LIMIT_S: Final = 10.0

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self._is_held = False

    def before_fork(self) -> None:
        """Wait for an import that is under way."""
        self._is_held = self.lock.acquire(timeout=self.LIMIT_S)

    def after_fork(self) -> None:
        """Go on, in the parent."""
        if self._is_held:
            self.lock.release()

    def after_fork_in_child(self) -> None:
        """Go on, in the child, whoever held the lock."""
        self.lock = threading.Lock()


_loading = _Loading()
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_loading.before_fork,
        after_in_parent=_loading.after_fork,
        after_in_child=_loading.after_fork_in_child,
    )


def _load() -> None:
    """Load the client, and what it would load at its first connection."""
    import encodings.idna  # noqa: PLC0415
    import subprocess  # noqa: PLC0415  # for platform.platform(), which starts a process

    import azure.eventhub  # noqa: PLC0415
    import certifi  # noqa: PLC0415

    del encodings, azure, subprocess
    certifi.where()


def connect_producer(settings: EventHubSettings) -> "EventHubProducerClient":
    """Make a client that neither retries nor buffers; it connects at its first use.

    Raises:
        PermanentSendError: the connection string is malformed, or the extra ``identity`` is missing.
    """
    from azure.eventhub import EventHubProducerClient  # noqa: PLC0415  # azure is loaded by the sender's thread

    options: dict[str, Any] = {"retry_total": 0, "retry_backoff_factor": 0, "logging_enable": False}
    if settings.connection_string:
        try:
            return EventHubProducerClient.from_connection_string(
                settings.connection_string, eventhub_name=settings.eventhub_name, **options
            )
        except ValueError:
            raise PermanentSendError(
                "EVENTHUB_NAMESPACE_CONNECTION_STRING is not a connection string of Event Hubs; copy it"
                " from the namespace's shared access policies."
            ) from None  # the client's message may quote the key
    return EventHubProducerClient(
        settings.fully_qualified_namespace, settings.eventhub_name, _credential(), **options
    )


def _credential() -> Any:  # noqa: ANN401  # a TokenCredential of a package that may be missing
    try:
        from azure.identity import DefaultAzureCredential  # noqa: PLC0415  # an extra, and 250 ms to load
    except ImportError:
        raise PermanentSendError(
            "EVENTHUB_FULLY_QUALIFIED_NAMESPACE needs azure-identity: pip install 'hublog[identity]'."
        ) from None
    return DefaultAzureCredential()


def translate(error: Exception) -> SendError:
    """Return our error for one of the client's, with what to check and without secrets."""
    condition = _condition(error)
    name = type(error).__name__
    text = f"{name} ({condition})" if condition else f"{name}: {_shown(error)}"
    advice = next((advice for key, advice in _ADVICE.items() if key in condition), "")
    if advice:
        return PermanentSendError(f"{text}; {advice}")
    if name == "AuthenticationError":
        return PermanentSendError(f"{text}; {_ADVICE['client-error']}")
    if any(word in condition for word in _BUSY):
        return TransientSendError(text, retry_after_s=BUSY_WAIT_S)
    if "message-size" in condition:
        return EventTooLargeError(text, limit_bytes=DEFAULT_SEND_BYTES // 4)
    return TransientSendError(text)


def _condition(error: Exception) -> str:
    """Return the AMQP condition (``amqp:not-found`` ...) that the client kept, or nothing."""
    found = getattr(error, "error", None)
    return str(getattr(found, "condition", found) or "")


def _shown(error: Exception) -> str:
    return _SECRET.sub(r"\1\2***", str(error))[:300]
