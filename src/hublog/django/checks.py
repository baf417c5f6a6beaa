"""Django's system checks of hublog's configuration; their ids and hints are in ``check_messages``."""

import configparser
import logging
import logging.handlers
import os
import shlex
import sys
from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from importlib.util import find_spec
from pathlib import Path, PurePath
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, register

from hublog.configure.file_log import FileLogHandler
from hublog.configure.handlers import contradictions
from hublog.django.check_messages import message
from hublog.django.project import (
    LoggerEntry,
    LoggingDict,
    is_hub,
    lookup,
    project_names,
    read_logging,
    read_project,
    shown_settings,
)
from hublog.doctor.offline_checks import log_file_problem, misspelt, spool_problem
from hublog.handler import EventHubHandler
from hublog.requests.request_record import LOGGER_NAME as REQUESTS
from hublog.runtime.handler_watch import findings
from hublog.runtime.server_advice import advice, uwsgi_advice
from hublog.settings import NO_HASH_KEY, SpoolMode
from hublog.settings.route import route_of

MIDDLEWARE: Final = "hublog.django.middleware.RequestContextMiddleware"

_CONNECTION: Final = "EVENTHUB_NAMESPACE_CONNECTION_STRING"
_HASH_KEY: Final = "LOG_REDACTION_HASH_KEY"
_PATH: Final = "eventhub_logging.connection_string"
_SOURCE_MAX_BYTES: Final = 1 << 20


def find_invalid_settings() -> Iterator[CheckMessage]:
    """Find settings with invalid values."""
    for problem in read_project().problems:
        yield message("E002" if problem.endswith(NO_HASH_KEY) else "E001", problem)


def find_overridden_settings() -> Iterator[CheckMessage]:
    """Find settings without effect, since a stronger source states another value."""
    for override in read_project().overrides:
        yield message("I002", override.text)


def find_misspelt_settings() -> Iterator[CheckMessage]:
    """Find names that are almost those of settings."""
    for place, names in (("setting", project_names()), ("environment variable", dict(os.environ))):
        for name, meant in misspelt(names):
            yield message("W008", f"The {place} {name} has no effect; {meant} is the name of a setting.")


def find_middleware_problems() -> Iterator[CheckMessage]:
    """Find a middleware that is missing or not first."""
    value = getattr(settings, "MIDDLEWARE", None)
    listed = list(value) if isinstance(value, list | tuple) else []
    if MIDDLEWARE not in listed:
        yield message("W001", "No record has the fields of its request.")
    elif listed[0] != MIDDLEWARE:
        yield message(
            "W002", f"Records of {listed[0]} and other middleware before it have no request fields."
        )


def find_missing_connection() -> Iterator[CheckMessage]:
    """Find a project in production that sends nothing without having disabled it."""
    reading = read_project()
    hub = reading.settings.eventhub
    is_confirmed = not hub.enabled or settings.DEBUG
    if not is_confirmed and not hub.is_configured and _PATH not in reading.invalid and not _hub_in_logging():
        yield message("W012")


def _hub_in_logging() -> bool:
    """Whether a handler in ``LOGGING`` has its own connection."""
    config = read_logging()
    named = {"connection_string", "fully_qualified_namespace"}
    return any(named & set(config.keywords_of(name)) for name in config.handlers)


def find_missing_extras() -> Iterator[CheckMessage]:
    """Find a connection that needs a package which is not installed."""
    hub = read_project().settings.eventhub
    if not (hub.enabled and hub.is_configured):
        return
    if not hub.connection_string and not _is_installed("azure.identity"):
        yield message("E003")
    if route_of(hub).is_websocket and not _is_installed("websocket"):
        yield message("E004")


