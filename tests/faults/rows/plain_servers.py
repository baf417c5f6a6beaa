"""Section 3 of the matrix: servers and programs that leave SIGTERM at its default action; reloaders."""

import os
import shutil
import signal
from pathlib import Path
from typing import Final

from tests.faults.children import StuckError, wait_until
from tests.faults.expect import BATCH, Expect, Mode
from tests.faults.load import RECORDS_PER_REQUEST
from tests.faults.matrix import modules, row, same
from tests.faults.scene import APPS, EXIT_S, GRACE_S, Scene
from tests.faults.servers import flask, runserver, waitress

#: Records of one linger and one send at the speed of the load, and more.
_YOUNG: Final = 5 * BATCH
_SERVERS: Final = {"waitress": waitress(), "flask": flask()}
_MODULES: Final = {
    "waitress": ("waitress", "flask"),
    "waitress-hook": ("waitress", "flask"),
    "flask": ("flask",),
}
#: A reloader looks each second.
_TICK_S: Final = 1.5
_PROJECT: Final = ("wsgi.py", "djangoapp.py", "probe.py", "touched.py")


def _s17_expects(mode: Mode, variant: str) -> Expect:
    if mode is Mode.ALWAYS or variant.endswith("hook"):
        return Expect(duplicates=BATCH, exit_s=EXIT_S + GRACE_S)
    return Expect(missing=_YOUNG, exit_s=1.0, unconfirmed=1)


@row(
    "S17",
    "SIGTERM with its default action",
    _s17_expects,
    variants=("waitress", "flask", "script", "waitress-hook", "script-hook"),
    needs={name: modules(*found) for name, found in _MODULES.items()},
)
def _s17(scene: Scene) -> None:
    name, _, hook = scene.variant.partition("-")
    settings = {"EVENTHUB_LOG_FLUSH_ON_SIGTERM": "true"} if hook else {}
    if name == "script":
        child = scene.program("steady", 0, 500, **settings)  # 500 a second until it is told to end
        scene.until(lambda: len(scene.books.journal()) >= _YOUNG, "the program logs")
    else:
        server = scene.serve(_SERVERS[name], **settings)
        child = server.child
        scene.finish(scene.load(server, requests=60))
        scene.until_delivered(60 * RECORDS_PER_REQUEST)  # the first connection takes longer than the linger
        scene.finish(scene.load(server, requests=60))
    status = scene.end(child, signal.SIGTERM)
    # waitress turns the signal into an exit of its own in some versions
    scene.check(name == "waitress" or status == -signal.SIGTERM, f"the status is {status}")


@row(
    "S18",
    "reloaders of Django and Flask, a file touched twice, then Ctrl-C",
    # What a request's thread logs while its process ends is on disk, and may be under way as well.
    same(Expect(duplicates=BATCH, exit_s=EXIT_S + GRACE_S)),
    seconds=12,
    variants=("django", "flask"),
    needs={"django": modules("django"), "flask": modules("flask")},
)
def _s18(scene: Scene) -> None:
    for name in _PROJECT:
        shutil.copy(APPS / name, scene.folder)
    command = runserver() if scene.variant == "django" else flask("--debug")
    server = scene.serve(command, PYTHONPATH=_without_apps(scene), PYTHONDONTWRITEBYTECODE="1")
    load = scene.load(server, requests=150, query={"sleep": 0.05})
    for answered in (30, 60):
        load.reached(answered, scene.left_s)
        _touch_until_reloaded(scene, server.child.pid)
    scene.finish(load)
    watching = server.child.pid
    server.child.send_all(signal.SIGINT)  # as a terminal does
    scene.end(server.child)
    scene.check(not server.child.members(), "processes of the server are left")
    outer = [book for book in scene.books.processes() if book["pid"] == watching]
    scene.check(
        not any("hublog" in book["threads"] for book in outer), "the watching process has a worker thread"
    )


def _touch_until_reloaded(scene: Scene, outer: int) -> None:
    """Touch a file again and again: a reloader that has just started does not see the first time."""
    before = _inner(outer)
    path = scene.folder / "touched.py"

    def is_reloaded() -> bool:
        return _inner(outer) not in (before, set())

    while not wait_until(is_reloaded, _TICK_S):
        stamp = path.stat().st_mtime + 1
        os.utime(path, (stamp, stamp))
        if scene.is_over:
            raise StuckError(f"The reloader did not see {path.name}.\n{scene.stacks()}")


def _inner(outer: int) -> set[int]:
    children = Path(f"/proc/{outer}/task/{outer}/children")
    return set(map(int, children.read_text().split())) if children.exists() else set()


def _without_apps(scene: Scene) -> str:
    """Return the path without the applications: the copies in the folder are what is watched."""
    parts = scene.environ()["PYTHONPATH"].split(os.pathsep)
    return os.pathsep.join(part for part in parts if part != str(APPS))
