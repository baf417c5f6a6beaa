"""Section 7 of the matrix: the files of the spool."""

import json
import random
import signal
from pathlib import Path
from typing import Final

from tests.faults import segments
from tests.faults.children import Child, wait_until
from tests.faults.expect import BATCH, EVENT, Expect, Mode
from tests.faults.machine import damage, fill, mount_small_disk
from tests.faults.matrix import by_mode, disk, root, row
from tests.faults.rows.broker_faults import until_logged
from tests.faults.scene import EXIT_S, GRACE_S, Scene

_LIVES: Final = 5
_QUICK: Final = {"EVENTHUB_LOG_CIRCUIT_COOLDOWN": "1", "EVENTHUB_LOG_CIRCUIT_THRESHOLD": "1"}
_ADOPTED_S: Final = 2.0
_RESUMED_S: Final = 5.0
#: Seconds beyond, on a busy machine.
_SLACK_S: Final = 5.0
_ORPHANED: Final = 2_000
#: Lines that one damaged sector can touch, many times over.
_TOUCHED: Final = 1_000


def write_and_die(scene: Scene, count: int, *, name: str = "written") -> Child:
    """Fill the spool: the broker refuses, a program logs, and is killed."""
    scene.broker.refuse()
    program = scene.program("steady", count, FAULTS_NAME=name, **_QUICK)
    program.wait_for_text("all logged", scene.left_s)
    program.send(signal.SIGKILL)
    program.wait(scene.left_s)
    return program


def segment_bytes(folder: Path) -> int:
    """Return the bytes of all segments under a spool root."""
    return sum(path.stat().st_size for path in folder.rglob("*.seg"))


@row(
    "D1",
    "SIGKILL while writing",
    by_mode(always=Expect(unconfirmed=4 * _LIVES)),
    seconds=15,
    variants=("1", "4"),
    has_control=False,
)
def _d1(scene: Scene) -> None:
    scene.broker.refuse()
    writers = int(scene.variant)
    for life in range(_LIVES):
        programs = [
            scene.program("steady", 0, FAULTS_NAME=f"life{life}x{n}", **_QUICK) for n in range(writers)
        ]
        for program in programs:
            wanted = random.randint(20, 2_000)  # noqa: S311  # a moment
            journal = f"journal-{program.pid}-*"
            scene.until(
                lambda name=journal, lines=wanted: (
                    sum(path.stat().st_size for path in scene.folder.glob(name)) > 12 * lines
                ),
                "the writer has written",
            )
            program.send(signal.SIGKILL)
        for program in programs:
            program.wait(scene.left_s)
    ledger = scene.books.ledger()
    scene.check(
        not ledger.gone, f"{len(ledger.gone)} acknowledged records are not on disk ({ledger.show_gone()})"
    )
    owners = segments.read_root(scene.spool)
    torn = sum(segment.is_torn for owner in owners for segment in owner.segments)
    damaged = sum(
        bool(segment.damaged_bytes) and not segment.is_torn for o in owners for segment in o.segments
    )
    scene.check(torn <= writers * _LIVES, f"{torn} torn segments of {writers * _LIVES} writers")
    scene.check(not damaged, f"{damaged} segments are damaged elsewhere than at their end")


@row(
    "D3",
    "the disk is full, then freed",
    disk(Expect(dropped=None, exit_s=EXIT_S + GRACE_S)),
    seconds=15,
    needs=root,
    has_control=False,
)
def _d3(scene: Scene) -> None:
    mount_small_disk(scene.cleanup, scene.spool, mib=8)
    scene.broker.refuse()
    stuffing = scene.folder / "spool" / ".stuffing"
    fill(stuffing, leave=1 << 20)
    program = scene.program("steady", 0, 5_000, FAULTS_FLUSH_S="20", **_QUICK)
    until_logged(scene, 15_000)
    scene.check(program.status is None, f"the program ended: {program.tail()}")
    stuffing.unlink()
    before = segment_bytes(scene.spool)
    resumed = wait_until(lambda: segment_bytes(scene.spool) > before + 65_536, _RESUMED_S + _SLACK_S)
    scene.check(resumed, f"writing did not resume: {before} bytes on disk, then {segment_bytes(scene.spool)}")
    scene.broker.heal()
    program.begin_exit()
    program.tell()
    scene.end(program, is_timed=False)


