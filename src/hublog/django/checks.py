"""Django's system checks: what is wrong with a set-up, each with an id and what to do."""

import logging
import logging.handlers
import os
import sys
from collections.abc import Callable, Hashable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, register

from hublog.capture.removal import findings
from hublog.configure.file_log import FileLogHandler
from hublog.configure.handlers import contradictions
from hublog.django.check_messages import message
from hublog.django.conf import lookup, project_names, read_project, shown_settings
from hublog.django.deployment import known_workers, written_options
from hublog.django.logging_dict import LoggerEntry, LoggingDict, is_hub, read_logging
from hublog.doctor.offline_checks import log_file_problem, misspelt, spool_problem
from hublog.handler import EventHubHandler
from hublog.requests.request_scope import LOGGER_NAME as REQUESTS
from hublog.runtime.server_advice import advice, uwsgi_advice
from hublog.settings import NO_HASH_KEY, SpoolMode
from hublog.settings.network import route_of

MIDDLEWARE: Final = "hublog.django.middleware.RequestContextMiddleware"

_CONNECTION: Final = "EVENTHUB_NAMESPACE_CONNECTION_STRING"
_HASH_KEY: Final = "LOG_REDACTION_HASH_KEY"
_PATH: Final = "eventhub_logging.connection_string"
_SOURCE_MAX_BYTES: Final = 1 << 20


def find_invalid_settings() -> Iterator[CheckMessage]:
    """Find what is set to something that is not allowed."""
    for problem in read_project().problems:
        yield message("E002" if problem.endswith(NO_HASH_KEY) else "E001", problem)


def find_overridden_settings() -> Iterator[CheckMessage]:
    """Find what has no effect, since a stronger source says otherwise."""
    for override in read_project().overrides:
        yield message("I002", override.text)


def find_misspelt_settings() -> Iterator[CheckMessage]:
    """Find names that are almost ours."""
    for place, names in (("setting", project_names()), ("environment variable", dict(os.environ))):
        for name, meant in misspelt(names):
            yield message("W008", f"The {place} {name} has no effect; {meant} is the name of a setting.")


def find_middleware_trouble() -> Iterator[CheckMessage]:
    """Find a middleware that is missing or not the first."""
    value = getattr(settings, "MIDDLEWARE", None)
    listed = list(value) if isinstance(value, list | tuple) else []
    if MIDDLEWARE not in listed:
        yield message("W001", "No record has the fields of its request.")
    elif listed[0] != MIDDLEWARE:
        yield message("W002", f"What {listed[0]} and others before it log has no request fields.")


def find_missing_connection() -> Iterator[CheckMessage]:
    """Find a project in production that sends nothing, although it is not said so."""
    reading = read_project()
    hub = reading.settings.eventhub
    is_confirmed = not hub.enabled or settings.DEBUG
    if not is_confirmed and not hub.is_configured and _PATH not in reading.invalid and not _hub_in_logging():
        yield message("W012")


def _hub_in_logging() -> bool:
    """Whether a handler in ``LOGGING`` says itself where to send."""
    found = read_logging()
    named = {"connection_string", "fully_qualified_namespace"}
    return any(named & set(found.keywords_of(name)) for name in found.handlers)


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


def find_open_secrets() -> Iterator[CheckMessage]:
    """Find redaction that is off in production."""
    if not read_project().settings.redaction.enabled and not settings.DEBUG:
        yield message("W013")


def find_secrets_in_settings() -> Iterator[CheckMessage]:
    """Find secrets that are written where the source is; none of them is shown."""
    for name in (_CONNECTION, _HASH_KEY):
        if _is_written_down(lookup(name)):
            yield message("W007", f"{name} is written in the settings, and goes wherever the source goes.")
    found = read_logging()
    for handler in found.handlers:
        if _is_written_down(found.keywords_of(handler).get("connection_string")):
            text = f"LOGGING holds the connection_string of the handler {handler!r}."
            yield message("W007", text)


