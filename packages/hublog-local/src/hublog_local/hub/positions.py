"""Where a consumer begins to read: the selector filter of its link.

Source: the filters that azure-eventhub 5.15.1 and @azure/event-hubs 6.0.4 send.
"""

import re
from enum import StrEnum
from typing import Final, NamedTuple

from hublog.errors import LocalHubError

#: Key of the filter in the source of a link.
SELECTOR: Final = "apache.org:selector-filter:string"

_FORM: Final = re.compile(
    r"\s*amqp\.annotation\.x-opt-(offset|sequence-number|enqueued-time)\s*(>=|>)\s*"
    r"'\s*(@latest|-?[0-9]{1,19})(?:\.[0-9]{0,9})?\s*'\s*"
)


class Field(StrEnum):
    """What positions can be told by."""

    OFFSET = "offset"
    SEQUENCE_NUMBER = "sequence-number"
    ENQUEUED_TIME = "enqueued-time"


class Position(NamedTuple):
    """A place in a partition.

    Attributes:
        field: what ``number`` counts.
        number: an offset, a sequence number, or milliseconds since 1970 UTC; None is the end.
        is_inclusive: begin with the event at the place, not after it.
    """

    field: Field
    number: int | None
    is_inclusive: bool


#: The oldest event that is kept.
EARLIEST: Final = Position(Field.OFFSET, -1, is_inclusive=False)


def read_position(selector: str | None) -> Position:
    """Read a selector; None is the earliest position.

    Raises:
        LocalHubError: it is not of the forms that Event Hubs clients send.
    """
    if selector is None:
        return EARLIEST
    found = _FORM.fullmatch(selector)
    if found is None:
        raise LocalHubError(
            f"The filter {selector[:200]!r} is not taken; it must be amqp.annotation.x-opt-offset, "
            "x-opt-sequence-number or x-opt-enqueued-time, then > or >=, then a number or @latest in quotes."
        )
    field, operator, value = found.groups()
    return Position(Field(field), None if value == "@latest" else int(value), operator == ">=")
