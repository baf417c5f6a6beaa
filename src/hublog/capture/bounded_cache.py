"""A cache whose memory is bounded in bytes, not only in entries: a client may have chosen its keys."""

from typing import Final, Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")

ENTRIES_MAX: Final = 4_096
#: Of all keys and values of one cache.
BYTES_MAX: Final = 4 << 20
#: Of one entry: what is longer is unlikely to come again.
ENTRY_MAX: Final = 8_192


class BoundedCache(dict[K, V], Generic[K, V]):
    """A dictionary to read from as usual; ``keep`` adds to it. Any thread may do both.

    What does not fit makes it empty: an application has as many places in its code as it has, so that a cache
    that is full is full of what a client has made.
    """

    __slots__ = ("_size",)

    def __init__(self) -> None:
        super().__init__()
        self._size = 0

    def keep(self, key: K, value: V, size: int) -> V:
        """Remember a value unless it is too large, and return it.

        Args:
            key: what it is found by.
            value: what is found.
            size: bytes of both, about.
        """
        if size > ENTRY_MAX:
            return value
        if len(self) >= ENTRIES_MAX or self._size + size > BYTES_MAX:
            self.clear()
            self._size = 0
        self._size += size
        self[key] = value
        return value
