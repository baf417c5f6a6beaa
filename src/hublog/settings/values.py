"""Kinds of values: what is allowed for a setting, given as a string or as a Python object.

A string means the same in the environment, in a framework's configuration and in YAML; a bool, number, enum
or path is accepted as well.
"""

import logging
import math
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Final

KIB: Final = 1 << 10
MIB: Final = 1 << 20
_MAX_TEXT: Final = 256
_MAX_WORDS: Final = 1_000
_MAX_SHOWN: Final = 60
_MAX_COUNT: Final = (1 << 31) - 1
_MAX_BYTES: Final = 1 << 40
#: One day: timeouts of threads overflow somewhere above, and no sensible setting is close to it.
_MAX_SECONDS: Final = 86_400

#: Quotation marks that stay around a value where no shell reads it: ``docker --env-file``, a YAML block.
QUOTES: Final = {'"': '"', "'": "'", "\N{LEFT DOUBLE QUOTATION MARK}": "\N{RIGHT DOUBLE QUOTATION MARK}"}
_TRUE: Final = frozenset({"true", "1", "yes", "on"})
_FALSE: Final = frozenset({"false", "0", "no", "off"})
_UNITS: Final = {
    "": 1,
    "b": 1,
    "kb": 10**3,
    "mb": 10**6,
    "gb": 10**9,
    "kib": 1 << 10,
    "mib": 1 << 20,
    "gib": 1 << 30,
}

_INTEGER = re.compile(r"[+-]?[0-9]+(_[0-9]+)*")
_SIZE = re.compile(r"([0-9]+(?:_[0-9]+)*)\s*([a-z]*)")
_HUB_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]{0,254}[A-Za-z0-9])?")
_HOST_NAME = re.compile(r"[A-Za-z0-9]([A-Za-z0-9.-]{0,251}[A-Za-z0-9])?")
_ENTITY_NAME = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_ .-]{0,254}[A-Za-z0-9_])?")
_HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]{1,128}")
_PLAIN_TEXT = re.compile(r"[\w.+-]+", re.ASCII)
#: A string of this form may be a key under the wrong name, or a login as in ``http://user:key@host``; it is
#: never shown.
_SECRET_TEXT = re.compile(
    r"(?i)sharedaccess|accountkey|password|sig=|[a-z0-9+/]{30,}|(?:^\s*|//)[\w.%+~-]{0,256}:[^\s@]{1,256}@"
)


class Packing(StrEnum):
    """How records become events."""

    SINGLE = "single"
    LINES = "lines"
    GZIP = "gzip"


class Transport(StrEnum):
    """How AMQP reaches the namespace: directly on port 5671, or over WebSockets on port 443."""

    AMQP = "amqp"
    WEBSOCKET = "websocket"


class SpoolMode(StrEnum):
    """When records go to disk."""

    MEMORY = "memory"
    OVERFLOW = "overflow"
    ALWAYS = "always"


class SyncPolicy(StrEnum):
    """When lines on disk are flushed to the device: never, every half second, or before a write returns."""

    NONE = "none"
    INTERVAL = "interval"
    BATCH = "batch"


class Mask(StrEnum):
    """What replaces a secret: a fixed mark, or a keyed hash, so that equal secrets can be matched."""

    MASK = "mask"
    HASH = "hash"


class PersonalData(StrEnum):
    """What happens to client address, user, session and query."""

    KEEP = "keep"
    HASH = "hash"
    DROP = "drop"


class InvalidValueError(ValueError):
    """A value is not allowed; the message says what was seen, and is empty if the value may be shown."""


@dataclass(frozen=True, slots=True)
class ValueKind:
    """What a setting may be.

    Attributes:
        allowed: completes the sentence "it must be ...".
        parse: returns the value to use, or raises ``InvalidValueError``.
        show: returns a default as the documentation shows it.
        is_secret: whether a value must never be shown.
    """

    allowed: str
    parse: Callable[[object], object]
    show: Callable[[object], str] = str
    is_secret: bool = False


def shown(value: object) -> str:
    """Return a value for a message: short, on one line, and without a secret."""
    try:
        text = value if type(value) is str else repr(value)
    except Exception:  # noqa: BLE001  # any object may stand in a framework's configuration
        text = f"<{type(value).__name__}>"
    if _SECRET_TEXT.search(text):
        return f"a string of {len(text)} characters, not shown since it may contain a secret"
    if not isinstance(value, str | int | float | None):
        text = f"{text} ({type(value).__name__})"
    elif type(value) is str and not _PLAIN_TEXT.fullmatch(text):
        text = repr(text)
    return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}..."


