"""Row C6 of the matrix: a long run with a random fault each while.

``FAULTS_SOAK_MINUTES`` says how long (1 unless set), ``FAULTS_SEED`` which faults (7 unless set).
"""

import os
import random
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Final

from tests.faults.children import wait_until
from tests.faults.expect import BATCH, QUEUE, Expect
from tests.faults.matrix import by_mode, modules, row
from tests.faults.scene import Scene, Server
from tests.faults.servers import gunicorn

_MINUTES: Final = float(os.environ.get("FAULTS_SOAK_MINUTES", "1"))
_SEED: Final = int(os.environ.get("FAULTS_SEED", "7"))
_SECONDS: Final = 60 * _MINUTES
#: A fault each 20 seconds, more often in a short run; it lasts a third of that.
_EACH_S: Final = min(20.0, _SECONDS / 8)
_FAULTS: Final = int(_SECONDS / _EACH_S)
#: Memory is judged by its growth from the second to the last quarter: there is no run without us to compare
#: with, and the book keeps the cost of each call.
_COSTS: Final = Expect(duplicates=_FAULTS * 4 * BATCH, call_us=10e6, memory_kib=None)
_GROWTH_KIB: Final = 32 << 10
#: Four connections that each hold a request so long make about 500 records a second.
_HOLD_S: Final = 0.04
_WORKERS: Final = 4


def _faults(scene: Scene, server: Server, chance: random.Random) -> dict[str, Callable[[], object]]:
    """Return what can go wrong, by name."""
    add = scene.broker.faults.add

    def a_worker() -> int:
        workers = [pid for pid in server.child.members() if pid != server.child.pid]
        return chance.choice(sorted(workers))

    return {
        "hang": scene.broker.hang,
        "refuse": scene.broker.refuse,
        "freeze": scene.broker.freeze,
        "drop": scene.broker.drop_connections,
        "expire": scene.broker.expire_tokens,
        "throttle": lambda: add("reject", times=None, condition="com.microsoft:server-busy"),
        "drop amid": lambda: add("store-and-drop", times=3),
        "slow": lambda: add("delay", times=50, seconds=0.1),
        "kill": lambda: os.kill(a_worker(), signal.SIGKILL),
        "reload": lambda: server.child.send(signal.SIGHUP),
    }


def _resident_kib(pid: int) -> int:
    try:
        text = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in text.splitlines() if line.startswith("VmRSS:")), 0)


@row(
    "C6",
    f"soak, {_MINUTES:g} minutes, seed {_SEED}",
    by_mode(
        memory=replace(_COSTS, missing=_FAULTS * QUEUE, dropped=None),
        overflow=replace(_COSTS, missing=_FAULTS * 5 * BATCH),
        always=_COSTS,
    ),
    seconds=_SECONDS + 30,
    needs=modules("gunicorn", "flask"),
    has_control=False,
)
def _c6(scene: Scene) -> None:
    scene.broker.keeps_rows = False
    chance = random.Random(_SEED)  # noqa: S311  # the same faults each time
    scene.settings["EVENTHUB_LOG_CIRCUIT_COOLDOWN"] = "1"
    server = scene.serve(gunicorn("-k", "gthread", "--threads", "4", workers=_WORKERS))
    load = scene.load(server, requests=1 << 40, query={"sleep": _HOLD_S}, timeout_s=10)
    faults = _faults(scene, server, chance)
    peaks: list[int] = []
    done: list[str] = []
    for _ in range(_FAULTS):
        name = chance.choice(sorted(faults))
        done.append(name)
        faults[name]()
        wait_until(lambda: False, _EACH_S / 3)
        scene.broker.thaw()
        scene.broker.heal()
        wait_until(lambda: False, 2 * _EACH_S / 3)
        peaks.append(max(map(_resident_kib, server.child.members()), default=0))
    load.stop()
    scene.check(load.answered > 0, "no request was answered")
    quarter = max(1, len(peaks) // 4)
    early, late = max(peaks[quarter : 2 * quarter + 1]), max(peaks[-quarter:])
    scene.check(late <= early + _GROWTH_KIB, f"memory went from {early} to {late} KiB amid {done}")
    scene.broker.wait_for_ids(load.accepted, 20.0)
    scene.end(server.child, signal.SIGTERM, is_timed=False)
