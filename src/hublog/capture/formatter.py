"""A LogRecord and the bound context become one line: a JSON object, UTF-8, without a line break.

Total: whatever the application logs, a valid line comes out, and no exception. The common case is joined from
pieces encoded once (per process, call site, thread, request) and three small encodings; anything odd takes
the slow path, field by field.
"""

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from math import isfinite
from typing import Any, Final, Generic, TypeVar

import orjson

from hublog.capture import context
from hublog.capture.columns import OPEN_COLUMNS
from hublog.capture.context import note_shown
from hublog.capture.exceptions import from_record
from hublog.capture.json_safe import INT64, MAX_NAME, Plain, plain
from hublog.capture.resource import process_fields
from hublog.capture.slow_path import arguments, careful_row, has_own_message, timestamp_of
from hublog.capture.truncation import fit
from hublog.capture.typed_columns import (
    END_OF_TIME,
    EncodedContext,
    Misfits,
    as_text,
    encode_columns,
    encode_context,
    encoded_call_site,
    encoded_thread,
    put,
    utc_text,
)
from hublog.line import HEAD, HEAD_WITH_IDS, SECOND, RecordIds, escape_line_ends
from hublog.redaction.redactor import CARD_FROM, SHORTEST, Redactor, redactor_for
from hublog.settings import RedactionSettings, ServiceSettings

K = TypeVar("K")
V = TypeVar("V")

ENTRIES_MAX: Final = 4_096
#: Of all keys and values of one cache.
BYTES_MAX: Final = 4 << 20
#: Of one entry: what is longer is unlikely to come again.
ENTRY_MAX: Final = 8_192


class BoundedCache(dict[K, V], Generic[K, V]):
    """A dictionary to read from as usual; ``keep`` adds to it. Any thread may do both.

    What does not fit makes it empty: an application has as many places in its code as it has, so that a cache
    that is full is full of what a client has made.
    """

    __slots__ = ("_size",)

    def __init__(self) -> None:
        super().__init__()
        self._size = 0

    def keep(self, key: K, value: V, size: int) -> V:
        """Remember a value unless it is too large, and return it.

        Args:
            key: what it is found by.
            value: what is found.
            size: bytes of both, about.
        """
        if size > ENTRY_MAX:
            return value
        if len(self) >= ENTRIES_MAX or self._size + size > BYTES_MAX:
            self.clear()
            self._size = 0
        self._size += size
        self[key] = value
        return value


_dumps = orjson.dumps
_LogRecord = logging.LogRecord

#: What every LogRecord has, in the order in which its constructor sets it; what follows is ``extra``.
_STANDARD: Final = tuple(logging.LogRecord("", 0, "", 0, None, None, None).__dict__)
#: How many these are: a record with as many attributes has nothing added.
STANDARD_LENGTH: Final = len(_STANDARD)
#: These, and what other formatters set on the record they share with us.
NOT_ADDED: Final = frozenset({*_STANDARD, "message", "asctime"})

#: What orjson writes as it is. It writes ints up to 64 bits without a sign, one more than ADX holds.
_SAFE: Final = frozenset({bool, type(None)})

_NOTHING: Final[dict[str, object]] = {}

#: A record with more attributes has names made at run time, and the slow way bounds their number.
_PLAN_MAX: Final = 128
#: What an entry of a cache takes beside its texts: tuples, numbers and heads of objects.
_SITE_BYTES: Final = 512
_PLAN_BYTES: Final = 2_048
#: A longer template is a message that was made before the call, and seldom comes again.
_TEMPLATE_MAX: Final = 1_024
_LOG: Final = b',"record_type":"log",'


