"""Takes a record that the formatter's short way cannot encode; gives its columns, and a line that fits.

Field by field, so that one odd value costs only itself. What is too long for a line is cut in a fixed order:
ids are kept, ``truncated`` is set. ``fit`` cuts the columns before they are a line, ``shortened`` a line that
the hub does not take.
"""

import logging
import re
import time
from collections.abc import Callable, Collection, Iterable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeVar

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
from hublog.capture.resource import process_fields
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
from hublog.line import HEAD_COLUMNS, dumps, escape_line_ends, loads
from hublog.redaction.redactor import SHORTEST, Redactor
from hublog.redaction.secret_names import Secrecy
from hublog.redaction.text_ranges import cut_middle
from hublog.settings import ServiceSettings

#: How often the strings of a record may fill its line before no further one is looked at.
_LOOKED_AT: Final = 4
_T = TypeVar("_T")
_NOTHING: Final[Mapping[str, object]] = MappingProxyType({})


def row_of(
    record: logging.LogRecord, added: Iterable[str], *, timestamp: str, redactor: Redactor, max_bytes: int
) -> "Row":
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
    row = Row(redactor, max_bytes)
    if _attempt(lambda: timestamp_of(record.created), "") != timestamp:
        row.put("timestamp", record.created, fits=False)
    for name, value in _attempt(lambda: call_site(record), _NOTHING).items():
        row.put(name, value)
    template = whole_text_of(record.msg)
    message = _attempt(lambda: _message(record, template, redactor), mark("message that cannot be shown"))
    row.columns["message"] = row.bounded(message)
    row.columns["message_template"] = row.columns["message"] if template == message else row.bounded(template)
    row.columns["record_type"] = "log"
    for name, value in _attempt(lambda: thread_of(record), _NOTHING).items():
        row.put(name, value)
    error = _attempt(lambda: from_record(record.exc_info, getattr(record, "exc_text", None), redactor), None)
    if error is not None:
        row.columns["record_type"] = "exception"
        _attempt(lambda: note_shown(record), None)
    row.take(_attempt(lambda: _context(redactor), None))
    if error is not None:
        row.columns |= error.columns()
    if record.stack_info:
        stack = whole_text_of(record.stack_info)
        row.columns["stack_info"] = redactor.bounded(stack, MAX_STACKTRACE, MAX_STACKTRACE)
        if len(stack) > MAX_STACKTRACE:
            row.columns["truncated"] = True
    row.put("async_task_name", record.__dict__.get("taskName"))
    row.add_all(added, record.__dict__)
    if row.extra:
        row.columns["extra"] = row.extra
    return row


class Row:
    """The columns of a record while they are put together.

    Attributes:
        columns: plain data.
        extra: what goes into the column ``extra``.
        misfits: names of the columns whose value did not fit, and went to ``extra``.
        left_out: bytes that were cut out of strings too long for the line.
    """

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
        """Set a column, or keep the value in ``extra`` if it does not fit."""
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
        shown = self._redactor.bounded(text, self._max_bytes, _text_limit(self._max_bytes))
        if len(text) > self._max_bytes:
            self.columns["truncated"] = True
            self.left_out += max(_size(text) - _size(shown), 0)
        return shown

    def take(self, bound: EncodedContext | None) -> None:
        """Take what is bound; a column that is set already gives way."""
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


def usable(created: object) -> float:
    """Return when a record was made, now if it does not say so in a form that ADX holds."""
    try:
        moment = float(created)  # type: ignore[arg-type]  # whatever it is
        if 0.0 <= moment < END_OF_TIME:
            return moment
    except (Exception, SystemExit):  # noqa: BLE001, S110  # a log call never raises
        pass
    return time.time()


def has_own_message(record: logging.LogRecord) -> bool:
    """Whether a record's class makes messages in its own way, such as ``str.format``."""
    return type(record).getMessage is not logging.LogRecord.getMessage


def rendered(record: logging.LogRecord, redactor: Redactor | None) -> str:
    """Return the message of a record; what its class, template and arguments raise leaves this.

    Args:
        record: as it was logged.
        redactor: masks arguments with a secret name; None masks nothing.
    """
    if type(record) is not logging.LogRecord and has_own_message(record):
        return str(record.getMessage())
    template, args = str(record.msg), record.args
    if not args:
        return template
    if type(args) is not tuple and redactor is not None and isinstance(args, Mapping):
        return template % _Named(args, redactor)
    return template % args


def _message(record: logging.LogRecord, template: str, redactor: Redactor) -> str:
    """Render the message; where that fails, show the template, the arguments and the reason."""
    if not (record.args or has_own_message(record)):
        return template
    try:
        return clean(rendered(record, redactor))
    except (Exception, SystemExit) as error:  # noqa: BLE001  # a log call never raises
        shown = dumps(unfit(template, record.args, redactor)).decode()
        return f"{template} {mark(f'arguments {shown} do not fit: {type(error).__name__}')}"


def _context(redactor: Redactor) -> EncodedContext:
    now = context.current()
    encoded: EncodedContext | None = now.encoded
    return encoded if encoded and encoded.redactor is redactor else encode_context(now, redactor)


_WORD: Final = re.compile(r"[\w-]{1,96}+")
#: A longer argument is no name.
_NAME_LONGEST: Final = 96
#: Arguments that do not fit are looked at up to this number; then all of them count as secret.
_NAMES_MAX: Final = 100


class _Named:
    """Arguments by name, as ``%`` takes them: one with a secret name is given as its mark."""

    __slots__ = ("_args", "_redactor")

    def __init__(self, args: Mapping[str, object], redactor: Redactor) -> None:
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