def find_shown_secrets() -> Iterator[CheckMessage]:
    """Find settings with the key of the connection that Django's debug page would show."""
    connection = read_project().settings.eventhub.connection_string
    secret = _secret_in(connection) if connection else ""
    for name in shown_settings(secret) if secret else ():
        yield message("W020", f"Django's debug page and its mails to ADMINS would show the key in {name}.")


def _is_written_down(value: object) -> bool:
    """Whether a value is a secret that no variable of the environment holds, and the source may."""
    if not isinstance(value, str) or not value.strip():
        return False
    secret = _secret_in(value.strip())
    if not secret or any(secret in held for held in os.environ.values()):
        return False
    sources = _sources()
    # A vault, or a file beside the source, is a good place for it.
    return not sources or any(secret in source for source in sources)


def _secret_in(value: str) -> str:
    """Return the secret part of a connection string, or the whole of another text."""
    pairs = [part.partition("=") for part in value.split(";")]
    parts = {name.strip().lower(): text.strip() for name, sign, text in pairs if sign}
    if parts.get("usedevelopmentemulator", "").lower() == "true":
        return ""
    return parts.get("sharedaccesskey") or parts.get("sharedaccesssignature") or value


def _sources() -> list[str]:
    """Return the sources of the settings: the module, and what is imported from beside or below it.

    Empty where the settings come from no module.
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


#: Django has set these up before it reads ``LOGGING``; whatever is below them is spared with them.
_DJANGOS: Final = ("django", "django.server")
_SHOWN_MAX: Final = 5


def find_missing_handler() -> Iterator[CheckMessage]:
    """Find an Event Hub that is switched on and has no handler."""
    hub = read_project().settings.eventhub
    if hub.enabled and hub.is_configured and not any(read_logging().of_class(EventHubHandler)):
        yield message("W003")


def find_unreached_requests() -> Iterator[CheckMessage]:
    """Find a handler on loggers of the application alone, which no request record meets."""
    reading, found = read_project(), read_logging()
    hub = reading.settings.eventhub
    if not (hub.enabled and hub.is_configured and reading.settings.request.access_records):
        return
    places = [entry for entry in found.loggers.values() if _has_hub(found, entry)]
    if places and not any(_has_hub(found, entry) for entry in found.lineage(REQUESTS)):
        shown = ", ".join(sorted(entry.shown for entry in places)[:_SHOWN_MAX])
        yield message("W018", f"Records of {REQUESTS} reach no EventHubHandler, only those of {shown} do.")


def _has_hub(found: LoggingDict, entry: LoggerEntry) -> bool:
    return any(name in found.handlers and is_hub(found.class_of(name)) for name in entry.handlers)


def find_contradictions() -> Iterator[CheckMessage]:
    """Find settings that the handlers of this process do not follow."""
    for sentence in contradictions(read_project()):
        yield message("W017", sentence)


def find_handlers_without_records() -> Iterator[CheckMessage]:
    """Find handlers of this process that a later configuration removed, or that wait behind a queue."""
    for sentence in findings():
        yield message("W019", sentence)


def find_handlers_met_twice() -> Iterator[CheckMessage]:
    """Find handlers that see a record twice, Django's own among them."""
    found = read_logging().with_djangos()
    told: set[Hashable] = set()
    for name in found.loggers:
        met: dict[Hashable, tuple[str, LoggerEntry]] = {}
        for entry in found.lineage(name):
            for handler in entry.handlers:
                what = _identity(found, handler)
                if what not in met:
                    met[what] = (handler, entry)
                    continue
                key = (what, met[what][1].name, entry.name)
                if key not in told:
                    told.add(key)
                    yield message("W004", _twice(found, met[what], (handler, entry)))


def _identity(found: LoggingDict, handler: str) -> Hashable:
    """Return what is equal for handlers that do the same: the pipeline, the file, else the name."""
    if handler in found.handlers:
        if is_hub(found.class_of(handler)):
            keywords = found.keywords_of(handler).items()
            return ("hub", frozenset((key, repr(value)) for key, value in keywords))
        path = found.file_of(handler)
        if path is not None:
            return ("file", str(path))
        if found.is_console(handler):
            return ("console",)
    return ("name", handler)


