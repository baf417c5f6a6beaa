"""Section 5 of the matrix: leaving the interpreter, and logging that is set up again."""

import json
from typing import Final

from tests.faults.expect import EVENT, Expect, Mode
from tests.faults.matrix import disk, row, same
from tests.faults.scene import EXIT_S, GRACE_S, Scene

_HUNG_EXIT_S: Final = EXIT_S + GRACE_S
_RECORDS: Final = 500
#: The matrix says 50 ms; a busy machine may take ten times that, a wait for the network takes seconds.
_RECONFIGURE_S: Final = 0.5
#: Status of a program that raises, that leaves by itself, and of one that just ends.
_STATUS: Final = {"error": 1, "sys_exit": 3}


def run_to_exit(scene: Scene, case: str, **settings: str) -> int:
    """Run a program that tells when its exit begins; returns its status."""
    program = scene.program("exits", case, **settings)
    program.wait_for_text("ends", scene.left_s)
    program.begin_exit()
    return scene.end(program)


@row(
    "X1",
    "normal end, exception, sys.exit",
    same(Expect(exit_s=1.0)),
    variants=("normal", "error", "sys_exit"),
)
def _x1(scene: Scene) -> None:
    status = run_to_exit(scene, scene.variant)
    wanted = _STATUS.get(scene.variant, 0)
    scene.check(status == wanted, f"the status is {status}, without the package it is {wanted}")


@row("X2", "the first record is logged by an exit hook", same(Expect(exit_s=_HUNG_EXIT_S)))
def _x2(scene: Scene) -> None:
    run_to_exit(scene, "first_at_exit")
    scene.check(len(scene.books.journal()) == 1, "the exit hook did not log")


@row(
    "X3",
    "records from later exit hooks, outliving threads, finalizers at teardown",
    # With the interpreter half gone nobody can wait for the hub: in memory it is counted.
    lambda mode, variant: Expect(
        exit_s=_HUNG_EXIT_S, dropped=None if (mode, variant) == (Mode.MEMORY, "finalizer") else 0
    ),
    variants=("after_ours", "outliving_thread", "finalizer"),
)
def _x3(scene: Scene) -> None:
    status = run_to_exit(scene, scene.variant)
    scene.check(status == 0, f"the status is {status}")
    logged = len(scene.books.journal())
    scene.check(logged > _RECORDS, f"only {logged} records were logged")


@row("X6", "logging.shutdown in mid-program", same(Expect(exit_s=1.0)))
def _x6(scene: Scene) -> None:
    run_to_exit(scene, "shutdown")


@row("X7", "dictConfig twice under load", same(Expect()), seconds=8)
def _x7(scene: Scene) -> None:
    program = scene.run("reconfigure", "twice", scene.spool)
    if not scene.is_control:
        longest = max(json.loads(program.output.read_text())["seconds"])
        scene.check(longest < _RECONFIGURE_S, f"dictConfig took {longest * 1000:.0f} ms")


@row("X8", "the handler is made again 1 000 times", same(Expect()), seconds=15)
def _x8(scene: Scene) -> None:
    found = json.loads(scene.run("reconfigure", "often", scene.spool).output.read_text())
    for name, before in found["before"].items():
        after = found["after"][name]
        scene.check(after <= before + 1, f"{name}: {before} before, {after} after")


@row(
    "X9",
    "the client is stuck in its handshake at the exit",
    disk(Expect(exit_s=_HUNG_EXIT_S), memory=Expect(dropped=None, exit_s=_HUNG_EXIT_S)),
)
def _x9(scene: Scene) -> None:
    scene.broker.faults.add("silent", times=None)
    run_to_exit(scene, "normal")


_LATE: Final = 1_000


def _t6_expects(mode: Mode, variant: str) -> Expect | None:
    if mode is not Mode.MEMORY:
        return Expect(duplicates=EVENT, exit_s=_HUNG_EXIT_S)  # what waits at the exit leaves as one event
    # With the interpreter half gone nobody can wait for the hub, and no hook can say how many there were: one
    # line says that they are lost.
    is_late = variant == "finalizers"
    return Expect(missing=_LATE, dropped=None, exit_s=_HUNG_EXIT_S) if is_late else None


@row(
    "T6",
    "a thousand records behind the exit hook",
    _t6_expects,
    variants=("finalizers", "late_hooks", "late_hooks-hang"),
)
def _t6(scene: Scene) -> None:
    case, _, hangs = scene.variant.partition("-")
    if hangs:
        scene.broker.faults.add("silent", times=None)
    run_to_exit(scene, case)
    logged = len(scene.books.journal())
    scene.check(logged == _RECORDS + _LATE, f"{logged} records were logged")
    found = list(scene.spool.rglob("*.seg"))
    # One of what waited at the exit, one of what was on its way, one of what came later.
    scene.check(len(found) <= 3, f"{len(found)} segments")
    lines = [line for text in scene.books.texts() for line in text.splitlines() if "hublog.internal" in line]
    late = [line for line in lines if "exit" in line or "ends" in line]
    scene.check(len(late) <= 2, f"{len(late)} lines: {late[:3]}")
