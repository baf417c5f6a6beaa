"""Whether a row matches the conditions of a test, and the message if none does."""

import contextlib
import difflib
import logging
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final, TypeAlias

from hublog.capture.columns import BY_NAME
from hublog.capture.json_safe import plain
from hublog.handler import EventHubHandler

#: One row of the table: its values by column, without empty ones.
Row: TypeAlias = dict[str, object]

_SHOWN: Final = 200


class _Missing:
    def __repr__(self) -> str:
        return "missing"


_MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition that a row must meet.

    Attributes:
        name: a column, or a key of ``extra``.
        expected: a number for ``level``, a string or a pattern for ``message``, anything for other names.
    """

    name: str
    expected: object

    @property
    def where(self) -> str:
        """The column, or the key with its column."""
        return self.name if self.name in BY_NAME else f"extra.{self.name}"

    def holds(self, row: Mapping[str, object]) -> bool:
        """Whether a row meets it."""
        if self.name == "level":
            return row.get("level_number") == self.expected
        actual = self._actual(row)
        if self.name == "message" and isinstance(self.expected, str):
            return self.expected in str(actual)
        return _is_same(actual, self.expected)

    def text(self) -> str:
        """Return it in words."""
        if self.name == "level":
            return f"level {level_name(self.expected)}"
        if isinstance(self.expected, re.Pattern):
            return f"{self.where} matching {_shown(self.expected.pattern)}"
        if self.name == "message":
            return f"message containing {_shown(self.expected)}"
        return f"{self.where} equal to {_shown(self.expected)}"

    def difference(self, row: Mapping[str, object]) -> str:
        """Return in words how a row differs."""
        actual = self._actual(row)
        shown = str(actual) if self.name == "level" else _shown(actual)
        if self.name == "level":
            return f"level is {shown}, not {level_name(self.expected)}"
        if actual is _MISSING:
            return f"{self.where} is missing; expected {_shown(self.expected)}"
        if isinstance(self.expected, re.Pattern):
            return f"{self.where} is {shown}, which {_shown(self.expected.pattern)} does not match"
        if self.name == "message":
            return f"message is {shown}, which does not contain {_shown(self.expected)}"
        expected, kinds = _shown(self.expected), ""
        if shown.strip("'") == expected.strip("'"):
            kinds = f" ({type(actual).__name__} and {type(self.expected).__name__})"
        return f"{self.where} is {shown}, not {expected}{kinds}"

    def _actual(self, row: Mapping[str, object]) -> object:
        if self.name in BY_NAME:
            return row.get(self.name, _MISSING)
        extra = row.get("extra")
        return extra.get(self.name, _MISSING) if isinstance(extra, Mapping) else _MISSING


def conditions(level: int | str | None, message: object, fields: Mapping[str, object]) -> list[Condition]:
    """Return the conditions of a test.

    Args:
        level: name or number; None for any.
        message: a string that it contains, or a compiled pattern to search for; None for any.
        fields: values by column, or by key of ``extra``.

    Raises:
        TypeError: the message is neither a string nor a pattern.
        ValueError: there is no such level.
    """
    asked: list[Condition] = []
    if level is not None:
        asked.append(Condition("level", level_number(level)))
    if message is not None:
        if not isinstance(message, str | re.Pattern):
            raise TypeError(f"message is {message!r}; it must be a string or a compiled pattern.")
        asked.append(Condition("message", message))
    return [*asked, *(Condition(name, value) for name, value in fields.items())]


def level_number(level: int | str) -> int:
    """Return the number of a level.

    Args:
        level: a number, or a name in upper or lower case.

    Raises:
        TypeError: it is neither.
        ValueError: there is no such level.
    """
    if isinstance(level, str):
        known = logging.getLevelNamesMapping()
        number = known.get(level, known.get(level.upper()))
        if number is None:
            raise ValueError(f"level is {level!r}; it must be a number or one of {', '.join(known)}.")
        return number
    if isinstance(level, bool) or not isinstance(level, int):
        raise TypeError(f"level is {level!r}; it must be a name or a number.")
    return level


def level_name(level: object) -> str:
    """Return the name of a level."""
    return str(logging.getLevelName(level)) if isinstance(level, int) else str(level)


def leaves(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every string and number in a value with its path, and every key of a mapping."""
    if isinstance(value, Mapping):
        for key, item in value.items():
            inner = f"{path}.{key}" if path else str(key)
            if path:
                yield f"{path} (a key)", str(key)
            yield from leaves(item, inner)
    elif isinstance(value, list):
        for item in value:
            yield from leaves(item, path)
    elif value is not None:
        yield path, str(value)


def line_of(row: Mapping[str, object]) -> str:
    """Return a row as one readable line."""
    place = (
        f"{row.get('source_file')}:{row.get('source_line')}" if row.get("source_file") else "unknown place"
    )
    return f"{row.get('level')} {row.get('logger_name')}: {_cut(str(row.get('message')))}  [{place}]"


def _is_same(actual: object, expected: object) -> bool:
    if actual is _MISSING or actual is None:
        return expected is None
    if isinstance(expected, re.Pattern):
        return isinstance(actual, str) and expected.search(actual) is not None
    if isinstance(actual, bool) != isinstance(expected, bool) and type(expected) in (bool, int, float):
        return False  # true is not 1 in the table
    with contextlib.suppress(Exception):  # the comparison of arrays has no single result
        if bool(expected == actual):
            return True
    if isinstance(expected, datetime) and isinstance(actual, str):
        return _is_same_time(actual, expected)
    return plain(expected) == actual