def _is_installed(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except (ImportError, ValueError):
        return False


def find_disabled_redaction() -> Iterator[CheckMessage]:
    """Find disabled redaction in production."""
    if not read_project().settings.redaction.enabled and not settings.DEBUG:
        yield message("W013")


def find_secrets_in_settings() -> Iterator[CheckMessage]:
    """Find secrets in the source code; no message shows them."""
    for name in (_CONNECTION, _HASH_KEY):
        if _is_written_down(lookup(name)):
            yield message(
                "W007", f"{name} is written in the settings, and copied wherever the source code is."
            )
    config = read_logging()
    for handler in config.handlers:
        if _is_written_down(config.keywords_of(handler).get("connection_string")):
            text = f"LOGGING contains the connection_string of the handler {handler!r}."
            yield message("W007", text)


def find_shown_secrets() -> Iterator[CheckMessage]:
    """Find settings in which Django's debug page would show the key of the connection."""
    connection = read_project().settings.eventhub.connection_string
    secret = _secret_in(connection) if connection else ""
    for name in shown_settings(secret) if secret else ():
        yield message("W020", f"Django's debug page and its mails to ADMINS would show the key in {name}.")


def _is_written_down(value: object) -> bool:
    """Whether a value is a secret that is in no environment variable, but perhaps in the source code."""
    if not isinstance(value, str) or not value.strip():
        return False
    secret = _secret_in(value.strip())
    if not secret or any(secret in held for held in os.environ.values()):
        return False
    sources = _sources()
    # A vault, or a separate file, is a good place for it.
    return not sources or any(secret in source for source in sources)


def _secret_in(value: str) -> str:
    """Return the secret part of a connection string; any other string as a whole."""
    pairs = [part.partition("=") for part in value.split(";")]
    parts = {name.strip().lower(): text.strip() for name, sign, text in pairs if sign}
    if parts.get("usedevelopmentemulator", "").lower() == "true":
        return ""
    return parts.get("sharedaccesskey") or parts.get("sharedaccesssignature") or value


def _sources() -> list[str]:
    """Return the source code of the settings module, and of imported modules in its directory or below.

    Empty if the settings do not come from a module.
    """
    module = sys.modules.get(str(getattr(settings, "SETTINGS_MODULE", "") or ""))
    named = getattr(module, "__file__", None)
    if not named:
        return []
    place = str(Path(named).parent) + os.sep
    files = {getattr(each, "__file__", None) or "" for each in list(sys.modules.values())}
    return [_text_of(file) for file in files if file.startswith(place) and file.endswith(".py")]


def _text_of(file: str) -> str:
    try:
        with Path(file).open(encoding="utf-8", errors="replace") as source:
            return source.read(_SOURCE_MAX_BYTES)
    except OSError:
        return ""


#: Django configures these before it reads ``LOGGING``; loggers below them are not disabled either.
_DJANGOS: Final = ("django", "django.server")
_SHOWN_MAX: Final = 5


def find_missing_handler() -> Iterator[CheckMessage]:
    """Find an enabled Event Hub without a handler."""
    hub = read_project().settings.eventhub
    if hub.enabled and hub.is_configured and not any(read_logging().of_class(EventHubHandler)):
        yield message("W003")


def find_unreached_requests() -> Iterator[CheckMessage]:
    """Find handlers on loggers of the application only, which no request record reaches."""
    reading, config = read_project(), read_logging()
    hub = reading.settings.eventhub
    if not (hub.enabled and hub.is_configured and reading.settings.request.access_records):
        return
    places = [entry for entry in config.loggers.values() if _has_hub(config, entry)]
    if places and not any(_has_hub(config, entry) for entry in config.lineage(REQUESTS)):
        shown = ", ".join(sorted(entry.shown for entry in places)[:_SHOWN_MAX])
        yield message("W018", f"Records of {REQUESTS} reach no EventHubHandler, only those of {shown} do.")


def _has_hub(config: LoggingDict, entry: LoggerEntry) -> bool:
    return any(name in config.handlers and is_hub(config.class_of(name)) for name in entry.handlers)


def find_contradictions() -> Iterator[CheckMessage]:
    """Find settings that the handlers of this process do not follow."""
    for sentence in contradictions(read_project()):
        yield message("W017", sentence)


def find_handlers_without_records() -> Iterator[CheckMessage]:
    """Find handlers of this process that a later configuration removed, or behind an unread queue."""
    for sentence in findings():
        yield message("W019", sentence)


def find_duplicate_handlers() -> Iterator[CheckMessage]:
    """Find handlers that get a record twice, including Django's own."""
    config = read_logging().with_djangos()
    reported: set[Hashable] = set()
    for name in config.loggers:
        met: dict[Hashable, tuple[str, LoggerEntry]] = {}
        for entry in config.lineage(name):
            for handler in entry.handlers:
                what = _identity(config, handler)
                if what not in met:
                    met[what] = (handler, entry)
                    continue
                key = (what, met[what][1].name, entry.name)
                if key not in reported:
                    reported.add(key)
                    yield message("W004", _twice(config, met[what], (handler, entry)))


def _identity(config: LoggingDict, handler: str) -> Hashable:
    """Return what is equal for handlers with one destination: the pipeline, the file, else the name."""
    if handler in config.handlers:
        if is_hub(config.class_of(handler)):
            keywords = config.keywords_of(handler).items()
            return ("hub", frozenset((key, repr(value)) for key, value in keywords))
        path = config.file_of(handler)
        if path is not None:
            return ("file", str(path))
        if config.is_console(handler):
            return ("console",)
    return ("name", handler)


def _twice(config: LoggingDict, first: tuple[str, LoggerEntry], second: tuple[str, LoggerEntry]) -> str:
    names = f"{first[0]!r}" if first[0] == second[0] else f"{first[0]!r} and {second[0]!r}"
    noun = "handler" if first[0] == second[0] else "handlers"
    place = second[1].shown if first[1] is second[1] else f"{first[1].shown} and on {second[1].shown}"
    return f"A record reaches the {noun} {names} twice, on {place}: it is {_outcome(config, first, second)}."


def _outcome(config: LoggingDict, first: tuple[str, LoggerEntry], second: tuple[str, LoggerEntry]) -> str:
    if first == second:
        return "handled once, since a list contains a handler only once"
    if is_hub(config.class_of(first[0])):
        return "sent twice" if first[0] == second[0] else "sent once, by the first one"
    return "written twice"


def find_disabled_loggers() -> Iterator[CheckMessage]:
    """Find loggers that ``disable_existing_loggers`` disables."""
    config = read_logging()
    flag = config.config.get("disable_existing_loggers", True)
    if not config.config or not flag or config.config.get("incremental"):
        return
    # Without LOGGING_CONFIG Django does not apply LOGGING.
    is_applied = (
        bool(getattr(settings, "LOGGING_CONFIG", None)) or "disable_existing_loggers" in config.config
    )
    names = [*_DJANGOS] if is_applied else []
    names += sorted(name for name, logger in _existing() if logger.disabled)
    disabled = list(dict.fromkeys(name for name in names if not _is_kept(config, name)))
    if disabled:
        more = f" and {len(disabled) - _SHOWN_MAX} more" if len(disabled) > _SHOWN_MAX else ""
        shown = f"{', '.join(disabled[:_SHOWN_MAX])}{more}"
        state = "is on" if "disable_existing_loggers" in config.config else "is missing, and on by default"
        yield message("W005", f"disable_existing_loggers {state}: LOGGING disables {shown}.")


def _existing() -> list[tuple[str, logging.Logger]]:
    known = dict(logging.root.manager.loggerDict)
    return [(name, logger) for name, logger in known.items() if isinstance(logger, logging.Logger)]


def _is_kept(config: LoggingDict, name: str) -> bool:
    """Whether ``LOGGING`` names a logger or one above it; the root does not count."""
    return any(each and (name == each or name.startswith(f"{each}.")) for each in config.loggers)


def find_hiding_root() -> Iterator[CheckMessage]:
    """Find a root logger without a level, which drops records before its handler gets them."""
    config = read_logging()
    root = config.loggers.get("")
    if root is None or root.level is not None or config.config.get("incremental"):
        return
    hub = read_project().settings.eventhub
    levels = [
        _level(config.handlers[name].get("level")) or hub.level
        for name in root.handlers
        if name in config.handlers and is_hub(config.class_of(name))
    ]
    others = [_level(entry.level) or logging.WARNING for entry in config.loggers.values()]
    if levels and min(levels) < logging.WARNING and min(others) >= logging.WARNING:
        yield message("W014")


def _level(value: object) -> int:
    """Return the number of a level; 0 for a missing or invalid one."""
    if isinstance(value, str):
        return logging.getLevelNamesMapping().get(value.upper(), 0)
    return value if isinstance(value, int) else 0


def find_plain_rotation() -> Iterator[CheckMessage]:
    """Find handlers that rotate a file without regard to other processes."""
    config = read_logging()
    kinds = (logging.handlers.RotatingFileHandler, logging.handlers.TimedRotatingFileHandler)
    plain = [name for name in config.of_class(*kinds) if not _is_concurrent(config.class_of(name))]
    workers = known_workers()
    for name in plain:
        kind = getattr(config.class_of(name), "__name__", "")
        if workers > 1:
            yield message(
                "W006",
                f"The handler {name!r} is a {kind}, and {workers} workers rotate its file: lines are lost.",
            )
        elif not settings.DEBUG:
            yield message(
                "I001", f"The handler {name!r} is a {kind}: with more than one worker, lines are lost."
            )


def _is_concurrent(kind: type | None) -> bool:
    mro = kind.__mro__ if kind is not None else ()
    return any(each.__module__.partition(".")[0] == "concurrent_log_handler" for each in mro)


def find_unusable_spool() -> Iterator[CheckMessage]:
    """Test the spool directory without changing it."""
    effective = read_project().settings
    hub = effective.eventhub
    if hub.enabled and hub.is_configured and hub.spool is not SpoolMode.MEMORY:
        reason = spool_problem(effective.spool_dir)
        if reason:
            yield message("W010", f"The spool directory {effective.spool_dir} cannot be used: {reason}.")


def find_unwritable_files() -> Iterator[CheckMessage]:
    """Test the files that ``LOGGING`` names without changing them."""
    config = read_logging()
    ours = [config.file_of(name) for name in config.of_class(FileLogHandler)]
    for path in config.files():
        reason = log_file_problem(path, is_ours=path in ours)
        if reason:
            yield message("W011", f"The log file {path} cannot be written: {reason}.")


def find_uwsgi_problems() -> Iterator[CheckMessage]:
    """Find options of uWSGI that lose records, before it runs."""
    hub = read_project().settings.eventhub
    if hub.enabled and hub.is_configured:
        for line in uwsgi_advice(written_options(_folders(), os.environ), hub):
            yield message("W016", line)


def _folders() -> list[Path]:
    base = getattr(settings, "BASE_DIR", None)
    return [Path.cwd(), *([Path(base)] if isinstance(base, str | Path) else [])]


def find_server_problems() -> Iterator[CheckMessage]:
    """Find what loses records in the server of this process; most is visible only inside of it."""
    for line in advice(read_project().settings.eventhub):
        yield message("W009", line)


#: Programs whose arguments give the number of workers, and variables that do.
_SERVERS: Final = frozenset({"gunicorn", "uvicorn", "hypercorn", "granian"})
_WORKER_COUNTS: Final = ("WEB_CONCURRENCY", "UWSGI_PROCESSES", "UWSGI_WORKERS")
_UWSGI_PREFIX: Final = "UWSGI_"
_UWSGI_SECTION: Final = "uwsgi"
_UWSGI_FILE: Final = "uwsgi.ini"
_UWSGI_MAX_BYTES: Final = 1 << 20


def known_workers(
    environ: Mapping[str, str] = os.environ,
    arguments: Sequence[str] | None = None,
    modules: Mapping[str, object] = sys.modules,
) -> int:
    """Return the configured number of workers; 0 if it is unknown.

    Args:
        environ: ``WEB_CONCURRENCY``, ``GUNICORN_CMD_ARGS``, ``UWSGI_PROCESSES`` and ``UWSGI_WORKERS``.
        arguments: of this process, its name first; default ``sys.argv``.
        modules: imported modules; uWSGI provides one.
    """
    numbers = [_worker_count(environ.get(name, "")) for name in _WORKER_COUNTS]
    numbers.append(_from_arguments(_split(environ.get("GUNICORN_CMD_ARGS", ""))))
    program, *rest = (sys.argv if arguments is None else arguments) or [""]
    if PurePath(program).stem in _SERVERS:
        numbers.append(_from_arguments(rest))
    processes = getattr(modules.get("uwsgi"), "numproc", 0)
    numbers.append(processes if isinstance(processes, int) else 0)
    return max(numbers)


def _from_arguments(arguments: Sequence[str]) -> int:
    """Return the last number, as the servers do."""
    number = 0
    for at, argument in enumerate(arguments):
        if argument in ("--workers", "-w"):
            number = _worker_count(arguments[at + 1]) if at + 1 < len(arguments) else number
        elif argument.startswith("--workers="):
            number = _worker_count(argument.removeprefix("--workers="))
        elif argument.startswith("-w"):
            number = _worker_count(argument.removeprefix("-w").removeprefix("=")) or number
    return number


def _split(text: str) -> list[str]:
    try:
        return shlex.split(text)
    except ValueError:  # an unclosed quotation
        return text.split()


def _worker_count(text: str) -> int:
    text = text.strip()
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 10 else 0  # noqa: PLR2004  # digits of a plausible number


def written_options(folders: list[Path], environ: Mapping[str, str]) -> dict[str, object]:
    """Return the options of ``uwsgi.ini`` and of the environment, by their names with dashes.

    A variable ``UWSGI_SKIP_ATEXIT`` is the option ``skip-atexit``, and wins over the file. A file that cannot
    be read is ignored, and so are included files.

    Args:
        folders: possible directories of the file; the first one that has it counts.
        environ: the environment.
    """
    options: dict[str, object] = {}
    for folder in folders:
        path = folder / _UWSGI_FILE
        if path.is_file():
            options |= _read_ini(path)
            break
    for name, value in environ.items():
        if name.startswith(_UWSGI_PREFIX):
            options[name.removeprefix(_UWSGI_PREFIX).lower().replace("_", "-")] = value
    return options


def _read_ini(path: Path) -> dict[str, object]:
    # Like uWSGI: no interpolation, names may be repeated, a name without a value is true.
    parser = configparser.RawConfigParser(strict=False, allow_no_value=True, delimiters=("=",))
    try:
        if path.stat().st_size > _UWSGI_MAX_BYTES:
            return {}
        parser.read_string(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, configparser.Error):
        return {}
    if not parser.has_section(_UWSGI_SECTION):
        return {}
    return {name: value or True for name, value in parser.items(_UWSGI_SECTION)}


#: ``manage.py check --tag hublog`` runs only these checks.
TAG: Final = "hublog"

Find = Callable[[], Iterator[CheckMessage]]
Check = Callable[..., list[CheckMessage]]


def _check(find: Find) -> Check:
    """Return a check as Django calls it."""

    def check(app_configs: Sequence[AppConfig] | None = None, **_kwargs: Any) -> list[CheckMessage]:  # noqa: ANN401  # Django's signature
        del app_configs
        messages: list[CheckMessage] = []
        try:
            messages.extend(find())
        except Exception as error:  # noqa: BLE001  # the settings may contain anything; the other checks must run
            text = f"{find.__name__} failed ({type(error).__name__})."
            messages.append(message("W015", text))
        return messages

    # Not functools.wraps: Django looks for **kwargs in the signature.
    check.__name__, check.__doc__ = find.__name__, find.__doc__
    return check


CHECKS: Final[tuple[tuple[Check, tuple[str, ...]], ...]] = tuple(
    (_check(find), (TAG, *tags))
    for find, tags in (
        (find_invalid_settings, ()),
        (find_overridden_settings, ()),
        (find_misspelt_settings, ()),
        (find_middleware_problems, ()),
        (find_missing_connection, ()),
        (find_missing_extras, ()),
        (find_disabled_redaction, (Tags.security,)),
        (find_secrets_in_settings, (Tags.security,)),
        (find_shown_secrets, (Tags.security,)),
        (find_missing_handler, ()),
        (find_unreached_requests, ()),
        (find_contradictions, ()),
        (find_handlers_without_records, ()),
        (find_duplicate_handlers, ()),
        (find_disabled_loggers, ()),
        (find_hiding_root, ()),
        (find_plain_rotation, ()),
        (find_unusable_spool, (Tags.files,)),
        (find_unwritable_files, (Tags.files,)),
        (find_server_problems, ()),
        (find_uwsgi_problems, ()),
    )
)


def register_all() -> None:
    """Register them with Django."""
    for check, tags in CHECKS:
        register(check, *tags)


def run_all() -> list[CheckMessage]:
    """Run them now, and return the messages that are not silenced."""
    return [each for check, _ in CHECKS for each in check(None) if not each.is_silenced()]
