"""Trace and request ids: the W3C trace context, an active OpenTelemetry span, the request-id rules."""

import contextlib
import os
import re
import sys
import uuid
from collections.abc import Callable, Iterable
from typing import Any, Final

#: As OpenTelemetry reads it: blanks around are allowed, upper-case digits are not.
_TRACEPARENT: Final = re.compile(
    r"[ \t]*([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(?:(-.*)|[ \t]*)"
)
_TRACEPARENT_MAX: Final = 512
#: Ids of the usual makers: UUID, ULID, base64, X-Amzn-Trace-Id; nothing that a header or a log line minds.
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._~:/+=@-]{1,128}")


def trace_fields(traceparent: str | None) -> dict[str, object]:
    """Return the trace columns of a request or task.

    An active OpenTelemetry span comes first, if the application uses OpenTelemetry; then the header;
    else a new trace begins.

    Args:
        traceparent: the header as it came, or None. An invalid one is ignored as a whole.

    Source: W3C Trace Context, sections 3.2 and 4.
    """
    active = _active_span()
    if active is not None:
        return active
    parsed = parse_traceparent(traceparent)
    if parsed is None:
        return {"trace_id": new_id(16), "span_id": new_id(8)}
    trace_id, parent = parsed
    return {"trace_id": trace_id, "span_id": new_id(8), "parent_span_id": parent}


def parse_traceparent(header: str | None) -> tuple[str, str] | None:
    """Return trace id and parent span id of a header, or None if it is not valid."""
    if not header or len(header) > _TRACEPARENT_MAX:
        return None
    found = _TRACEPARENT.fullmatch(header)
    if found is None:
        return None
    version, trace_id, span_id, _, rest = found.groups()
    if version == "ff" or (version == "00" and rest) or not trace_id.strip("0") or not span_id.strip("0"):
        return None
    return trace_id, span_id


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
    text = (value or "").strip()
    return text if _REQUEST_ID.fullmatch(text) else ""


def _active_span() -> dict[str, object] | None:
    # Looked up, not imported: that the package is installed does not mean that the application uses it.
    trace: Any = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return None
    with contextlib.suppress(Exception):  # a foreign tracer must not break the request
        span = trace.get_current_span().get_span_context()
        if span.is_valid:
            return {"trace_id": f"{span.trace_id:032x}", "span_id": f"{span.span_id:016x}"}
    return None
