"""A secret among a framework's settings: itself where it is used, and masked where it is shown."""

from collections.abc import Mapping, MutableMapping
from typing import Final

from hublog.redaction.redactor import DEFAULT

#: Names below which others write secrets for us: an item of ``LOGGING`` is one.
_CONNECTION: Final = "connection_string"


class HiddenText(str):
    """A text whose ``repr`` has marks in place of its secrets; pages and dumps of settings show that."""

    __slots__ = ()

    def __repr__(self) -> str:
        """Return the ``repr`` of the text without its secrets."""
        return repr(DEFAULT.text(str.__str__(self)))


def hidden(value: object) -> object:
    """Return a text with secrets as one that does not show them, anything else as it is."""
    is_secret = type(value) is str and DEFAULT.text(value) != value
    return HiddenText(value) if is_secret else value


def hide_handlers(logging_config: object) -> None:
    """Hide the connection strings of handlers in a configuration for ``dictConfig``, in place."""
    handlers = logging_config.get("handlers") if isinstance(logging_config, Mapping) else None
    for handler in handlers.values() if isinstance(handlers, Mapping) else ():
        if isinstance(handler, MutableMapping) and _CONNECTION in handler:
            handler[_CONNECTION] = hidden(handler[_CONNECTION])
