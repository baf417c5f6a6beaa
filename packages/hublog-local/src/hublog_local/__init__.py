"""The local hub: an Event Hub on the laptop, for development and tests.

The names are loaded when they are used: the commands of this package are in every run of ``hublog``.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hublog_local.errors import LocalHubError
    from hublog_local.hub.control import ControlClient
    from hublog_local.hub.faults import Fault, FaultKind, Faults
    from hublog_local.hub.local_hub import BASIC_MESSAGE_BYTES, STANDARD_MESSAGE_BYTES, LocalHub
    from hublog_local.hub.stored_events import StoredEvent

__all__ = [
    "BASIC_MESSAGE_BYTES",
    "STANDARD_MESSAGE_BYTES",
    "ControlClient",
    "Fault",
    "FaultKind",
    "Faults",
    "LocalHub",
    "LocalHubError",
    "StoredEvent",
]

_MODULES: Final = {
    "BASIC_MESSAGE_BYTES": "hublog_local.hub.local_hub",
    "STANDARD_MESSAGE_BYTES": "hublog_local.hub.local_hub",
    "ControlClient": "hublog_local.hub.control",
    "Fault": "hublog_local.hub.faults",
    "FaultKind": "hublog_local.hub.faults",
    "Faults": "hublog_local.hub.faults",
    "LocalHub": "hublog_local.hub.local_hub",
    "LocalHubError": "hublog_local.errors",
    "StoredEvent": "hublog_local.hub.stored_events",
}

if not TYPE_CHECKING:  # else every name would be there for the type checker

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(_MODULES[name]), name)
