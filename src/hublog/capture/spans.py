"""The active span of OpenTelemetry: its ids go before those of the request, in each record made inside it.

Nothing is imported: that the package is installed does not mean that the application uses it. Until the
application has imported it, a record costs nothing more.
"""

import contextlib
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

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
    made = Context(merged(now.fields, fields), now.counter)
    made.look, made.looked_up = now.look, now.looked_up
    return made


def _fields(span: Any, ids: Any) -> dict[str, object]:  # noqa: ANN401  # of any tracer
    fields: dict[str, object] = {"trace_id": f"{ids.trace_id:032x}", "span_id": f"{ids.span_id:016x}"}
    parent = getattr(span, "parent", None)
    if parent is not None and parent.is_valid:
        fields["parent_span_id"] = f"{parent.span_id:016x}"
    fields["trace_sampled"] = bool(ids.trace_flags & 1)
    if ids.trace_state:
        fields["tracestate"] = ids.trace_state.to_header()
    return fields
