"""Records as structlog, loguru and others leave them, read as they are meant.

Most records say all by their message and arguments, and pass as they are. Of the others a copy is
read, to which what else they say is added; the record itself stays as it is for the handlers that
follow.
"""

import contextlib
import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from contextvars import ContextVar
from itertools import islice
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from hublog.capture import context, tracing
from hublog.capture.context import stored
from hublog.capture.json_safe import MAX_ITEMS, Distinct, key_of, mark, text_of
from hublog.terminal import WERKZEUG, without_colours

#: Under these a message that is a mapping has its text: structlog's name, then python-json-logger's.
_MESSAGE_KEYS: Final = ("event", "message")
#: What ``structlog.stdlib.ProcessorFormatter.wrap_for_formatter`` leaves on a record.
_WRAPPED: Final = ("_logger", "_name")
#: Of an event: its text, orders to a renderer, and what ``ProcessorFormatter`` adds on its way.
_ORDERS: Final = frozenset(
    {"event", "exc_info", "stack_info", "stacklevel", "positional_args", "_record", "_from_structlog"}
)
_DJANGO: Final = "django."
#: What an ``extra`` of the application's own may hold; Django's ``request`` is a request or a socket.
_PLAIN: Final = (str, int, float, dict, list, tuple, type(None))
_STATUS: Final = "http_status_code"
#: The arguments of an access line: of Werkzeug's request, status and size; of uvicorn's, the status is last.
_WERKZEUG_ARGS: Final = 3
_UVICORN_ARGS: Final = 5
#: What loguru's sink for handlers leaves in ``exc_text``, having written the traceback into the message.
_LOGURU: Final = "\n"
_TRACEBACK: Final = re.compile(r"\n?(?:  \+ Exception Group )?Traceback \(most recent call last\):\n")
_NOTHING: Final[AbstractSet[object]] = frozenset()
_CHAIN_MAX: Final = 100
#: What ``exc_info=True`` gives where there is none, as in the thread that structlog logs for a coroutine.
_NO_EXCEPTION: Final = (None, None, None)
#: Names that a record has for itself, or leaves to formatters.
_TAKEN: Final = frozenset(
    {*dir(logging.LogRecord("", 0, "", 0, None, None, None)), "message", "asctime", "taskName"}
)

_T = TypeVar("_T")


class Meant(NamedTuple):
    """What a record means.

    Attributes:
        record: a copy with the message, arguments, exception and added fields that are meant.
        fields: those whose names a record has for itself, to be bound while it is encoded.
    """

    record: logging.LogRecord
    fields: Mapping[str, object]


_meant_fields: ContextVar[Mapping[str, object]] = ContextVar(
    "hublog_meant_fields", default=MappingProxyType({})
)

#: Returns the further fields of the record that is taken here, among all else that is bound.
meant_fields: Final = _meant_fields.get


def take_as_meant(record: logging.LogRecord, by: Callable[[logging.LogRecord], _T]) -> _T:
    """Call ``by`` with what a record means, its further fields bound, and return the result."""
    meant = read(record)
    if meant is None:
        return by(record)
    if not meant.fields:
        return by(meant.record)
    token, token_of_meant = context.add_fields(**meant.fields), _meant_fields.set(meant.fields)
    try:
        return by(meant.record)
    finally:
        _meant_fields.reset(token_of_meant)
        context.restore(token)


def read(record: logging.LogRecord) -> Meant | None:
    """Return what a record means, or None where it says all by itself; never raises, never changes it."""
    if context.current is stored and tracing.MODULE in sys.modules:
        tracing.active_fields()  # from now on each record asks for its span, in programs without requests too
    try:
        message = record.msg
        if type(message) is str:
            added = record.__dict__
            if (
                "extra" in added
                or "server_time" in added
                or "color_message" in added
                or "status_code" in added
            ):
                return _from_added(record)
            reader = _OF_SERVERS.get(record.name)
            return None if reader is None else reader(record)
        return _from_mapping(record, message) if isinstance(message, dict) and not record.args else None
    except (Exception, SystemExit):  # noqa: BLE001  # a log call never raises; the record is read as it stands
        return None