def is_empty(value: object) -> bool:
    """Whether a value counts as not set."""
    return value is None or (isinstance(value, str) and not value.strip())


def unquoted(value: object) -> object:
    """Return a string without the quotation marks around it that ``docker run --env-file`` keeps.

    If the same mark is also inside, it is part of the value: a regular expression, or a list of quoted words.
    """
    while isinstance(value, str):
        text = value.strip()
        if not text[1:] or QUOTES.get(text[0]) != text[-1] or text[0] in text[1:-1]:
            break
        value = text[1:-1]
    return value


def _text(value: object) -> str:
    """Return a stripped string; everything else is invalid."""
    if not isinstance(value, str):
        raise InvalidValueError
    return str.__str__(value).strip()


def _boolean(value: object) -> bool:
    if isinstance(value, bool):
        return value
    text = str(value) if type(value) is int else _text(value)
    if text.lower() in _TRUE:
        return True
    if text.lower() in _FALSE:
        return False
    raise InvalidValueError


def _whole(value: object) -> int:
    if isinstance(value, bool):
        raise InvalidValueError
    if isinstance(value, int):
        return int(value)
    text = _text(value)
    if not _INTEGER.fullmatch(text) or len(text) > _MAX_TEXT:
        raise InvalidValueError
    return int(text)


def _level(value: object) -> int:
    if isinstance(value, str) and not _INTEGER.fullmatch(value.strip()):
        level = logging.getLevelNamesMapping().get(_text(value).upper())
        if level is None:
            raise InvalidValueError
        return level
    number = _whole(value)
    if not 0 <= number <= _MAX_COUNT:
        raise InvalidValueError
    return number


def _seconds(value: object) -> float:
    if isinstance(value, bool):
        raise InvalidValueError
    try:
        number = float(value) if isinstance(value, int | float) else float(_text(value))
    except (ValueError, OverflowError):
        raise InvalidValueError from None
    if not math.isfinite(number) or not 0 < number <= _MAX_SECONDS:
        raise InvalidValueError
    return number


def _seconds_or_none(value: object) -> float:
    if not isinstance(value, bool) and value in (0, 0.0, "0", "0.0"):
        return 0.0
    return _seconds(value)


def _interval_or_none(value: object) -> float:
    seconds = _seconds_or_none(value)
    if 0 < seconds < 1:
        raise InvalidValueError
    return seconds


def _words(value: object) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else value
    if not isinstance(parts, list | tuple | set | frozenset):
        raise InvalidValueError
    words = tuple(word for word in map(_name, parts) if word)
    if len(words) > _MAX_WORDS:
        raise InvalidValueError
    return words


def _personal_data(value: object) -> StrEnum:
    try:
        return PersonalData.KEEP if _boolean(value) else PersonalData.DROP
    except InvalidValueError:
        return _one_of(PersonalData, value)


def _path(value: object) -> Path:
    text = str(value) if isinstance(value, Path) else _text(value)
    if not text.strip() or "\0" in text or "\n" in text:
        raise InvalidValueError
    try:
        return Path(text).expanduser()
    except RuntimeError:  # no home directory
        raise InvalidValueError from None


def _name(value: object) -> str:
    if type(value) is int:
        return str(value)
    text = _text(value)
    if len(text) > _MAX_TEXT or not text.isprintable():
        raise InvalidValueError
    return text


def _secret(value: object) -> str:
    try:
        return _name(value)
    except InvalidValueError:
        raise InvalidValueError(
            f"is a {type(value).__name__} that is not shown, since it is a secret"
        ) from None


def _token(value: object) -> str:
    text = _secret(value)
    if 0 < len(text) < TOKEN_MIN:
        raise InvalidValueError
    return text


def integer(least: int, most: int = _MAX_COUNT) -> ValueKind:
    """Return the kind of integers from ``least`` to ``most``, inclusive."""

    def parse(value: object) -> int:
        number = _whole(value)
        if not least <= number <= most:
            raise InvalidValueError
        return number

    limits = f"{least} or more" if most == _MAX_COUNT else f"from {least} to {most}"
    return ValueKind(f"a whole number, {limits}", parse)


