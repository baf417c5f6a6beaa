"""hublog's handlers: as plain data, added to the loggers and replaced as one, compared with the settings."""

import contextlib
import logging
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pkgutil import resolve_name
from typing import Any, Final, cast

from hublog.capture import thread_context
from hublog.capture.reentry_guard import quiet_azure, unset_loggers
from hublog.internal_log import report
from hublog.process_hooks import process_hooks
from hublog.redaction.redactor import as_plain
from hublog.runtime import uncaught
from hublog.runtime.handler_watch import behind
from hublog.runtime.shared import runtime
from hublog.settings import SETTINGS, EventHubSettings, Reading, Settings

#: Names of hublog's handlers, also of those that ``dictConfig`` makes from ``logging_config``.
CONSOLE_NAME: Final = "hublog_console"
FILE_NAME: Final = "hublog_file"
EVENT_HUB_NAME: Final = "hublog_eventhub"
NO_DESTINATION_NAME: Final = "hublog_nothing"
NAMES: Final = (CONSOLE_NAME, FILE_NAME, EVENT_HUB_NAME, NO_DESTINATION_NAME)
_JSON: Final = "hublog_json"

#: Level and text of what is reported once the handlers are in place.
_Message = tuple[int, str]

_CONNECTION: Final = "EVENTHUB_NAMESPACE_CONNECTION_STRING"


class NoDestination(logging.NullHandler):
    """On the root logger if everything is switched off, so that ``logging`` does not write to stderr."""

    hublog_skips_reports: Final = True


@dataclass(frozen=True, slots=True)
class _Plan:
    """What ``configure`` was asked for."""

    settings: Settings
    framework: str
    problems: tuple[str, ...]
    notices: tuple[str, ...]
    workers: tuple[str, ...]


class _Installed:
    """What ``configure`` has added to the loggers of this process."""

    lock = threading.RLock()
    plan: _Plan | None = None
    handlers: tuple[tuple[logging.Logger, logging.Handler], ...] = ()
    #: Handlers that a test will restore: they are removed from their loggers and stay open.
    kept: frozenset[logging.Handler] = frozenset()


def _forget_lock() -> None:
    _Installed.lock = threading.RLock()  # another thread may have held it when the process was forked


process_hooks.in_child(_forget_lock)


def configure(
    settings: Settings,
    *,
    framework: str = "",
    problems: Sequence[str] = (),
    notices: Sequence[str] = (),
    workers: Sequence[str] = (),
) -> logging.Logger:
    """Add console, file and Event Hub to the root logger, whose level becomes the lowest of theirs.

    Called again with the same arguments it changes nothing, with others it replaces its own
    handlers and no others. An error of the Event Hub is reported and not raised. The loggers ``azure`` and
    ``msal`` get the level WARNING unless they have one.

    Args:
        settings: what to switch on, and how.
        framework: ``django``, ``flask`` or empty.
        problems: invalid settings; reported in one line once the handlers are in place.
        notices: what the operator should know about the settings, see ``Reading``; a warning each.
        workers: names of loggers that get a file each, see ``setup_multi_worker_logging``.

    Returns:
        The root logger.
    """
    process_hooks.install()
    thread_context.follow(settings)
    uncaught.follow(settings)
    plan = _Plan(settings, framework, tuple(problems), tuple(notices), tuple(workers))
    root = logging.getLogger()
    with _Installed.lock:
        if plan == _Installed.plan and all(handler in at.handlers for at, handler in _Installed.handlers):
            return root
        invalid = f"Invalid settings, their defaults are used: {' '.join(problems)}"
        messages: list[_Message] = [(logging.ERROR, invalid)] if problems else []
        made = list(_make(plan, messages))
        _replace(root, made)
        _Installed.plan, _Installed.handlers = plan, tuple((at, handler) for at, _, handler in made)
        root.setLevel(root_level(settings, has_event_hub=any(name == EVENT_HUB_NAME for _, name, _ in made)))
        quiet_azure()
    _report(plan, made, messages)
    return root