def _from_mapping(record: logging.LogRecord, message: dict[object, object]) -> Meant:
    """Read a message that is a mapping: its text is the message, its other items are fields.

    structlog hands over its event dictionary so; python-json-logger's users log one on purpose.
    """
    if "_logger" in record.__dict__ and "_name" in record.__dict__:  # of structlog
        copy, left_out = _from_event(record, message)
        return _with(message, left_out, copy)
    copy, left_out = _copy(record), _NOTHING
    for key in _MESSAGE_KEYS:
        text = message.get(key)
        if type(text) is str:
            copy.msg, left_out = text, {key}
            break
    return _with(message, left_out, copy)


def _from_event(
    record: logging.LogRecord, event: dict[object, object]
) -> tuple[logging.LogRecord, AbstractSet[object]]:
    """Return what an event dictionary of structlog means without its values, and the keys of those."""
    copy = _copy(record, without=_WRAPPED)
    copy.msg = event.get("event", "")  # logging takes any object
    copy.args = _arguments(event.get("positional_args"))
    left_out: AbstractSet[object] = _ORDERS
    rendered, stack = event.get("exception"), event.get("stack")
    given = record.exc_info if record.exc_info != _NO_EXCEPTION else None
    copy.exc_info = given or _exc_info(event.get("exc_info"), rendered)  # type: ignore[assignment]  # read with care
    if copy.exc_info and isinstance(rendered, str):
        left_out |= {"exception"}  # the same traceback
    if not copy.stack_info and isinstance(stack, str):
        copy.stack_info = stack
        left_out |= {"stack"}
    return copy, left_out


def _from_added(record: logging.LogRecord) -> Meant | None:
    """Read a record to which another library has added what is not the application's."""
    attributes = record.__dict__
    nested = attributes.get("extra")
    if isinstance(nested, dict):  # loguru hands the fields over so, in one mapping
        copy = _copy(record, without=("extra",))
        if record.exc_text == _LOGURU and record.exc_info:
            copy.msg = _without_traceback(copy.msg, record.exc_info)
        return _with(nested, _NOTHING, copy)
    if record.name.startswith(_DJANGO):
        return _from_django(record)
    if "color_message" in attributes and record.name.startswith("uvicorn"):  # the message in colours
        return Meant(_copy(record, without=("color_message",)), {})
    return None


def _from_werkzeug(record: logging.LogRecord) -> Meant | None:
    """Read a record of Werkzeug's log without the colours that Werkzeug has given it."""
    args = record.args if isinstance(record.args, tuple) else ()
    is_coloured = any(isinstance(text, str) and "\x1b" in text for text in (record.msg, *args))
    copy = _with_status(record, args[1]) if len(args) == _WERKZEUG_ARGS else None
    if is_coloured:
        copy = copy or _copy(record)
        copy.msg = without_colours(record.msg)
        if args:
            copy.args = tuple(without_colours(text) if type(text) is str else text for text in args)
    return None if copy is None else Meant(copy, {})


def _from_access_line(record: logging.LogRecord) -> Meant | None:
    """Read an access line: the status is uvicorn's last argument, and gunicorn's argument ``s``."""
    args: object = record.args
    status = None
    if isinstance(args, Mapping):
        status = args.get("s")
    elif isinstance(args, tuple) and len(args) == _UVICORN_ARGS:
        status = args[-1]
    copy = _with_status(record, status)
    return None if copy is None else Meant(copy, {})


def _from_django(record: logging.LogRecord) -> Meant | None:
    """Read a record to which Django has added the status of a response, its request and the time.

    The request is in columns already; ``django.server`` has a socket there.
    """
    attributes = record.__dict__
    left_out = {"server_time"} & attributes.keys()
    if not isinstance(attributes.get("request"), _PLAIN):
        left_out |= {"request"}
    status = attributes.get("status_code")
    if _is_status(status):
        left_out |= {"status_code"}
    if not left_out:
        return None
    copy = _copy(record, without=left_out)
    if _is_status(status):
        copy.__dict__.setdefault(_STATUS, status)
    return Meant(copy, {})


