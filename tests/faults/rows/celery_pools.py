"""Section 3 of the matrix: Celery."""

import os
import signal
import sys
from pathlib import Path
from typing import Final

from tests.faults.children import Child
from tests.faults.expect import BATCH, Expect, Mode
from tests.faults.matrix import modules, row, same
from tests.faults.scene import EXIT_S, GRACE_S, Scene

_TASKS: Final = 40
_CONCURRENCY: Final = 2
_RECORDS: Final = 5 * _TASKS
#: Celery's own way to its end takes about so long, without a handler.
_CELERY_S: Final = 6.0
_EXIT_S: Final = _CELERY_S + EXIT_S + GRACE_S


def _start(scene: Scene, pool: str, *options: str) -> Child:
    command = [sys.executable, "-m", "celery", "--app", "tasks", "--quiet", "worker", "--pool", pool]
    command += [
        "--without-gossip",
        "--without-mingle",
        "--without-heartbeat",
        "--concurrency",
        str(_CONCURRENCY),
        *options,
    ]
    return scene.start("celery", command, FAULTS_TASKS=str(_TASKS))


def _until_done(scene: Scene, tasks: int) -> None:
    scene.until(lambda: len(scene.books.journal()) >= 5 * tasks, f"{tasks} tasks have returned")


def _s19_expects(mode: Mode, variant: str) -> Expect:
    if variant == "kill" and mode is not Mode.ALWAYS:
        return Expect(missing=_RECORDS, dropped=None, duplicates=BATCH, unconfirmed=1)
    if variant == "hung":
        dropped = None if mode is Mode.MEMORY else 0
        return Expect(dropped=dropped, duplicates=3 * BATCH, exit_s=_EXIT_S)
    return Expect(exit_s=_EXIT_S, duplicates=BATCH if variant == "kill" else 0, unconfirmed=1)


@row(
    "S19",
    "Celery prefork",
    _s19_expects,
    seconds=12,
    variants=("warm", "recycled", "hung", "kill"),
    needs=modules("celery"),
)
def _s19(scene: Scene) -> None:
    recycled = ["--max-tasks-per-child", "5"] if scene.variant == "recycled" else []
    if scene.variant == "hung":
        scene.broker.hang()
    worker = _start(scene, "prefork", *recycled)
    _until_done(scene, _TASKS)
    if scene.variant == "kill":
        os.kill(_pool_child(scene, worker), signal.SIGKILL)  # its last records are younger than the linger
        # A pool whose child was killed with the lock of the queue in its hand never stops by itself.
        worker.send_all(signal.SIGKILL)
        scene.end(worker, is_timed=False)
        return
    scene.end(worker, signal.SIGTERM)


def _pool_child(scene: Scene, worker: Child) -> int:
    """Return a child of the pool that has logged."""
    logged = {path.name.split("-")[1] for path in scene.folder.glob("journal-*")}
    children = Path(f"/proc/{worker.pid}/task/{worker.pid}/children").read_text().split()
    return int(next(child for child in children if child in logged))


@row(
    "S20",
    "Celery threads, solo and gevent",
    same(Expect(exit_s=_CELERY_S + 1.0)),
    seconds=12,
    variants=("threads", "solo", "gevent"),
    needs={"": modules("celery"), "gevent": modules("gevent")},
)
def _s20(scene: Scene) -> None:
    worker = _start(scene, scene.variant)
    _until_done(scene, _TASKS)
    scene.end(worker, signal.SIGTERM)
