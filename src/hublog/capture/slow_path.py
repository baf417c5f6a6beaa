"""The slow way from a record to a row: field by field, so that one odd value costs only itself.

And the way to make a row fit: what is long is cut in a fixed order, ids are kept, ``truncated`` is set.
"""

import logging
import re
from collections.abc import Callable, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, NamedTuple, TypeVar

from hublog.capture import context
from hublog.capture.columns import OPEN_COLUMNS
from hublog.capture.context import note_shown
from hublog.capture.exceptions import MAX_STACKTRACE, from_record
from hublog.capture.json_safe import (
    MAX_ITEMS,
    MAX_NAME,
    MAX_TEXT_IN_ALL,
    Distinct,
    Plain,
    clean,
    key_of,
    mark,
    plain,
    whole_text_of,
)
from hublog.capture.truncation import text_limit
from hublog.capture.typed_columns import (
    END_OF_TIME,
    EncodedContext,
    as_text,
    call_site,
    encode_context,
    put,
    thread_of,
    utc_text,
)
from hublog.line import dumps
from hublog.redaction.redactor import SHORTEST, Redactor
from hublog.redaction.secret_names import Secrecy

#: How often the texts of a record may fill its line before no further one is looked at.
_LOOKED_AT: Final = 4
_T = TypeVar("_T")
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


class CarefulRow(NamedTuple):
    """The columns of a record.

    Attributes:
        columns: plain data.
        misfits: names of those columns whose value did not fit.
        left_out: bytes that were cut out of texts too long for the line.
    """

    columns: dict[str, object]
    misfits: list[str]
    left_out: int


def careful_row(
    record: logging.LogRecord,
    added: Iterable[str],
    *,
    timestamp: str,
    redactor: Redactor,
    max_bytes: int,
) -> CarefulRow:
    """Return the columns of a record behind the head of its line, each field read by itself.

    A text that cannot fit into the line is cut here already, so that not all of it is looked at for
    secrets; ``truncated`` says so.

    Args:
        record: whatever the application logged.
        added: names of its attributes that are the application's own.
        timestamp: in the head of the line; ``record.created`` may be anything.
        redactor: takes the secrets out.
        max_bytes: limit of the line.
    """
    row = _Row(redactor, max_bytes)
    if _attempt(lambda: timestamp_of(record.created), "") != timestamp:
        row.put("timestamp", record.created, fits=False)
    for name, value in _attempt(lambda: call_site(record), _NOTHING).items():
        row.put(name, value)
    message = _attempt(lambda: _message(record, redactor), mark("message that cannot be shown"))
    row.columns["message"] = row.bounded(message)
    template = whole_text_of(record.msg)
    row.columns["message_template"] = row.columns["message"] if template == message else row.bounded(template)
    row.columns["record_type"] = "log"
    for name, value in _attempt(lambda: thread_of(record), _NOTHING).items():
        row.put(name, value)
    found = _attempt(lambda: from_record(record.exc_info, getattr(record, "exc_text", None), redactor), None)
    if found is not None:
        row.columns["record_type"] = "exception"
        _attempt(lambda: note_shown(record), None)
    row.take(_attempt(lambda: _context(redactor), None))
    if found is not None:
        row.columns |= found.columns()
    if record.stack_info:
        stack = whole_text_of(record.stack_info)
        row.columns["stack_info"] = redactor.bounded(stack, MAX_STACKTRACE, MAX_STACKTRACE)
        if len(stack) > MAX_STACKTRACE:
            row.columns["truncated"] = True
    row.put("async_task_name", record.__dict__.get("taskName"))
    row.add_all(added, record.__dict__)
    if row.extra:
        row.columns["extra"] = row.extra
    return CarefulRow(row.columns, row.misfits, row.left_out)


