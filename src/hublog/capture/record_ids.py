"""Record ids in the layout of UUID version 7, made without a system call for each record.

48 bits of milliseconds, then 42 random bits drawn once per process, then a 32-bit counter. The text
sorts by time, two processes do not meet, and one process repeats itself only after four thousand
million records in one millisecond.
"""

import os
from collections.abc import Callable
from itertools import count


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
