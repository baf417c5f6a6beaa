"""Takes a ``LogRecord`` and the bound context; gives a line: one JSON object, UTF-8, without a line break.

Total: whatever the application logs, a valid line comes out, and no exception. The common case (``_fast``) is
joined from pieces encoded once (per process, call site, thread, request) and three small encodings; for
anything odd that raises, and ``slow_path`` does it again, field by field.
"""

import logging
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from hublog.capture import context
from hublog.capture.context import note_shown
from hublog.capture.exceptions import from_record
from hublog.capture.resource import process_fields
from hublog.capture.slow_path import fit, has_own_message, rendered, row_of, timestamp_of, usable
from hublog.capture.typed_columns import (
    END_OF_TIME,
    NOT_ADDED,
    STANDARD_LENGTH,
    AddedFields,
    BoundedCache,
    EncodedContext,
    Misfits,
    call_site,
    encode_columns,
    encode_context,
    encode_fitting,
    thread_of,
    utc_text,
)
from hublog.line import HEAD, HEAD_WITH_IDS, SECOND, RecordIds, dumps, escape_line_ends
from hublog.redaction.redactor import Redactor, completes, redactor_for
from hublog.settings import RedactionSettings, ServiceSettings

_LogRecord = logging.LogRecord

#: What an entry of a cache takes in addition to its strings: tuples, numbers and heads of objects.
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
        max_record_bytes: a longer line is cut, see ``slow_path.fit``.
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
        self._max_bytes = max_record_bytes
        self._ids = ids
        self._misfits = misfits or Misfits()
        self._tail = dumps(process_fields(service, framework=framework))[1:]
        self._second = (-1, b"")
        self._sites: BoundedCache[tuple[object, ...], tuple[bytes, str, bytes, int]] = BoundedCache()
        self._threads: BoundedCache[tuple[object, ...], bytes] = BoundedCache()
        self._plans: BoundedCache[tuple[str, ...], AddedFields] = BoundedCache()

    def encode(self, record: logging.LogRecord) -> bytes:
        """Return the line of a record, at most ``max_record_bytes`` long; never raises."""
        created = record.created
        is_usual = type(created) is float and 0.0 <= created < END_OF_TIME and not record.stack_info
        if not is_usual:
            created = usable(created)
        second = int(created)
        micros = int((created - second) * 1_000_000)
        last_second, stamp = self._second
        if last_second != second:
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
        redactor = self._redactor
        # What is in a cache is looked up here: a call would cost more than the look-up.
        key = (record.pathname, record.lineno, record.levelno, record.name, record.funcName, record.levelname)
        site, cached_template, template_json, slack = self._sites.get(key) or self._site(record, key)
        message = record.msg
        if message is not cached_template:
            if type(message) is not str:
                message = str(message)
            template_json, slack = dumps(self._redacted(message)), 0
        message_json = template_json
        if record.args or type(record) is not _LogRecord:
            message_json = self._message(record, message, slack) or template_json

        now = context.current()
        bound: EncodedContext | None = now.encoded
        if bound is None or bound.redactor is not redactor:
            bound = encode_context(now, redactor)
        record_type, exception = bound.record_type or "log", b""
        if record.exc_info or record.exc_text:
            record_type, exception = _exception(record, bound, redactor)
        misfits, added = bound.misfits, bound.fragment
        if len(record.__dict__) != STANDARD_LENGTH:
            added, record_type, misfits = self._added(record, bound, record_type)
        thread = (record.thread, record.threadName, record.process, record.processName)
        task = getattr(record, "taskName", None)
        line = b"".join(
            (
                head,
                site,
                message_json,
                b',"message_template":',
                template_json,
                _LOG if record_type == "log" else b',"record_type":%b,' % dumps(record_type),
                self._threads.get(thread) or self._thread(record, thread),
                b"" if task is None else b'"async_task_name":%b,' % dumps(str(task)),
                exception,
                added,
                self._tail,
            )
        )
        if not line.isascii():
            line = escape_line_ends(line)
        return line, misfits

    def _message(self, record: logging.LogRecord, template: str, slack: int) -> bytes | None:
        """Return the encoded message, None where it is the template."""
        args = record.args
        is_own = type(record) is not _LogRecord and has_own_message(record)
        if not (is_own or args):
            return None
        message = template % args if type(args) is tuple and not is_own else rendered(record, self._redactor)
        if is_own or len(message) > slack or completes(message):
            message = self._redacted(message)
        return dumps(message)

    def _redacted(self, text: str) -> str:
        if len(text) > self._max_bytes:
            raise ValueError("the slow way cuts it")
        return self._redactor.text(text)

    def _added(
        self, record: logging.LogRecord, bound: EncodedContext, record_type: str
    ) -> tuple[bytes, str, Sequence[str]]:
        """Encode what the application added, after what is bound; its ``record_type`` wins."""
        attributes = record.__dict__
        key = tuple(attributes)
        plan = self._plans.get(key)
        if plan is None:
            made = AddedFields(key, self._redactor, self._max_bytes)
            plan = self._plans.keep(key, made, _PLAN_BYTES + sum(map(len, key)))
        extra, columns, misfits = plan.read(attributes)
        fragment = bound.columns_json
        if columns:
            record_type = str(columns.pop("record_type", record_type))
            if not columns.keys().isdisjoint(bound.names):  # one name is written once
                fragment, columns = b"", {**bound.columns, **columns}
            fragment += encode_columns(columns)
        if bound.extra:
            extra = {**bound.extra, **extra}
        if bound.misfits:
            misfits = (*bound.misfits, *misfits)
        return (b'%b"extra":%b,' % (fragment, dumps(extra)) if extra else fragment), record_type, misfits

    def _site(self, record: logging.LogRecord, key: tuple[object, ...]) -> tuple[bytes, str, bytes, int]:
        """Return the encoded place, and the template that stood there first with its encoded form.

        And the length up to which a message made of it needs no look, see ``Redactor.safe_length``.
        """
        template = record.msg if type(record.msg) is str and len(record.msg) <= _TEMPLATE_MAX else ""
        template_json = dumps(self._redacted(template))
        site = b'%b"message":' % encode_fitting(call_site(record))
        # The site is made of the key's own strings, so no other memory counts.
        size = _SITE_BYTES + len(site) + len(template) + len(template_json) + _text_size(key)
        entry = (site, template, template_json, self._redactor.safe_length(template))
        return self._sites.keep(key, entry, size)

    def _thread(self, record: logging.LogRecord, key: tuple[object, ...]) -> bytes:
        thread = encode_fitting(thread_of(record))
        return self._threads.keep(key, thread, _SITE_BYTES + len(thread) + _text_size(key))

    def _slow(self, record: logging.LogRecord, head: bytes, created: float, length: int) -> bytes:
        row = row_of(
            record,
            [name for name in tuple(record.__dict__) if name not in NOT_ADDED],
            timestamp=timestamp_of(created),
            redactor=self._redactor,
            max_bytes=self._max_bytes,
        )
        self._misfits.add(row.misfits)

        def encode(columns: Mapping[str, object]) -> bytes:
            return escape_line_ends(b"%b%b%b" % (head, encode_columns(columns), self._tail))

        if row.left_out:
            length = max(length, len(encode(row.columns)) + row.left_out)
        return fit(row.columns, encode, max_bytes=self._max_bytes, original=length)


def _text_size(key: Iterable[object]) -> int:
    return sum(len(part) for part in key if isinstance(part, str))


def _exception(record: logging.LogRecord, bound: EncodedContext, redactor: Redactor) -> tuple[str, bytes]:
    error = from_record(record.exc_info, record.exc_text, redactor)
    if error is None:
        return bound.record_type or "log", b""
    if error.is_cut:
        raise ValueError("the slow way sets truncated once")
    note_shown(record)
    return bound.record_type or "exception", encode_columns(error.columns())