def installed() -> tuple[Settings, str] | None:
    """Return the settings that ``configure`` was called with last, and the framework; None before."""
    plan = _Installed.plan
    return None if plan is None else (plan.settings, plan.framework)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep the current handlers open, whatever is configured in the context; for tests.

    When it ends they count as hublog's again; the caller restores them and closes new ones.
    """
    former = _Installed.plan, _Installed.handlers, _Installed.kept
    _Installed.kept = former[2] | {handler for _, handler in former[1]} | set(logging.getLogger().handlers)
    try:
        yield
    finally:
        _Installed.plan, _Installed.handlers, _Installed.kept = former


def root_level(settings: Settings, *, has_event_hub: bool) -> int:
    """Return the lowest level of the destinations that are switched on."""
    levels = [settings.level] if settings.log_to_stdout else []
    levels += [settings.file.level] if settings.file.enabled else []
    levels += [settings.eventhub.level] if has_event_hub else []
    return min(levels, default=settings.level)


def level_text(level: int) -> int | str:
    """Return the name of a level, or its number if it has no name."""
    name = logging.getLevelName(level)
    return name if logging.getLevelNamesMapping().get(name) == level else level


def file_name(worker: str = "") -> str:
    """Return the name of the log file of the application or of a worker."""
    return f"application-{worker}.log" if worker else "application.log"


def _make(plan: _Plan, messages: list[_Message]) -> Iterable[tuple[logging.Logger, str, logging.Handler]]:
    """Make the handlers, each with its logger and its name."""
    settings, root = plan.settings, logging.getLogger()
    if settings.log_to_stdout:
        yield root, CONSOLE_NAME, _from_spec(_spec(_config(settings, plan.framework), CONSOLE_NAME))
    files = list(_make_files(plan, messages))
    yield from files
    event_hub = _make_event_hub(plan, messages)
    if event_hub is not None:
        yield root, EVENT_HUB_NAME, event_hub
    if not (settings.log_to_stdout or files or event_hub):
        yield root, NO_DESTINATION_NAME, NoDestination()


def _make_files(plan: _Plan, messages: list[_Message]) -> list[tuple[logging.Logger, str, logging.Handler]]:
    """Make the handlers of the log file and the workers' files; none if one of them fails."""
    if not plan.settings.file.enabled:
        return []
    try:
        own = _make_file(plan, "")
        if plan.workers:
            own.addFilter(lambda record: record.name.partition(".")[0] not in plan.workers)
        made = [(logging.getLogger(), FILE_NAME, own)]
        for worker in plan.workers:
            made.append((logging.getLogger(worker), f"{FILE_NAME}_{worker}", _make_file(plan, worker)))  # noqa: PERF401  # each may raise
    except Exception as error:  # noqa: BLE001  # the application must start without the file, too
        reason = getattr(error, "strerror", None) or type(error).__name__
        text = (
            f"The log file cannot be created ({reason}); all else works. Change LOG_DIR or set"
            " FILE_LOGGING_ENABLED=false."
        )
        messages.append((logging.WARNING, text))
        return []
    return made


def _make_file(plan: _Plan, worker: str) -> logging.Handler:
    spec = _spec(_config(plan.settings, plan.framework), FILE_NAME)
    return _from_spec(spec | {"filename": str(plan.settings.log_dir / file_name(worker))})


def _make_event_hub(plan: _Plan, messages: list[_Message]) -> logging.Handler | None:
    event_hub: EventHubSettings = plan.settings.eventhub
    if not (event_hub.enabled and event_hub.is_configured) and not runtime.is_hub_replaced:
        return None
    try:
        from hublog.handler import EventHubHandler  # noqa: PLC0415  # nothing of it is needed when switched off

        return EventHubHandler(event_hub.level, settings=plan.settings, framework=plan.framework)
    except Exception as error:  # noqa: BLE001  # the application must start without the Event Hub, too
        text = f"The Event Hub is disabled: {type(error).__name__}. Console and file still work."
        messages.append((logging.ERROR, text))
        return None


def _replace(root: logging.Logger, made: Sequence[tuple[logging.Logger, str, logging.Handler]]) -> None:
    """Add the new handlers before removing the old ones: a record in between is written twice, not lost."""
    old = [(root, handler) for handler in root.handlers if handler.name in NAMES]
    old += [(at, handler) for at, handler in _Installed.handlers if at is not root]
    for at, _, handler in made:
        at.addHandler(handler)
    for at, handler in old:
        at.removeHandler(handler)
        if handler not in _Installed.kept:
            handler.close()
    for _, name, handler in made:
        handler.name = name  # only now: closing the old handler takes its name out of logging's list


