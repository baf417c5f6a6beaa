"""Where records go, as text without secrets."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from hublog.configure.handlers import CONSOLE, EVENT_HUB, FILE, AttachedHandler, file_name, level_text
from hublog.settings import EventHubSettings, Settings
from hublog.settings.connection import parts_of, signature_of
from hublog.settings.route import Route, route_of

#: Shorter strings are not keys, and may be part of any word.
_SECRET_MIN: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where records are sent; only the proxy of its route holds a secret, which is in no repr.

    Attributes:
        policy: name of the key; empty for a signature and without a key.
    """

    route: Route
    hub: str
    policy: str = ""

    @property
    def host(self) -> str:
        """Name or address of the namespace."""
        return self.route.namespace


def target_of(settings: EventHubSettings) -> Target:
    """Return where these settings send to."""
    parts = parts_of(settings.connection_string)
    return Target(
        route=route_of(settings), hub=settings.eventhub_name, policy=parts.get("sharedaccesskeyname", "")
    )


def secrets_of(settings: EventHubSettings) -> list[str]:
    """Return the secrets, which must be in no output."""
    parts = parts_of(settings.connection_string)
    secrets = [parts.get(name, "") for name in ("sharedaccesskey", "sharedaccesssignature")]
    signature = signature_of(settings.connection_string)
    secrets += [signature, unquote(signature)]
    proxy = route_of(settings).proxy
    login = [proxy.password, quote(proxy.password, safe=""), proxy.url] if proxy and proxy.password else []
    stated = [settings.proxy] if "@" in settings.proxy else []
    every = (*secrets, settings.connection_string, *stated, *login)
    # The password of a proxy counts however short it is.
    return [each for each in every if len(each) >= _SECRET_MIN or each in login]


def destinations_text(settings: Settings, attached: Sequence[AttachedHandler] | None = None) -> str:
    """Return the destinations with their levels: as attached, or as set where no application is loaded."""
    file, hub = settings.file, settings.eventhub
    if attached is None:
        path = settings.log_dir / file_name()
        parts = [
            f"console {level_text(settings.level)}" if settings.log_to_stdout else "console off",
            f"file {level_text(file.level)} ({path})" if file.enabled else "file off",
        ]
        has_hub, level, where = hub.enabled, hub.level, ""
    else:
        parts = [", ".join(_parts_of(attached, kind)) or f"{kind} off" for kind in (CONSOLE, FILE)]
        hubs = [each for each in attached if each.kind == EVENT_HUB]
        has_hub = hub.enabled and bool(hubs)
        level = min((each.level or hub.level for each in hubs), default=hub.level)
        where = "" if any(not each.logger for each in hubs) else _on(hubs)
    hub_text = f"Event Hub {level_text(level)}{where} (packing {hub.packing}, spool {hub.spool})"
    return ", ".join([*parts, hub_text if has_hub else "Event Hub off"])


def _parts_of(attached: Sequence[AttachedHandler], kind: str) -> Iterator[str]:
    for each in attached:
        if each.kind == kind:
            path = f" ({each.path})" if each.path else ""
            yield f"{kind} {level_text(each.level)}{_on([each]) if each.logger else ''}{path}"


def _on(attached: Sequence[AttachedHandler]) -> str:
    return f" on {', '.join(sorted({each.logger for each in attached}))}" if attached else ""


def has_destination(settings: Settings, attached: Sequence[AttachedHandler] | None = None) -> bool:
    """Whether records go anywhere."""
    if attached is None:
        return settings.log_to_stdout or settings.file.enabled or settings.eventhub.enabled
    return any(each.kind != EVENT_HUB or settings.eventhub.enabled for each in attached)


def target_text(target: Target) -> str:
    """Return where records are sent, by which route, and with which credential."""
    route = target.route
    parts = [f"event hub {target.hub!r} at {target.host}, port {route.port}"]
    if route.host != route.namespace:
        parts = [f"event hub {target.hub!r} at {target.host}", f"reached at {route.place}"]
    if not route.has_tls:
        parts.append("an emulator without TLS")
    if route.is_websocket:
        parts.append("AMQP over WebSockets")
    if route.proxy is not None:
        parts.append(f"proxy {route.proxy.place} of {route.proxy.source}")
    if route.has_identity:
        parts.append("without a key")
    elif target.policy:
        parts.append(f"key of the policy {target.policy!r}")
    elif route.expires_at is None:
        parts.append("a shared access signature")
    else:
        parts.append(f"a shared access signature until {route.expires_at:%Y-%m-%d %H:%M:%S} UTC")
    return ", ".join(parts)
