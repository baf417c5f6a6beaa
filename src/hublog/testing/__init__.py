"""Helpers for tests: what an application logs arrives in memory, just as Azure Data Explorer would get it.

The names are loaded when they are used, since every run of pytest loads this package for its plugin.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from hublog.testing.capturing import capture_records
    from hublog.testing.fakes import FakeClock, MemorySender
    from hublog.testing.matching import Row
    from hublog.testing.recorded import RecordedLogs

__all__ = ["FakeClock", "MemorySender", "RecordedLogs", "Row", "capture_records"]

_MODULES: Final = {
    "FakeClock": "fakes",
    "MemorySender": "fakes",
    "RecordedLogs": "recorded",
    "Row": "matching",
    "capture_records": "capturing",
}


if not TYPE_CHECKING:  # else every name would be there for the type checker

    def __getattr__(name: str) -> object:
        if name not in _MODULES:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
