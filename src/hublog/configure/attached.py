"""The handlers on the loggers of this process, and the settings that contradict them or one another.

A project may write its own ``LOGGING``, and code may add and remove handlers at any time; so what is reported
of the destinations is read from the loggers, not from the settings.
"""

import logging
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from hublog.capture.removal import behind
from hublog.configure.dict_config import level_text
from hublog.settings import SETTINGS, Reading, Settings

CONSOLE: Final = "console"
FILE: Final = "file"
EVENT_HUB: Final = "Event Hub"
#: The setting of each destination's level, and its switch.
_LEVELS: Final = {CONSOLE: "level", FILE: "file_logging.level", EVENT_HUB: "eventhub_logging.level"}
_SWITCHES: Final = {CONSOLE: "log_to_stdout", FILE: "file_logging.enabled"}
_NAMES: Final = {setting.path: setting.name for setting in SETTINGS}


@dataclass(frozen=True, slots=True, kw_only=True)
class Attached:
    """A handler on a logger.

    Attributes:
        kind: console, file or Event Hub.
        level: of the handler; NOTSET leaves it to the logger, and in an ``EventHubHandler`` to its setting.
        logger: name of the logger; empty for the root.
        is_ours: whether it is one of hublog's.
        path: of the file.
    """

    kind: str
    level: int
    logger: str
    is_ours: bool
    path: str = ""


def attached() -> list[Attached]:
    """Return the handlers for console, files and Event Hubs on all loggers, the root's first."""
    known = list(logging.root.manager.loggerDict.values())
    loggers = [logging.root, *(each for each in known if isinstance(each, logging.Logger))]
    found = []
    for logger in loggers:
        name = "" if logger is logging.root else logger.name
        for handler in logger.handlers:
            found += [_look_at(each, name) for each in behind(handler)]
    return [each for each in found if each is not None]


def _look_at(handler: logging.Handler, logger: str) -> Attached | None:
    kind, path = "", str(getattr(handler, "baseFilename", "") or "")
    if getattr(handler, "pipeline", None) is not None and _is_ours(handler):
        kind = EVENT_HUB
    elif path:
        kind = FILE
    elif isinstance(handler, logging.StreamHandler):
        kind = CONSOLE
    if not kind:
        return None
    return Attached(kind=kind, level=handler.level, logger=logger, is_ours=_is_ours(handler), path=path)


def _is_ours(handler: logging.Handler) -> bool:
    return any(kind.__module__.partition(".")[0] == "hublog" for kind in type(handler).__mro__)


def reaches_event_hub(name: str) -> bool:
    """Whether a record of a logger meets an ``EventHubHandler``."""
    logger: logging.Logger | None = logging.getLogger(name)
    on = {each.logger for each in attached() if each.kind == EVENT_HUB}
    while logger is not None:
        if (logger.name if logger.parent is not None else "") in on:
            return True
        logger = logger.parent if logger.propagate else None
    return False


def contradictions(reading: Reading) -> list[str]:
    """Return a sentence for each setting that was stated and that no handler follows."""
    ours = [each for each in attached() if each.is_ours]
    stated = reading.origins.keys() - reading.invalid
    sentences = []
    for kind, path in _LEVELS.items():
        there = [each for each in ours if each.kind == kind]
        wanted = _wanted_level(reading.settings, kind)
        switch = _SWITCHES.get(kind, "")
        if there and wanted is None and switch in stated:
            sentences.append(f"{_NAMES[switch]} is false, but {_place(there[0])} is attached.")
        if wanted is None or path not in stated:
            continue
        sentences += [
            f"{_NAMES[path]} is {level_text(wanted)}, but {_place(each)} is at {level_text(each.level)}."
            for each in there
            if each.level not in (logging.NOTSET, wanted)
        ]
    has_file = any(each.kind == FILE for each in ours)
    if not has_file and reading.settings.file.enabled:
        lost = [name for path, name in _NAMES.items() if path in stated and path.startswith("file_logging.")]
        if lost:
            sentences.append(f"No logger has a file handler of hublog, so {', '.join(lost)} has no effect.")
    return sentences


def _wanted_level(settings: Settings, kind: str) -> int | None:
    """Return the level that a destination should have; None where it is switched off."""
    if kind == CONSOLE:
        return settings.level if settings.log_to_stdout else None
    if kind == FILE:
        return settings.file.level if settings.file.enabled else None
    return settings.eventhub.level if settings.eventhub.enabled else None


def _place(each: Attached) -> str:
    name = f"the logger {each.logger!r}" if each.logger else "the root logger"
    article = "an" if each.kind == EVENT_HUB else "a"
    return f"{article} {each.kind} handler on {name}"


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
