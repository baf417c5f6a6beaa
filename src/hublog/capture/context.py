"""Request fields in one context variable: every record of a request carries them, none of the next does.

Fields are columns (``request_id``, ``http_route`` ...) or free names; free names go into the column
``extra``. A context is never changed: binding makes a new one, so a task or thread that copied the
old one keeps what it saw.
"""

from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from typing import Any, Final

from hublog.capture.queries import QueryCounter


class Context:
    """An immutable set of fields, with a place where the formatter keeps their encoded form.

    Args:
        fields: must not be changed afterwards.
        counter: counts the queries of the request; threads and tasks that carry the fields share it.
    """

    __slots__ = ("counter", "encoded", "fields", "in_span")

    def __init__(self, fields: Mapping[str, object], counter: QueryCounter | None = None) -> None:
        self.fields = fields
        self.counter = counter
        #: Owned by the formatter: what it made of ``fields``, so that a request is encoded once.
        self.encoded: Any = None  # its type is the formatter's own, one layer of reading away
        #: Owned by ``spans``: the ids of the span that was active last, and the context of records inside it.
        self.in_span: tuple[object, Context | None] | None = None


EMPTY = Context({})

_current: ContextVar[Context] = ContextVar("hublog_context", default=EMPTY)

#: What is bound here, whatever span is active; an alias, since a call would cost more than the look-up.
stored: Final = _current.get

#: Read by the formatter for each record, as an attribute of this module: once the application uses
#: OpenTelemetry, ``spans`` puts a function here that gives the ids of the active span.
current: Callable[[], Context] = stored


def enter(fields: Mapping[str, object], *, counter: QueryCounter | None = None) -> Token[Context]:
    """Begin a request or task: replace all bound fields by these.

    Args:
        fields: column or free names and their values; the mapping must not be changed afterwards.
        counter: counts the queries from now on; None keeps the one that does.

    Returns:
        The token that ``leave`` needs to bring back what was bound before.
    """
    return _current.set(Context(fields, counter or _current.get().counter))


def resume(context: Context) -> Token[Context]:
    """Begin to log with the fields of a context, in another thread or at another time.

    Args:
        context: what ``stored`` returned there; ``EMPTY`` for none.

    Returns:
        The token that ``leave`` needs to bring back what was bound before.
    """
    return _current.set(context)


def leave(token: Token[Context]) -> None:
    """End a request or task: bring back what was bound before ``enter`` or ``bind``.

    A token of another context (a generator closed in another thread, say) is no error: the fields
    of this context are then cleared, so that nothing leaks into the next request.
    """
    try:
        _current.reset(token)
    except ValueError:
        _current.set(EMPTY)


def bind(**fields: object) -> Token[Context]:
    """Add fields to every record that this request, task or thread logs from now on.

    Args:
        fields: column names (``tenant_id="acme"``) or free names, which go into ``extra``.

    Returns:
        The token that ``unbind`` takes back; not needed inside a request, whose end clears all.
    """
    now = _current.get()
    return _current.set(Context({**now.fields, **fields}, now.counter))


unbind = leave


def bound() -> Mapping[str, object]:
    """Return the fields that are bound now; the mapping must not be changed."""
    return _current.get().fields