def _report(
    plan: _Plan, made: Sequence[tuple[logging.Logger, str, logging.Handler]], messages: Sequence[_Message]
) -> None:
    for level, text in messages:
        report(level, text)
    for notice in plan.notices:
        report(logging.WARNING, notice)
    is_reported = False
    for _, _, handler in made:
        check = getattr(handler, "check", None)
        if check is not None and not check(is_reported=is_reported):
            is_reported = True
    event_hub = plan.settings.eventhub
    is_malformed = any(_CONNECTION in problem for problem in plan.problems)
    is_missing = event_hub.enabled and not event_hub.is_configured and not is_malformed
    if is_missing and not runtime.is_hub_replaced:
        from hublog.runtime.pipeline import NOT_CONFIGURED  # noqa: PLC0415  # the message is defined there

        report(logging.WARNING, NOT_CONFIGURED)


def logging_config(settings: Settings, *, framework: str = "") -> dict[str, object]:
    """Return what ``configure`` does as a dictionary for ``dictConfig``: plain JSON types, no secret.

    The Event Hub handler is in it whenever it is switched on. It reads its own settings, from
    the framework's configuration and the environment, with its first record; so arguments and a
    YAML file reach it through ``configure`` only.

    Args:
        settings: what to switch on, and how.
        framework: ``django``, ``flask`` or empty.
    """
    handlers = _specs(settings, framework)
    redaction = as_plain(settings.redaction)
    return {
        "version": 1,
        "disable_existing_loggers": False,
        "formatters": {
            CONSOLE_NAME: {"()": "hublog.ConsoleFormatter", "redaction": redaction},
            _JSON: {
                "()": "hublog.JsonFormatter",
                "service": asdict(settings.service),
                "framework": framework,
                "redaction": redaction,
            },
        },
        "handlers": handlers,
        "loggers": {name: {"level": "WARNING"} for name in unset_loggers()},
        "root": {
            "level": level_text(root_level(settings, has_event_hub=settings.eventhub.enabled)),
            "handlers": list(handlers),
        },
    }


def _specs(settings: Settings, framework: str) -> dict[str, dict[str, object]]:
    handlers: dict[str, dict[str, object]] = {}
    if settings.log_to_stdout:
        handlers[CONSOLE_NAME] = {
            "class": "hublog.ConsoleHandler",
            "level": level_text(settings.level),
            "formatter": CONSOLE_NAME,
        }
    if settings.file.enabled:
        handlers[FILE_NAME] = {
            "class": "hublog.configure.file_log.FileLogHandler",
            "level": level_text(settings.file.level),
            "formatter": _JSON,
            "filename": str(settings.log_dir / file_name()),
            "max_bytes": settings.file.max_bytes,
            "backup_count": settings.file.backup_count,
        }
    if settings.eventhub.enabled:
        handlers[EVENT_HUB_NAME] = {
            "class": "hublog.EventHubHandler",
            "level": level_text(settings.eventhub.level),
            "framework": framework,
        }
    if not handlers:
        handlers[NO_DESTINATION_NAME] = {"class": "hublog.configure.handlers.NoDestination"}
    return handlers


def apply_late(made: Settings, settings: Settings, *, framework: str) -> None:
    """Bring the handlers that ``logging_config`` made on the root logger up to the effective settings."""
    former, wanted = (_config(each, framework) for each in (made, settings))
    root = logging.getLogger()
    for name in NAMES:
        current = next((handler for handler in root.handlers if handler.name == name), None)
        before, after = _spec(former, name), _spec(wanted, name)
        if before == after or (before and current is None):  # the project has removed or moved it
            continue
        handler = _from_spec(after) if after else None
        if handler is not None:
            root.addHandler(handler)
        if current is not None:
            root.removeHandler(current)
            current.close()
        if handler is not None:
            handler.name = name  # only now: closing the old one takes its name out of logging's list
    if level_text(root.level) == former["root"]["level"]:  # else the project has set it
        root.setLevel(wanted["root"]["level"])


def _config(settings: Settings, framework: str) -> dict[str, Any]:
    return cast("dict[str, Any]", logging_config(settings, framework=framework))


def _spec(config: Mapping[str, Any], name: str) -> dict[str, Any]:
    """Return what a handler is made from, its formatter included; empty if it is switched off."""
    spec = dict(config["handlers"].get(name, {}))
    if "formatter" in spec:
        spec["formatter"] = config["formatters"][spec["formatter"]]
    return spec


def _from_spec(spec: Mapping[str, Any]) -> logging.Handler:
    """Make a handler as ``dictConfig`` does."""
    keywords = dict(spec)
    kind, level = resolve_name(keywords.pop("class")), keywords.pop("level", logging.NOTSET)
    formatter = dict(keywords.pop("formatter", {}))
    handler: logging.Handler = kind(**keywords)
    handler.setLevel(level)
    if formatter:
        handler.setFormatter(resolve_name(formatter.pop("()"))(**formatter))
    return handler


