"""Random operations against a list: nothing is lost, invented or reordered, and the books are right."""

import shutil
import tempfile
from pathlib import Path

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.spool.independent import lines_of, lines_on_disk, make_lines, segments_of

from hublog.spool.directory import SpoolDirectory
from hublog.spool.segments import SegmentRules
from hublog.testing import FakeClock

SEGMENT_BYTES = 600


class Known:
    """What a directory must hold, as a list."""

    def __init__(self, directory, lines=()):
        self.directory = directory
        self.unsettled = list(lines)
        self.read = 0  # so many of the unsettled are read
        self.positions = []  # (lines before it since the cursor, position)
        self.gone = set()
        self.dropped = self.settled = 0

    def settle(self, count):
        del self.unsettled[:count]
        self.settled += count
        self.read -= count
        self.positions = [(before - count, place) for before, place in self.positions if before > count]

    def rewind(self):
        lost = [line for line in self.unsettled if line in self.gone]
        self.unsettled = [line for line in self.unsettled if line not in self.gone]
        self.dropped += len(lost)
        self.read, self.positions, self.gone = 0, [], set()

    def lose(self, lines):
        """Forget lines whose file is gone; those that are read may still arrive."""
        in_flight = self.unsettled[: self.read]
        unread = [line for line in self.unsettled[self.read :] if line not in lines]
        lost = len(self.unsettled) - len(in_flight) - len(unread)
        self.gone |= set(lines) & set(in_flight)
        self.unsettled = in_flight + unread
        self.dropped += lost
        return lost


class SpoolMachine(RuleBasedStateMachine):
    def __init__(self):
        super().__init__()
        self.root = Path(tempfile.mkdtemp())
        self.clock = FakeClock()
        self.number = 0
        self.torn = 0  # bytes that dead writers left unfinished
        self.known = [self.make()]

    def teardown(self):
        for known in self.known:
            known.directory.close()
        shutil.rmtree(self.root)

    def make(self):
        rules = SegmentRules(max_bytes=SEGMENT_BYTES)
        return Known(
            SpoolDirectory.create(self.root, rules=rules, now=self.clock, wall=lambda: self.number / 1000)
        )

    def pick(self, index):
        return self.known[index % len(self.known)]

    @rule(count=st.integers(1, 25), size=st.sampled_from([0, 1, 60, 590, 2000]))
    def append(self, count, size):
        lines = make_lines(count, size=size, start=self.number)
        self.number += count
        known = self.known[-1]
        assert known.directory.append(lines) == count
        known.unsettled += lines

    @rule(index=st.integers(0, 9), max_lines=st.integers(1, 12), max_bytes=st.sampled_from([1, 300, 1 << 20]))
    def read(self, index, max_lines, max_bytes):
        known = self.pick(index)
        lines, position = known.directory.read(max_bytes, max_lines)
        assert lines == known.unsettled[known.read : known.read + len(lines)]
        assert len(lines) <= max_lines
        assert len(lines) <= 1 or sum(map(len, lines)) <= max_bytes
        assert lines or known.read == len(known.unsettled)
        known.read += len(lines)
        known.positions.append((known.read, position))

    @rule(index=st.integers(0, 9), which=st.integers(0, 9))
    def settle(self, index, which):
        known = self.pick(index)
        if known.positions:
            before, position = known.positions[which % len(known.positions)]
            known.directory.settle(position)
            known.settle(before)

    @rule(index=st.integers(0, 9))
    def rewind(self, index):
        known = self.pick(index)
        known.directory.rewind()
        known.rewind()

    @rule(seconds=st.sampled_from([1.0, 6.0, 60.0]))
    def wait(self, seconds):
        self.clock.advance(seconds)
        for known in self.known:
            known.directory.sync_if_due()

    @rule(index=st.integers(0, 9))
    def drop_oldest(self, index):
        known = self.pick(index)
        files = segments_of(known.directory.path)
        lines = lines_of(files[0].read_bytes()) if files else []
        assert known.directory.drop_oldest() == (known.lose(lines) if files else None)

    @rule(index=st.integers(0, 9))
    def sibling_drops_oldest(self, index):
        known = self.pick(index)
        files = segments_of(known.directory.path)[:-1]
        if files:
            lines = lines_of(files[0].read_bytes())
            files[0].unlink()
            assert known.directory.reconcile() == known.lose(lines)

    @rule(index=st.integers(0, 9), torn=st.integers(0, 30))
    def crash_and_adopt(self, index, torn):
        known = self.pick(index)
        files = segments_of(known.directory.path)
        known.directory.abandon_after_fork()
        if torn and files:
            with files[-1].open("ab") as file:
                self.torn += file.write((b"\x20\0\0\0" + b"{" * 40)[:torn])
        known.rewind()
        adopted = SpoolDirectory.adopt(known.directory.path)
        assert adopted.recovered_total == adopted.backlog_lines == len(known.unsettled)
        was_last = known is self.known[-1]
        self.known[index % len(self.known)] = Known(adopted, known.unsettled)
        if was_last:
            self.known.append(self.make())

    @precondition(lambda self: len(self.known) > 1)
    @rule(index=st.integers(0, 9))
    def remove(self, index):
        index %= len(self.known) - 1
        known = self.known[index]
        if known.directory.remove_if_empty():
            assert known.unsettled == []
            assert not known.directory.path.exists()
            del self.known[index]
        else:
            assert known.unsettled

    @invariant()
    def the_books_are_right(self):
        for known in self.known:
            directory = known.directory
            assert directory.backlog_lines == len(known.unsettled)
            assert directory.dropped_total == known.dropped
            assert directory.settled_total == known.settled
            assert directory.damaged_total == 0
            came = directory.appended_total + directory.recovered_total
            assert came == known.settled + known.dropped + len(known.unsettled)

    @invariant()
    def the_disk_holds_what_is_not_settled(self):
        for known in self.known:
            kept = [line for line in known.unsettled if line not in known.gone]
            assert lines_on_disk(known.directory.path) == kept
            size = known.directory.backlog_bytes
            least = sum(8 + len(line) for line in kept)
            assert least <= size <= least + self.torn


SpoolMachine.TestCase.settings = settings(deadline=None, max_examples=60, stateful_step_count=40)
TestSpoolMachine = SpoolMachine.TestCase
