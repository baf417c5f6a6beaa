"""A line that is too long for the hub, made shorter after it was encoded."""

from collections.abc import Mapping
from typing import Final

import orjson

from hublog.capture.resource import process_fields
from hublog.capture.slow_path import fit
from hublog.line import HEAD_COLUMNS, escape_line_ends
from hublog.settings import ServiceSettings

#: What says which record it is stays whole, and so does what says whose it is.
_FIXED: Final = frozenset({"service_name", "service_namespace", "service_version"}) | {
    "service_instance_id",
    "environment",
    *process_fields(ServiceSettings(), environ={}, host_name=lambda: "host"),
}


def shortened(line: bytes, max_bytes: int) -> bytes | None:
    """Return a line cut in the order in which the formatter cuts, and marked as ``truncated``.

    Args:
        line: as the formatter wrote it.
        max_bytes: limit of the line.

    Returns:
        None when it cannot be made that short, or is no line of ours.
    """
    try:
        row = orjson.loads(line)
    except ValueError:
        return None
    if not isinstance(row, dict):
        return None
    head = {name: row.pop(name) for name in HEAD_COLUMNS if name in row}
    fixed = {name: row.pop(name) for name in _FIXED & row.keys()}

    def encode(columns: Mapping[str, object]) -> bytes:
        return escape_line_ends(orjson.dumps({**head, **columns, **fixed}))

    cut = fit(row, encode, max_bytes=max_bytes, original=len(line))
    return cut if len(cut) <= max_bytes else None
