"""The line of the Event Hub as a ``logging.Formatter``: for the log file, and for any other handler."""

import logging
from collections.abc import Mapping
from dataclasses import fields
from typing import Final

import orjson

from hublog.capture.columns import BY_NAME
from hublog.capture.formatter import LineFormatter
from hublog.capture.interop import read, take
from hublog.capture.origin import format_where_made
from hublog.errors import SettingsError
from hublog.line import escape_line_ends, with_last
from hublog.redaction.redactor import redaction_of
from hublog.settings import RedactionSettings, ServiceSettings

_FIXED: Final = "format, datefmt and style do not apply to a line of JSON; leave them out."
_SERVICE: Final = tuple(field.name for field in fields(ServiceSettings))


class JsonFormatter(logging.Formatter):
    """The same line as text, without ``record_id`` and ``sequence``; made of plain data, for ``dictConfig``.

    Args:
        service: the names of the service, or a mapping with ``name``, ``namespace``, ``version``,
            ``instance_id`` and ``environment``, each of which may be missing.
        datefmt: not used, like the next two: logging passes them for the key ``class`` of ``dictConfig``.
        style: not used.
        validate: not used.
        framework: ``django``, ``flask`` or empty.
        rename_fields: other names for columns, as in python-json-logger: ``{"message": "msg"}``. What is
            sent to the Event Hub keeps the names of its table.
        static_fields: fields that each line has besides, plain data: ``{"team": "shop"}``.
        redaction: what is taken out, as settings or as a mapping of their fields; None for what the
            environment says.

    Raises:
        SettingsError: an option is invalid; each problem is told.
    """

    def __init__(
        self,
        service: ServiceSettings | Mapping[str, str] | None = None,
        datefmt: str | None = None,
        style: str = "%",
        validate: bool = True,  # noqa: FBT001, FBT002  # the place and name are logging's
        *,
        framework: str = "",
        rename_fields: Mapping[str, str] | None = None,
        static_fields: Mapping[str, object] | None = None,
        redaction: RedactionSettings | Mapping[str, object] | None = None,
    ) -> None:
        super().__init__()
        del validate  # there is nothing to validate in a format that is not used
        is_formatted = any((isinstance(service, str), datefmt is not None, style != "%"))
        problems = [_FIXED] if is_formatted else []
        names, renamed = _service(service, problems), _renamed(rename_fields, problems)
        static = _static(static_fields, renamed, problems)
        _check_text("framework", framework, problems)
        taken_out = redaction_of(redaction, problems)
        if problems:
            raise SettingsError(problems)
        self._lines = LineFormatter(names, framework=framework, redaction=taken_out)
        self._renamed = renamed
        self._static = orjson.dumps(static) if static else b""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record; never raises."""
        return format_where_made(record, self._format)

    def _format(self, record: logging.LogRecord) -> str:
        meant = read(record)
        line = self._lines.encode(record) if meant is None else take(meant, self._lines.encode)
        if self._renamed:
            row = {self._renamed.get(name, name): value for name, value in orjson.loads(line).items()}
            line = orjson.dumps(row)
        if self._static:
            line = with_last(line, self._static)
        return (escape_line_ends(line) if self._renamed or self._static else line).decode()


def _service(given: object, problems: list[str]) -> ServiceSettings:
    """Return the names of the service; adds a sentence to ``problems`` for each that is none."""
    if given is None or isinstance(given, str):  # a format, and told as that
        return ServiceSettings()
    if isinstance(given, ServiceSettings):
        return given
    items = _items("service", given, problems)
    for name, value in items.items():
        if name not in _SERVICE:
            problems.append(f"service has {name!r}; it may have {', '.join(_SERVICE)}.")
        else:
            _check_text(f"service.{name}", value, problems)
    return (
        ServiceSettings() if problems else ServiceSettings(**{str(name): str(items[name]) for name in items})
    )


def _renamed(given: object, problems: list[str]) -> dict[str, str]:
    """Return the new names by column."""
    found: dict[str, str] = {}
    for name, new in _items("rename_fields", given, problems).items():
        if name not in BY_NAME:
            problems.append(f"rename_fields has {name!r}; it must be a column, such as 'message'.")
        elif not _is_name(new):
            problems.append(f"rename_fields[{name!r}] is {new!r}; it must be a text that is not empty.")
        else:
            found[str(name)] = str(new)
    names = [found.get(name, name) for name in BY_NAME]
    twice = sorted({name for name in names if names.count(name) > 1})
    problems += [f"rename_fields gives two columns the name {name!r}; each needs its own." for name in twice]
    return found


def _static(given: object, renamed: Mapping[str, str], problems: list[str]) -> dict[str, object]:
    """Return the static fields, all of them plain data under names that no column has."""
    taken = {renamed.get(name, name) for name in BY_NAME}
    found: dict[str, object] = {}
    for name, value in _items("static_fields", given, problems).items():
        if not _is_name(name):
            problems.append(f"static_fields has {name!r}; a name must be a text that is not empty.")
        elif name in taken:
            problems.append(f"static_fields has {name!r}, which is a column; choose another name.")
        elif not _is_plain(value):
            problems.append(f"static_fields[{name!r}] is a {type(value).__name__} that JSON cannot hold.")
        else:
            found[str(name)] = value
    return found


def _items(option: str, given: object, problems: list[str]) -> dict[object, object]:
    """Return a mapping's items, each looked up: that is when ``dictConfig`` resolves ``ext://``."""
    if given is None:
        return {}
    if isinstance(given, Mapping):
        return {name: given[name] for name in given}
    problems.append(f"{option} is a {type(given).__name__}; it must be a mapping.")
    return {}


def _check_text(option: str, value: object, problems: list[str]) -> None:
    if not isinstance(value, str):
        problems.append(f"{option} is {value!r}; it must be a text.")


def _is_name(value: object) -> bool:
    return isinstance(value, str) and bool(value) and _is_plain(value)


def _is_plain(value: object) -> bool:
    try:
        orjson.dumps(value, option=orjson.OPT_PASSTHROUGH_DATACLASS)
    except TypeError:
        return False
    return True