class _Row:
    """Columns, what goes to ``extra``, and what did so because it does not fit its column."""

    def __init__(self, redactor: Redactor, max_bytes: int) -> None:
        self.columns: dict[str, object] = {}
        self.extra: dict[str, object] = {}
        self.misfits: list[str] = []
        self.left_out = 0
        self._redactor, self._max_bytes = redactor, max_bytes
        #: Characters of what is added that are still looked at: more than the line takes of them.
        self._room = _LOOKED_AT * max_bytes
        self._distinct = Distinct()
        self._plain = Plain(redactor.head, most=max(self._room, MAX_TEXT_IN_ALL))

    def put(self, name: str, value: object, *, fits: bool = True) -> None:
        shown = self._redactor.column(name, self._plain.value(value))
        if not (fits and put(self.columns, name, shown)):
            self.extra[name] = as_text(shown)
            self.misfits.append(name)

    def add_all(self, names: Iterable[object], values: Mapping[Any, object]) -> None:
        """Take what the application added; of very many names the first."""
        names = list(names)
        for name in names[:MAX_ITEMS]:
            self._add(name, values[name])
        if len(names) > MAX_ITEMS:
            self.extra[mark("left out")] = len(names) - MAX_ITEMS
            self.columns["truncated"] = True

    def _add(self, name: object, value: object) -> None:
        """Take one; a long text stays whole, as on the fast way: ``fit`` cuts it."""
        key = key_of(name, MAX_NAME)
        if key in OPEN_COLUMNS:
            self.put(key, value)
            return
        shown = self._redactor.text(key) if len(key) >= SHORTEST else key
        if shown != name:  # it was cut, and others may have become equal to it; what is bound gives way
            shown = self._distinct.name(shown, self.extra)
        if type(value) is not str or self._redactor.secrecy(key):
            self.extra[shown] = self._redactor.value(self._plain.value(value), key)
        elif self._room > 0:
            self._room -= len(value)
            self.extra[shown] = self.bounded(clean(value))
        else:
            self.extra[shown] = mark(f"{len(value)} characters left out")
            self.columns["truncated"] = True
            self.left_out += len(value)

    def bounded(self, text: str) -> str:
        """Return a text without its secrets, cut if it alone is longer than the line may be."""
        shown = self._redactor.bounded(text, self._max_bytes, text_limit(self._max_bytes))
        if len(text) > self._max_bytes:
            self.columns["truncated"] = True
            self.left_out += max(_size(text) - _size(shown), 0)
        return shown

    def take(self, bound: EncodedContext | None) -> None:
        if bound is not None:
            self.columns |= bound.columns
            self.extra |= bound.extra
            self.misfits += bound.misfits
            if bound.record_type:
                self.columns["record_type"] = bound.record_type


def _size(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _attempt(read: Callable[[], _T], otherwise: _T) -> _T:
    try:
        return read()
    except (Exception, SystemExit):  # noqa: BLE001  # a log call never raises
        return otherwise


def timestamp_of(created: float) -> str:
    """Return a moment as ADX reads it, in whole microseconds.

    Args:
        created: seconds since 1970, 0 or more, before the year 10000.

    Raises:
        ValueError: it is another moment, or none.
    """
    if not 0 <= created < END_OF_TIME:
        raise ValueError(created)
    second = int(created)
    return f"{utc_text(second)}.{int((created - second) * 1_000_000):06d}Z"


def has_own_message(record: logging.LogRecord) -> bool:
    """Whether a record's class makes messages in its own way, such as ``str.format``."""
    return type(record).getMessage is not logging.LogRecord.getMessage


def _message(record: logging.LogRecord, redactor: Redactor) -> str:
    """Render the message; where that fails, show the template, the arguments and the reason."""
    template = whole_text_of(record.msg)
    try:
        if has_own_message(record):
            return clean(str(record.getMessage()))
        return clean(str(template % arguments(record.args, redactor))) if record.args else template
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a log call never raises
        shown = dumps(unfit(template, record.args, redactor)).decode()
        return f"{template} {mark(f'arguments {shown} do not fit: {type(error).__name__}')}"


def _context(redactor: Redactor) -> EncodedContext:
    now = context.current()
    found: EncodedContext | None = now.encoded
    return found if found and found.redactor is redactor else encode_context(now, redactor)


_WORD: Final = re.compile(r"[\w-]{1,96}+")
#: A longer argument is no name.
_NAME_LONGEST: Final = 96
#: Arguments that do not fit are looked at up to this number; then all of them count as secret.
_NAMES_MAX: Final = 100


class _Named:
    """Arguments by name, as ``%`` takes them: one with a secret name is given as its mark."""

    __slots__ = ("_args", "_redactor")

    def __init__(self, args: Mapping[object, object], redactor: Redactor) -> None:
        self._args = args
        self._redactor = redactor

    def __getitem__(self, name: str) -> object:
        value = self._args[name]
        secrecy = self._redactor.secrecy(name)
        return self._redactor.hidden(plain(value), secrecy) if secrecy else value

    def __str__(self) -> str:
        return str(self._args)  # a mapping may be the one argument of "%s"

    def __repr__(self) -> str:
        return repr(self._args)


def arguments(args: object, redactor: Redactor) -> object:
    """Return what ``%`` is to be given in place of a record's arguments, which stay as they are."""
    return _Named(args, redactor) if isinstance(args, Mapping) else args


def unfit(template: str, args: object, redactor: Redactor) -> object:
    """Return arguments that do not fit their template as plain data.

    Where the template or an argument names a secret, each text among them counts as one.
    """
    shown = plain(args, cut=redactor.head)
    listed = shown if isinstance(shown, list) else [shown]
    texts = [item for item in listed if isinstance(item, str) and len(item) <= _NAME_LONGEST]
    names = {found[0] for text in (template[: _NAME_LONGEST * 10], *texts) for found in _WORD.finditer(text)}
    if len(names) > _NAMES_MAX or any(map(redactor.secrecy, names)):
        return redactor.hidden(shown, Secrecy.TEXT) if redactor.is_on else shown
    return redactor.value(shown)
