"""Section 9 of the matrix: clock and surroundings; and sub-interpreters, of section 3."""

import re
import signal
import subprocess
import sys
import time
from typing import Final

from tests.faults.expect import BATCH, Expect
from tests.faults.machine import limit_descriptors
from tests.faults.matrix import disk, modules, row, same
from tests.faults.rows.broker_faults import end, start, until_logged
from tests.faults.scene import EXIT_S, GRACE_S, Scene

_QUICK: Final = {"EVENTHUB_LOG_CIRCUIT_COOLDOWN": "1"}
_EXIT_S: Final = EXIT_S + GRACE_S
#: Longer than any wait for the hub, ours and the client's.
_STOPPED_S: Final = 60.0


@row("C1", "the wall clock jumps during an outage", same(Expect()), seconds=10)
def _c1(scene: Scene) -> None:
    scene.broker.refuse()
    program = scene.program("surroundings", "clock", **_QUICK)
    program.wait_for_text("jumped", scene.left_s)
    scene.broker.heal()
    program.tell()
    scene.end(program, is_timed=False)
    order = [arrival.sequence for arrival in scene.broker.arrivals]
    scene.check(order == sorted(order), "the sequence numbers do not keep the order of the log calls")


@row("C2", "a suspended process", same(Expect(duplicates=BATCH, exit_s=_EXIT_S)), seconds=40)
def _c2(scene: Scene) -> None:
    if not scene.is_control:
        scene.broker.faults.add("delay", times=None, seconds=0.3)  # so that it is in the middle of a send
    program = start(scene, 0, 300)
    until_logged(scene, 300)
    before = scene.broker.statistics["connections_total"]
    program.send(signal.SIGSTOP)
    begin = time.monotonic()
    scene.until(lambda: time.monotonic() - begin > _STOPPED_S, "the pause is over")
    program.send(signal.SIGCONT)
    until_logged(scene, len(scene.books.journal()) + 300)
    made = scene.broker.statistics["connections_total"] - before
    scene.check(made <= 2, f"{made} connections after the pause")
    end(scene, program)


@row("C3", "asyncio, the broker is down", disk(Expect(), memory=Expect(dropped=None)), seconds=8)
def _c3(scene: Scene) -> None:
    scene.broker.refuse()
    text = scene.run("surroundings", "event_loop").text()
    found = re.search(r"(\d+) slow callbacks", text)
    # One may be the machine's: the collector, or another process in our place.
    scene.check(found and int(found[1]) <= 1, f"{found and found[0]} in the loop")


@row(
    "C4",
    "gevent or eventlet patches late",
    same(Expect()),
    seconds=10,
    variants=("gevent", "eventlet"),
    needs={"gevent": modules("gevent"), "eventlet": modules("eventlet")},
)
def _c4(scene: Scene) -> None:
    scene.run("surroundings", "patched_late", scene.variant)


@row("C5", "file descriptors used up", same(Expect(missing=0)), seconds=12)
def _c5(scene: Scene) -> None:
    command = scene.command("surroundings", "descriptors")
    program = scene.start("descriptors", command, options={"preexec_fn": limit_descriptors(128)}, **_QUICK)
    program.wait_for_text("logged", scene.left_s)
    program.tell()
    status = scene.end(program, is_timed=False)
    scene.check(status == 0, f"it ended with {status}: {program.tail()}")


_ISOLATED: Final = """
import sys
if sys.version_info < (3, 13): sys.exit()
import _interpreters
number = _interpreters.create("isolated")
error = _interpreters.exec(number, "import orjson")
sys.exit(error.formatted if error else 0)
"""


def _loads_isolated() -> str:
    found = subprocess.run([sys.executable, "-c", _ISOLATED], capture_output=True, text=True, check=False)
    return "" if found.returncode == 0 else f"not in an isolated interpreter: {found.stderr.strip()}"


@row(
    "S21",
    "a sub-interpreter",
    disk(Expect(), memory=Expect(dropped=None)),
    variants=("legacy", "isolated"),
    needs={"isolated": _loads_isolated},
    has_control=False,
)
def _s21(scene: Scene) -> None:
    program = scene.run("surroundings", "interpreter", scene.variant)
    text = program.text()
    scene.check("ended inside" in text, f"it did not end: {program.tail()}")
    scene.check("'hublog'" not in text, "a thread was started in the sub-interpreter")
    warnings = [line for line in text.splitlines() if line.startswith("WARNING hublog")]
    # In memory nobody can send them, and what is lost is told.
    told = [line for line in warnings if "no thread" in line]
    scene.check(len(told) == 1 and len(warnings) <= 1 + (not scene.has_spool), f"told: {warnings}")