def _twice(found: LoggingDict, first: tuple[str, LoggerEntry], second: tuple[str, LoggerEntry]) -> str:
    names = f"{first[0]!r}" if first[0] == second[0] else f"{first[0]!r} and {second[0]!r}"
    noun = "handler" if first[0] == second[0] else "handlers"
    place = second[1].shown if first[1] is second[1] else f"{first[1].shown} and at {second[1].shown}"
    return f"A record meets the {noun} {names} twice, at {place}: it is {_outcome(found, first, second)}."


def _outcome(found: LoggingDict, first: tuple[str, LoggerEntry], second: tuple[str, LoggerEntry]) -> str:
    if first == second:
        return "taken once, since one list holds a handler once"
    if is_hub(found.class_of(first[0])):
        return "sent twice" if first[0] == second[0] else "sent once, by the first of them"
    return "written twice"


def find_silenced_loggers() -> Iterator[CheckMessage]:
    """Find loggers that ``disable_existing_loggers`` silences."""
    found = read_logging()
    flag = found.config.get("disable_existing_loggers", True)
    if not found.config or not flag or found.config.get("incremental"):
        return
    # Without LOGGING_CONFIG it is not Django that applies LOGGING, if anybody does.
    is_applied = bool(getattr(settings, "LOGGING_CONFIG", None)) or "disable_existing_loggers" in found.config
    names = [*_DJANGOS] if is_applied else []
    names += sorted(name for name, logger in _existing() if logger.disabled)
    silenced = list(dict.fromkeys(name for name in names if not _is_spared(found, name)))
    if silenced:
        more = f" and {len(silenced) - _SHOWN_MAX} more" if len(silenced) > _SHOWN_MAX else ""
        shown = f"{', '.join(silenced[:_SHOWN_MAX])}{more}"
        state = "is on" if "disable_existing_loggers" in found.config else "is missing, and on by default"
        yield message("W005", f"disable_existing_loggers {state}: LOGGING silences {shown}.")


def _existing() -> list[tuple[str, logging.Logger]]:
    known = dict(logging.root.manager.loggerDict)
    return [(name, logger) for name, logger in known.items() if isinstance(logger, logging.Logger)]


def _is_spared(found: LoggingDict, name: str) -> bool:
    """Whether ``LOGGING`` names a logger or one above it; the root does not count."""
    return any(each and (name == each or name.startswith(f"{each}.")) for each in found.loggers)


def find_hiding_root() -> Iterator[CheckMessage]:
    """Find a root without a level, which hides from its handler what the handler wants."""
    found = read_logging()
    root = found.loggers.get("")
    if root is None or root.level is not None or found.config.get("incremental"):
        return
    hub = read_project().settings.eventhub
    levels = [
        _level(found.handlers[name].get("level")) or hub.level
        for name in root.handlers
        if name in found.handlers and is_hub(found.class_of(name))
    ]
    others = [_level(entry.level) or logging.WARNING for entry in found.loggers.values()]
    if levels and min(levels) < logging.WARNING and min(others) >= logging.WARNING:
        yield message("W014")


def _level(value: object) -> int:
    """Return the number of a level; 0 for none and for what is none."""
    if isinstance(value, str):
        return logging.getLevelNamesMapping().get(value.upper(), 0)
    return value if isinstance(value, int) else 0


def find_plain_rotation() -> Iterator[CheckMessage]:
    """Find handlers that rotate a file as if nobody else wrote it."""
    found = read_logging()
    kinds = (logging.handlers.RotatingFileHandler, logging.handlers.TimedRotatingFileHandler)
    plain = [name for name in found.of_class(*kinds) if not _is_concurrent(found.class_of(name))]
    workers = known_workers()
    for name in plain:
        kind = getattr(found.class_of(name), "__name__", "")
        if workers > 1:
            yield message(
                "W006",
                f"The handler {name!r} is a {kind}, and {workers} workers rotate its file: lines get lost.",
            )
        elif not settings.DEBUG:
            yield message(
                "I001", f"The handler {name!r} is a {kind}: with more than one worker lines get lost."
            )


