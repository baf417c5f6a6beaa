"""Levels of loggers that the operator changes for a while in running processes: ``hublog level``.

The command writes the orders into the root of the spool; each process looks there with its other upkeep,
changes the levels, lets its destinations take what they let through, and takes both back when it is time.
"""

import logging
import os
import stat
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from hublog.internal_log import report
from hublog.line import dumps, loads
from hublog.runtime.handler_watch import hublog_handlers

# Here and not where it is needed: that is a thread of ours, and a child that is forked in the middle of an
# import can never do it again.
_missing: ImportError | None = None
try:
    from hublog.spool import locking
except ImportError as error:  # it needs locks that not every system has
    _missing = error

FILE: Final = "levels.json"
#: Orders in the file, and its size.
ORDERS_MAX: Final = 100
_BYTES_MAX: Final = 1 << 16
NAME_MAX: Final = 256
LEVEL_MAX: Final = 99
#: An order holds no longer.
DURATION_MAX_S: Final = 86_400.0
#: Seconds between two looks at the file.
LOOK_S: Final = 1.0


@dataclass(frozen=True, slots=True)
class LevelOrder:
    """A level for one logger and those below it.

    Attributes:
        logger: its name; ``root`` for the root.
        level: a number, 1 to 99.
        until_s: when it ends, seconds since 1970.
        by: who ordered it.
    """

    logger: str
    level: int
    until_s: float
    by: str

    @property
    def until(self) -> str:
        """When it ends, UTC."""
        return datetime.fromtimestamp(self.until_s, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


def read_orders(root: Path) -> list[LevelOrder]:
    """Return the orders in the root of a spool; none where there is no file.

    Raises:
        ImportError: this system lacks the locks of files that it needs.
        OSError: it cannot be read, belongs to another user, or everybody may write to it.
        ValueError: it does not hold orders.
    """
    path = root / FILE
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return []
    with os.fdopen(descriptor, "rb") as file:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise ValueError("it is not a file")
        if _missing is not None:
            raise _missing
        locking.check_file(path, uid=os.geteuid())
        data = file.read(_BYTES_MAX + 1)
    found = loads(data) if len(data) <= _BYTES_MAX else None
    if not isinstance(found, list) or len(found) > ORDERS_MAX:
        raise ValueError("it is no list of orders")
    return list(map(_order, found))


def _order(found: object) -> LevelOrder:
    match found:
        case {"logger": str(logger), "level": int(level), "until_s": float(until_s), "by": str(by)}:
            if 0 < len(logger) <= NAME_MAX and 0 < level <= LEVEL_MAX and len(by) <= NAME_MAX:
                return LevelOrder(logger, level, until_s, by)
    raise ValueError("an order in it is not valid")


def write_orders(root: Path, orders: Iterable[LevelOrder]) -> None:
    """Replace the orders in the root of a spool, at once; OSError where that cannot be."""
    descriptor, name = tempfile.mkstemp(prefix=f".{FILE}.", dir=root)  # for its user alone
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(dumps([asdict(order) for order in orders]))
        path.replace(root / FILE)
    except BaseException:
        path.unlink(missing_ok=True)
        raise


class _Ordered(logging.Filter):
    """Lets through what a handler takes anyway, and what an order asks for.

    Attributes:
        orders: levels by the name of the logger.
    """

    def __init__(self, usual: int, orders: Mapping[str, int]) -> None:
        super().__init__()
        self._usual = usual
        self.orders = orders

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the record's level is that of the handler or above, or that of an order for its logger."""
        if record.levelno >= self._usual:
            return True
        name = str(record.name)[:NAME_MAX]
        while name and name not in self.orders:
            name = name.rpartition(".")[0]
        return record.levelno >= self.orders.get(name or "root", self._usual)


class LevelControl:
    """Carries out the orders of one spool in this process, for all pipelines that have it.

    Args:
        root: of the spool.
        now: monotonic seconds.
        wall: seconds since 1970.
    """

    def __init__(
        self,
        root: Path,
        *,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self._root = root
        self._now = now
        self._wall = wall
        self._look_mono = 0.0
        #: Taken by the one thread that looks, and anew in a forked child, where that thread is not.
        self._turn, self._pid = [True], os.getpid()
        self._seen: tuple[int, ...] = ()
        self._orders: list[LevelOrder] = []
        #: The levels before the orders, and those of the orders, by the name of the logger.
        self._before: dict[str, tuple[int, LevelOrder]] = {}
        self._lowered: list[tuple[logging.Handler, int, int, _Ordered]] = []

    def look(self) -> float:
        """Do what is ordered now; returns the seconds until an order ends, infinity where none holds."""
        if self._pid != os.getpid():
            self._turn, self._pid = [True], os.getpid()
        try:
            turn = self._turn.pop()
        except IndexError:  # another thread looks just now
            return LOOK_S
        try:
            return self._look()
        finally:
            self._turn.append(turn)

    def _look(self) -> float:
        now = self._now()
        if now >= self._look_mono:
            self._look_mono = now + LOOK_S
            self._read()
        if not (self._orders or self._before):
            return float("inf")
        wall = self._wall()
        # A clock that was set back must not make an order hold for years.
        holds = {order.logger: order for order in self._orders if 0 < order.until_s - wall <= DURATION_MAX_S}
        if holds != {name: order for name, (_, order) in self._before.items()}:
            self._apply(holds)
        return min((order.until_s - wall for order in holds.values()), default=float("inf"))

    def _read(self) -> None:
        try:
            state = os.lstat(self._root / FILE)
            seen: tuple[int, ...] = state.st_ino, state.st_mtime_ns, state.st_size
        except OSError:
            seen = ()
        if seen == self._seen:
            return
        self._seen = seen
        try:
            self._orders = read_orders(self._root)
        except Exception as error:  # noqa: BLE001  # whatever it is, the levels stay
            cause = getattr(error, "strerror", None) or error
            report(logging.WARNING, f"The levels ordered in {self._root / FILE} are not applied: {cause}.")

    def _apply(self, holds: Mapping[str, LevelOrder]) -> None:
        for name in [name for name, (_, order) in self._before.items() if holds.get(name) != order]:
            usual, order = self._before.pop(name)
            logger = logging.getLogger(name)
            if logger.level == order.level:  # else somebody has set another one meanwhile
                logger.setLevel(usual)
            if name not in holds:
                report(logging.WARNING, f"The level of the logger {name!r} is again {_name(usual)}.")
        for name, order in holds.items():
            if name not in self._before:
                logger = logging.getLogger(name)
                self._before[name] = logger.level, order
                report(
                    logging.WARNING,
                    f"The level of the logger {name!r} is {_name(order.level)} until {order.until};"
                    f" {order.by} ran hublog level. It was {_name(logger.level)}.",
                )
                logger.setLevel(order.level)
        self._lower({name: order.level for name, order in holds.items()})

    def _lower(self, orders: Mapping[str, int]) -> None:
        """Have hublog's handlers take what is ordered, whatever their own level is."""
        for handler, usual, lowered, ordered in self._lowered:
            handler.removeFilter(ordered)
            if handler.level == lowered:
                handler.setLevel(usual)
        self._lowered = []
        least = min(orders.values(), default=0)
        for handler in hublog_handlers() if orders else ():
            pipeline: Any = getattr(handler, "pipeline", None)
            usual = handler.level or getattr(pipeline, "level", logging.NOTSET)
            if least < usual:
                ordered = _Ordered(usual, orders)
                self._lowered.append((handler, handler.level, least, ordered))
                handler.addFilter(ordered)  # first, so that nothing else passes
                handler.setLevel(least)


def _name(level: int) -> str:
    return "not set" if level == logging.NOTSET else logging.getLevelName(level)
