"""Settings: frozen values, read from argument, framework, environment and YAML by one reader."""

from hublog.settings.model import (
    EventHubSettings,
    FileSettings,
    Mask,
    Packing,
    PersonalData,
    RedactionSettings,
    RequestSettings,
    ServiceSettings,
    Settings,
    SpoolMode,
    SyncPolicy,
    Transport,
)
from hublog.settings.reader import ARGUMENT, NO_HASH_KEY, Override, Reading, is_switched_off, read_settings
from hublog.settings.table import SETTINGS, Setting, settings_table

__all__ = [
    "ARGUMENT",
    "NO_HASH_KEY",
    "SETTINGS",
    "EventHubSettings",
    "FileSettings",
    "Mask",
    "Override",
    "Packing",
    "PersonalData",
    "Reading",
    "RedactionSettings",
    "RequestSettings",
    "ServiceSettings",
    "Setting",
    "Settings",
    "SpoolMode",
    "SyncPolicy",
    "Transport",
    "is_switched_off",
    "read_settings",
    "settings_table",
]
