"""Helpers for tests: what an application logs arrives in memory, as Azure Data Explorer would get it.

The names are loaded on use, since every run of pytest loads this package for its plugin.
"""

from typing import TYPE_CHECKING, Final

from hublog.process_hooks import loader

if TYPE_CHECKING:
    from hublog.testing.capturing import capture_records
    from hublog.testing.memory_hub import FakeClock, MemorySender
    from hublog.testing.recorded import RecordedLogs
    from hublog.testing.rows import Row

__all__ = ["FakeClock", "MemorySender", "RecordedLogs", "Row", "capture_records"]

_MODULES: Final = {
    "hublog.testing.capturing": ("capture_records",),
    "hublog.testing.memory_hub": ("FakeClock", "MemorySender"),
    "hublog.testing.recorded": ("RecordedLogs",),
    "hublog.testing.rows": ("Row",),
}


if not TYPE_CHECKING:  # else every name would be there for the type checker
    __getattr__ = loader(__name__, _MODULES)
