"""Described lists inside performatives: errors, delivery states, sources and targets.

Source: OASIS AMQP 1.0 part 2, section 2.8.14; part 3, sections 3.4 and 3.5.
"""

from typing import Final, NamedTuple

from hublog_local.amqp.values import DecodeError, Described, Symbol, ULong

ACCEPTED: Final = Described(ULong(0x24), [])
RELEASED: Final = Described(ULong(0x26), [])
#: The delivery failed, may be sent again, and carries no annotations.
MODIFIED: Final = Described(ULong(0x27), [True, False, {}])

_SOURCE: Final = (0x28, "amqp:source:list")
_TARGET: Final = (0x29, "amqp:target:list")
_SOURCE_FIELDS: Final = 11
_TARGET_FIELDS: Final = 7
_FILTERS: Final = 7


class LinkError(NamedTuple):
    """Why something was refused or ended.

    Attributes:
        condition: a symbol that programs react to, such as ``amqp:not-found``.
        description: a sentence for people.
    """

    condition: str
    description: str = ""


def write_error(error: LinkError) -> Described:
    """Make an AMQP error with all three fields: azure-eventhub 5.15.1 hangs when one is left off."""
    return Described(ULong(0x1D), [Symbol(error.condition), error.description, {}])


def write_short_error(error: LinkError) -> Described:
    """Make an AMQP error of the condition alone, which is legal and what some clients stumble over."""
    return Described(ULong(0x1D), [Symbol(error.condition)])


def write_rejected(error: Described | None) -> Described:
    """Make the outcome of a delivery that is refused."""
    return Described(ULong(0x25), [error])


class Terminus(NamedTuple):
    """The source or target of a link.

    Attributes:
        address: where it leads; empty if it has none.
        filters: of a source, by name.
        whole: with all of its fields, to be sent back.
    """

    address: str
    filters: dict[object, object]
    whole: Described


def read_source(value: Described | None) -> Terminus | None:
    """Read the source of an attach.

    Raises:
        DecodeError: it is something else.
    """
    return _read_terminus(value, _SOURCE, _SOURCE_FIELDS)


def read_target(value: Described | None) -> Terminus | None:
    """Read the target of an attach.

    Raises:
        DecodeError: it is something else.
    """
    return _read_terminus(value, _TARGET, _TARGET_FIELDS)


def _read_terminus(value: Described | None, descriptors: tuple[int, str], number: int) -> Terminus | None:
    if value is None:
        return None
    fields = value.value
    if value.descriptor not in descriptors or not isinstance(fields, list) or len(fields) > number:
        raise DecodeError(f"{value.descriptor!r} is not {descriptors[1]} with at most {number} fields.")
    fields = [*fields, *[None] * (number - len(fields))]
    address = fields[0]
    if address is not None and not isinstance(address, str):
        raise DecodeError(f"The address of a link is {type(address).__name__}; it must be a string.")
    filters = fields[_FILTERS] if number == _SOURCE_FIELDS else None
    if filters is not None and not isinstance(filters, dict):
        raise DecodeError("The filters of a source are not a map.")
    return Terminus(address or "", filters or {}, Described(ULong(descriptors[0]), fields))