def _with_status(record: logging.LogRecord, status: object) -> logging.LogRecord | None:
    """Return a copy of an access line with the status in its column, None where it says none."""
    number = int(status) if isinstance(status, str) and status.isdecimal() and len(status) == 3 else status  # noqa: PLR2004  # digits of a status
    if not _is_status(number) or _STATUS in record.__dict__:
        return None
    copy = _copy(record)
    copy.__dict__[_STATUS] = number
    return copy


def _is_status(status: object) -> bool:
    return type(status) is int and 0 < status < 1_000  # noqa: PLR2004  # three digits


#: Loggers of servers whose access lines have the status in an argument.
_OF_SERVERS: Final[Mapping[str, Callable[[logging.LogRecord], Meant | None]]] = {
    WERKZEUG: _from_werkzeug,
    "uvicorn.access": _from_access_line,
    "gunicorn.access": _from_access_line,
}


def _copy(record: logging.LogRecord, *, without: Iterable[str] = ()) -> logging.LogRecord:
    copy = object.__new__(type(record))  # its class may make messages in its own way
    copy.__dict__.update(record.__dict__)
    for name in without:
        del copy.__dict__[name]
    return copy


def _with(items: Mapping[object, object], left_out: AbstractSet[object], copy: logging.LogRecord) -> Meant:
    """Add items to a copy as what the application added; those that would hide its own are to be bound.

    As many as a mapping in ``extra`` may have: their keys may be a client's, and a record has names for all.
    """
    bound: dict[str, object] = {}
    distinct = Distinct()
    # A list first: the application may change its mapping in another thread while we read.
    for key, value in list(islice(items.items(), MAX_ITEMS + len(left_out))):
        if key in left_out:
            continue
        name = key_of(key)
        added = bound if name in _TAKEN else copy.__dict__
        added[distinct.name(name, added)] = value
    missing = len(items) - MAX_ITEMS - len(left_out)
    if missing > 0:
        copy.__dict__[mark("left out")] = missing
    return Meant(copy, bound)


def _arguments(given: object) -> tuple[object, ...] | Mapping[str, object] | None:
    """Return structlog's positional arguments as a record holds them."""
    if not isinstance(given, tuple | list) or not given:
        return None
    if len(given) == 1 and isinstance(given[0], dict) and given[0]:
        return given[0]
    return tuple(given)


def _exc_info(asked: object, rendered: object) -> object:
    """Return the exception that ``exc_info`` of a log call means.

    Args:
        asked: what was given there.
        rendered: the text that ``format_exc_info`` has put in its place, or anything else.
    """
    if isinstance(asked, BaseException | tuple):
        return asked or None
    error = sys.exc_info()[1]
    if error is None:
        return None
    is_rendered = isinstance(rendered, str) and rendered.rstrip().endswith(
        f"{type(error).__qualname__}: {text_of(error)}".rstrip(": \n")
    )
    return sys.exc_info() if asked or is_rendered else None


def _without_traceback(text: str, exc_info: object) -> str:
    """Cut loguru's rendering of the exception off a message: it is in columns, and may show local values.

    A text with more of them than the exception has causes quotes one itself, and stays whole.
    """
    error = exc_info[1] if isinstance(exc_info, tuple) else exc_info
    causes = 0
    while isinstance(error, BaseException) and causes < _CHAIN_MAX:
        causes += 1
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    tracebacks = list(_TRACEBACK.finditer(text))
    return text[: tracebacks[0].start()] if 0 < len(tracebacks) <= causes else text


def leave_out(logger: str) -> None:
    """Have Sentry make no event and no breadcrumb of a logger's records; without Sentry do nothing.

    It may be set up before us or after, so this is done again each time that it matters.
    """
    # Looked up, not imported: that the package is installed does not mean that the application uses it.
    integration: Any = sys.modules.get("sentry_sdk.integrations.logging")
    if integration is not None:
        with contextlib.suppress(Exception):  # a foreign package must not break the request
            integration.ignore_logger(logger)
