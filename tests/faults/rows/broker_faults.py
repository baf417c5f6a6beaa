"""Section 6 of the matrix: what the broker does wrong while programs log."""

import time
from pathlib import Path
from typing import Final

from tests.faults.children import Child, wait_until
from tests.faults.expect import BATCH, CALL_US, Expect, Mode
from tests.faults.matrix import disk, row, same
from tests.faults.scene import EXIT_S, GRACE_S, Scene

_EXIT_S: Final = EXIT_S + GRACE_S
#: The circuit tries again soon, so that a row is short; the watchdog gives a send up soon.
_QUICK: Final = {"EVENTHUB_LOG_CIRCUIT_COOLDOWN": "1"}
_WATCHDOG: Final = {"EVENTHUB_LOG_SEND_TIMEOUT": "2"}
_DROPS: Final = 50
_ROUNDS: Final = 2
#: Seconds beyond a limit, on a busy machine.
_SLACK_S: Final = 5.0


def start(scene: Scene, count: int, rate: float = 0.0, **settings: str) -> Child:
    """Start a program that logs steadily."""
    return scene.program("steady", count, rate, **_QUICK, **settings)


def end(scene: Scene, program: Child) -> None:
    """Tell a program to end; its time is an exit of the row."""
    program.begin_exit()
    program.tell()
    scene.end(program)


def until_logged(scene: Scene, number: int) -> None:
    """Wait until applications have noted so many records."""
    scene.until(lambda: len(scene.books.journal()) >= number, f"{number} records are logged")


@row(
    "B2",
    "the broker accepts and never speaks",
    lambda mode, variant: Expect(duplicates=3 * BATCH, exit_s=_EXIT_S, p99_us=CALL_US),
    seconds=15,
)
def _b2(scene: Scene) -> None:
    fault = scene.broker.faults.add("silent", times=None)
    program = start(scene, 500, FAULTS_WAIT="yes", **_WATCHDOG)
    if not scene.is_control:
        fault.wait(scene.left_s)  # the client is loaded, which is work beside the application, and hangs
    (scene.folder / "go").touch()
    until_logged(scene, 500)
    threads = len(list(Path(f"/proc/{program.pid}/task").iterdir()))
    scene.check(threads <= 6, f"there are {threads} threads; the program has two of its own")
    scene.broker.faults.clear()  # the connection that is silent stays so
    scene.until_delivered(500)
    end(scene, program)


@row(
    "B3",
    "the broker is stopped in mid-stream",
    same(Expect(duplicates=2 * BATCH, exit_s=_EXIT_S)),
    seconds=15,
)
def _b3(scene: Scene) -> None:
    program = start(scene, 4_000, 500)
    scene.until_delivered(200)
    scene.broker.freeze()
    until_logged(scene, 3_000)
    scene.broker.thaw()
    until_logged(scene, 4_000)
    scene.until_delivered(4_000)
    end(scene, program)


@row(
    "B4",
    "the connection is dropped amid deliveries, 50 times",
    same(Expect(duplicates=_DROPS * BATCH, exit_s=_EXIT_S)),
    seconds=20,
)
def _b4(scene: Scene) -> None:
    # One delivery passes between two drops, else the circuit opens.
    kinds = ("drop", "store-and-drop")
    faults = [scene.broker.faults.add(kinds[number % 2], after=number) for number in range(_DROPS)]
    scene.settings.update(EVENTHUB_LOG_BATCH_SIZE="20", EVENTHUB_LOG_BATCH_TIMEOUT="0.05")
    programs = [start(scene, 0, 200, FAULTS_NAME=f"sender{number}") for number in range(4)]
    until_logged(scene, 400)
    if not scene.is_control:
        scene.until(lambda: all(fault.fired_total for fault in faults), "all drops have happened")
    for program in programs:
        end(scene, program)


@row("B5", "slow loris", same(Expect(duplicates=3 * BATCH, exit_s=_EXIT_S)), seconds=15)
def _b5(scene: Scene) -> None:
    scene.broker.faults.add("slow", times=None, bytes_per_s=10)
    program = start(scene, 0, 400, **_WATCHDOG)
    until_logged(scene, 1_200)
    scene.broker.heal()
    came = scene.is_control or scene.broker.wait_for(1_200, 5.0 + _SLACK_S)
    scene.check(came, f"{len(scene.broker.delivered())} of 1200 records came within 5 s of the recovery")
    end(scene, program)


