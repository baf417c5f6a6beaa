"""Section 3 of the matrix: gunicorn."""

import signal
from typing import Final

from tests.faults.expect import BATCH, QUEUE, Expect
from tests.faults.load import RECORDS_PER_REQUEST
from tests.faults.matrix import disk, modules, row, same
from tests.faults.scene import EXIT_S, GRACE_S, Scene, Server
from tests.faults.servers import BOOTING, gunicorn

_HEALTHY: Final = Expect(exit_s=1.0)
_HUNG_EXIT_S: Final = EXIT_S + GRACE_S
_WORKERS: Final = 2
_AT_IMPORT: Final = 20
#: In memory what a hung broker did not take is counted as dropped.
_COUNTED: Final = Expect(dropped=None, duplicates=_WORKERS * BATCH, exit_s=_HUNG_EXIT_S)
_KEPT: Final = Expect(duplicates=_WORKERS * BATCH, exit_s=_HUNG_EXIT_S)

_GUNICORN: Final = modules("gunicorn", "flask")
_GEVENT: Final = modules("gunicorn", "flask", "gevent")


def _serve_and_end(scene: Scene, *options: str, number: int = signal.SIGTERM, **settings: str) -> int:
    """Load a gunicorn, then end it; returns its process id."""
    server = scene.serve(gunicorn(*options), **settings)
    scene.finish(scene.load(server))
    scene.wait_for_boots(server.child)
    scene.end(server.child, number)
    scene.check(not server.child.members(), "processes of the server are left")
    return server.child.pid


def hang_under_load(scene: Scene, server: Server) -> None:
    """Load a server, and let the broker fall silent when a third of the load is delivered."""
    scene.finish(scene.load(server, requests=60))
    scene.until_delivered(60 * RECORDS_PER_REQUEST)
    scene.broker.hang()
    scene.finish(scene.load(server, requests=140))


def _check_import(scene: Scene, master: int) -> None:
    """Check that what the master logged came from the master, once."""
    arrived = [arrival for arrival in scene.broker.arrivals if arrival.id.startswith("import-")]
    scene.check(
        len({arrival.id for arrival in arrived}) == _AT_IMPORT,
        f"{len(arrived)} records of the import arrived, made were {_AT_IMPORT}",
    )
    strangers = {arrival.process_id for arrival in arrived} - {master}
    scene.check(not strangers, f"records of the master {master} came from {strangers}")


@row("S1", "gunicorn sync, SIGTERM after load", same(_HEALTHY), needs=_GUNICORN)
def _s1(scene: Scene) -> None:
    _serve_and_end(scene)


@row("S2", "gunicorn --preload, records logged at import", same(_HEALTHY), needs=_GUNICORN)
def _s2(scene: Scene) -> None:
    master = _serve_and_end(scene, "--preload", FAULTS_AT_IMPORT=str(_AT_IMPORT))
    _check_import(scene, master)


@row("S3", "gunicorn gthread", same(_HEALTHY), variants=("", "preload"), needs=_GUNICORN)
def _s3(scene: Scene) -> None:
    preload = ["--preload"] if scene.variant else []
    _serve_and_end(scene, "-k", "gthread", "--threads", "4", *preload)


@row("S4", "gunicorn gevent, a request with a burst", same(_HEALTHY), needs=_GEVENT)
def _s4(scene: Scene) -> None:
    server = scene.serve(gunicorn("-k", "gevent"))
    # Memory holds no more but for errors; the rest is for the others.
    burst = QUEUE if scene.has_spool else QUEUE * 4 // 5
    noisy = scene.load(server, requests=1, connections=1, query={"burst": burst})
    scene.finish(scene.load(server))
    scene.finish(noisy)
    scene.end(server.child, signal.SIGTERM)


@row("S5", "gunicorn gevent --preload, records logged at import", same(_HEALTHY), needs=_GEVENT)
def _s5(scene: Scene) -> None:
    master = _serve_and_end(scene, "-k", "gevent", "--preload", FAULTS_AT_IMPORT=str(_AT_IMPORT))
    _check_import(scene, master)


