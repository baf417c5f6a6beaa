"""Section 3 of the matrix: uvicorn, hypercorn, daphne, gunicorn's ASGI worker."""

import signal
from typing import Final

from tests.faults.expect import BATCH, QUEUE, Expect, Mode
from tests.faults.matrix import modules, row
from tests.faults.rows.gunicorn_server import hang_under_load
from tests.faults.scene import EXIT_S, GRACE_S, Scene
from tests.faults.servers import daphne, gunicorn, hypercorn, uvicorn

_KEPT: Final = Expect(duplicates=2 * BATCH, exit_s=EXIT_S + GRACE_S)
_COUNTED: Final = Expect(dropped=None, duplicates=2 * BATCH, exit_s=EXIT_S + GRACE_S)
#: No exit hook runs, so nothing is written and nothing counted.
_LOST: Final = Expect(missing=QUEUE, dropped=None, duplicates=2 * BATCH, exit_s=EXIT_S + GRACE_S)
_HELP: Final = {
    "lifespan": {"FAULTS_LIFESPAN": "true"},
    "hook": {"EVENTHUB_LOG_FLUSH_ON_SIGTERM": "true"},
}


def _s15_expects(mode: Mode, variant: str) -> Expect:
    if mode is Mode.ALWAYS:
        return _KEPT
    if variant.startswith("bare"):
        return _LOST
    return _COUNTED if mode is Mode.MEMORY else _KEPT


@row(
    "S15",
    "uvicorn, sender hung, SIGTERM",
    _s15_expects,
    variants=("lifespan", "hook", "bare", "lifespan-2", "hook-2"),
    needs=modules("uvicorn"),
)
def _s15(scene: Scene) -> None:
    way, _, workers = scene.variant.partition("-")
    server = scene.serve(uvicorn("--workers", workers or "1"), **_HELP.get(way, {}))
    hang_under_load(scene, server)
    if way == "bare" and scene.mode is Mode.OVERFLOW:
        text = server.child.text()
        for name in ("lifespan", "EVENTHUB_LOG_FLUSH_ON_SIGTERM", "always"):
            scene.check(name in text, f"the start-up warning does not name {name}")
    status = scene.end(server.child, signal.SIGTERM)
    if not workers:
        scene.check(status == -signal.SIGTERM, f"the status is {status}, not that of the signal")


_COMMANDS: Final = {
    "hypercorn": hypercorn(),
    "daphne": daphne(),
    "gunicorn-asgi": gunicorn("-k", "asgi", app="asgi:app"),
    "gunicorn-uvicorn": gunicorn("-k", "uvicorn.workers.UvicornWorker", app="asgi:app"),
}


def _s16_expects(mode: Mode, variant: str) -> Expect:
    if mode is Mode.MEMORY:
        # hypercorn ends its other workers when the first one has ended, in the middle of their flush.
        return _LOST if variant == "hypercorn" else _COUNTED
    return _KEPT


@row(
    "S16",
    "hypercorn, daphne, ASGI under gunicorn, sender hung, SIGTERM",
    _s16_expects,
    seconds=10,
    variants=tuple(_COMMANDS),
    needs={
        "hypercorn": modules("hypercorn"),
        "daphne": modules("daphne"),
        "gunicorn-asgi": modules("gunicorn"),
        "gunicorn-uvicorn": modules("gunicorn", "uvicorn"),
    },
)
def _s16(scene: Scene) -> None:
    # uvicorn's worker ends by the signal, as uvicorn itself does.
    settings = _HELP["lifespan"] if scene.variant == "gunicorn-uvicorn" else {}
    server = scene.serve(_COMMANDS[scene.variant], **settings)
    hang_under_load(scene, server)
    scene.end(server.child, signal.SIGTERM)
