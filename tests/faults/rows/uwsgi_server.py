"""Section 3 of the matrix: uWSGI."""

import importlib.metadata
import signal
from typing import Final

from tests.faults.children import Child, wait_until
from tests.faults.expect import BATCH, Expect
from tests.faults.matrix import both, by_mode, command, disk, modules, row
from tests.faults.scene import EXIT_S, GRACE_S, Scene
from tests.faults.servers import uwsgi

_OPTIONS: Final = {
    "threads-on": ("--enable-threads",),
    "lazy-apps": ("--enable-threads", "--lazy-apps"),
    "fork-hooks": ("--enable-threads", "--py-call-uwsgi-fork-hooks"),
    "threads-4": ("--threads", "4"),
}
#: uWSGI skips the exit hooks of a worker that has not left its last request yet, though that was answered:
#: what is younger than the linger is lost then, by each of the two workers.
_LINGER: Final = Expect(missing=2 * BATCH, exit_s=EXIT_S + GRACE_S)
_KEPT: Final = Expect(exit_s=EXIT_S + GRACE_S)


_NEEDS: Final = both(command("uwsgi"), modules("flask"))


@row(
    "S12",
    "uWSGI, SIGTERM after load",
    by_mode(memory=_LINGER, overflow=_LINGER, always=_KEPT),
    variants=tuple(_OPTIONS),
    needs=_NEEDS,
)
def _s12(scene: Scene) -> None:
    server = scene.serve(uwsgi(*_OPTIONS[scene.variant]))
    scene.finish(scene.load(server))
    scene.end(server.child, signal.SIGTERM)


@row(
    "S13",
    "uWSGI recycles workers or skips their exit hooks",
    by_mode(
        # Ten lives, each of which may lose what is younger than the linger and a send.
        memory=Expect(missing=10 * BATCH),
        overflow=Expect(missing=10 * BATCH),
        always=Expect(duplicates=10 * BATCH),
    ),
    seconds=15,
    variants=("max-requests", "skip-atexit"),
    needs=_NEEDS,
)
def _s13(scene: Scene) -> None:
    # A worker lives ten seconds at least unless it is told otherwise.
    options = ("--max-requests", "20", "--min-worker-lifetime", "1")
    if scene.variant == "skip-atexit":
        options = ("--skip-atexit",)
    server = scene.serve(uwsgi("--enable-threads", *options))
    scene.finish(scene.load(server))
    # A master that respawns a worker while it is told to end waits for that one for ever, with us or without.
    scene.check(
        wait_until(lambda: _is_settled(server.child), scene.left_s), "the workers do not come to rest"
    )
    scene.end(server.child, signal.SIGTERM)


def _is_settled(child: Child) -> bool:
    text = child.text()
    return text.count("The work of process") == text.count("Respawned uWSGI worker")


def _threads_can_be_off() -> str:
    try:
        release = tuple(int(part) for part in importlib.metadata.version("pyuwsgi").split(".")[:3])
    except (ValueError, importlib.metadata.PackageNotFoundError):
        return "which uWSGI this is cannot be told"
    return "" if release < (2, 0, 27) else "this uWSGI cannot be run without threads; pyuwsgi < 2.0.27 can"


@row(
    "S14",
    "uWSGI without threads",
    disk(Expect(exit_s=EXIT_S + GRACE_S), memory=Expect(missing=2 * BATCH, exit_s=EXIT_S + GRACE_S)),
    needs=both(_NEEDS, _threads_can_be_off),
)
def _s14(scene: Scene) -> None:
    server = scene.serve(uwsgi())
    scene.finish(scene.load(server))
    scene.check(
        server.child.text().count("enable-threads") >= 1, "no warning names the option enable-threads"
    )
    scene.end(server.child, signal.SIGTERM)
