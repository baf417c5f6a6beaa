"""The disk spool: lines that wait in append-only segment files, and outlive the process that wrote them."""

from hublog.delivery.spool.directory import SpoolDirectory
from hublog.delivery.spool.ownership import SpoolUnavailableError
from hublog.delivery.spool.root import SpoolRoot
from hublog.delivery.spool.segments import Position, SegmentRules
from hublog.settings import SyncPolicy

__all__ = [
    "Position",
    "SegmentRules",
    "SpoolDirectory",
    "SpoolRoot",
    "SpoolUnavailableError",
    "SyncPolicy",
]
