"""Console and log file in trouble."""

import gzip
import itertools
import json
import re
import subprocess
from pathlib import Path
from typing import Final

from tests.faults.expect import Expect
from tests.faults.matrix import Need, both, by_mode, command, modules, root, row, same
from tests.faults.scene import Scene

_KILLS: Final = 200
#: The kills end here on a machine that is too slow for all of them; fifty must have been made by then.
_KILLS_S: Final = 30.0
_KILLS_MIN: Final = 50
_BACKUPS: Final = 1_000
_WAYS: Final = ("setup_logging", "HubLog", "Django")
#: What stands where, and a part of the one warning that names it.
_PLACES: Final = {
    "pipe-log": "application.log is a named pipe (FIFO), not a file",
    "pipe-lock": ".__application.lock is a named pipe (FIFO), not a file",
    "link-log": "application.log is a symbolic link, not a file",
    "link-lock": ".__application.lock is a symbolic link, not a file",
    "lock-log": "holds a lock on",
    "lock-lock": "holds a lock on",
    "nolocks": "its file system has no file locks",
    "gone": "the working directory of the process was removed",
    "readonly": "Read-only file system",
}
#: All places by one way, and those that matter before the first record by each.
_DRIVEN: Final = (
    *((place, _WAYS[0]) for place in _PLACES),
    *itertools.product(("pipe-log", "readonly", "gone"), _WAYS[1:]),
)
#: Everything read-only but the folder of the run, which the journal needs: no temporary directory either.
_READ_ONLY: Final = """
mount --make-rprivate / && mount --bind "$1" "$1" && mount -o remount,ro,bind / || exit 90
for place in /tmp /var/tmp /dev/shm; do
    mount --rbind "$place" "$place" 2>/dev/null && mount -o remount,ro,bind "$place"
done
mount --bind "$1" "$1" 2>/dev/null && mount -o remount,rw,bind "$1"
cd / && shift && exec "$@"
"""
#: No log call waits so long for anything; by the time that it was not on the processor, in the median.
_WAIT_MAX_S: Final = 0.05


def _warnings(text: str) -> list[str]:
    return [line for line in text.splitlines() if "WARNING" in line and "The log file" in line]


def _mounts() -> str:
    tried = subprocess.run(["unshare", "-m", "true"], capture_output=True, check=False)
    return "" if tried.returncode == 0 else "file systems cannot be mounted here"


def _needs(place: str, way: str) -> Need:
    framework = modules(*{"HubLog": ("flask",), "Django": ("django",)}.get(way, ()))
    return both(framework, root, command("unshare"), _mounts) if place == "readonly" else framework


@row(
    "T10",
    "something else in place of the log file",
    by_mode(overflow=Expect()),
    variants=tuple(f"{place} {way}" for place, way in _DRIVEN),
    seconds=10,
    needs={f"{place} {way}": _needs(place, way) for place, way in _DRIVEN},
    has_control=False,
)
def _t10(scene: Scene) -> None:
    place, _, way = scene.variant.partition(" ")
    scene.settings |= {
        "LOG_DIR": str(scene.folder / "logs"),
        "FILE_LOGGING_ENABLED": "true",
        "LOG_TO_STDOUT": "true",
    }
    if place == "readonly":
        inner = [str(scene.folder), *scene.command("files", "misplaced", place, way)]
        outer = ["unshare", "-m", "sh", "-c", _READ_ONLY, "sh"]
        program = scene.start("files", [*outer, *inner], LOG_DIR="/var/hublog-row")
        status = scene.end(program, is_timed=False)
        scene.check(status == 0, f"it ended with {status}: {program.tail()}")
    else:
        program = scene.run("files", "misplaced", place, way)
    told = _warnings(program.text())
    scene.check(len(told) == 1 and _PLACES[place] in told[0], f"reported: {told}")
    found = re.search(r"^\{.*\}$", program.text(), re.MULTILINE)
    scene.check(found and json.loads(found[0])["waited_s"] < _WAIT_MAX_S, f"a log call waited: {found}")
    target = scene.folder / "target"
    scene.check(not target.exists() or target.read_text() == "mine", "what a link leads to was written")


@row(
    "T11",
    "standard output closed, full, or read by nobody",
    same(Expect()),
    variants=("closed", "full", "broken"),
    has_control=False,
)
def _t11(scene: Scene) -> None:
    logs = scene.folder / "logs"
    scene.settings |= {"LOG_DIR": str(logs), "FILE_LOGGING_ENABLED": "true", "LOG_TO_STDOUT": "true"}
    program = scene.run("files", "console", scene.variant)
    lines = (logs / "application.log").read_text().splitlines()
    told = [line for line in lines if "The console cannot be written" in line]
    scene.check(len(told) == 1, f"reported in the file: {told}")
    kept = [line for line in lines if '"fault_id":"console-' in line]
    scene.check(len(kept) == 500, f"{len(kept)} of 500 records are in the file")
    everywhere = program.text() + "".join(lines) + json.dumps(scene.broker.rows())
    scene.check("hunter" not in everywhere, "a secret was written")


@row(
    "T12",
    "kill -9 of writers of one log file",
    by_mode(overflow=Expect()),
    seconds=60,
    has_control=False,
)
def _t12(scene: Scene) -> None:
    logs = scene.folder / "logs"
    scene.settings |= {
        "LOG_DIR": str(logs),
        "FILE_LOGGING_ENABLED": "true",
        "FILE_LOG_MAX_BYTES": "300000",
        "FILE_LOG_BACKUP_COUNT": str(_BACKUPS),
    }
    program = scene.run("files", "killed", _KILLS, _KILLS_S, 1)
    found = re.search(r"kills (\d+)", program.text())
    kills = int(found[1]) if found else 0
    scene.check(kills >= _KILLS_MIN, f"only {kills} kills: {program.tail()}")
    scene.run("files", "next_start")
    ids, damaged = _read(logs)
    accepted = {
        f"{path.name.removeprefix('accepted-')}.{number}"
        for path in scene.folder.glob("accepted-*")
        for number in path.read_text().split()
    }
    scene.check(accepted, "nothing was logged")
    scene.check(accepted <= ids.keys(), f"lost: {sorted(accepted - ids.keys())[:5]}")
    twice = [id_ for id_, number in ids.items() if number > 1]
    scene.check(not twice, f"written twice: {twice[:5]}")
    scene.check(damaged <= kills, f"{damaged} lines are damaged by {kills} kills")
    odd = [
        path.name for path in logs.iterdir() if not re.fullmatch(r"application\.log(\.\d+\.gz)?", path.name)
    ]
    scene.check(odd == [".__application.lock"], f"left behind: {odd}")


def _read(logs: Path) -> tuple[dict[str, int], int]:
    """Return how often each record is in the files, and the number of lines that are no record."""
    ids: dict[str, int] = {}
    damaged = 0
    for path in logs.glob("application.log*"):
        content = path.read_bytes()
        for line in (gzip.decompress(content) if path.suffix == ".gz" else content).splitlines():
            try:
                id_ = json.loads(line).get("extra", {}).get("id", "")
            except ValueError:
                damaged += 1
                continue
            if id_:
                ids[id_] = ids.get(id_, 0) + 1
    return ids, damaged
