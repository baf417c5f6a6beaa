"""The local hub: an Event Hub on the laptop, for development and tests."""

from hublog_local.control import ControlClient
from hublog_local.hub.events import StoredEvent
from hublog_local.hub.faults import Fault, FaultKind, Faults
from hublog_local.hub.local_hub import BASIC_MESSAGE_BYTES, STANDARD_MESSAGE_BYTES, LocalHub

__all__ = [
    "BASIC_MESSAGE_BYTES",
    "STANDARD_MESSAGE_BYTES",
    "ControlClient",
    "Fault",
    "FaultKind",
    "Faults",
    "LocalHub",
    "StoredEvent",
]
