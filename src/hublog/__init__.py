"""hublog streams the logs of Flask and Django applications to Azure Event Hubs, shaped for ADX."""

from hublog._version import __version__
from hublog.capture.context import bind, bound, unbind
from hublog.delivery.stats import Circuit, Drop, Stats
from hublog.errors import HublogError, SettingsError
from hublog.handler import EventHubHandler
from hublog.pipeline import flush, stats

__all__ = [
    "Circuit",
    "Drop",
    "EventHubHandler",
    "HublogError",
    "SettingsError",
    "Stats",
    "__version__",
    "bind",
    "bound",
    "flush",
    "stats",
    "unbind",
]
