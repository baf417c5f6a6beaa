"""Settings: frozen values, read from argument, framework, environment and YAML by one reader."""

from hublog.settings.model import (
    EventHubSettings,
    FileSettings,
    Packing,
    RequestSettings,
    ServiceSettings,
    Settings,
    SpoolMode,
    SyncPolicy,
)
from hublog.settings.reader import Reading, read_settings
from hublog.settings.table import SETTINGS, Setting, settings_table

__all__ = [
    "SETTINGS",
    "EventHubSettings",
    "FileSettings",
    "Packing",
    "Reading",
    "RequestSettings",
    "ServiceSettings",
    "Setting",
    "Settings",
    "SpoolMode",
    "SyncPolicy",
    "read_settings",
    "settings_table",
]
