"""The reading end of a directory: what was read, what is settled, what was lost, line by line."""

import contextlib
import os
from pathlib import Path

from hublog.spool.envelope import Envelope
from hublog.spool.locking import NotOursError, check_file
from hublog.spool.segments import (
    READ_MAX_BYTES,
    START,
    FrameReader,
    Position,
    Segment,
    is_foreign,
    list_segments,
    read_file,
    read_header,
    survey,
    unlink,
)


class SegmentReader:
    """Reads the segments of a directory in their order and counts their lines; one thread at a time.

    Attributes:
        recovered_total: lines that were there when the directory was taken over.
        settled_total: lines that were read and settled.
        dropped_total: lines that the bound took, in any process, or that went with removed files.
        damaged_total: lines that were here once and could not be read any more.
        damage_total: stretches of segments that could not be read, an unfinished end included.
        unknown: files that were left alone: another version's, or nobody's we know.
        causes: why those of them were left alone that another user may have made or changed.
    """

    def __init__(self) -> None:
        #: By number; a writer may add to them at any moment.
        self._segments: dict[int, Segment] = {}
        #: Before the one everything was read, before the other everything is settled.
        self._read = self._cursor = START
        self._window: tuple[int, int, FrameReader] | None = None
        self.recovered_total = self.settled_total = self.dropped_total = 0
        self.damaged_total = self.damage_total = 0
        self.unknown: tuple[Path, ...] = ()
        self.causes: dict[Path, str] = {}

    def _known(self) -> list[Segment]:
        """Return the segments, oldest first; a copy, since writers add to them."""
        return sorted(self._segments.copy().values(), key=lambda segment: segment.number)

    @property
    def backlog_lines(self) -> int:
        """Lines that are neither settled nor lost; those that are read and not settled are among them."""
        return sum(segment.lines - self._settled_of(segment) for segment in self._known())

    @property
    def backlog_bytes(self) -> int:
        """Bytes on disk that are not settled."""
        return self._bytes_after(self._cursor)

    @property
    def oldest_s(self) -> float | None:
        """When the oldest segment that is not settled was written to last (seconds since 1970), or None."""
        for segment in self._known():
            if segment.lines > self._settled_of(segment):
                with contextlib.suppress(OSError):
                    return segment.path.stat().st_mtime
        return None

    def _take_stock(self, directory: Path, cursor: tuple[int, int], envelope: Envelope | None) -> None:
        """Count what an owner left behind.

        Args:
            directory: whose files nobody changes any more.
            cursor: where its owner had settled everything, as far as that is known.
            envelope: of the directory; segments of another are left alone.

        Raises:
            OSError: the directory cannot be read.
        """
        files = list(list_segments(directory))
        number, offset = cursor
        sizes = {each: size for each, _, size in files}
        # A cursor that points nowhere was damaged: better all of it twice than a part of it never.
        if files and not (number < files[0][0] or offset <= sizes.get(number, -1)):
            number, offset = START[:2]
        for each, path, size in files:
            if each < number and not self._is_foreign(path, size):
                unlink(path)
            elif each >= number:
                self._count(each, path, size, at=offset if each == number else 0, envelope=envelope)
        first = self._segments.get(number)
        self._read = self._cursor = Position(number, max(offset, first.begin if first else 0), 0)

    @property
    def unread_lines(self) -> int:
        """Lines that ``read`` has not returned yet, as far as they can be read."""
        number, _, lines = self._read
        return sum(
            segment.lines - (lines if segment.number == number else 0)
            for segment in self._segments.copy().values()
            if segment.number >= number and not segment.is_gone
        )

    @property
    def unread_bytes(self) -> int:
        """Bytes that ``read`` has not come to yet."""
        return self._bytes_after(self._read)

    def _bytes_after(self, position: Position) -> int:
        number, offset, _ = position
        return sum(
            max(segment.end - (offset if segment.number == number else segment.begin), 0)
            for segment in self._segments.copy().values()
            if segment.number >= number and not segment.is_gone
        )

    def read(self, max_bytes: int, max_lines: int) -> tuple[list[bytes], Position]:
        """Return the next lines, and the position behind them; see ``SpoolDirectory.read``."""
        lines: list[bytes] = []
        room = max_bytes
        while room >= 0 and len(lines) < max_lines and (segment := self._next_segment()) is not None:
            window = self._window_of(segment)
            if window is None:
                if segment.is_gone:
                    continue
                break  # it cannot be read now
            base, reader = window
            before = len(lines)
            room = reader.read_run(lines, max_lines, room)
            if room >= 0 and len(lines) == before:
                reader.skip_damage()
                self._count_damage(segment, base, reader)
            self._read = Position(segment.number, base + reader.at, self._read.lines + len(lines) - before)
        return lines, self._read

    def _move_cursor(self, position: Position) -> list[Segment]:
        """Move the cursor; returns the segments that are wholly settled, for the caller to unlink."""
        done: list[Segment] = []
        for segment in self._known():
            if segment.number > position.segment:
                break
            is_last = segment.number == position.segment
            if is_last and not (segment.is_final and position.offset >= segment.end):
                self.settled_total += position.lines - self._settled_of(segment)
                break
            lines = position.lines if is_last or segment.readable is None else segment.readable
            self.settled_total += lines - self._settled_of(segment)
            self.damaged_total += segment.lines - lines
            done.append(segment)
        self._cursor = position
        self._read = max(self._read, position)
        return done

    def rewind(self) -> None:
        """Read again what is not settled; what was dropped meanwhile is lost now."""
        self._read = self._cursor
        for segment in self._known():
            if segment.is_gone:
                self.dropped_total += segment.lines - self._settled_of(segment)
                self._segments.pop(segment.number, None)

    def _lose(self, segment: Segment) -> int:
        """Take a final segment whose file is gone out of the counters, but for what is read and not settled.

        Returns:
            How many lines were lost.
        """
        kept = segment.lines
        if segment.number >= self._read.segment:
            kept = self._read.lines if segment.number == self._read.segment else 0
        lost = segment.lines - kept
        segment.lines = kept
        segment.is_gone = True
        self.dropped_total += lost
        if kept <= self._settled_of(segment):
            self._segments.pop(segment.number, None)
        return lost

    def _vanished(self, segment: Segment) -> None:
        """Act on a segment whose file was removed: call ``_lose`` if that can be now."""
        raise NotImplementedError

    def _settled_of(self, segment: Segment) -> int:
        return self._cursor.lines if segment.number == self._cursor.segment else 0

    def _next_segment(self) -> Segment | None:
        """Return the segment at the read position; moves it on from one that is read to its end."""
        while True:
            segment = self._segments.get(self._read.segment)
            if segment is not None:
                is_final = segment.is_final  # looked at before the end: nothing is added to a final one
                if self._read.offset < segment.end and not segment.is_gone:
                    return segment
                if not is_final:
                    return None
                segment.readable = self._read.lines
            following = min((n for n in self._segments.copy() if n > self._read.segment), default=None)
            if following is None:
                return None
            self._read = Position(following, self._segments[following].begin, 0)

    def _window_of(self, segment: Segment) -> tuple[int, FrameReader] | None:
        """Return where in the segment a reader begins, and the reader, which is at the read position."""
        at = self._read.offset
        if self._window is not None:
            number, base, reader = self._window
            if number == segment.number and base + reader.at == at and not reader.is_at_end:
                return base, reader
        end = segment.end  # once: a writer may move it on at any moment
        try:
            data = read_file(segment.path, begin=at, end=end)
        except FileNotFoundError:
            self._vanished(segment)
            return None
        except OSError:
            return None
        # What is missing at the end of a file that was cut is damage like zeros.
        reader = FrameReader(data.ljust(end - at, b"\0"))
        self._window = segment.number, at, reader
        return at, reader

    def _count_damage(self, segment: Segment, base: int, reader: FrameReader) -> None:
        for begin, end in reader.damage:
            if base + begin >= segment.damage_end:
                self.damage_total += 1
                segment.damage_end = base + end
        reader.damage.clear()

    def _is_foreign(self, path: Path, size: int) -> bool:
        """Whether a settled file is none of ours, which is then left alone."""
        with contextlib.suppress(OSError):
            if size > READ_MAX_BYTES or is_foreign(read_file(path)):
                self.unknown += (path,)
                return True
        return False

    def _count(self, number: int, path: Path, size: int, *, at: int, envelope: Envelope | None) -> None:
        try:
            check_file(path, uid=os.geteuid())
            data = read_file(path) if size <= READ_MAX_BYTES else None
        except FileNotFoundError:
            return  # taken by the bound
        except NotOursError as error:
            self.causes[path] = error.strerror or ""
            data = None
        except OSError:
            data = None
        header = read_header(data or b"")
        if (
            data is None or is_foreign(data) or header.envelope not in (None, envelope)
        ):  # the last: moved here
            self.unknown += (path,)
            return
        lines, damage, _ = survey(data, at=at)
        segment = Segment(
            number=number, path=path, begin=header.end, end=len(data), lines=lines, is_final=True
        )
        segment.damage_end = segment.end
        self._segments[number] = segment
        self.recovered_total += lines
        self.damage_total += damage