def _is_concurrent(kind: type | None) -> bool:
    mro = kind.__mro__ if kind is not None else ()
    return any(each.__module__.partition(".")[0] == "concurrent_log_handler" for each in mro)


def find_unusable_spool() -> Iterator[CheckMessage]:
    """Try the spool directory; nothing is left behind."""
    read = read_project().settings
    hub = read.eventhub
    if hub.enabled and hub.is_configured and hub.spool is not SpoolMode.MEMORY:
        reason = spool_problem(read.spool_dir)
        if reason:
            yield message("W010", f"The spool directory {read.spool_dir} cannot be used: {reason}.")


def find_unwritable_files() -> Iterator[CheckMessage]:
    """Try the files that ``LOGGING`` names; nothing is left behind."""
    found = read_logging()
    ours = [found.file_of(name) for name in found.of_class(FileLogHandler)]
    for path in found.files():
        reason = log_file_problem(path, is_ours=path in ours)
        if reason:
            yield message("W011", f"The log file {path} cannot be written: {reason}.")


def find_uwsgi_trouble() -> Iterator[CheckMessage]:
    """Find options in uWSGI's configuration that cost records, before it runs."""
    hub = read_project().settings.eventhub
    if hub.enabled and hub.is_configured:
        for line in uwsgi_advice(written_options(_folders(), os.environ), hub):
            yield message("W016", line)


def _folders() -> list[Path]:
    base = getattr(settings, "BASE_DIR", None)
    return [Path.cwd(), *([Path(base)] if isinstance(base, str | Path) else [])]


def find_server_trouble() -> Iterator[CheckMessage]:
    """Find what the server of this process does to records; most is seen only inside of it."""
    for line in advice(read_project().settings.eventhub):
        yield message("W009", line)


#: Runs ours alone: ``manage.py check --tag hublog``.
TAG: Final = "hublog"

Find = Callable[[], Iterator[CheckMessage]]
Check = Callable[..., list[CheckMessage]]


def _check(find: Find) -> Check:
    """Return a check as Django calls it."""

    def check(app_configs: Sequence[AppConfig] | None = None, **_kwargs: Any) -> list[CheckMessage]:  # noqa: ANN401  # Django's signature
        del app_configs
        found: list[CheckMessage] = []
        try:
            found.extend(find())
        except Exception as error:  # noqa: BLE001  # whatever stands in the settings, the others go on
            text = f"{find.__name__} could not be made ({type(error).__name__})."
            found.append(message("W015", text))
        return found

    # Not functools.wraps: Django looks for **kwargs in the signature.
    check.__name__, check.__doc__ = find.__name__, find.__doc__
    return check


CHECKS: Final[tuple[tuple[Check, tuple[str, ...]], ...]] = tuple(
    (_check(find), (TAG, *tags))
    for find, tags in (
        (find_invalid_settings, ()),
        (find_overridden_settings, ()),
        (find_misspelt_settings, ()),
        (find_middleware_trouble, ()),
        (find_missing_connection, ()),
        (find_missing_extras, ()),
        (find_open_secrets, (Tags.security,)),
        (find_secrets_in_settings, (Tags.security,)),
        (find_shown_secrets, (Tags.security,)),
        (find_missing_handler, ()),
        (find_unreached_requests, ()),
        (find_contradictions, ()),
        (find_handlers_without_records, ()),
        (find_handlers_met_twice, ()),
        (find_silenced_loggers, ()),
        (find_hiding_root, ()),
        (find_plain_rotation, ()),
        (find_unusable_spool, (Tags.files,)),
        (find_unwritable_files, (Tags.files,)),
        (find_server_trouble, ()),
        (find_uwsgi_trouble, ()),
    )
)


def register_all() -> None:
    """Have Django run them with its own."""
    for check, tags in CHECKS:
        register(check, *tags)


def run_all() -> list[CheckMessage]:
    """Run them now, and return what is not silenced."""
    return [found for check, _ in CHECKS for found in check(None) if not found.is_silenced()]
