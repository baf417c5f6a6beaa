"""The rows of the matrix as data: what is driven, what is expected, and what it needs of the machine."""

import importlib
import importlib.util
import os
import pkgutil
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from tests.faults.expect import Expect, Mode, Order
from tests.faults.scene import Scene

#: The letters of the rows, in the order of the matrix.
SECTIONS: Final = "SPXBDRCT"
#: Each run of the test suite has these, and all rows of the section T but the long one.
FIRST: Final = (
    *("S1", "S2", "S3", "S4", "S5", "S6", "S7", "S9", "S10", "S12", "S15", "S17", "S18", "S19"),
    *("P1", "P2", "P3", "P4", "P7", "P9"),
    *("X1", "X2", "X3", "X4", "X5", "X7", "X9"),
    *("B2", "B4", "B6", "B9"),
    *("D1", "D3", "D5", "D7"),
    *("R1", "R2", "R4", "R5", "R6"),
)
LONG: Final = "T7"
#: Returns why something is not here, empty if it is.
Need: TypeAlias = Callable[[], str]
#: Returns what is allowed in a mode and variant; None if the row has nothing to say there.
Expectation: TypeAlias = Callable[[Mode, str], Expect | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One row.

    Attributes:
        id: as in the matrix.
        title: the scenario.
        drive: makes it happen.
        expect: what is allowed.
        seconds: how long one run takes; the driver's own limit is three times this.
        variants: each is a run of its own.
        needs: what the machine must have; under a variant what that variant needs beside.
        has_control: whether it can be run without the handler.
    """

    id: str
    title: str
    drive: Callable[[Scene], None]
    expect: Expectation
    seconds: float
    variants: tuple[str, ...]
    needs: Mapping[str, Need]
    has_control: bool

    @property
    def orders(self) -> tuple[Order, ...]:
        """What may be imported first: a server has imported ``logging`` before its application."""
        return (Order.LOGGING,) if self.id.startswith("S") else tuple(Order)

    def why_not(self, variant: str) -> str:
        """Return why this machine cannot run a variant; empty if it can."""
        own = self.needs.get(variant) if variant else None
        return "; ".join(filter(None, (need() for need in (self.needs.get(""), own) if need is not None)))


_rows: dict[str, Row] = {}


def row(
    id_: str,
    title: str,
    expect: Expectation,
    *,
    seconds: float = 6.0,
    variants: tuple[str, ...] = ("",),
    needs: Need | Mapping[str, Need] | None = None,
    has_control: bool = True,
) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:
    """Register a function as the driver of a row."""

    def register(drive: Callable[[Scene], None]) -> Callable[[Scene], None]:
        if id_ in _rows:
            raise ValueError(f"The row {id_} is there twice.")
        _rows[id_] = Row(
            id=id_,
            title=title,
            drive=drive,
            expect=expect,
            seconds=seconds,
            variants=variants,
            needs=needs if isinstance(needs, Mapping) else {"": needs} if needs is not None else {},
            has_control=has_control,
        )
        return drive

    return register


def all_rows() -> Mapping[str, Row]:
    """Return the rows by id, in the order of the matrix."""
    folder = Path(__file__).with_name("rows")
    for module in pkgutil.iter_modules([str(folder)]):
        importlib.import_module(f"tests.faults.rows.{module.name}")
    return dict(sorted(_rows.items(), key=lambda item: (SECTIONS.index(item[0][0]), int(item[0][1:]))))


def first_rows() -> Mapping[str, Row]:
    """Return the rows that each run of the test suite has."""
    return {
        id_: row for id_, row in all_rows().items() if id_ in FIRST or (id_.startswith("T") and id_ != LONG)
    }


# Expectations.


def same(expect: Expect) -> Expectation:
    """Expect the same in every mode."""
    return lambda mode, variant: expect


def by_mode(
    *, memory: Expect | None = None, overflow: Expect | None = None, always: Expect | None = None
) -> Expectation:
    """Expect one thing in each mode; a mode that is left out is not run."""
    found = {Mode.MEMORY: memory, Mode.OVERFLOW: overflow, Mode.ALWAYS: always}
    return lambda mode, variant: found[mode]


def disk(expect: Expect, *, memory: Expect | None = None) -> Expectation:
    """Expect one thing where there is a disk, and another in memory."""
    return by_mode(memory=memory, overflow=expect, always=expect)


# Needs.


def modules(*names: str) -> Need:
    """Need packages in this interpreter."""
    return lambda: "; ".join(
        f"{name} is not installed" for name in names if not importlib.util.find_spec(name)
    )


def command(name: str) -> Need:
    """Need a command, beside the interpreter or on the path."""
    path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
    return lambda: "" if shutil.which(name, path=path) else f"the command {name} is not here"


def root() -> str:
    """Need to be root."""
    return "" if os.geteuid() == 0 else "it must be run by root"


def both(*needs: Need) -> Need:
    """Need several things."""
    return lambda: "; ".join(filter(None, (need() for need in needs)))
