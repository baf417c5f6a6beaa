"""What people read when a record is not there: the closest ones, what differs, and why it may be missing."""

import difflib
import logging
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from hublog.capture.columns import BY_NAME
from hublog.handler import EventHubHandler
from hublog.testing.loggers import reached
from hublog.testing.matching import Condition, Row, level_name, line_of

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
