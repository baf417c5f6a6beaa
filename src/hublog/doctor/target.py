"""Where the settings say to send, taken apart so that it may be shown."""

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Final
from urllib.parse import urlsplit

from hublog.settings import EventHubSettings
from hublog.settings.connection_string import expiry_of, parts_of

#: AMQP over TLS, and the emulator's plain AMQP.
_TLS_PORT: Final = 5671
_PLAIN_PORT: Final = 5672
#: Shorter texts are no keys, and may stand in any word.
_SECRET_MIN: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send; it holds no secret.

    Attributes:
        host: name or address.
        port: of AMQP.
        has_tls: whether the connection is encrypted; only an emulator's is not.
        hub: name of the event hub.
        policy: name of the key; empty for a signature and without a key.
        expires_at: end of the shared access signature; None if there is none, or it says none.
        has_identity: whether it goes without a key.
    """

    host: str
    port: int
    has_tls: bool
    hub: str
    policy: str = ""
    expires_at: datetime | None = None
    has_identity: bool = False


def target_of(settings: EventHubSettings) -> Target:
    """Return where configured settings send to."""
    if not settings.connection_string:
        host = settings.fully_qualified_namespace
        return Target(host=host, port=_TLS_PORT, has_tls=True, hub=settings.eventhub_name, has_identity=True)
    parts = parts_of(settings.connection_string)
    has_tls = parts.get("usedevelopmentemulator") != "true"
    address = urlsplit(parts["endpoint"])
    return Target(
        host=address.hostname or "",
        port=_port_of(address.netloc) or (_TLS_PORT if has_tls else _PLAIN_PORT),
        has_tls=has_tls,
        hub=settings.eventhub_name,
        policy=parts.get("sharedaccesskeyname", ""),
        expires_at=expiry_of(settings.connection_string),
    )


def secrets_of(settings: EventHubSettings) -> list[str]:
    """Return the texts that must be in no output."""
    if not settings.connection_string:
        return []
    parts = parts_of(settings.connection_string)
    found = [parts.get(name, "") for name in ("sharedaccesskey", "sharedaccesssignature")]
    return [secret for secret in (*found, settings.connection_string) if len(secret) >= _SECRET_MIN]


def _port_of(place: str) -> int:
    """Return the port in ``host:port``; 0 if it names none."""
    found = re.search(r":([0-9]{1,5})$", place)
    return int(found[1]) if found else 0
