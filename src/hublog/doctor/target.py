"""Where the settings say to send, taken apart so that it may be shown."""

from dataclasses import dataclass
from typing import Final
from urllib.parse import quote, unquote

from hublog.settings import EventHubSettings
from hublog.settings.connection_string import parts_of, signature_of
from hublog.settings.network import Route, route_of

#: Shorter strings are no keys, and may stand in any word.
_SECRET_MIN: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """Where to send; only the proxy of its route holds a secret, which is in no repr.

    Attributes:
        route: host, port, proxy and certificates.
        hub: name of the event hub.
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
    """Return where configured settings send to."""
    parts = parts_of(settings.connection_string)
    return Target(
        route=route_of(settings), hub=settings.eventhub_name, policy=parts.get("sharedaccesskeyname", "")
    )


def secrets_of(settings: EventHubSettings) -> list[str]:
    """Return the strings that must be in no output."""
    parts = parts_of(settings.connection_string)
    found = [parts.get(name, "") for name in ("sharedaccesskey", "sharedaccesssignature")]
    signature = signature_of(settings.connection_string)
    found += [signature, unquote(signature)]
    proxy = route_of(settings).proxy
    login = [proxy.password, quote(proxy.password, safe=""), proxy.url] if proxy and proxy.password else []
    stated = [settings.proxy] if "@" in settings.proxy else []
    every = (*found, settings.connection_string, *stated, *login)
    # A password of a proxy is one however short it is.
    return [each for each in every if len(each) >= _SECRET_MIN or each in login]
