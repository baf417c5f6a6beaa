"""Section T of the matrix: greenlets in a process whose first record came before it was patched."""

import re
import signal
from typing import Final

from tests.faults.expect import BATCH, Expect
from tests.faults.matrix import modules, row, same
from tests.faults.scene import Scene
from tests.faults.servers import gunicorn

_CLEAN: Final = Expect()  # how long a gevent worker takes to end is the server's
_LIVES: Final = 4
#: As the documentation has it: the worker's first record, "Booting worker", comes before it patches anything.
_CONFIG: Final = {
    "version": 1,
    "disable_existing_loggers": False,
    "handlers": {
        "stderr": {"class": "logging.StreamHandler", "formatter": "generic", "stream": "ext://sys.stderr"},
        "eventhub": {"class": "hublog.EventHubHandler"},
    },
    "loggers": {"gunicorn.error": {"level": "INFO", "handlers": ["stderr", "eventhub"]}},
    "root": {"handlers": []},
}


@row(
    "T9",
    "gunicorn gevent, the first record came before it patched",
    same(_CLEAN),
    seconds=30,
    variants=("", "preload"),
    needs=modules("gunicorn", "flask", "gevent"),
)
def _t9(scene: Scene) -> None:
    config = scene.folder / "gunicorn.conf.py"
    config.write_text(f"from booted import post_worker_init\nlogconfig_dict = {_CONFIG!r}\n")
    preload = ["--preload"] if scene.variant else []
    for _ in range(_LIVES):
        server = scene.serve(gunicorn("-k", "gevent", "--config", str(config), "--timeout", "10", *preload))
        scene.finish(scene.load(server, timeout_s=8))
        scene.end(server.child, signal.SIGTERM)
        text = server.child.text()
        scene.check("WORKER TIMEOUT" not in text, f"a worker answered nothing: {server.child.tail()}")


#: No greenlet runs meanwhile; what it is about are waits without an end.
_GAP_S: Final = 3.0
_PATCHES: Final = ("gevent", "eventlet", "gevent-hang", "eventlet-hang")


@row(
    "T15",
    "a program is patched after its first record, while the client is loaded or hangs",
    lambda mode, variant: Expect(duplicates=BATCH if variant.endswith("hang") else 0),
    seconds=20,
    variants=_PATCHES,
    needs={name: modules(name.partition("-")[0]) for name in _PATCHES},
)
def _t15(scene: Scene) -> None:
    kind, _, hangs = scene.variant.partition("-")
    fault = scene.broker.faults.add("silent", times=None) if hangs else None
    settings = {"EVENTHUB_LOG_SEND_TIMEOUT": "2", "EVENTHUB_LOG_CIRCUIT_COOLDOWN": "1"}
    program = scene.program("late", kind, *filter(None, [hangs]), **settings)
    if fault is not None and not scene.is_control:
        fault.wait(scene.left_s)
    program.wait_for_text("logged", scene.left_s)
    program.tell()
    if fault is not None:
        scene.until(lambda: len(scene.books.journal()) >= 400, "the greenlets log although a send hangs")
        scene.broker.faults.clear()
    status = scene.end(program, is_timed=False)
    found = re.search(r"^flushed ([\d.]+)$", program.text(), re.MULTILINE)
    scene.check(status == 0 and found, f"it ended with {status}: {program.tail()}")
    scene.check(found is None or float(found[1]) < _GAP_S, f"no greenlet ran for {found and found[1]} s")
    scene.check("Traceback" not in program.text(), program.tail())
