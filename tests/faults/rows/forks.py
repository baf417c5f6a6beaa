"""Section 4 of the matrix: forks and threads."""

import json
import re
import signal
import sys
import sysconfig
import time
from typing import Final

from tests.faults.children import wait_until
from tests.faults.expect import Expect, Mode
from tests.faults.matrix import by_mode, disk, row, same
from tests.faults.scene import Scene

_CLEAN: Final = Expect()
#: On a busy machine the exit budget of a child may end in the middle of its one send, whose outcome is
#: unknown then: its records, 600 of all children together, may arrive once more.
_FORKED: Final = Expect(duplicates=600)
#: A child that leaves without any hook loses what it has.
_CHILD: Final = 50
_ADOPTED_S: Final = 2.0
#: Seconds beyond, on a busy machine.
_SLACK_S: Final = 3.0


def _check_children(scene: Scene, text: str) -> None:
    failed = re.findall(r"child \d+ ended with .*", text)
    scene.check(not failed, f"{len(failed)} children failed: {failed[:3]}")


def _run(scene: Scene, case: str, **settings: str) -> str:
    text = scene.run("forks", case, **settings).text()
    _check_children(scene, text)
    return text


@row("P1", "forks amid four logging threads", same(_FORKED), seconds=10)
def _p1(scene: Scene) -> None:
    _run(scene, "amid_threads")
    found = sum(id_.startswith("child") for id_ in scene.books.journal())
    scene.check(found == 600, f"the children logged {found} of 600 records")


@row(
    "P2",
    "a child leaves by os._exit",
    by_mode(memory=Expect(missing=_CHILD), overflow=Expect(missing=_CHILD), always=_CLEAN),
)
def _p2(scene: Scene) -> None:
    program = scene.program("forks", "os_exit")
    program.wait_for_text("the child has left", scene.left_s)
    if scene.mode is Mode.ALWAYS:
        ids = [id_ for id_ in scene.books.journal() if id_.startswith("child")]
        limit_s = _ADOPTED_S + _SLACK_S
        scene.check(
            scene.broker.wait_for_ids(ids, limit_s),
            f"the parent did not adopt its child within {limit_s:.0f} s",
        )
    program.tell()
    scene.end(program, is_timed=False)


@row(
    "P5",
    "daemon, fork from a thread, preexec_fn",
    same(_CLEAN),
    variants=("daemon", "from_thread", "preexec"),
)
def _p5(scene: Scene) -> None:
    _run(scene, scene.variant)
    if scene.variant == "preexec":
        shown = (scene.folder / "descriptors").read_text()
        scene.check(str(scene.spool) not in shown, f"a child that only execs has files of ours: {shown}")


@row("P6", "sixty children at once", same(_FORKED), seconds=20)
def _p6(scene: Scene) -> None:
    _run(scene, "burst")
    made = scene.broker.statistics["connections_total"]
    scene.check(made <= 61, f"{made} connections were made by 61 processes")


@row("P7", "a child outlives its killed parent", by_mode(always=_CLEAN), has_control=False)
def _p7(scene: Scene) -> None:
    scene.broker.refuse()
    program = scene.program("forks", "outlived")
    program.wait_for_text("forked", scene.left_s)
    program.send(signal.SIGKILL)
    program.wait(scene.left_s)
    scene.check(program.members(), "the child does not live")
    scene.broker.heal()
    adopter = scene.program("revive")
    ids = scene.books.journal()
    scene.until(lambda: len(scene.books.journal()) > len(ids), "the adopter logs")
    start = time.monotonic()
    came = scene.broker.wait_for_ids(ids, _ADOPTED_S + _SLACK_S)
    scene.check(came, f"not adopted within {time.monotonic() - start:.1f} s although the owner is dead")
    adopter.tell()
    adopter.wait(scene.left_s)


@row("P8", "fork while the client is connected and sends", same(_CLEAN), seconds=10)
def _p8(scene: Scene) -> None:
    _run(scene, "while_sending")
    errors = scene.broker.statistics["peer_errors_total"]
    scene.check(not errors, f"the broker met {errors} protocol errors")


# Ten thousand threads take seconds to get their turn.
@row("P9", "10 000 threads, each with a context value", same(Expect(call_us=60e6)), seconds=20)
def _p9(scene: Scene) -> None:
    _run(scene, "many_threads")
    threads = len(scene.books.journal())
    scene.check(threads >= 1_000, f"only {threads} threads could be started")
    for found in scene.broker.rows():
        name = (found.get("extra") or {}).get("fault_id", "")
        if name.startswith("thread-") and found.get("tenant_id") != name.replace("thread", "tenant"):
            scene.check(False, f"{name} came with the context of {found.get('tenant_id')}")
            break


@row("P10", "no thread can be started", same(_CLEAN))
def _p10(scene: Scene) -> None:
    program = scene.program("forks", "no_threads")
    program.wait_for_text("logged", scene.left_s)
    scene.check("a thread could be started" not in program.text(), "the limit does not hold")
    if scene.has_spool:
        scene.check(
            wait_until(lambda: scene.books.ledger().stored >= 200, 2.0),
            "what no thread can send is not on disk",
        )
    program.tell()
    scene.end(program, is_timed=False)


def _free_threading() -> str:
    has_gil = getattr(sys, "_is_gil_enabled", lambda: True)()
    is_built = bool(sysconfig.get_config_var("Py_GIL_DISABLED"))
    return "" if is_built and not has_gil else "this is no free-threaded Python"


@row(
    "P11", "eight free threads", disk(_CLEAN, memory=Expect(dropped=None)), seconds=60, needs=_free_threading
)
def _p11(scene: Scene) -> None:
    _run(scene, "free_threads", PYTHON_GIL="0")
    last: dict[str, int] = {}
    for arrival in scene.broker.arrivals:
        name, _, number = arrival.id.rpartition("-")
        scene.check(int(number) > last.get(name, -1), f"{arrival.id} came out of order")
        last[name] = int(number)


#: The matrix says half a second; what it is about are waits of ten.
_FORK_S: Final = 0.5


@row("T3", "forks and new loggers in the half second after the first record", same(_CLEAN), seconds=10)
def _t3(scene: Scene) -> None:
    program = scene.run("forks", "early")
    _check_children(scene, program.text())
    found = json.loads(program.output.read_text().splitlines()[-1])
    scene.check(found["forks"] >= 8 + 4 + 4 - 1, f"only {found['forks']} forks")
    for name in ("fork", "getLogger"):
        scene.check(found[name] < _FORK_S + _SLACK_S, f"a call of {name} took {found[name]:.1f} s")