def _b7_expects(mode: Mode, variant: str) -> Expect:
    is_lost = variant == "refused" and mode is Mode.MEMORY
    return Expect(dropped=None if is_lost else 0, duplicates=2 * BATCH, exit_s=_EXIT_S)


@row("B7", "tokens expire or are refused", _b7_expects, seconds=10, variants=("expired", "short", "refused"))
def _b7(scene: Scene) -> None:
    if scene.variant == "short":
        scene.broker.faults.add("expire-token", times=3, seconds=0.5)
    if scene.variant == "refused":
        scene.broker.faults.add("refuse-token", times=None, status=401)
    program = start(scene, 1_500, 500)
    if scene.variant == "expired":
        scene.until_delivered(300)
        scene.broker.expire_tokens()
    until_logged(scene, 1_500)
    if scene.variant == "refused":
        errors = sum(line.startswith("ERROR hublog") for line in program.text().splitlines())
        scene.check(errors == 1, f"{errors} error lines tell of the refused token")
    else:
        scene.until_delivered(1_500)
    end(scene, program)


@row("B8", "throttled", same(Expect(exit_s=_EXIT_S)), seconds=15)
def _b8(scene: Scene) -> None:
    fault = scene.broker.faults.add("reject", times=None, condition="com.microsoft:server-busy")
    program = start(scene, 2_000, 400)
    until_logged(scene, 2_000)  # five seconds
    tried = fault.fired_total
    scene.check(1 <= tried <= 4, f"{tried} sends in 5 s, although the broker asks for 4 s each time")
    made = scene.broker.statistics["connections_total"]
    scene.check(made <= tried + 2, f"{made} connections for {tried} sends")
    scene.broker.faults.clear()
    scene.until_delivered(2_000)
    end(scene, program)


def _b9_expects(mode: Mode, variant: str) -> Expect:
    # In memory there is nowhere to set a record aside.
    is_lost = variant == "poison" or (variant == "basic" and mode is Mode.MEMORY)
    return Expect(dropped=1 if is_lost else 0, exit_s=_EXIT_S)


@row(
    "B9",
    "one record of a hundred is too large, or refused for its content",
    _b9_expects,
    variants=("large", "basic", "poison"),
)
def _b9(scene: Scene) -> None:
    refused: list[int] = []
    if scene.variant == "basic":
        scene.broker.limit(256 * 1024)
        scene.settings["EVENTHUB_LOG_RECORD_BYTES"] = "500000"
    if scene.variant == "poison":
        refused = scene.broker.refuse_content(b"POISON")
    argument = {"large": "1100000", "basic": "300000"}.get(scene.variant, "poison")
    program = scene.program("large", argument, FAULTS_FLUSH_S="10", **_QUICK)
    until_logged(scene, 100)
    scene.until_delivered(99)
    end(scene, program)
    for found in scene.broker.rows():
        if found.get("event_name") == "fault:odd":
            scene.check(found.get("truncated") is True, "the large record came without the mark of a cut")
    # Halving finds it among a hundred with eight offers; a connection that breaks begins another round.
    scene.check(len(refused) <= 9 * _ROUNDS, f"the refused record was offered {len(refused)} times")


@row(
    "B10",
    "no such hub, wrong key",
    disk(Expect(exit_s=_EXIT_S), memory=Expect(dropped=None, exit_s=_EXIT_S)),
    seconds=8,
    variants=("hub", "key"),
)
def _b10(scene: Scene) -> None:
    if scene.variant == "hub":
        fault = scene.broker.faults.add("refuse-attach", times=None, condition="amqp:not-found")
    else:
        fault = scene.broker.faults.add("refuse-token", times=None, status=401)
    start_mono = time.monotonic()
    program = scene.program("steady", 1_000, 400)
    until_logged(scene, 1_000)
    wait_until(lambda: time.monotonic() - start_mono > 4.0, 5.0)
    scene.check(
        fault.fired_total <= 4, f"{fault.fired_total} attempts in {time.monotonic() - start_mono:.0f} s"
    )
    lines = [line for line in program.text().splitlines() if line.startswith("ERROR hublog")]
    scene.check(len(lines) == 1, f"{len(lines)} error lines: {lines}")
    end(scene, program)