class LineFormatter:
    """Encodes records; safe from any thread, one object for each destination and process.

    Args:
        service: the names of the service; see ``process_fields``.
        framework: ``django``, ``flask`` or empty.
        max_record_bytes: a longer line is cut, see ``careful.fit``.
        ids: gives each record its ``record_id`` and ``sequence``; None leaves them out.
        misfits: counts the values that do not fit their column; None counts for nobody.
        redaction: what is taken out; by default what is secret by a built-in rule.
    """

    def __init__(
        self,
        service: ServiceSettings,
        *,
        framework: str = "",
        max_record_bytes: int = 65_536,
        ids: RecordIds | None = None,
        misfits: Misfits | None = None,
        redaction: RedactionSettings = RedactionSettings(),  # noqa: B008  # it is frozen
    ) -> None:
        self._redactor = redactor_for(redaction)
        self._texts = _Texts(self._redactor, max_record_bytes)
        self._max_bytes = max_record_bytes
        self._ids = ids
        self._misfits = misfits or Misfits()
        self._tail = orjson.dumps(process_fields(service, framework=framework))[1:]
        self._second = (-1, b"")
        self._sites: BoundedCache[tuple[object, ...], tuple[bytes, str, bytes, int]] = BoundedCache()
        self._threads: BoundedCache[tuple[object, ...], bytes] = BoundedCache()
        self._plans: BoundedCache[tuple[str, ...], _Plan] = BoundedCache()

    def encode(self, record: logging.LogRecord) -> bytes:
        """Return the line of a record, at most ``max_record_bytes`` long; never raises."""
        created = record.created
        is_usual = type(created) is float and 0.0 <= created < END_OF_TIME and not record.stack_info
        if not is_usual:
            created = _usable(created)
        second = int(created)
        micros = int((created - second) * 1_000_000)
        known, stamp = self._second
        if known != second:
            stamp = SECOND % utc_text(second).encode()
            self._second = (second, stamp)
        if self._ids:
            prefix, sequence = self._ids.next(second * 1000 + micros // 1000)
            head = HEAD_WITH_IDS % (stamp, micros, prefix, sequence & 0xFFFF_FFFF, sequence)
        else:
            head = HEAD % (stamp, micros)
        length = 0
        if is_usual:
            try:
                line, misfits = self._fast(record, head)
                if not line.isascii():
                    line = escape_line_ends(line)
                length = len(line)
                if length <= self._max_bytes:
                    if misfits:
                        self._misfits.add(misfits)
                    return line
                del line  # it may be large
            except (Exception, SystemExit):  # noqa: BLE001, S110  # the slow way shows what it was as a mark
                pass
        return self._slow(record, head, created, length)

    def _fast(self, record: logging.LogRecord, head: bytes) -> tuple[bytes, Sequence[str]]:
        site, cached_template, template_json, slack = self._site(record)
        message = record.msg
        if message is not cached_template:
            if type(message) is not str:
                message = str(message)
            template_json, slack = _dumps(self._texts.scrubbed(message)), 0
        is_own = type(record) is not _LogRecord and has_own_message(record)
        args = record.args
        if is_own or args:
            is_plain = type(args) is tuple and not is_own
            message = message % args if is_plain else self._rendered(record, message, is_own=is_own)
            if (
                is_own
                or len(message) > slack
                or "=" in message
                or ":" in message
                or " -" in message
                or ">" in message
            ):
                message = self._texts.scrubbed(message)
            message_json = _dumps(message)
        else:
            message_json = template_json

        now = context.current()
        bound: EncodedContext | None = now.encoded
        if bound is None or bound.redactor is not self._redactor:
            bound = encode_context(now, self._redactor)
        record_type, exception = bound.record_type or "log", b""
        if record.exc_info or record.exc_text:
            record_type, exception = _exception(record, bound, self._redactor)
        misfits = bound.misfits
        if len(record.__dict__) == STANDARD_LENGTH:
            added = bound.fragment
        else:
            added, record_type, misfits = self._added(record, bound, record_type)
        return b"".join(
            (
                head,
                site,
                b'"message":',
                message_json,
                b',"message_template":',
                template_json,
                _LOG if record_type == "log" else b',"record_type":%b,' % _dumps(record_type),
                self._thread(record),
                exception,
                added,
                self._tail,
            )
        ), misfits

    def _rendered(self, record: logging.LogRecord, template: str, *, is_own: bool) -> str:
        """Return the message of a record that makes it in its own way, or of arguments by name."""
        return str(record.getMessage() if is_own else template % arguments(record.args, self._redactor))

    def _added(
        self, record: logging.LogRecord, bound: EncodedContext, record_type: str
    ) -> tuple[bytes, str, Sequence[str]]:
        """Encode what the application added, after what is bound; its ``record_type`` wins."""
        attributes = record.__dict__
        key = tuple(attributes)
        plan = self._plans.get(key)
        if plan is None:
            plan = _Plan(key, self._redactor, self._texts)
            self._plans.keep(key, plan, _PLAN_BYTES + sum(map(len, key)))
        extra, columns, misfits = plan.read(attributes)
        fragment = bound.columns_json
        if columns:
            record_type = str(columns.pop("record_type", record_type))
            fragment = encode_columns({**bound.columns, **columns})
        if bound.extra:
            extra = {**bound.extra, **extra}
        if bound.misfits:
            misfits = (*bound.misfits, *misfits)
        return (b'%b"extra":%b,' % (fragment, _dumps(extra)) if extra else fragment), record_type, misfits

    def _site(self, record: logging.LogRecord) -> tuple[bytes, str, bytes, int]:
        """Return the encoded place, and the template that stood there first with its encoded form.

        And the length up to which a message made of it needs no look, see ``Redactor.safe_length``.
        """
        key = (record.pathname, record.lineno, record.levelno, record.name, record.funcName, record.levelname)
        found = self._sites.get(key)
        if found is None:
            template = record.msg if type(record.msg) is str and len(record.msg) <= _TEMPLATE_MAX else ""
            shown = _dumps(self._texts.scrubbed(template))
            site = encoded_call_site(record)
            found = (site, template, shown, self._redactor.safe_length(template))
            # The site is made of the key's own texts, of which it holds at most so much.
            size = _SITE_BYTES + len(site) + len(template) + len(shown) + _text_size(key)
            self._sites.keep(key, found, size)
        return found

    def _thread(self, record: logging.LogRecord) -> bytes:
        key = (record.thread, record.threadName, record.process, record.processName)
        found = self._threads.get(key)
        if found is None:
            found = encoded_thread(record)
            self._threads.keep(key, found, _SITE_BYTES + len(found) + _text_size(key))
        task = getattr(record, "taskName", None)
        if task is not None:
            found += b'"async_task_name":%b,' % _dumps(str(task))
        return found

    def _slow(self, record: logging.LogRecord, head: bytes, created: float, length: int) -> bytes:
        added = [name for name in tuple(record.__dict__) if name not in NOT_ADDED]
        row, misfits, left_out = careful_row(
            record,
            added,
            timestamp=timestamp_of(created),
            redactor=self._redactor,
            max_bytes=self._max_bytes,
        )
        self._misfits.add(misfits)

        def encode(row: Mapping[str, object]) -> bytes:
            return escape_line_ends(b"%b%b%b" % (head, encode_columns(row), self._tail))

        if left_out:
            length = max(length, len(encode(row)) + left_out)
        return fit(row, encode, max_bytes=self._max_bytes, original=length)


def _text_size(key: Iterable[object]) -> int:
    return sum(len(part) for part in key if isinstance(part, str))


def _usable(created: object) -> float:
    """Return when a record was made, now if it does not say so in a form that ADX holds."""
    try:
        moment = float(created)  # type: ignore[arg-type]  # whatever it is
        if 0.0 <= moment < END_OF_TIME:
            return moment
    except (Exception, SystemExit):  # noqa: BLE001, S110  # a log call never raises
        pass
    return time.time()


class _Texts:
    """Takes the secrets out of texts that alone fit into a line.

    Raises:
        ValueError: a text is too long; the slow way cuts it.
    """

    __slots__ = ("_redactor", "max_length")

    def __init__(self, redactor: Redactor, max_length: int) -> None:
        self._redactor, self.max_length = redactor, max_length

    def scrubbed(self, text: str) -> str:
        self.check(text)
        return self._redactor.text(text)

    def check(self, text: str) -> None:
        if len(text) > self.max_length:
            raise ValueError(len(text))


class _Plan:
    """How to read what was added to a record with just these attributes.

    Records of one place in the code have the same ones, so this is worked out once. The order in which
    a constructor sets the standard attributes is not relied upon: a factory or filter may have put its
    own in front.
    """

    __slots__ = ("_all_free", "_columns", "_names", "_redactor", "_secret", "_texts")

    def __init__(self, attributes: tuple[str, ...], redactor: Redactor, texts: _Texts) -> None:
        if len(attributes) > _PLAN_MAX:
            raise ValueError(len(attributes))
        names = tuple(name for name in attributes if name not in NOT_ADDED)
        for name in names:  # a client may have made them: the slow way cuts them, and hides what is secret
            if len(name) > MAX_NAME or (len(name) >= SHORTEST and redactor.text(name) is not name):
                raise ValueError(name)
        self._columns = tuple(name for name in names if name in OPEN_COLUMNS)
        free = [(name, redactor.secrecy(name)) for name in names if name not in OPEN_COLUMNS]
        self._secret = tuple((name, secrecy) for name, secrecy in free if secrecy)
        self._names = tuple(name for name, secrecy in free if not secrecy)
        self._all_free = not (self._columns or self._secret)
        self._redactor, self._texts = redactor, texts

    def read(self, attributes: dict[str, Any]) -> tuple[dict[str, object], dict[str, object], Sequence[str]]:
        """Return the free names and the columns as plain data, and the columns whose value did not fit."""
        extra: dict[str, object] = {}
        room = self._texts.max_length
        is_looked_at = self._redactor.checks_short_texts
        for name in self._names:
            value = attributes[name]
            kind = type(value)
            if kind is str:
                if len(value) >= SHORTEST or "=" in value or ":" in value or is_looked_at:
                    room -= len(value)
                    if room < 0:
                        raise ValueError(name)
                    value = self._redactor.text(value)
            elif kind not in _SAFE and not (
                (kind is int and -INT64 <= value < CARD_FROM) or (kind is float and isfinite(value))
            ):
                room, value = self._converted(name, value, room)
            extra[name] = value
        if self._all_free:
            return extra, _NOTHING, ()
        return extra, *self._read_others(attributes, extra)

    def _converted(self, name: str, value: object, room: int) -> tuple[int, object]:
        """Return the room that a value leaves for others, and the value as plain data."""
        walk = Plain(self._redactor.head)
        value = self._redactor.value(walk.value(value), name)
        room -= walk.characters
        if room < 0:
            raise ValueError(name)
        return room, value

    def _read_others(
        self, attributes: dict[str, Any], extra: dict[str, object]
    ) -> tuple[dict[str, object], Sequence[str]]:
        """Read the columns, and what is secret by its name."""
        columns: dict[str, object] = {}
        misfits: list[str] = []
        redactor = self._redactor
        for name, secrecy in self._secret:
            extra[name] = redactor.hidden(plain(attributes[name]), secrecy)
        for name in self._columns:
            value = attributes[name]
            if type(value) is str:
                self._texts.check(value)
            value = redactor.column(name, plain(value, cut=redactor.head))
            if not put(columns, name, value):
                extra[name] = as_text(value)
                misfits.append(name)
        return columns, misfits


def _exception(record: logging.LogRecord, bound: EncodedContext, redactor: Redactor) -> tuple[str, bytes]:
    found = from_record(record.exc_info, record.exc_text, redactor)
    if found is None:
        return bound.record_type or "log", b""
    if found.is_cut:
        raise ValueError("the slow way sets truncated once")
    note_shown(record)
    return bound.record_type or "exception", encode_columns(found.columns())