def unfit(template: str, args: object, redactor: Redactor) -> object:
    """Return arguments that do not fit their template as plain data.

    Where the template or an argument names a secret, each text among them counts as one.
    """
    shown = plain(args, cut=redactor.head)
    listed = shown if isinstance(shown, list) else [shown]
    strings = [item for item in listed if isinstance(item, str) and len(item) <= _NAME_LONGEST]
    names = {word for text in (template[: _NAME_LONGEST * 10], *strings) for word in _WORD.findall(text)}
    if len(names) > _NAMES_MAX or any(map(redactor.secrecy, names)):
        return redactor.hidden(shown, Secrecy.TEXT) if redactor.is_on else shown
    return redactor.value(shown)


#: What is kept of a record to the last, each if it is no longer than an id may be.
_KEPT: Final = (
    *("level", "level_number", "severity_number", "record_type"),
    *("trace_id", "span_id", "request_id", "truncated"),
)
_MAX_ID: Final = 64
_STACKS: Final = frozenset({"exception_stacktrace", "stack_info", "exception_message"})
_STRINGS: Final = _STACKS | {"message", "message_template"}
#: What says which record it is stays whole, and so does what says whose it is.
_FIXED: Final = (
    frozenset({"service_name", "service_namespace", "service_version", "service_instance_id", "environment"})
    | process_fields(ServiceSettings(), environ={}, host_name=lambda: "host").keys()
)


def fit(
    row: dict[str, object],
    encode: Callable[[Mapping[str, object]], bytes],
    *,
    max_bytes: int,
    original: int = 0,
) -> bytes:
    """Return the line of a row, cut until it is at most ``max_bytes`` long.

    Args:
        row: the columns of a ``Row``.
        encode: makes the whole line, head and static columns included.
        max_bytes: limit of the line, 1 KiB or more.
        original: length of the whole line where it is known to be too long already; else 0.

    Returns:
        The line. It is over the limit only if head and static columns alone are.
    """
    if not original:
        line = encode(row)
        if len(line) <= max_bytes:
            return line
        original = len(line)
    # Strings that alone are longer than the line may be go first, before each try would encode all of them.
    endless = {name for name in _STRINGS if isinstance(text := row.get(name), str) and len(text) > max_bytes}
    row = {**_cut_each(row, endless, _text_limit(max_bytes)), "truncated": True}
    for cut in (
        lambda row: _cut_each(row, _STACKS, max(max_bytes // 4, 256)),
        lambda row: _cut_extra(row, max(max_bytes // 64, 64)),
        _drop_extra,
        lambda row: _cut_each(row, _STRINGS, _text_limit(max_bytes)),
        lambda row: _drop_rest(row, max_bytes),
    ):
        row = cut(row)
        extra = row.get("extra")
        noted = {**(extra if isinstance(extra, dict) else {}), "original_bytes": original}
        line = encode({**row, "extra": noted})
        if len(line) <= max_bytes:
            return line
    # Static columns take all the room: of the message stays what they leave.
    least = _drop_rest({**row, "message": ""}, max_bytes)
    bare = encode(least)
    room = max((max_bytes - len(bare) - len(',"message":""')) // 6, 0)
    return encode({**least, "message": _cut(row.get("message", ""), room)}) if room else bare


def shortened(line: bytes, max_bytes: int) -> bytes | None:
    """Return a line cut in the order in which the formatter cuts, and marked as ``truncated``.

    Args:
        line: as the formatter wrote it.
        max_bytes: limit of the line.

    Returns:
        None when it cannot be made that short, or is no line of ours.
    """
    try:
        row = loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    head = {name: row.pop(name) for name in HEAD_COLUMNS if name in row}
    fixed = {name: row.pop(name) for name in _FIXED & row.keys()}

    def encode(columns: Mapping[str, object]) -> bytes:
        return escape_line_ends(dumps({**head, **columns, **fixed}))

    cut = fit(row, encode, max_bytes=max_bytes, original=len(line))
    return cut if len(cut) <= max_bytes else None


def _text_limit(max_bytes: int) -> int:
    """Return the characters of a message or template that fit into a line of this length in any case."""
    return max(max_bytes // 16, 64)  # escapes make up to six bytes of a character, and both may be that long


def _cut_extra(row: dict[str, object], limit: int) -> dict[str, object]:
    extra = row.get("extra")
    if not isinstance(extra, dict):
        return row
    return {**row, "extra": {name: _short(value, limit) for name, value in extra.items()}}


def _short(value: object, limit: int) -> object:
    encoded = dumps(value)
    if len(encoded) <= limit:
        return value
    return _cut(value if isinstance(value, str) else encoded.decode(), limit // 2)


def _drop_extra(row: dict[str, object]) -> dict[str, object]:
    extra = row.get("extra")
    return {**row, "extra": {"left_out": len(extra)} if isinstance(extra, dict) else {}}


def _cut_each(row: dict[str, object], names: Collection[str], limit: int) -> dict[str, object]:
    return {name: _cut(value, limit) if name in names else value for name, value in row.items()}


def _drop_rest(row: dict[str, object], max_bytes: int) -> dict[str, object]:
    """The last resort: what names the record, and as much of the message as is sure to fit."""
    short: dict[str, object] = {
        name: row[name] for name in _KEPT if name in row and len(str(row[name])) <= _MAX_ID
    }
    limit = max(min((max_bytes - 1_600) // 6, 512), 8)
    return {**short, "message": _cut(row.get("message", ""), limit)}


def _cut(value: object, limit: int) -> object:
    return cut_middle(value, limit) if isinstance(value, str) else value
