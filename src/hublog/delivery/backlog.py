"""Lines that wait in memory for long: compressed, and sorted so that those that matter least can be found.

Log lines are much alike, so a block of them takes a seventh of its size or less. Each class of severity has a
shelf of blocks, oldest first; at either end there may be a few that are not packed. One thread at a time adds
and takes, the queue's taker; any thread may evict. Blocks are packed and unpacked outside of the lock, and
what was done is thrown away if somebody was there meanwhile.
"""

import math
import zlib
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import chain
from typing import Final

from hublog.delivery.accounting import Drop, DropCounters
from hublog.delivery.memory_queue import MemoryQueue
from hublog.delivery.packer import compressed
from hublog.delivery.severity import CLASSES, MOST_SEVERE, class_of, class_of_line

#: Raw bytes of a block. Larger ones are packed better, but more waits until a block is full: with 64, 96 and
#: 128 KiB some 10,000 records take the same.
BLOCK_BYTES: Final = 96 * 1024
#: Of gzip. It saves a sixth of the memory that level 3 takes, for 5 us a record more; and no more records are
#: packed than the queue may hold.
_LEVEL: Final = 6
_GZIP: Final = 16 + zlib.MAX_WBITS
#: A line makes room for itself by so many evictions at most; the next one goes on from there.
_EVICTIONS_MAX: Final = 1_000


@dataclass(slots=True, eq=False)
class _Block:
    """Lines of one class that came one after the other.

    Attributes:
        number: of their arrival, of the oldest among them.
        lines: while it is not packed. Whoever moves lines elsewhere takes them off this very list.
        packed: while it is packed.
        count: how many lines are packed.
        packed_bytes: a line counts with ``packed_bytes / raw_bytes`` of its length, also when it is unpacked
            again: to look for something to evict must not make a full memory fuller.
        raw_bytes: see there.
        held_bytes: what all lines count with that are packed.
    """

    number: int
    lines: list[bytes] = field(default_factory=list)
    packed: bytes = b""
    count: int = 0
    packed_bytes: int = 1
    raw_bytes: int = 1
    held_bytes: int = 0

    def held(self, line: bytes) -> int:
        """Return what a line counts with."""
        return len(line) * self.packed_bytes // self.raw_bytes


_Shelf = deque[_Block]