CONSOLE: Final = "console"
FILE: Final = "file"
EVENT_HUB: Final = "Event Hub"
#: The setting of each destination's level, and its switch.
_LEVELS: Final = {CONSOLE: "level", FILE: "file_logging.level", EVENT_HUB: "eventhub_logging.level"}
_SWITCHES: Final = {CONSOLE: "log_to_stdout", FILE: "file_logging.enabled"}
_NAMES: Final = {setting.path: setting.name for setting in SETTINGS}


@dataclass(frozen=True, slots=True, kw_only=True)
class AttachedHandler:
    """A handler on a logger.

    Attributes:
        level: of the handler; NOTSET leaves it to the logger, and in an ``EventHubHandler`` to its setting.
        logger: name of the logger; empty for the root.
    """

    kind: str
    level: int
    logger: str
    is_ours: bool
    path: str = ""


def attached() -> list[AttachedHandler]:
    """Return the handlers for console, files and Event Hubs on all loggers, the root's first."""
    known = list(logging.root.manager.loggerDict.values())
    loggers = [logging.root, *(each for each in known if isinstance(each, logging.Logger))]
    handlers = []
    for logger in loggers:
        name = "" if logger is logging.root else logger.name
        for handler in logger.handlers:
            handlers += [_describe(each, name) for each in behind(handler)]
    return [each for each in handlers if each is not None]


def _describe(handler: logging.Handler, logger: str) -> AttachedHandler | None:
    kind, path = "", str(getattr(handler, "baseFilename", "") or "")
    if getattr(handler, "pipeline", None) is not None and _is_ours(handler):
        kind = EVENT_HUB
    elif path:
        kind = FILE
    elif isinstance(handler, logging.StreamHandler):
        kind = CONSOLE
    if not kind:
        return None
    return AttachedHandler(
        kind=kind, level=handler.level, logger=logger, is_ours=_is_ours(handler), path=path
    )


def _is_ours(handler: logging.Handler) -> bool:
    return any(kind.__module__.partition(".")[0] == "hublog" for kind in type(handler).__mro__)


def reaches_event_hub(name: str) -> bool:
    """Whether a record of a logger reaches an ``EventHubHandler``."""
    logger: logging.Logger | None = logging.getLogger(name)
    on = {each.logger for each in attached() if each.kind == EVENT_HUB}
    while logger is not None:
        if (logger.name if logger.parent is not None else "") in on:
            return True
        logger = logger.parent if logger.propagate else None
    return False


def contradictions(reading: Reading) -> list[str]:
    """Return a sentence for each stated setting that the attached handlers do not follow."""
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
        unused = [
            name for path, name in _NAMES.items() if path in stated and path.startswith("file_logging.")
        ]
        if unused:
            sentences.append(f"No logger has a file handler of hublog, so {', '.join(unused)} has no effect.")
    return sentences


def _wanted_level(settings: Settings, kind: str) -> int | None:
    """Return the level that a destination should have; None if it is switched off."""
    if kind == CONSOLE:
        return settings.level if settings.log_to_stdout else None
    if kind == FILE:
        return settings.file.level if settings.file.enabled else None
    return settings.eventhub.level if settings.eventhub.enabled else None


def _place(each: AttachedHandler) -> str:
    name = f"the logger {each.logger!r}" if each.logger else "the root logger"
    article = "an" if each.kind == EVENT_HUB else "a"
    return f"{article} {each.kind} handler on {name}"


#: Each application has its own, except for what is patched once for the process.
_OF_APP: Final = "request"
_OF_PROCESS: Final = "context_in_threads"


def conflicts(one: Settings, other: Settings) -> list[str]:
    """Return the names of the settings that apply to the whole process and differ, without their values."""
    is_used = {
        "file_logging": one.file.enabled or other.file.enabled,
        "eventhub_logging": one.eventhub.enabled or other.eventhub.enabled,
    }
    differing = []
    for setting in SETTINGS:
        if setting.field == "log_dir" and not any(is_used.values()):  # nothing is written there
            continue
        if not is_used.get(setting.section, True):
            continue
        if setting.section == _OF_APP and setting.field != _OF_PROCESS:
            continue
        if setting.value_in(one) != setting.value_in(other):
            differing.append(setting.name)
    return differing
