"""The trace of a record: the active span of OpenTelemetry, or what the headers of its request say.

Nothing is imported: that OpenTelemetry is installed does not mean that the application uses it. Until the
application has imported it, a record costs nothing more. Inside a span its ids replace the request's.
"""

import contextlib
import os
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple

from hublog.capture import context
from hublog.capture.context import Context

#: Where the active span is asked for.
MODULE: Final = "opentelemetry.trace"
#: What belongs to a span and not to the request as a whole.
_OF_SPAN: Final = frozenset({"trace_id", "span_id", "parent_span_id", "trace_sampled", "tracestate"})


def active_fields() -> dict[str, object]:
    """Return the trace fields of the active span; empty if there is none, or no OpenTelemetry.

    The first call that finds OpenTelemetry lets every record from then on ask for its span.
    """
    get_span = _get_span()
    if get_span is None:
        return {}
    if context.current is context.stored:
        context.current = _in_span
    with contextlib.suppress(Exception):  # a foreign tracer must not break the request
        span = get_span()
        ids = span.get_span_context()
        if ids.is_valid:
            return _fields(span, ids)
    return {}


def merged(fields: Mapping[str, object], span: Mapping[str, object]) -> dict[str, object]:
    """Return fields with the trace of a span in place of their own."""
    return {**span, **{name: value for name, value in fields.items() if name not in _OF_SPAN}}


def _get_span() -> Callable[[], Any] | None:
    module = sys.modules.get(MODULE)
    # While the module is being imported, it has not all its names.
    return None if module is None else getattr(module, "get_current_span", None)


def _in_span() -> Context:
    """Return what is bound, with the ids of the active span in place of the request's."""
    now = context.stored()
    if now.is_settled:
        return now  # of another moment, and so of another span
    get_span = _get_span()
    try:
        span = get_span()  # type: ignore[misc]  # if the module is gone, what is bound is the answer
        ids = span.get_span_context()
        known = now.in_span
        if known is None or known[0] is not ids:
            known = now.in_span = (ids, _derived(now, span, ids))
        return known[1] or now
    except Exception:  # noqa: BLE001  # a log call never raises
        return now


def _derived(now: Context, span: Any, ids: Any) -> Context | None:  # noqa: ANN401  # of any tracer
    """Return a context for the records made inside a span, None where the bound one says the same."""
    if not ids.is_valid:
        return None
    fields = _fields(span, ids)
    if all(now.fields.get(name) == fields[name] for name in ("trace_id", "span_id")):
        return None
    return Context(merged(now.fields, fields), now.counter, look=now.look, looked_up=now.looked_up)


def _fields(span: Any, ids: Any) -> dict[str, object]:  # noqa: ANN401  # of any tracer
    fields: dict[str, object] = {"trace_id": f"{ids.trace_id:032x}", "span_id": f"{ids.span_id:016x}"}
    parent = getattr(span, "parent", None)
    if parent is not None and parent.is_valid:
        fields["parent_span_id"] = f"{parent.span_id:016x}"
    fields["trace_sampled"] = bool(ids.trace_flags & 1)
    if ids.trace_state:
        fields["tracestate"] = ids.trace_state.to_header()
    return fields


#: As OpenTelemetry reads it: blanks around are allowed, upper-case digits are not.
_TRACEPARENT: Final = re.compile(
    r"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:(-.*)|[ \t]*)$"
)
_TRACEPARENT_MAX: Final = 512
_SAMPLED: Final = 0x01

#: One list-member of a tracestate; key and value are at most 256 characters long.
_MEMBER: Final = re.compile(
    r"([a-z][_0-9a-z*/-]{0,255}|[a-z0-9][_0-9a-z*/-]{0,240}@[a-z][_0-9a-z*/-]{0,13})"
    r"=[\x20-\x2b\x2d-\x3c\x3e-\x7e]{0,255}[\x21-\x2b\x2d-\x3c\x3e-\x7e]"
)
_MEMBERS_MAX: Final = 32
#: A longer tracestate is not read; of one that is read, whole members up to this length are kept.
_TRACESTATE_READ_MAX: Final = 8_192
_TRACESTATE_MAX: Final = 512

#: Ids of the usual makers: UUID, ULID, base64, X-Amzn-Trace-Id; nothing that a header or a log line minds.
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")


