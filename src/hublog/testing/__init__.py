"""Helpers for tests: what an application logs arrives in memory, just as Azure Data Explorer would get it."""

from hublog.testing.capturing import capture_records
from hublog.testing.fakes import FakeClock, MemorySender
from hublog.testing.matching import Row
from hublog.testing.recorded import RecordedLogs

__all__ = ["FakeClock", "MemorySender", "RecordedLogs", "Row", "capture_records"]
