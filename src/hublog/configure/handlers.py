"""hublog's handlers on the root logger: console, file and Event Hub, put there once and replaced as one."""

import contextlib
import logging
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from hublog.capture import thread_context, uncaught
from hublog.capture.console import ConsoleFormatter, ConsoleHandler
from hublog.capture.json_formatter import JsonFormatter
from hublog.capture.reentry_guard import quiet_azure
from hublog.internal_log import report
from hublog.runtime.framework import surroundings
from hublog.settings import EventHubSettings, Settings

#: By these names our handlers are known again, also those that ``dictConfig`` made from ``logging_config``.
CONSOLE: Final = "hublog_console"
FILE: Final = "hublog_file"
EVENT_HUB: Final = "hublog_eventhub"
NOTHING: Final = "hublog_nothing"
NAMES: Final = frozenset({CONSOLE, FILE, EVENT_HUB, NOTHING})

#: Level and text of what is reported once the handlers are in place.
_Trouble = tuple[int, str]

_CONNECTION: Final = "EVENTHUB_NAMESPACE_CONNECTION_STRING"


class NoDestination(logging.NullHandler):
    """Stands on the root logger if everything is switched off, so that ``logging`` does not use stderr."""

    hublog_skips_reports: Final = True


@dataclass(frozen=True, slots=True)
class _Plan:
    """What shall stand on the loggers."""

    settings: Settings
    framework: str
    problems: tuple[str, ...]
    notices: tuple[str, ...]
    workers: tuple[str, ...]


class _Installed:
    """What stands on the loggers of this process, as ``configure`` left it."""

    lock = threading.RLock()
    plan: _Plan | None = None
    handlers: tuple[tuple[logging.Logger, logging.Handler], ...] = ()
    #: Those that a test will put back: they are taken from their loggers and stay open.
    kept: frozenset[logging.Handler] = frozenset()


def _forget_lock() -> None:
    _Installed.lock = threading.RLock()  # another thread may have held it when the process was forked


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_forget_lock)


def configure(
    settings: Settings,
    *,
    framework: str = "",
    problems: Sequence[str] = (),
    notices: Sequence[str] = (),
    workers: Sequence[str] = (),
) -> logging.Logger:
    """Put console, file and Event Hub on the root logger, whose level becomes the lowest of theirs.

    Called again with the same arguments it changes nothing, with other ones it replaces its own
    handlers and no others. Event Hub trouble is told and does not raise. The loggers ``azure`` and
    ``msal`` get the level WARNING unless they have one.

    Args:
        settings: what to switch on, and how.
        framework: ``django``, ``flask`` or empty.
        problems: what was invalid in the settings; told in one line when the handlers are in place.
        notices: what the operator should know of the settings, see ``Reading``; a warning each.
        workers: names of loggers that get a file each, see ``setup_multi_worker_logging``.

    Returns:
        The root logger.
    """
    thread_context.follow(settings)
    uncaught.follow(settings)
    plan = _Plan(settings, framework, tuple(problems), tuple(notices), tuple(workers))
    root = logging.getLogger()
    with _Installed.lock:
        if plan == _Installed.plan and all(handler in at.handlers for at, handler in _Installed.handlers):
            return root
        invalid = f"Invalid settings, each has its default now: {' '.join(problems)}"
        troubles: list[_Trouble] = [(logging.ERROR, invalid)] if problems else []
        made = list(_make(plan, troubles))
        _replace(root, made)
        _Installed.plan, _Installed.handlers = plan, tuple((at, handler) for at, _, handler in made)
        root.setLevel(root_level(settings, has_event_hub=any(name == EVENT_HUB for _, name, _ in made)))
        quiet_azure()
    _tell(plan, made, troubles)
    return root


def installed() -> tuple[Settings, str] | None:
    """Return the settings that ``configure`` was called with last, and the framework; None before."""
    plan = _Installed.plan
    return None if plan is None else (plan.settings, plan.framework)


