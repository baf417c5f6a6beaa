"""Trace and request ids: the W3C trace context, an active OpenTelemetry span, the request-id rules."""

import os
import re
import uuid
from collections.abc import Callable, Iterable
from typing import Final, NamedTuple

from hublog.capture import spans

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
    traceparent: str | None, tracestate: Callable[[], str | None] = lambda: None
) -> dict[str, object]:
    """Return the trace fields of a request or task: columns, and ``trace_sampled`` and ``tracestate``.

    An active OpenTelemetry span comes first, if the application uses OpenTelemetry; then the header;
    else a new trace begins.

    Args:
        traceparent: the header as it came, or None. An invalid one is ignored as a whole.
        tracestate: gives the other header, several joined by commas; asked only if the first is valid.

    Source: W3C Trace Context, sections 3.2, 3.3 and 4; OpenTelemetry's ``TraceContextTextMapPropagator``.
    """
    active = spans.active_fields()
    if active:
        return active
    parent = read_traceparent(traceparent)
    if parent is None:
        return {"trace_id": new_id(16), "span_id": new_id(8)}
    fields: dict[str, object] = {
        "trace_id": parent.trace_id,
        "span_id": new_id(8),
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
    found = _TRACEPARENT.match(header)
    if found is None:
        return None
    version, trace_id, span_id, flags, rest = found.groups()
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
        found = _MEMBER.fullmatch(member)
        if found is None:
            return ""
        members.setdefault(found[1], member)
    if len(members) > _MEMBERS_MAX:
        return ""
    text = ",".join(members.values())
    return text if len(text) <= _TRACESTATE_MAX else text[: _TRACESTATE_MAX + 1].rpartition(",")[0]


def new_id(size: int) -> str:
    """Return a random id of so many bytes as hex digits; never all zeros."""
    return os.urandom(size).hex().replace("0" * 2 * size, "1" * 2 * size)


def request_id(
    candidates: Iterable[str | None], *, make: Callable[[], str] = lambda: uuid.uuid4().hex
) -> str:
    """Return the first valid id, or a new one.

    Args:
        candidates: header values in their order of precedence, from outside and so hostile.
        make: makes a new id.
    """
    return next((value for value in map(valid_id, candidates) if value), "") or make()


def valid_id(value: str | None) -> str:
    """Return an id without blanks around it, or an empty text if its characters or length are not allowed."""
    if not value:
        return ""
    text = value.strip()
    return text if _REQUEST_ID.fullmatch(text) else ""
