"""Settings in which two applications of one process differ, although both log through the same handlers."""

from collections.abc import Iterator
from typing import Final

from hublog.settings import SETTINGS, Settings

#: The attribute of ``Settings`` where it is not the name of the section.
_ATTRIBUTES: Final = {"file_logging": "file", "eventhub_logging": "eventhub"}
#: Each application has these for itself, but for what is wrapped once for the process.
_OF_APP: Final = "request"
_OF_PROCESS: Final = "context_in_threads"


def conflicts(one: Settings, other: Settings) -> list[str]:
    """Return the names of the settings that hold for the process and differ, without their values."""
    return list(_conflicts(one, other))


def _conflicts(one: Settings, other: Settings) -> Iterator[str]:
    has_file, has_hub = one.file.enabled or other.file.enabled, one.eventhub.enabled or other.eventhub.enabled
    for setting in SETTINGS:
        if setting.field == "log_dir" and not (has_file or has_hub):  # nothing is written there
            continue
        if (setting.section == "file_logging" and not has_file) or (
            setting.section == "eventhub_logging" and not has_hub
        ):
            continue
        if setting.section == _OF_APP and setting.field != _OF_PROCESS:
            continue
        attribute = _ATTRIBUTES.get(setting.section, setting.section)
        sections = [getattr(each, attribute) if attribute else each for each in (one, other)]
        if getattr(sections[0], setting.field) != getattr(sections[1], setting.field):
            yield setting.name
