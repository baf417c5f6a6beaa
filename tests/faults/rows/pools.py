"""Section 4 of the matrix: multiprocessing."""

from typing import Final

from tests.faults.expect import Expect
from tests.faults.matrix import by_mode, row, same
from tests.faults.scene import Scene

_CHILDREN: Final = 6
_RECORDS: Final = 50


@row(
    "P3",
    "Process, Pool, ProcessPoolExecutor",
    same(Expect()),
    seconds=10,
    variants=("fork", "spawn", "forkserver"),
)
def _p3(scene: Scene) -> None:
    scene.run("pools", scene.variant, "normal")
    found = len(scene.books.journal())
    scene.check(found == (_CHILDREN + 1) * _RECORDS, f"{found} records were logged")


_YOUNG: Final = Expect(missing=2 * _RECORDS)


@row("P4", "with Pool(): ended by SIGTERM", by_mode(memory=_YOUNG, overflow=_YOUNG, always=Expect()))
def _p4(scene: Scene) -> None:
    scene.run("pools", "fork", "terminated")