class Backlog:
    """The lines of a queue that wait in compressed blocks.

    10,000 records of 967 bytes on average (``benchmarks/records.jsonl.gz``) take 1.1 to 1.2 MiB, where they
    take 9.6 MiB uncompressed.

    Args:
        queue: counts what is here against its bounds.
        drops: what is evicted or damaged is counted there.
        block_bytes: raw bytes of a block.

    Attributes:
        next_number: arrival number of the lines that are added next: a mark. What was added before has left
            once ``oldest_number`` is not below it.
    """

    def __init__(self, queue: MemoryQueue, *, drops: DropCounters, block_bytes: int = BLOCK_BYTES) -> None:
        self._queue = queue
        self._block_bytes = block_bytes
        self._drops = drops
        self._shelves: tuple[_Shelf, ...] = tuple(deque() for _ in range(CLASSES))
        self._front_number = 0
        self.next_number = 1

    @property
    def lines(self) -> int:
        """Lines that wait here."""
        return self._queue.stowed

    @property
    def held_bytes(self) -> int:
        """What they count with against the bound of the queue."""
        return self._queue.stowed_bytes

    @property
    def oldest_number(self) -> float:
        """Arrival number of the oldest lines here, infinite when there are none."""
        oldest = self._oldest()
        return math.inf if oldest is None else oldest.number

    def add(self, lines: Sequence[bytes]) -> None:
        """Let lines wait behind all others.

        Args:
            lines: in flight of the queue, oldest first.
        """
        number = self.next_number
        self.next_number = number + 1
        self._insert(lines, number, is_first=False)

    def add_front(self, lines: Sequence[bytes]) -> None:
        """Let lines wait before all others: they were tried already.

        Args:
            lines: in flight of the queue, oldest first.
        """
        number = self._front_number
        self._front_number = number - 1
        self._insert(lines, number, is_first=True)

    def take(self, *, max_bytes: int, max_lines: int, line_overhead: int = 0) -> list[bytes]:
        """Move the oldest lines into flight of the queue.

        Args:
            max_bytes: stop before the sum of lengths passes this; one line is always taken.
            max_lines: take at most as many.
            line_overhead: bytes that each line becomes longer by; they count towards ``max_bytes``.

        Returns:
            The lines: in order within their class; of all classes the one whose block came first. Empty when
            nothing waits, and for a signal handler that interrupted the taker.
        """
        taken: list[bytes] = []
        room = max_bytes
        while len(taken) < max_lines and (block := self._oldest()) is not None:
            if packed := block.packed:
                self._unpack(block, packed)
                continue
            found = self._take_from(block, max_lines - len(taken), room, line_overhead, is_sure=not taken)
            if not found and block.lines:
                break
            taken += found
            room -= sum(map(len, found)) + line_overhead * len(found)
        return taken

    def evict(self, severity_class: int) -> bool:
        """Drop the newest line of a class, and count it as ``Drop.QUEUE_FULL``; any thread.

        Args:
            severity_class: 0 to 2; lines of the highest class are never evicted.

        Returns:
            False when there is none, and for whoever has interrupted the taker.
        """
        shelf = self._shelves[severity_class]
        while severity_class < MOST_SEVERE and (block := self._end(shelf, -1)) is not None:
            if packed := block.packed:
                self._unpack(block, packed)
            elif self._give_up_last(block):
                return True
        return False

    def make_room(self, size: int, levelno: int) -> bool:
        """Evict what matters less than a record, new lines before old ones, until it has room; any thread.

        Args:
            size: bytes of its line.
            levelno: its level.

        Returns:
            False when there is no room, since nothing that matters less is left.
        """
        queue, own = self._queue, class_of(levelno)
        for _ in range(_EVICTIONS_MAX if size <= queue.max_bytes else 0):
            if queue.has_room(size, levelno):
                return True
            if not any(queue.evict(lower) or self.evict(lower) for lower in range(own)):
                return False
        return False

    # Blocks.

    def _insert(self, lines: Sequence[bytes], number: int, *, is_first: bool) -> None:
        groups: dict[int, list[bytes]] = {}
        for line in lines:
            groups.setdefault(class_of_line(line), []).append(line)
        for severity_class, group in groups.items():
            shelf, size = self._shelves[severity_class], sum(map(len, group))
            block = _Block(number, list(group))
            with self._queue.lock:
                self._queue.stow(group, size)
                (shelf.appendleft if is_first else shelf.append)(block)
            self._pack_end(shelf, is_first=is_first)

    def _oldest(self) -> _Block | None:
        """Return the block that came first; of those that came together the most severe."""
        found: _Block | None = None
        for shelf in reversed(self._shelves):
            block = self._end(shelf, 0)
            if block is not None and (found is None or block.number < found.number):
                found = block
        return found

    def _end(self, shelf: _Shelf, index: int) -> _Block | None:
        """Return the first (0) or last (-1) block that has lines; empty ones are taken off.

        Returns:
            None when there is none, and for whoever has interrupted the taker.
        """
        while True:
            with self._queue.lock:  # no call inside, see ``memory_queue``
                if not shelf or self._queue.is_changing:
                    return None
                block = shelf[index]
                if block.packed or block.lines:
                    return block
                del shelf[index]

    def _take_from(
        self, block: _Block, max_lines: int, max_bytes: int, line_overhead: int, *, is_sure: bool
    ) -> list[bytes]:
        with self._queue.changing() as is_alone:
            number = room = 0
            for line in block.lines if is_alone else ():
                room += len(line) + line_overhead
                if number == max_lines or (room > max_bytes and not (is_sure and number == 0)):
                    break
                number += 1
            found = block.lines[:number]
            del block.lines[:number]
            self._queue.unstow(found, sum(map(block.held, found)))
        return found

    def _give_up_last(self, block: _Block) -> bool:
        """Drop the last line of a block; False when the taker was there meanwhile."""
        lines, queue = block.lines, self._queue
        found = lines[-1:]
        if not found:
            return False
        line = found[0]
        held, entries = block.held(line), (self._drops.entry(Drop.QUEUE_FULL, line),)
        journal = self._drops.journal
        with queue.lock:  # no call inside, see ``memory_queue``
            if not lines or lines[-1] is not line:
                return False
            del lines[-1]
            queue.stowed -= 1
            queue.stowed_bytes -= held
            queue.line_border += 1
            queue.byte_border += held
            journal += entries
        self._drops.tidy()
        return True

    # Compression.

    def _unpack(self, block: _Block, packed: bytes) -> None:
        """Unpack a block, seen packed so, unless somebody else does; a damaged one is lost and counted."""
        try:
            lines = zlib.decompress(packed, _GZIP).split(b"\n")
        except zlib.error:
            lines = []
        if len(lines) != block.count:
            self._lose(block, packed)
            return
        with self._queue.lock:  # no call inside, see ``memory_queue``
            if block.packed is packed:
                block.lines = lines
                block.packed = b""

    def _lose(self, block: _Block, packed: bytes) -> None:
        with self._queue.lock:
            if block.packed is packed:
                block.packed = b""
                self._queue.lose_stowed(block.count, block.held_bytes)
                self._drops.add_number(Drop.INTERNAL_ERROR, block.count)

    def _pack_end(self, shelf: _Shelf, *, is_first: bool) -> None:
        """Pack the lines at one end that are not packed, as far as they fill blocks."""
        run = self._run(shelf, is_first=is_first)
        pieces = [(block, list(block.lines)) for block in run]
        made: list[tuple[_Block, int]] = []
        for number, held, lines in _cut(pieces, self._block_bytes):
            made.append((_packed(number, lines), held))
        if made:
            with self._queue.changing() as is_alone:
                if is_alone and run == self._run(shelf, is_first=is_first):
                    self._replace(shelf, run, made, is_first=is_first)

    def _run(self, shelf: _Shelf, *, is_first: bool) -> list[_Block]:
        """Return the blocks at one end that are not packed, oldest first."""
        run: list[_Block] = []
        for block in shelf.copy() if is_first else reversed(shelf.copy()):
            if block.packed:
                break
            run.append(block)
        return run if is_first else run[::-1]

    def _replace(
        self, shelf: _Shelf, run: list[_Block], made: list[tuple[_Block, int]], *, is_first: bool
    ) -> None:
        """Put packed blocks in the place of their lines, but none with lines that were evicted meanwhile."""
        left = sum(len(block.lines) for block in run)
        kept: list[_Block] = []
        for block, held in made:
            if block.count > left:
                break
            left -= block.count
            kept.append(block)
            self._queue.restow(block.held_bytes - held)
        number = sum(block.count for block in kept)
        for _ in run:
            if is_first:
                shelf.popleft()
            else:
                shelf.pop()
        for block in run:
            gone = min(number, len(block.lines))
            number -= gone
            del block.lines[:gone]
        kept += [block for block in run if block.lines]
        if is_first:
            shelf.extendleft(reversed(kept))
        else:
            shelf.extend(kept)


def _cut(
    blocks: list[tuple[_Block, list[bytes]]], block_bytes: int
) -> Iterator[tuple[int, int, list[bytes]]]:
    """Yield lines that fill a block, the number of the oldest and what they count with until now."""
    piece: list[bytes] = []
    number = held = size = 0
    for block, line in chain.from_iterable(((block, line) for line in lines) for block, lines in blocks):
        if not piece:
            number = block.number
        piece.append(line)
        held += block.held(line)
        size += len(line)
        if size >= block_bytes:
            yield number, held, piece
            piece = []
            held = size = 0


def _packed(number: int, lines: list[bytes]) -> _Block:
    raw = b"\n".join(lines)
    packed = compressed(raw, _LEVEL)
    block = _Block(
        number, packed=packed, count=len(lines), packed_bytes=len(packed), raw_bytes=max(len(raw), 1)
    )
    block.held_bytes = sum(map(block.held, lines))
    return block
