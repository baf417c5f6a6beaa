"""Values as Azure Data Explorer keeps them: what does not fit the type of its column becomes null.

ADX fills null without an error, so a wrong type shows here as it would there: as an empty column.
Text is read as the type of its column, as ADX reads it.

Source: "Ingestion behavior of invalid data" in the documentation of Azure Data Explorer.
"""

import math
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Final

import orjson

from hublog.capture.columns import Kind

to_json: Final = orjson.dumps
from_json: Final = orjson.loads
NON_STR_KEYS: Final = orjson.OPT_NON_STR_KEYS

#: What ADX keeps of a text, and of a dynamic value, which is null above it.
MAX_VALUE_BYTES: Final = 1 << 20
#: A text of more characters than this can be longer than ``MAX_VALUE_BYTES``.
_MAYBE_TOO_LONG: Final = MAX_VALUE_BYTES // 4

_INTEGER = re.compile(r"[+-]?[0-9]{1,20}")
_REAL = re.compile(r"[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")
_ISO_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}(?:[T ].*)?", re.DOTALL)
_CANONICAL_LENGTH: Final = len("2026-11-23T14:00:00.123456Z")
_BOOLEANS: Final = {"true": True, "1": True, "false": False, "0": False}
_MAX_DATE_TEXT: Final = 64


def to_string(value: object) -> str | None:
    """Return a text as it is, cut at 1 MiB; anything else as its JSON text."""
    if not isinstance(value, str):
        try:
            value = to_json(value).decode()
        except TypeError:  # nested deeper than can be written
            return None
    if len(value) <= _MAYBE_TOO_LONG:
        return value
    return value.encode()[:MAX_VALUE_BYTES].decode(errors="ignore")


def to_dynamic(value: object) -> object | None:
    """Return a value as it is, or null if its JSON text is over 1 MiB or cannot be written."""
    try:
        # In a list, since a row is one level more, and the depth that can be written has a limit.
        return value if len(to_json([value])) <= MAX_VALUE_BYTES + len("[]") else None
    except TypeError:
        return None


def to_bool(value: object) -> bool | None:
    """Return true and false, also where they are a text or 1 and 0."""
    if isinstance(value, bool):
        return value
    if isinstance(value, int):
        return {1: True, 0: False}.get(value)
    return _BOOLEANS.get(value.strip().lower()) if isinstance(value, str) else None


def to_real(value: object) -> float | None:
    """Return a finite number, also where it is a text."""
    if isinstance(value, str) and _REAL.fullmatch(value.strip()):
        value = float(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = float(value)  # at most 64 bits come out of the JSON parser, so this cannot overflow
    return number if math.isfinite(number) else None


def _to_whole(bits: int, value: object) -> int | None:
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    limit = 1 << (bits - 1)
    return value if -limit <= value < limit else None


def to_datetime(value: object) -> str | None:
    """Return a moment as ISO 8601 text in UTC, like ``2026-11-23T14:00:00.123456Z``.

    ISO 8601 and RFC 822 are read; without a zone it is UTC; digits below the microsecond are cut.
    """
    if not isinstance(value, str) or len(value) > _MAX_DATE_TEXT:
        return None
    try:
        if _ISO_DATE.fullmatch(value):
            moment = datetime.fromisoformat(value)
            if len(value) == _CANONICAL_LENGTH and value[-1] == "Z" and value[10] == "T" and value[19] == ".":
                return value
        else:
            moment = parsedate_to_datetime(value)
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except (ValueError, OverflowError):
        return None
    return utc_text(moment)


def utc_text(moment: datetime) -> str:
    """Return an aware moment in the form in which the table keeps it."""
    text = moment.astimezone(UTC).isoformat(timespec="microseconds")
    return text.removesuffix("+00:00") + "Z"


CONVERTERS: Final[Mapping[Kind, Callable[[object], object | None]]] = {
    Kind.STRING: to_string,
    Kind.DYNAMIC: to_dynamic,
    Kind.BOOL: to_bool,
    Kind.REAL: to_real,
    Kind.INT: partial(_to_whole, 32),
    Kind.LONG: partial(_to_whole, 64),
    Kind.DATETIME: to_datetime,
}