class TraceParent(NamedTuple):
    """What a traceparent header says."""

    trace_id: str
    parent_span_id: str
    is_sampled: bool


def trace_fields(
    traceparent: str | None, tracestate: Callable[[], str | None] = lambda: None, *, ids: str = ""
) -> dict[str, object]:
    """Return the trace fields of a request or task: columns, and ``trace_sampled`` and ``tracestate``.

    An active OpenTelemetry span comes first, if the application uses OpenTelemetry; then the header;
    else a new trace begins.

    Args:
        traceparent: the header as it came, or None. An invalid one is ignored as a whole.
        tracestate: gives the other header, several joined by commas; asked only if the first is valid.
        ids: of a new trace and span, 48 hex digits; empty to make them here.

    Source: W3C Trace Context, sections 3.2, 3.3 and 4; OpenTelemetry's ``TraceContextTextMapPropagator``.
    """
    active = active_fields()
    if active:
        return active
    parent = read_traceparent(traceparent)
    ids = ids or new_id(24)
    if parent is None:
        return {"trace_id": ids[:32], "span_id": ids[32:]}
    fields: dict[str, object] = {
        "trace_id": parent.trace_id,
        "span_id": ids[32:],
        "parent_span_id": parent.parent_span_id,
        "trace_sampled": parent.is_sampled,
    }
    state = parse_tracestate(tracestate())
    if state:
        fields["tracestate"] = state
    return fields


def read_traceparent(header: str | None) -> TraceParent | None:
    """Return what a header says, or None if it is not valid."""
    if not header or len(header) > _TRACEPARENT_MAX:
        return None
    match = _TRACEPARENT.match(header)
    if match is None:
        return None
    version, trace_id, span_id, flags, rest = match.groups()
    if version == "ff" or (version == "00" and rest) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return TraceParent(trace_id, span_id, bool(int(flags, 16) & _SAMPLED))


def parse_tracestate(header: str | None) -> str:
    """Return the members of a header in their order, or an empty text if one of them is not valid.

    Of members with the same key the first is kept. More than 32 members are too many.
    """
    if not header or len(header) > _TRACESTATE_READ_MAX:
        return ""
    members: dict[str, str] = {}
    for part in header.split(","):
        member = part.strip(" \t")
        if not member:
            continue
        match = _MEMBER.fullmatch(member)
        if match is None:
            return ""
        members.setdefault(match[1], member)
    if len(members) > _MEMBERS_MAX:
        return ""
    text = ",".join(members.values())
    return text if len(text) <= _TRACESTATE_MAX else text[: _TRACESTATE_MAX + 1].rpartition(",")[0]


def new_id(size: int) -> str:
    """Return random hex digits of ``size`` bytes, 40 at most, of which no 16 in a row, a span's id, are 0."""
    return _random.take()[: 2 * size].replace("0" * 16, "1" * 16)


class _RandomDigits:
    """Random hex digits, 80 at a time; none are given out twice, also not in a forked child.

    They are drawn for many requests at once: the system call releases the interpreter, which wakes the worker
    wherever it has something to do. That took 12 us of a request, and 60 where the two then changed cores.
    """

    def __init__(self) -> None:
        self._left: list[str] = []
        self._pid = 0

    def take(self) -> str:
        pid = os.getpid()
        if self._pid != pid:
            self._left, self._pid = [], pid  # in this order: another thread may look in between
        try:
            return self._left.pop()
        except IndexError:
            digits = os.urandom(40 * _DRAWN_AT_ONCE).hex()
            self._left += [digits[start : start + 80] for start in range(80, len(digits), 80)]
            return digits[:80]


_DRAWN_AT_ONCE: Final = 64
_random: Final = _RandomDigits()


def request_id(candidates: Iterable[str | None], *, new: str = "") -> str:
    """Return the first valid id of header values, which come from outside and are hostile; else a new id.

    Args:
        candidates: the values, the surest first.
        new: the new id, if one is made already.
    """
    for candidate in candidates:
        if candidate and (valid := valid_id(candidate)):
            return valid
    return new or new_id(16)


def valid_id(value: str | None) -> str:
    """Return an id without blanks around it, or an empty text if its characters or length are not allowed."""
    if not value:
        return ""
    text = value.strip()
    return text if _REQUEST_ID.fullmatch(text) else ""
