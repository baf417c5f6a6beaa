"""Where records go and how they are packed, written down with them: what waits on disk outlives its settings.

An envelope never holds a key: a key may be replaced while records wait.
"""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Self
from urllib.parse import urlsplit

from hublog.settings import EventHubSettings, Packing
from hublog.settings.connection import parts_of

#: An envelope on disk that is longer is none of ours.
ENVELOPE_MAX_BYTES: Final = 1 << 16
#: AMQP over TLS, and the plain AMQP of an emulator.
_TLS_PORT: Final = 5671
_PLAIN_PORT: Final = 5672
_PORT: Final = re.compile(r":([0-9]{1,5})$")
_FIELDS: Final = 4
_DEFAULT_NAME: Final = EventHubSettings().eventhub_name


@dataclass(frozen=True, slots=True, kw_only=True)
class Destination:
    """An event hub.

    Attributes:
        namespace: host name in lower case, with the port where it is not that of AMQP over TLS; empty while
            no connection is configured.
        eventhub: name of the event hub; empty while it is not known.
    """

    namespace: str
    eventhub: str

    def takes(self, other: "Destination") -> bool:
        """Whether what is meant for another destination may be sent to this one.

        Event hubs are the same whatever the case of their names is. What was logged before a namespace or
        an event hub was configured is for whichever it is.
        """
        is_namespace = other.namespace in ("", self.namespace)
        return is_namespace and other.eventhub.lower() in ("", self.eventhub.lower())

    def __str__(self) -> str:
        """Return it for people."""
        return f"event hub {self.eventhub or '(any)'} of {self.namespace or '(any namespace)'}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """What is said of records when they are accepted, and holds until they are sent.

    Attributes:
        destination: where they go.
        packing: how they become events; None while that is not known: as it is when they are sent.
        routing: application properties for the data connection.
    """

    destination: Destination
    packing: Packing | None = None
    routing: Mapping[str, str] = field(default_factory=dict)

    def encode(self) -> bytes:
        """Return it for a segment: a JSON array in UTF-8, so that nobody takes it for a record."""
        parts = [
            self.destination.namespace,
            self.destination.eventhub,
            self.packing or "",
            dict(sorted(self.routing.items())),
        ]
        return json.dumps(parts, separators=(",", ":"), ensure_ascii=False).encode()

    @classmethod
    def decode(cls, data: bytes) -> Self | None:
        """Return the envelope of a segment; None when it is not one that this version knows."""
        try:
            parts = json.loads(data) if len(data) <= ENVELOPE_MAX_BYTES else None
            if not isinstance(parts, list) or len(parts) != _FIELDS:
                return None
            *names, routing = parts
            strings = [*names, *routing, *routing.values()]
            if not all(isinstance(text, str) and text.isprintable() for text in strings):
                return None
            namespace, eventhub, packing = names
            return cls(
                destination=Destination(namespace=namespace, eventhub=eventhub),
                packing=Packing(packing) if packing else None,
                routing=routing,
            )
        except (ValueError, AttributeError, TypeError, RecursionError):
            return None


def envelope_of(hub: EventHubSettings) -> Envelope:
    """Return what is said of records that are accepted under these settings.

    While no connection is configured, an event hub that only the default names is not known either: the
    framework's configuration, which is still to come, may name another.
    """
    if hub.is_configured:
        destination = Destination(namespace=_namespace_of(hub), eventhub=hub.eventhub_name)
        return Envelope(destination=destination, packing=hub.packing, routing=hub.routing)
    is_named = hub.eventhub_name != _DEFAULT_NAME
    return Envelope(destination=Destination(namespace="", eventhub=hub.eventhub_name if is_named else ""))


def _namespace_of(hub: EventHubSettings) -> str:
    if not hub.connection_string:
        return _normal(hub.fully_qualified_namespace)
    parts = parts_of(hub.connection_string)
    address = urlsplit(parts["endpoint"])
    is_emulator = parts.get("usedevelopmentemulator") == "true"
    stated = _PORT.search(address.netloc)
    port = int(stated[1]) if stated else _PLAIN_PORT if is_emulator else _TLS_PORT
    name = _normal(address.hostname or "")
    return name if port == _TLS_PORT else f"{name}:{port}"


def _normal(name: str) -> str:
    return name.lower().rstrip(".")