@row(
    "D5",
    "damaged segments",
    by_mode(always=Expect(missing=_TOUCHED, dropped=_TOUCHED)),
    seconds=8,
    variants=("zeros", "random", "cut"),
    has_control=False,
)
def _d5(scene: Scene) -> None:
    write_and_die(scene, 6_000)
    whole = {found["extra"]["fault_id"] for found in segments.unsettled(scene.spool)}
    scene.check(len(whole) == 6_000, f"{len(whole)} of 6000 records are on disk")
    chance = random.Random(7)  # noqa: S311  # the same damage each time
    lines: set[bytes] = set()
    for path in sorted(scene.spool.glob("*/*.seg")):
        lines |= damage(path, scene.variant, chance)
    touched = {json.loads(line)["extra"]["fault_id"] for line in lines}
    scene.restart()
    ledger = scene.books.ledger()
    lost = ledger.gone - touched
    scene.check(not lost, f"{len(lost)} records outside the damage were not read ({sorted(lost)[:5]})")
    wrong = ledger.delivered.keys() - whole - set(scene.books.journal())
    scene.check(not wrong, f"records that nobody wrote were read: {sorted(wrong)[:5]}")


def _d7_expects(mode: Mode, variant: str) -> Expect | None:
    if mode is not Mode.ALWAYS:
        return None
    return Expect(duplicates=EVENT if variant == "killed" else 0, unconfirmed=1)


@row(
    "D7",
    "adoption",
    _d7_expects,
    seconds=12,
    variants=("dead", "alive", "together", "killed"),
    has_control=False,
)
def _d7(scene: Scene) -> None:
    if scene.variant == "alive":
        _adopt_alive(scene)
        return
    write_and_die(scene, 3_000)
    ids = scene.books.journal()
    scene.broker.listen()
    if scene.variant == "killed":
        scene.broker.faults.add("delay", times=None, seconds=0.3)  # so that it is in the middle
    adopters = [scene.program("revive") for _ in range(4 if scene.variant == "together" else 1)]
    if scene.variant == "killed":
        scene.until_delivered(BATCH)
        adopters[0].send(signal.SIGKILL)
        adopters[0].wait(scene.left_s)
        scene.broker.heal()
        adopters = [scene.program("revive")]
    scene.until(lambda: len(scene.books.journal()) > len(ids), "an adopter logs")
    came = scene.broker.wait_for_ids(ids, _ADOPTED_S + _SLACK_S)
    scene.check(came, f"{len(scene.books.ledger().stored_ids)} records were not adopted in time")
    for adopter in adopters:
        adopter.tell()
        adopter.wait(scene.left_s)


def _adopt_alive(scene: Scene) -> None:
    """Let another process look at the spool of one that lives and cannot send."""
    scene.broker.refuse()
    owner = scene.program("steady", 1_000, FAULTS_NAME="owner", FAULTS_FLUSH_S="20", **_QUICK)
    owner.wait_for_text("all logged", scene.left_s)
    other = scene.program("revive", EVENTHUB_LOG_EXIT_TIMEOUT="0.2")
    scene.until(lambda: any(id_.startswith("revived") for id_ in scene.books.journal()), "the other one logs")
    wait_until(lambda: False, _ADOPTED_S)  # as long as an adoption may take
    mine = [found for found in segments.read_root(scene.spool) if found.is_alive]
    stored = sum(1 for found in mine for _ in found.lines())
    scene.check(stored >= 1_000, f"{stored} records of the living process are on disk")
    other.tell()
    other.wait(scene.left_s)
    scene.broker.heal()
    owner.tell()
    owner.wait(scene.left_s)


@row(
    "T7",
    "two thousand orphaned directories",
    disk(Expect(memory_kib=None)),
    seconds=60,
    has_control=False,
)
def _t7(scene: Scene) -> None:
    scene.broker.refuse()
    scene.program("forks", "orphaned", EVENTHUB_LOG_SPOOL="always").wait(scene.left_s)
    left = [found for found in segments.read_root(scene.spool) if not found.is_alive]
    scene.check(len(left) >= _ORPHANED, f"{len(left)} directories were left behind")
    scene.broker.heal()
    program = scene.program("steady", 100, 20, FAULTS_NAME="live", FAULTS_FLUSH_S="60")
    program.wait_for_text("all logged", scene.left_s)
    scene.until_delivered(10 * len(left) + 100)
    # By their order, not by the clock of a busy machine.
    arrived = [arrival.id for arrival in scene.broker.arrivals]
    for number in (0, 20):
        before = sum(id_.startswith("orphan") for id_ in arrived[: arrived.index(f"live-{number}")])
        scene.check(before <= len(left) * 5, f"live-{number} came behind {before} records of the dead")
    program.tell()
    program.wait(scene.left_s)
    scene.check(not list(scene.spool.iterdir()), "directories are left")


@row("D12", "a clean exit leaves nothing", disk(Expect()), has_control=False)
def _d12(scene: Scene) -> None:
    program = scene.program("steady", 1_000)
    program.wait_for_text("all logged", scene.left_s)
    program.tell()
    scene.end(program, is_timed=False)
    left = [str(path) for path in scene.spool.rglob("*")] if scene.spool.exists() else []
    scene.check(not left, f"the spool root is not empty: {left[:5]}")
