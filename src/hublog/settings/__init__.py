"""Settings: frozen values, read from argument, framework, environment and YAML by one reader."""

from hublog.settings.model import (
    SETTINGS,
    EventHubSettings,
    FileSettings,
    RedactionSettings,
    RequestSettings,
    ServiceSettings,
    Setting,
    Settings,
    settings_table,
)
from hublog.settings.reader import ARGUMENT, NO_HASH_KEY, Override, Reading, is_switched_off, read_settings
from hublog.settings.values import Mask, Packing, PersonalData, SpoolMode, SyncPolicy, Transport

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
