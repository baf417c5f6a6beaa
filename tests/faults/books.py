"""What is written about a run, and how the ledger is made of it."""

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tests.faults import segments
from tests.faults.broker import Broker, arrival_of
from tests.faults.expect import Cost, Seen
from tests.faults.ledger import Ledger
from tests.faults.load import Load

#: How the package tells of drops on standard error.
_DROPS: Final = re.compile(
    r"(\d[\d,]*) records? (?:were|was|could not be|are|is)\b[^\n]*\b(?:dropped|lost)\b"
)
#: A traceback of Python: its head, and the lines below that are indented.
_TRACEBACK: Final = re.compile(r"^Traceback \(most recent call last\):\n((?:[ \t].*\n)*)(.*)$", re.MULTILINE)
#: Frames of the package in it.
_FRAME: Final = re.compile(r'File "[^"]*/hublog/([^"]*)", line \d+')
#: An error of the application passes through these; that is no error of ours.
_PASSED: Final = ("requests/wsgi_requests.py", "django/middleware.py", "asgi.py")
_FATAL: Final = re.compile(
    r"^(?:Fatal Python error: (?!init_).*|Exception in thread hublog.*)$", re.MULTILINE
)
_SHOWN: Final = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Books:
    """The sources of a ledger.

    Attributes:
        folder: with the journals and books of the applications.
        spool: the root of the spool.
        broker: what arrived.
        loads: what was answered.
        errors: files with standard error.
        known: ids that the row itself knows to be accepted.
    """

    folder: Path
    spool: Path
    broker: Broker
    loads: Sequence[Load]
    errors: Sequence[Path]
    known: Collection[str]

    def ledger(self) -> Ledger:
        """Return the ledger as it stands now."""
        accepted = {*self.journal(), *self.known}
        uncertain: set[str] = set()
        for load in self.loads:
            accepted |= load.accepted
            uncertain |= load.uncertain
        rejected = {arrival.id for row in segments.set_aside(self.spool) if (arrival := arrival_of(row))}
        found = map(arrival_of, segments.unsettled(self.spool))
        return Ledger.of(
            accepted,
            uncertain=uncertain,
            delivered=self.broker.delivered().elements(),
            on_disk=[arrival.id for arrival in found if arrival is not None],
            dropped=max(self.told_drops(), self.booked_drops()),
            set_aside=rejected,
        )

    def journal(self) -> list[str]:
        """Return the ids that applications noted after their logging call had returned."""
        lines = []
        for path in self.folder.glob("journal-*"):
            lines += path.read_text().split("\n")[:-1]  # a torn last line is a record that was not noted
        return lines

    def told_drops(self) -> int:
        """Return how many drops were told on standard error."""
        return sum(int(found[1].replace(",", "")) for text in self.texts() for found in _DROPS.finditer(text))

    def booked_drops(self) -> int:
        """Return how many drops stand in the statistics that processes left at their exit."""
        return sum(stats["dropped_total"] for book in self.processes() for stats in book["stats"])

    def processes(self) -> list[dict[str, Any]]:
        """Return the books that processes left at their exit."""
        return [json.loads(path.read_text()) for path in sorted(self.folder.glob("book-*.json"))]

    def texts(self) -> list[str]:
        """Return what each process group wrote to standard error."""
        return [path.read_text(errors="replace") for path in self.errors]

    def fill(self, seen: Seen) -> None:
        """Note what the run says of ids, costs and standard error."""
        seen.reported = self.told_drops()
        seen.complaints += self.broker.troubles()[:_SHOWN]
        for text in self.texts():
            seen.tracebacks += tracebacks(text)[:_SHOWN]
        seen.costs = self.costs()

    def costs(self) -> list[Cost]:
        """Return what the processes that logged say of themselves."""
        return [_cost(book) for book in self.processes() if book["calls"]]


def tracebacks(text: str) -> list[str]:
    """Return what standard error says of errors inside the package, a line for each."""
    found = _FATAL.findall(text)
    for frames, error in _TRACEBACK.findall(text):
        ours = [path for path in _FRAME.findall(frames) if path not in _PASSED]
        if ours:
            found.append(f"{error} in hublog/{ours[-1]}")
    return found


def _cost(book: Mapping[str, Any]) -> Cost:
    return Cost(
        calls=book["calls"],
        p99_us=book["p99_us"],
        max_us=book["max_us"],
        start_kib=book["start_kib"],
        peak_kib=book["peak_kib"],
    )
