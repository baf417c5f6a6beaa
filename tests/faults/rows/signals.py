"""Section 5 of the matrix: signals that end a program."""

import random
import signal
from typing import Final

from tests.faults.children import Child, wait_until
from tests.faults.expect import BATCH, QUEUE, Expect, Mode
from tests.faults.matrix import by_mode, row
from tests.faults.scene import EXIT_S, GRACE_S, Scene

_LIVES: Final = 4
#: Records a second of each life, and how old they may get in memory: linger and one send.
_RATE: Final = 500
_AGE_S: Final = 1.5
#: The flush is under way when the second signal comes.
_FLUSHING_S: Final = 0.7


def _x4_expects(mode: Mode, variant: str) -> Expect:
    if variant == "twice":
        return Expect(dropped=None if mode is Mode.MEMORY else 0, duplicates=BATCH, exit_s=GRACE_S)
    return Expect(exit_s=EXIT_S + GRACE_S)


@row("X4", "SIGINT, SIGTERM, a second Ctrl-C", _x4_expects, variants=("interrupted", "terminated", "twice"))
def _x4(scene: Scene) -> None:
    if scene.variant == "twice":
        scene.broker.hang()
    case = "terminated" if scene.variant == "terminated" else "interrupted"
    program = scene.program(
        "exits", case, EVENTHUB_LOG_EXIT_TIMEOUT="10" if scene.variant == "twice" else "2"
    )
    program.wait_for_text("ends", scene.left_s)
    program.send(signal.SIGTERM if case == "terminated" else signal.SIGINT)
    if scene.variant == "twice":
        ended_early = wait_until(lambda: program.status is not None, _FLUSHING_S)
        scene.check(not ended_early, "it did not wait for the broker at all")
        program.send(signal.SIGINT)
    scene.end(program)


_KILLED: Final = _LIVES * BATCH


@row(
    "X5",
    "SIGKILL during load",
    by_mode(
        memory=Expect(missing=QUEUE, duplicates=_KILLED, unconfirmed=_LIVES),
        overflow=Expect(missing=round(_LIVES * _RATE * _AGE_S), duplicates=_KILLED, unconfirmed=_LIVES),
        always=Expect(duplicates=_KILLED, unconfirmed=_LIVES),
    ),
    seconds=8,
)
def _x5(scene: Scene) -> None:
    programs = [scene.program("steady", 0, _RATE, FAULTS_NAME=f"life{n}") for n in range(_LIVES)]
    for number, program in enumerate(programs):
        _until_logged(scene, program, number, random.randint(50, 2 * _RATE))  # noqa: S311  # a moment
        program.send(signal.SIGKILL)
        program.wait(scene.left_s)


def _until_logged(scene: Scene, program: Child, number: int, records: int) -> None:
    def logged() -> int:
        journals = scene.folder.glob(f"journal-{program.pid}-*")
        return sum(path.read_bytes().count(b"\n") for path in journals)

    scene.until(lambda: logged() >= records, f"life {number} has logged {records} records")