def size(least: int, most: int = _MAX_BYTES) -> ValueKind:
    """Return the kind of sizes in bytes from ``least`` to ``most``, inclusive."""

    def parse(value: object) -> int:
        match = _SIZE.fullmatch(value.strip().lower()) if isinstance(value, str) else None
        if isinstance(value, str) and (match is None or match[2] not in _UNITS or len(value) > _MAX_TEXT):
            raise InvalidValueError
        number = int(match[1]) * _UNITS[match[2]] if match else _whole(value)
        if not least <= number <= most:
            raise InvalidValueError
        return number

    limits = f"{least} or more" if most == _MAX_BYTES else f"from {least} to {most}"
    return ValueKind(f"a size in bytes like 1048576, 1MiB or 1MB, {limits}", parse, _size_text)


def choice(options: type[StrEnum]) -> ValueKind:
    """Return the kind of an enum's values, in upper or lower case."""
    names = [str(option) for option in options]
    return ValueKind(f"{', '.join(names[:-1])} or {names[-1]}", lambda value: _one_of(options, value))


def _one_of(options: type[StrEnum], value: object) -> StrEnum:
    try:
        return options(_text(value).lower())
    except ValueError:
        raise InvalidValueError from None


def _matching(pattern: re.Pattern[str], allowed: str) -> ValueKind:
    def parse(value: object) -> str:
        text = _name(value)
        if not pattern.fullmatch(text):
            raise InvalidValueError
        return text

    return ValueKind(allowed, parse)


def _size_text(value: object) -> str:
    number = _whole(value)
    for unit, factor in (("MiB", 1 << 20), ("KiB", 1 << 10)):
        if number and number % factor == 0:
            return f"{number // factor} {unit}"
    return str(number)


def _level_text(value: object) -> str:
    return logging.getLevelName(_whole(value))


BOOLEAN: Final = ValueKind(
    "true, false, 1, 0, yes, no, on or off", _boolean, lambda value: str(value).lower()
)
LEVEL: Final = ValueKind("DEBUG, INFO, WARNING, ERROR, CRITICAL or a number, 0 or more", _level, _level_text)
SECONDS: Final = ValueKind(
    f"a number of seconds above 0, at most {_MAX_SECONDS}", _seconds, lambda value: f"{value} s"
)
SECONDS_OR_NONE: Final = ValueKind(
    f"a number of seconds, at most {_MAX_SECONDS}, 0 for none",
    _seconds_or_none,
    lambda value: f"{value} s" if value else "none",
)
INTERVAL_OR_NONE: Final = ValueKind(
    f"a number of seconds from 1 to {_MAX_SECONDS}, 0 for none", _interval_or_none, SECONDS_OR_NONE.show
)
WORDS: Final = ValueKind(
    f"a list of at most {_MAX_WORDS} strings, or one string separated by commas",
    _words,
    lambda value: ", ".join(value) if isinstance(value, tuple) else str(value),
)
PERSONAL_DATA: Final = ValueKind("keep (or true), hash, or drop (or false)", _personal_data)
PATH: Final = ValueKind("the path of a directory", _path)
FILE: Final = ValueKind("the path of a file", _path, lambda value: str(value or ""))
TEXT: Final = ValueKind(
    f"a string on one line of at most {_MAX_TEXT} characters; a number with a decimal point needs quotes",
    _name,
)
SECRET: Final = ValueKind(f"a string on one line of at most {_MAX_TEXT} characters", _secret, is_secret=True)
TOKEN_MIN: Final = 16
TOKEN: Final = ValueKind(
    f"a string on one line of {TOKEN_MIN} to {_MAX_TEXT} characters", _token, is_secret=True
)
HUB_NAME: Final = _matching(
    _HUB_NAME,
    "the name of an event hub: at most 256 letters, digits, '.', '-' and '_', a letter or digit at both ends",
)
HOST_NAME: Final = _matching(
    _HOST_NAME, "a host name like shop.servicebus.windows.net, without sb:// and path"
)
ENTITY_NAME: Final = _matching(
    _ENTITY_NAME,
    "at most 256 letters, digits and _, inside also - . and blanks, as Azure Data Explorer allows",
)
INGESTION_FORMAT: Final = _matching(re.compile("json|multijson"), "json or multijson")
HEADER_NAME: Final = _matching(_HEADER_NAME, "the name of an HTTP header like X-Request-ID")