@contextlib.contextmanager
def kept() -> Iterator[None]:
    """Keep the handlers open that stand on the loggers, whatever is set up in the context; for tests.

    When it ends they count as ours again; whoever uses it puts them back, and closes those that came.
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


def file_name(worker: str = "") -> str:
    """Return the name of the log file, or of that of a worker."""
    return f"application-{worker}.log" if worker else "application.log"


def _make(plan: _Plan, troubles: list[_Trouble]) -> Iterable[tuple[logging.Logger, str, logging.Handler]]:
    """Make the handlers with the logger that each belongs on and the name it gets there."""
    settings, root = plan.settings, logging.getLogger()
    if settings.log_to_stdout:
        console = ConsoleHandler(settings.level)
        console.setFormatter(ConsoleFormatter(settings.redaction))
        yield root, CONSOLE, console
    files = list(_make_files(plan, troubles))
    yield from files
    event_hub = _make_event_hub(plan, troubles)
    if event_hub is not None:
        yield root, EVENT_HUB, event_hub
    if not (settings.log_to_stdout or files or event_hub):
        yield root, NOTHING, NoDestination()


def _make_files(plan: _Plan, troubles: list[_Trouble]) -> list[tuple[logging.Logger, str, logging.Handler]]:
    """Make the log file and those of the workers; none if one of them cannot be made."""
    if not plan.settings.file.enabled:
        return []
    try:
        own = _make_file(plan, "")
        if plan.workers:
            own.addFilter(lambda record: record.name.partition(".")[0] not in plan.workers)
        made = [(logging.getLogger(), FILE, own)]
        for worker in plan.workers:
            made.append((logging.getLogger(worker), f"{FILE}_{worker}", _make_file(plan, worker)))  # noqa: PERF401  # each may raise
    except Exception as error:  # noqa: BLE001  # the application starts, whatever is wrong with the file
        reason = getattr(error, "strerror", None) or type(error).__name__
        text = (
            f"The log file cannot be made ({reason}), everything else goes on; change LOG_DIR or set"
            " FILE_LOGGING_ENABLED=false."
        )
        troubles.append((logging.WARNING, text))
        return []
    return made


def _make_file(plan: _Plan, worker: str) -> logging.Handler:
    from hublog.configure.file_log import FileLogHandler  # noqa: PLC0415  # needed only for a file

    file = plan.settings.file
    handler = FileLogHandler(
        plan.settings.log_dir / file_name(worker), max_bytes=file.max_bytes, backup_count=file.backup_count
    )
    handler.setLevel(file.level)
    handler.setFormatter(
        JsonFormatter(plan.settings.service, framework=plan.framework, redaction=plan.settings.redaction)
    )
    return handler


def _make_event_hub(plan: _Plan, troubles: list[_Trouble]) -> logging.Handler | None:
    event_hub: EventHubSettings = plan.settings.eventhub
    if not (event_hub.enabled and event_hub.is_configured) and not surroundings.is_hub_replaced:
        return None
    try:
        from hublog.handler import EventHubHandler  # noqa: PLC0415  # nothing of it is needed when switched off

        return EventHubHandler(event_hub.level, settings=plan.settings, framework=plan.framework)
    except Exception as error:  # noqa: BLE001  # the application starts, whatever is wrong with the Event Hub
        text = f"The Event Hub is not used: {type(error).__name__}. Console and file go on."
        troubles.append((logging.ERROR, text))
        return None


def _replace(root: logging.Logger, made: Sequence[tuple[logging.Logger, str, logging.Handler]]) -> None:
    """Add the new handlers before the old ones go: a record in between is written twice, not lost."""
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


def _tell(
    plan: _Plan, made: Sequence[tuple[logging.Logger, str, logging.Handler]], troubles: Sequence[_Trouble]
) -> None:
    for level, text in troubles:
        report(level, text)
    for notice in plan.notices:
        report(logging.WARNING, notice)
    is_told = False
    for _, _, handler in made:
        check = getattr(handler, "check", None)
        if check is not None and not check(is_told=is_told):
            is_told = True
    event_hub = plan.settings.eventhub
    is_malformed = any(_CONNECTION in problem for problem in plan.problems)
    is_missing = event_hub.enabled and not event_hub.is_configured and not is_malformed
    if is_missing and not surroundings.is_hub_replaced:
        from hublog.runtime.pipeline import NOT_CONFIGURED  # noqa: PLC0415  # the one text for it lives there

        report(logging.WARNING, NOT_CONFIGURED)
