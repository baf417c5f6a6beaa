"""The last step of the way: the package's own client opens a link for sending, and may send one record."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from hublog.capture.formatter import LineFormatter
from hublog.delivery.packer import Packer
from hublog.doctor.limits import Budget, TookTooLongError, within
from hublog.doctor.result import Result, fail, ok
from hublog.errors import PermanentSendError, SendError, TransientSendError
from hublog.runtime.delivery_log import THROTTLED, Wording, sentence_of
from hublog.senders.azure_errors import translate
from hublog.senders.connections import Connections
from hublog.senders.event_hub import EventHubSender, connect_producer
from hublog.settings import EventHubSettings, Settings
from hublog.settings.network import route_of

if TYPE_CHECKING:
    from azure.eventhub import EventHubProducerClient

EVENT_NAME: Final = "hublog.doctor"
_OPEN: Final = "event hub"
_SEND: Final = "send"
_CLOSE_S: Final = 1.0
_KIB: Final = 1 << 10
#: Loggers of the client's packages: they tell each failure too, in their own words.
_CHATTY: Final = ("azure", "msal")


@dataclass(frozen=True, slots=True, kw_only=True)
class _Link:
    """A client whose link is open."""

    client: "EventHubProducerClient"
    connections: Connections
    max_send_bytes: int


def look_at_hub(
    settings: Settings, budget: Budget, *, framework: str, is_sent: bool, client_options: Mapping[str, object]
) -> Iterator[Result]:
    """Open a link to the event hub as a sender does, and send one record if that is wanted.

    Args:
        settings: where to, and how records are packed.
        budget: how long it may take.
        framework: ``django``, ``flask`` or empty; fills the column of the record.
        is_sent: whether to send a record, with the event name ``hublog.doctor``.
        client_options: more keywords for the client.
    """
    with _quiet():
        link, result = _open(settings.eventhub, budget, client_options)
        yield result
        if link is None:
            return
        try:
            if is_sent:
                yield _send(settings, link, budget, framework=framework)
        finally:
            _end(link.client, link.connections)


def _open(
    settings: EventHubSettings, budget: Budget, client_options: Mapping[str, object]
) -> tuple[_Link | None, Result]:
    try:
        EventHubSender(settings)  # loads the client, which takes its time, and none of the budget's steps
        connections, client = connect_producer(settings, client_options)
    except Exception as error:  # noqa: BLE001  # of packages and variables that are not ours
        return None, _failed(_OPEN, settings, error)
    begun, limit_s = time.monotonic(), budget.open_s()
    try:
        size = within(limit_s, lambda: client.create_batch().max_size_in_bytes)
    except Exception as error:  # noqa: BLE001  # each of the client's errors is reported
        seconds = time.monotonic() - begun
        _end(client, connections)
        if isinstance(error, TookTooLongError):
            why = f"{settings.eventhub_name!r} was not open for sending within {limit_s:.0f} s"
            return None, fail(_OPEN, why, _reach_hint(settings), seconds=seconds)
        return None, _failed(_OPEN, settings, error, seconds=seconds)
    detail = f"{settings.eventhub_name!r} is open for sending, up to {size // _KIB:,} KiB at once"
    result = ok(_OPEN, detail, seconds=time.monotonic() - begun)
    return _Link(client=client, connections=connections, max_send_bytes=size), result


def _send(settings: Settings, link: _Link, budget: Budget, *, framework: str) -> Result:
    hub = settings.eventhub
    packer = Packer(hub.packing, gzip_level=hub.gzip_level, routing=hub.routing)
    [packed] = packer.pack([_line(settings, framework)], sent_at=datetime.now(UTC))
    sender = EventHubSender(hub, connect=lambda _: link.client)
    begun, limit_s = time.monotonic(), budget.step_s()
    try:
        within(limit_s, lambda: sender.send([packed.body], packer.properties))
    except TookTooLongError:
        why = f"the hub did not confirm a record within {limit_s:.0f} s"
        return fail(_SEND, why, _reach_hint(hub), seconds=time.monotonic() - begun)
    except SendError as error:
        return _failed(_SEND, hub, error, seconds=time.monotonic() - begun)
    seconds = time.monotonic() - begun
    return ok(_SEND, f"the hub accepted one record with event_name {EVENT_NAME!r}", seconds=seconds)


def _line(settings: Settings, framework: str) -> bytes:
    record = logging.LogRecord(EVENT_NAME, logging.INFO, "", 0, "Sent by hublog doctor.", None, None)
    record.__dict__["event_name"] = EVENT_NAME
    return LineFormatter(settings.service, framework=framework).encode(record)


def _failed(
    what: str, settings: EventHubSettings, error: Exception, *, seconds: float | None = None
) -> Result:
    """Return a failure by its cause, and what to check."""
    is_known = isinstance(error, SendError | ImportError)
    found = error if is_known else translate(error, route_of(settings))
    verb = "opened for sending" if what == _OPEN else "given a record"
    cause = found.cause if isinstance(found, SendError) else str(found)
    hint = sentence_of(found.advice) if isinstance(found, SendError) else ""
    if isinstance(found, TransientSendError) and found.retry_after_s > 0:
        hint = THROTTLED
    elif not hint and isinstance(found, PermanentSendError | ImportError):
        hint = "Change what it says, and try again."
    detail = f"{settings.eventhub_name!r} was not {verb}: {cause}"
    return fail(what, detail, hint or _reach_hint(settings), seconds=seconds)


def _reach_hint(settings: EventHubSettings) -> str:
    return Wording(settings, spool_dir=None).reach()


def _end(client: "EventHubProducerClient", connections: Connections) -> None:
    """Close a client in any state; one that hangs is cut."""
    close: Callable[[], object] = client.close
    with contextlib.suppress(Exception):
        within(_CLOSE_S, close)
    connections.cut()
    connections.close()


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Have the client's packages log nothing: what fails is told once, by us."""
    loggers = [logging.getLogger(name) for name in _CHATTY]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
