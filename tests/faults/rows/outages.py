"""Section 6 of the matrix: outages of the broker."""

import time
from typing import Final

from tests.faults.expect import CALL_US, Expect, Mode
from tests.faults.matrix import disk, row
from tests.faults.rows.broker_faults import end, start, until_logged
from tests.faults.scene import EXIT_S, GRACE_S, Scene

_EXIT_S: Final = EXIT_S + GRACE_S
_OFFERED: Final = 300_000
_SMALL: Final = 64 << 20
_PROCESSES: Final = 8
_BACKLOG: Final = 5_000
#: New records must go out this soon, although a backlog is sent.
_NEW_S: Final = 5.0
_SLACK_S: Final = 5.0
#: A backlog of 21 MB, which a hub that settles a megabyte in a quarter of a second takes in five seconds.
_OLD, _OLD_BYTES, _SETTLE_S = 7_000, 3_000, 0.25


def _b1_expects(mode: Mode, variant: str) -> Expect:
    dropped = None if mode is Mode.MEMORY else 0
    return Expect(dropped=dropped, exit_s=_EXIT_S, p99_us=CALL_US)


@row("B1", "refused from the start", _b1_expects, seconds=10, variants=("nobody", "reset"))
def _b1(scene: Scene) -> None:
    if scene.variant == "nobody":
        scene.broker.refuse()
    fault = scene.broker.faults.add("refuse", times=None)
    program = scene.program("steady", 2_000, 400)  # the default cooldown, 30 s
    until_logged(scene, 2_000)
    scene.check(fault.fired_total <= 20, f"{fault.fired_total} connections in 5 s")
    end(scene, program)


def _b6_expects(mode: Mode, variant: str) -> Expect | None:
    if mode is Mode.MEMORY:
        return Expect(dropped=None, p99_us=CALL_US) if not variant else None
    return Expect(dropped=None if variant else 0, p99_us=CALL_US)


@row("B6", "an outage with 300 000 records", _b6_expects, seconds=40, variants=("", "64MiB"))
def _b6(scene: Scene) -> None:
    scene.broker.refuse()
    if scene.variant:
        scene.settings["EVENTHUB_LOG_SPOOL_BYTES"] = str(_SMALL)
    program = start(scene, _OFFERED, FAULTS_FLUSH_S="60", FAULTS_NAME="offered")
    program.wait_for_text("all logged", scene.left_s)
    scene.broker.heal()
    if scene.has_spool and not scene.variant:
        scene.until_delivered(_OFFERED)
    program.tell()
    scene.end(program, is_timed=False)
    if scene.has_spool:
        newest = f"offered-{_OFFERED - 1}"
        scene.check(newest in scene.broker.delivered(), "the newest record did not come")


@row("B11", "an outage ends with eight full spools", disk(Expect()), seconds=25)
def _b11(scene: Scene) -> None:
    scene.broker.refuse()
    for number in range(_PROCESSES):
        program = scene.program(
            "steady", _BACKLOG, FAULTS_NAME=f"old{number}", EVENTHUB_LOG_EXIT_TIMEOUT="0.2"
        )
        program.wait_for_text("all logged", scene.left_s)
        program.tell()
        scene.end(program, is_timed=False)
    scene.broker.heal()
    programs = [start(scene, 50, FAULTS_NAME=f"new{number}") for number in range(_PROCESSES)]
    new = [f"new{number}-{index}" for number in range(_PROCESSES) for index in range(50)]
    until_logged(scene, _PROCESSES * (_BACKLOG + 50))
    begin = time.monotonic()
    came = scene.is_control or scene.broker.wait_for_ids(new, _NEW_S + _SLACK_S)
    scene.check(came, f"new records did not go out within {time.monotonic() - begin:.1f} s")
    for program in programs:
        program.tell()
        scene.end(program, is_timed=False)


@row(
    "T5",
    "recovery with a backlog",
    # As the silent broker heals it resets what hung, and may have taken that delivery, of 1 MiB, just before.
    lambda mode, variant: Expect(
        memory_kib=None, duplicates=(1 << 20) // _OLD_BYTES if variant == "silent" else 0
    ),
    seconds=30,
    variants=("refused", "silent"),
)
def _t5(scene: Scene) -> None:
    if scene.variant == "refused":
        scene.broker.refuse()
    else:
        scene.broker.hang()
    settings = {
        "EVENTHUB_LOG_CIRCUIT_COOLDOWN": "1",
        "EVENTHUB_LOG_SEND_TIMEOUT": "2",
        "FAULTS_FLUSH_S": "60",
    }
    program = scene.program("recovery", _OLD, _OLD_BYTES, **settings)
    program.wait_for_text("all logged", scene.left_s)
    scene.broker.heal()
    scene.broker.faults.add("delay", seconds=_SETTLE_S, times=None)
    scene.until_delivered(1)
    scene.until_delivered(len(scene.broker.delivered()) + 1)  # what came first is settled now
    program.tell()
    program.wait_for_text("new logged", scene.left_s)
    scene.until_delivered(_OLD + 30)
    # By their order, not by the clock of a busy machine: what is logged in the first second after the return
    # of the hub arrives before half of the backlog.
    arrived = [arrival.id for arrival in scene.broker.arrivals]
    for number in (0, 9) if not scene.is_control else ():
        place = arrived.index(f"new-{number}")
        before = sum(id_.startswith("old-") for id_ in arrived[:place])
        scene.check(before <= _OLD / 2, f"new-{number} came behind {before} of {_OLD} records of the backlog")
    program.tell()
    scene.end(program, is_timed=False)