@row("S6", "gunicorn recycles workers", same(_HEALTHY), seconds=12, needs=_GUNICORN)
def _s6(scene: Scene) -> None:
    _serve_and_end(scene, "--max-requests", "20")
    lives = scene.books.processes()
    scene.check(len(lives) >= 8, f"only {len(lives)} processes kept a book")


_S7_HUNG: Final = disk(
    Expect(duplicates=_WORKERS * BATCH, exit_s=_HUNG_EXIT_S),
    memory=Expect(missing=QUEUE, dropped=None, duplicates=_WORKERS * BATCH, exit_s=_HUNG_EXIT_S),
)


@row(
    "S7",
    "gunicorn worker time-out",
    lambda mode, variant: (_S7_HUNG if variant else same(Expect(exit_s=_HUNG_EXIT_S)))(mode, variant),
    seconds=12,
    variants=("", "hung"),
    needs=_GUNICORN,
)
def _s7(scene: Scene) -> None:
    server = scene.serve(gunicorn("--timeout", "2", workers=1))
    scene.finish(scene.load(server, requests=20))
    if scene.variant:
        scene.broker.hang()
    scene.finish(scene.load(server, requests=20))
    hanging = scene.load(server, requests=1, connections=1, query={"sleep": 30}, timeout_s=10)
    server.child.wait_for_text("WORKER TIMEOUT", scene.left_s)
    scene.until(lambda: server.child.text().count(BOOTING) >= 2, "a new worker was started")
    scene.wait_for_boots(server.child)
    hanging.stop()
    scene.end(server.child, signal.SIGTERM)


@row("S8", "gunicorn reload, growth, shrink under load", same(_HEALTHY), seconds=20, needs=_GUNICORN)
def _s8(scene: Scene) -> None:
    server = scene.serve(gunicorn())
    load = scene.load(server, requests=400)
    load.reached(50, scene.left_s)
    server.child.send(signal.SIGHUP)
    load.reached(100, scene.left_s)
    for number, workers in ((signal.SIGTTIN, 12), (signal.SIGTTOU, 2)):
        for _ in range(10):
            before = server.child.text().count("Handling signal")
            server.child.send(number)
            scene.until(
                lambda seen=before: server.child.text().count("Handling signal") > seen,
                "the signal was taken",
            )
        scene.until(lambda wanted=workers: len(server.child.members()) == wanted + 1, f"{workers} workers")
        scene.wait_for_boots(server.child)
    scene.finish(load)
    scene.end(server.child, signal.SIGTERM)


def _hang_and_end(scene: Scene, *options: str, **settings: str) -> None:
    server = scene.serve(gunicorn(*options), **settings)
    hang_under_load(scene, server)
    scene.end(server.child, signal.SIGTERM)


@row("S9", "gunicorn, sender hung, SIGTERM", disk(_KEPT, memory=_COUNTED), seconds=10, needs=_GUNICORN)
def _s9(scene: Scene) -> None:
    _hang_and_end(scene)


@row(
    "S10",
    "gunicorn, grace shorter than the exit budget",
    disk(
        Expect(duplicates=_WORKERS * BATCH),
        memory=Expect(missing=QUEUE, dropped=None, duplicates=_WORKERS * BATCH),
    ),
    seconds=10,
    needs=_GUNICORN,
)
def _s10(scene: Scene) -> None:
    _hang_and_end(scene, "--graceful-timeout", "1", EVENTHUB_LOG_EXIT_TIMEOUT="5")


@row("S11", "gunicorn, SIGQUIT and SIGINT", same(_HEALTHY), variants=("quit", "int"), needs=_GUNICORN)
def _s11(scene: Scene) -> None:
    _serve_and_end(scene, number=signal.SIGQUIT if scene.variant == "quit" else signal.SIGINT)