def _is_same_time(actual: str, expected: datetime) -> bool:
    try:
        return datetime.fromisoformat(actual) == expected
    except ValueError:
        return False


def _shown(value: object) -> str:
    try:
        return _cut(repr(value))
    except Exception as error:  # noqa: BLE001  # the test has failed in any case
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


_CLOSEST: Final = 3
_LISTED: Final = 10
#: Comparing messages is slow, so only the beginning of the last rows is compared.
_COMPARED_ROWS: Final = 200
_COMPARED_TEXT: Final = 300


def missing(asked: Sequence[Condition], rows: Sequence[Row]) -> str:
    """Return why an assertion failed that expects a record."""
    lines = [
        f"No record reached the Event Hub with {_wish(asked)}."
        if asked
        else "No record reached the Event Hub."
    ]
    if rows:
        closest = _closest(asked, rows)
        lines += [
            "",
            f"{_records(len(rows))} did; {'this is' if len(closest) == 1 else 'these are'} closest:",
        ]
        for row in closest:
            lines.append(f"  {line_of(row)}")
            lines += [f"    - {one.difference(row)}" for one in asked if not one.holds(row)]
    hints = [*_wrong_names(asked, rows), *_obstacles(asked)]
    if hints:
        lines += ["", *hints]
    return "\n".join(lines)


def unwanted(asked: Sequence[Condition], matching: Sequence[Row]) -> str:
    """Return why an assertion failed that expects no record; these meet the conditions."""
    wish = f" with {_wish(asked)}" if asked else ""
    lines = [f"{_records(len(matching))}{wish} reached the Event Hub, and none should:"]
    lines += [f"  {line_of(row)}" for row in matching[:_LISTED]]
    if len(matching) > _LISTED:
        lines.append(f"  ... and {len(matching) - _LISTED} more")
    return "\n".join(lines)


def _records(number: int) -> str:
    return "1 record" if number == 1 else f"{number} records"


def _wish(asked: Sequence[Condition]) -> str:
    parts = [one.text() for one in asked]
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"


def _closest(asked: Sequence[Condition], rows: Sequence[Row]) -> list[Row]:
    message = next((one.expected for one in asked if one.name == "message"), None)
    wished = message if isinstance(message, str) else getattr(message, "pattern", "")

    def distance(row: Row) -> tuple[int, float]:
        failed = sum(not one.holds(row) for one in asked)
        if not wished:
            return failed, 0.0
        text = str(row.get("message"))[:_COMPARED_TEXT]
        return failed, -difflib.SequenceMatcher(None, wished[:_COMPARED_TEXT], text).ratio()

    nearest = sorted(rows[-_COMPARED_ROWS:], key=distance)[:_CLOSEST]
    return [row for row in rows if any(row is one for one in nearest)]


def _wrong_names(asked: Sequence[Condition], rows: Sequence[Row]) -> Iterator[str]:
    """Yield a sentence for each name that is neither a column nor a key of any row's ``extra``."""
    keys = {key for row in rows for key in _extra(row)}
    for one in asked:
        if one.name in BY_NAME or one.name in keys:
            continue
        near = difflib.get_close_matches(one.name, [*BY_NAME, *keys], n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        yield f"{one.name} is not a column, and no record has it in extra{hint}"


def _extra(row: Row) -> Mapping[str, object]:
    extra = row.get("extra")
    return extra if isinstance(extra, Mapping) else {}


def reached(logger: logging.Logger) -> Iterator[logging.Handler]:
    """Yield the handlers that the records of a logger reach."""
    current: logging.Logger | None = logger
    while current is not None:
        yield from current.handlers
        current = current.parent if current.propagate else None


def _obstacles(asked: Sequence[Condition]) -> Iterator[str]:
    """Yield what prevents such a record from reaching the hub, as far as the configuration shows it."""
    wished = {one.name: one.expected for one in asked}
    name, level = wished.get("logger_name"), wished.get("level")
    logger: logging.Logger = logging.root
    if isinstance(name, str):
        known = logging.root.manager.loggerDict.get(name)
        logger = known if isinstance(known, logging.Logger) else logging.root
    title = "The root logger" if logger is logging.root else f"The logger {logger.name}"
    if logger.disabled:
        yield f"{title} is disabled; dictConfig does that unless disable_existing_loggers is False."
    if isinstance(level, int) and not logger.isEnabledFor(level) and not logger.disabled:
        yield f"{title} passes {level_name(logger.getEffectiveLevel())} and above only."
    handlers = [handler for handler in reached(logger) if isinstance(handler, EventHubHandler)]
    if not handlers:
        yield f"{title} has no EventHubHandler, and neither has a parent logger that its records reach."
    elif isinstance(level, int) and all(_lowest(handler) > level for handler in handlers):
        lowest = min(_lowest(handler) for handler in handlers)
        yield f"The EventHubHandler accepts {level_name(lowest)} and above only."


def _lowest(handler: EventHubHandler) -> int:
    return handler.level or handler.pipeline.read().eventhub.level
