"""What all connections share: the event hubs, the tokens, the faults and the counters."""

import logging
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from threading import Condition
from typing import Final, NamedTuple, Protocol

from hublog_local.amqp.messages import Message
from hublog_local.hub.faults import Faults
from hublog_local.hub.partitions import EventHub, Retention
from hublog_local.hub.stored_events import StoredEvent
from hublog_local.hub.tokens import TokenChecker

#: Frames larger than this are neither taken nor sent.
MAX_FRAME_BYTES: Final = 65536
_ERRORS_KEPT: Final = 100

_logger = logging.getLogger("hublog.internal")

OnEvent = Callable[[str, StoredEvent], None]


@dataclass(slots=True)
class Statistics:
    """Counters since the start; all but the last only grow.

    Attributes:
        connections_total: TCP connections taken.
        websockets_total: those of them that speak AMQP inside WebSockets.
        deliveries_total: deliveries of producers that arrived whole.
        deliveries_bytes_total: their size.
        events_total: events stored.
        sent_total: events sent to consumers.
        tokens_total: tokens offered.
        tokens_refused_total: tokens refused.
        links_refused_total: links refused.
        idle_closed_total: connections closed because they were idle.
        peer_errors_total: connections closed because of what the peer sent.
        callback_errors_total: exceptions of the ``on_event`` callback.
        readers: links of consumers that are open now.
    """

    connections_total: int = 0
    websockets_total: int = 0
    deliveries_total: int = 0
    deliveries_bytes_total: int = 0
    events_total: int = 0
    sent_total: int = 0
    tokens_total: int = 0
    tokens_refused_total: int = 0
    links_refused_total: int = 0
    idle_closed_total: int = 0
    peer_errors_total: int = 0
    callback_errors_total: int = 0
    readers: int = 0


class Limits(NamedTuple):
    """What peers may do.

    Attributes:
        max_message_bytes: size of one delivery.
        idle_timeout_s: silence after which a connection is closed; None is for ever.
    """

    max_message_bytes: int
    idle_timeout_s: float | None


class OpenConnection(Protocol):
    """What the service needs of a connection."""

    def abort(self) -> None:
        """Reset it."""

    def expire_tokens(self) -> None:
        """Take all of its tokens as expired."""


class Service:
    """What all connections share. All but reading the counters and events belongs to the hub's thread.

    Args:
        hubs: number of partitions by name of the event hub.
        tokens: checks who may do what.
        limits: what peers may do.
        retention: what each partition keeps.
        on_event: called with every stored event before its sender gets the settlement.

    Attributes:
        faults: what to do wrong.
        statistics: the counters.
        changed: notified when events were stored.
        connections: those that are open.
        recent_errors: what peers did wrong, the newest last.
    """

    def __init__(
        self,
        hubs: Mapping[str, int],
        *,
        tokens: TokenChecker,
        limits: Limits,
        retention: Retention,
        on_event: OnEvent | None = None,
    ) -> None:
        self.tokens = tokens
        self.limits = limits
        self.faults = Faults()
        self.statistics = Statistics()
        self.changed = Condition()
        self.connections: set[OpenConnection] = set()
        self.recent_errors: deque[str] = deque(maxlen=_ERRORS_KEPT)
        self._on_event = on_event
        self._hubs = {
            name.casefold(): EventHub(name, partitions, retention=retention, changed=self.changed)
            for name, partitions in hubs.items()
        }

    @property
    def hubs(self) -> list[EventHub]:
        """All event hubs."""
        return list(self._hubs.values())

    def find_hub(self, name: str) -> EventHub | None:
        """Return the event hub of this name in any case, if there is one."""
        return self._hubs.get(name.casefold())

    def store(
        self, hub: EventHub, messages: Sequence[Message], *, partition_id: str | None, key: str | None
    ) -> None:
        """Store the messages of one delivery and notify all that wait for them."""
        partition, events = hub.store(messages, partition_id=partition_id, key=key)
        self.statistics.events_total += len(events)
        if self._on_event is not None:
            for event in events:
                self._notify(self._on_event, hub.name, event)
        partition.wake_readers()

    def note_peer_error(self, error: Exception) -> None:
        """Keep what a peer did wrong."""
        self.statistics.peer_errors_total += 1
        self.recent_errors.append(f"{type(error).__name__}: {error}"[:500])

    def _notify(self, on_event: OnEvent, hub: str, event: StoredEvent) -> None:
        try:
            on_event(hub, event)
        except Exception:  # the callback is the user's: its error must not cost the event or the connection
            self.statistics.callback_errors_total += 1
            if self.statistics.callback_errors_total == 1:
                _logger.exception(
                    "The on_event callback of the local hub failed; later failures are only counted."
                )
