"""Record ids in the layout of UUID version 7, made without a system call for each record.

48 bits of milliseconds, then 42 random bits drawn once per process, then a 32-bit counter. The text
sorts by time, two processes do not meet, and one process repeats itself only after four thousand
million records in one millisecond.
"""

import os
from collections.abc import Callable
from itertools import count
from typing import Final


class RecordIds:
    """Makes ids and sequence numbers; safe from any thread, signal handler or finalizer without a lock."""

    __slots__ = ("_issued", "_milliseconds", "_process")

    def __init__(self, *, entropy: Callable[[int], bytes] = os.urandom) -> None:
        random = int.from_bytes(entropy(6), "big")
        version = 0x7000 | (random & 0xFFF)
        variant = 0x8000 | (random >> 12 & 0x3FFF)
        self._process = b"-%04x-%04x-%04x" % (version, variant, random >> 26 & 0xFFFF)
        self._milliseconds = (-1, b"")
        self._issued = count(1)

    def next(self, milliseconds: int) -> tuple[bytes, int]:
        """Return the beginning of a record id and the sequence number that completes it.

        Args:
            milliseconds: wall clock since 1970, those of the record's ``timestamp``.

        Returns:
            28 ASCII bytes and the number (1, 2, 3 ... without gaps). The id is the bytes followed by the
            number's low 32 bits as eight hex digits; the formatter writes both in one go.
        """
        sequence = next(self._issued)
        known, prefix = self._milliseconds
        if known != milliseconds:
            stamp = b"%012x" % (milliseconds & 0xFFFF_FFFF_FFFF)
            prefix = b"%b-%b%b" % (stamp[:8], stamp[8:], self._process)
            self._milliseconds = (milliseconds, prefix)
        return prefix, sequence

    @property
    def upcoming(self) -> int:
        """The sequence number that the next call gives out, unless somebody else is quicker."""
        return int(repr(self._issued)[len("count(") : -1])  # the only look at a count that takes nothing


#: Hex digits of the milliseconds; of the mark behind them, which fills what else ``next`` returns; of the
#: number's low bits; and what stands between those and the sequence number.
_STAMP: Final = 12
_MARK: Final = 16
_LOW: Final = 8
_BETWEEN: Final = len('","sequence":')


class BlankIds(RecordIds):
    """Keeps the place of ids that are given later, since a number that is never shipped would be a gap.

    The mark in that place is random, so nothing that an application logs can be taken for it.

    Args:
        ids: gives the ids when a line is filled in.
    """

    __slots__ = ("_ids", "_mark")

    def __init__(self, ids: RecordIds) -> None:
        super().__init__()
        self._ids = ids
        self._mark = os.urandom(_MARK // 2).hex().encode()

    def next(self, milliseconds: int) -> tuple[bytes, int]:
        """Return what keeps the place, as long as the ids would be if the line were shipped now."""
        return b"%012x%b" % (milliseconds & 0xFFFF_FFFF_FFFF, self._mark), self._ids.upcoming

    def fill(self, line: bytes) -> bytes:
        """Return a line with ids of its own, those of the moment that it was made at.

        Args:
            line: made with the ids of this object, once.

        Returns:
            The line; it is longer by the digits that the sequence has grown by since.
        """
        mark = line.index(self._mark)
        begin = mark - _STAMP
        end = line.index(b",", mark + _MARK + _LOW + _BETWEEN)
        prefix, sequence = self._ids.next(int(line[begin:mark], 16))
        return b'%b%b%08x","sequence":%d%b' % (
            line[:begin],
            prefix,
            sequence & 0xFFFF_FFFF,
            sequence,
            line[end:],
        )
