"""Which partition a key leads to: the same for every event of the key, as in the service.

Source: lookup3 of Bob Jenkins (public domain, https://burtleburtle.net/bob/c/lookup3.c), of which Event
Hubs clients take the low 16 bits of both halves; compared in the tests with azure-eventhub's own.
"""

from typing import Final

_MASK: Final = 0xFFFFFFFF
#: Rotations of mix() and of final(), in the order of their steps.
_MIX: Final = (4, 6, 8, 16, 19, 4)
_FINAL: Final = (14, 11, 25, 16, 4, 14, 24)


def partition_of(key: str, partitions: int) -> int:
    """Return the number of the partition that events with this key go to."""
    first, second = _lookup3(key.encode())
    short = (first ^ second) & 0xFFFF
    signed = short - 0x10000 if short & 0x8000 else short
    return signed % partitions if key else 0


def _rotate(number: int, bits: int) -> int:
    return ((number << bits) | (number >> (32 - bits))) & _MASK


def _lookup3(data: bytes) -> tuple[int, int]:
    """Hash to two numbers of 32 bits: hashlittle2() with both seeds 0."""
    a = b = c = (0xDEADBEEF + len(data)) & _MASK
    if not data:
        return c, b
    rest = data
    while len(rest) > 12:
        a, b, c = _add(a, b, c, rest[:12])
        for bits in _MIX:
            # Each step of mix() is the one before it with the three numbers moved on by one.
            a = ((a - c) & _MASK) ^ _rotate(c, bits)
            c = (c + b) & _MASK
            a, b, c = b, c, a
        rest = rest[12:]
    a, b, c = _add(a, b, c, rest)
    for bits in _FINAL:
        c = ((c ^ b) - _rotate(b, bits)) & _MASK
        a, b, c = b, c, a
    # Seven steps moved the three on by one place more than a full turn.
    return b, a


def _add(a: int, b: int, c: int, block: bytes) -> tuple[int, int, int]:
    padded = block.ljust(12, b"\0")
    words = [int.from_bytes(padded[at : at + 4], "little") for at in (0, 4, 8)]
    return (a + words[0]) & _MASK, (b + words[1]) & _MASK, (c + words[2]) & _MASK
