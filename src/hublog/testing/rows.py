"""Whether a row is the one that a test asks for, and what differs."""

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
from hublog.testing.isolation import reached

#: One row of the table: values by column, without those that are empty.
Row: TypeAlias = dict[str, object]

_SHOWN: Final = 200


class _Missing:
    def __repr__(self) -> str:
        return "not there"


_MISSING: Final = _Missing()


@dataclass(frozen=True, slots=True)
class Condition:
    """One thing that is asked of a row.

    Attributes:
        name: a column, or a key of ``extra``.
        expected: a number for ``level``, a text or a pattern for ``message``, anything else for the others.
    """

    name: str
    expected: object

    @property
    def where(self) -> str:
        """The column, or the key with the column that it lies in."""
        return self.name if self.name in BY_NAME else f"extra.{self.name}"

    def holds(self, row: Mapping[str, object]) -> bool:
        """Whether it is true of a row."""
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
        """Return in words what a row has instead."""
        actual = self._actual(row)
        found = str(actual) if self.name == "level" else _shown(actual)
        if self.name == "level":
            return f"level is {found}, not {level_name(self.expected)}"
        if actual is _MISSING:
            return f"{self.where} is not there; expected {_shown(self.expected)}"
        if isinstance(self.expected, re.Pattern):
            return f"{self.where} is {found}, which {_shown(self.expected.pattern)} does not match"
        if self.name == "message":
            return f"message is {found}, which does not contain {_shown(self.expected)}"
        expected, kinds = _shown(self.expected), ""
        if found.strip("'") == expected.strip("'"):
            kinds = f" ({type(actual).__name__} and {type(self.expected).__name__})"
        return f"{self.where} is {found}, not {expected}{kinds}"

    def _actual(self, row: Mapping[str, object]) -> object:
        if self.name in BY_NAME:
            return row.get(self.name, _MISSING)
        extra = row.get("extra")
        return extra.get(self.name, _MISSING) if isinstance(extra, Mapping) else _MISSING


def conditions(level: int | str | None, message: object, fields: Mapping[str, object]) -> list[Condition]:
    """Return what a test asks for.

    Args:
        level: name or number; None for any.
        message: a text that it contains, or a compiled pattern that it matches somewhere; None for any.
        fields: values by column, or by key of ``extra``.

    Raises:
        TypeError: the message is neither text nor pattern.
        ValueError: there is no such level.
    """
    found: list[Condition] = []
    if level is not None:
        found.append(Condition("level", level_number(level)))
    if message is not None:
        if not isinstance(message, str | re.Pattern):
            raise TypeError(f"message is {message!r}; it must be a text or a compiled pattern.")
        found.append(Condition("message", message))
    return [*found, *(Condition(name, value) for name, value in fields.items())]


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
        found = known.get(level, known.get(level.upper()))
        if found is None:
            raise ValueError(f"level is {level!r}; it must be a number or one of {', '.join(known)}.")
        return found
    if isinstance(level, bool) or not isinstance(level, int):
        raise TypeError(f"level is {level!r}; it must be a name or a number.")
    return level


def level_name(level: object) -> str:
    """Return the name of a level."""
    return str(logging.getLevelName(level)) if isinstance(level, int) else str(level)


def leaves(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """Yield every text and number inside a value with its path, and every key of a mapping.

    Args:
        value: a row, or something in it.
        path: where it lies.
    """
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
    """Return a row as one line for people."""
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
        return False  # true is no 1 in the table
    with contextlib.suppress(Exception):  # an array, say, has no one answer
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
    except Exception as error:  # noqa: BLE001  # the test has failed already
        return f"<{type(value).__name__} that cannot be shown: {type(error).__name__}>"


def _cut(text: str) -> str:
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}... ({len(text)} characters)"


_CLOSEST: Final = 3
_LISTED: Final = 10
#: Comparing texts costs, so only so many characters of the last so many rows are.
_COMPARED_ROWS: Final = 200
_COMPARED_TEXT: Final = 300


def missing(asked: Sequence[Condition], rows: Sequence[Row]) -> str:
    """Return why an assertion failed that asks for a record.

    Args:
        asked: what it must be.
        rows: what arrived.
    """
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


def unwanted(asked: Sequence[Condition], found: Sequence[Row]) -> str:
    """Return why an assertion failed that asks for no record.

    Args:
        asked: what there must not be.
        found: the records that are just this.
    """
    wish = f" with {_wish(asked)}" if asked else ""
    lines = [f"{_records(len(found))}{wish} reached the Event Hub, and none should:"]
    lines += [f"  {line_of(row)}" for row in found[:_LISTED]]
    if len(found) > _LISTED:
        lines.append(f"  ... and {len(found) - _LISTED} more")
    return "\n".join(lines)


def _records(number: int) -> str:
    return "1 record" if number == 1 else f"{number} records"


def _wish(asked: Sequence[Condition]) -> str:
    texts = [one.text() for one in asked]
    return texts[0] if len(texts) == 1 else f"{', '.join(texts[:-1])} and {texts[-1]}"


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
    """Tell of names that are neither a column nor a key of any row's ``extra``."""
    keys = {key for row in rows for key in _extra(row)}
    for one in asked:
        if one.name in BY_NAME or one.name in keys:
            continue
        near = difflib.get_close_matches(one.name, [*BY_NAME, *keys], n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        yield f"{one.name} is no column, and no record has it in extra{hint}"


def _extra(row: Row) -> Mapping[str, object]:
    extra = row.get("extra")
    return extra if isinstance(extra, Mapping) else {}


def _obstacles(asked: Sequence[Condition]) -> Iterator[str]:
    """Tell what keeps such a record from the hub, as far as the configuration shows it."""
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
        yield f"{title} lets {level_name(logger.getEffectiveLevel())} and above pass."
    on_way = [handler for handler in reached(logger) if isinstance(handler, EventHubHandler)]
    if not on_way:
        yield f"{title} has no EventHubHandler, and neither has a logger above it that its records reach."
    elif isinstance(level, int) and all(_lowest(handler) > level for handler in on_way):
        lowest = min(_lowest(handler) for handler in on_way)
        yield f"The EventHubHandler takes {level_name(lowest)} and above."


def _lowest(handler: EventHubHandler) -> int:
    return handler.level or handler.pipeline.read().eventhub.level
