"""Records of several destinations in one spool, and settings that change while records wait."""

import os
import signal
import struct
import sys
import zlib
from pathlib import Path
from typing import Final

from tests.faults import segments
from tests.faults.broker import AUDIT, HUB
from tests.faults.children import Child
from tests.faults.expect import EVENT, Expect, Mode
from tests.faults.matrix import row
from tests.faults.scene import Scene

_QUICK: Final = {"EVENTHUB_LOG_CIRCUIT_COOLDOWN": "1", "EVENTHUB_LOG_CIRCUIT_THRESHOLD": "1"}
_COUNT: Final = 300
#: The former life is killed, or ends as it should.
_ENDS: Final = ("kill", "exit")


def _expects(mode: Mode, variant: str) -> Expect | None:
    is_kill = variant.endswith("kill") or variant == "versions"
    if mode is Mode.MEMORY or (mode is Mode.OVERFLOW and is_kill):
        return None  # what is younger than a send dies with its process there
    return Expect(duplicates=EVENT if is_kill else 0, unconfirmed=2 if is_kill else 0)


def at_wrong_hub(scene: Scene) -> list[str]:
    """Return what arrived at another event hub than the one it was logged for."""
    return [
        f"{arrival.id} at {arrival.hub}"
        for arrival in scene.broker.arrivals
        if "@" in arrival.id and not arrival.id.endswith(f"@{arrival.hub}")
    ]


def live_and_end(scene: Scene, end: str, *hubs: str, name: str) -> None:
    """Log to these event hubs while none can be reached, in one process, and end."""
    program = scene.program("hubs", _COUNT, *hubs, FAULTS_NAME=name, **_QUICK)
    program.wait_for_text("all logged", scene.left_s)
    if end == "kill":
        program.send(signal.SIGKILL)
    else:
        program.tell()
    program.wait(scene.left_s)


def live_on(scene: Scene, *hubs: str, name: str) -> Child:
    """Start a process that logs to these event hubs, and wait until its own records have arrived."""
    program = scene.program("hubs", 1, *hubs, FAULTS_NAME=name, **_QUICK)
    came = scene.broker.wait_for_ids([f"{name}-0@{hub}" for hub in hubs], scene.left_s)
    scene.check(came, f"the records of {name} did not arrive")
    return program


def stored_for(scene: Scene, hub: str) -> list[str]:
    """Return the ids on disk that were logged for an event hub."""
    return [id_ for id_ in scene.books.ledger().stored_ids if id_.endswith(f"@{hub}")]


def finish(scene: Scene, *programs: Child) -> None:
    """End programs, and see that each record arrived where it was logged for."""
    scene.check(scene.broker.wait_for_ids(scene.books.journal(), scene.left_s), "not all records arrived")
    for program in programs:
        program.tell()
        program.wait(scene.left_s)
    wrong = at_wrong_hub(scene)
    scene.check(not wrong, f"{len(wrong)} records arrived at the wrong event hub: {wrong[:5]}")


@row(
    "T1",
    "two destinations, one spool root",
    _expects,
    seconds=15,
    variants=(
        *(f"handlers-{end}" for end in _ENDS),
        *(f"applications-{end}" for end in _ENDS),
        *(f"changed-{end}" for end in _ENDS),
        "versions",
    ),
    has_control=False,
)
def _t1(scene: Scene) -> None:
    kind, _, end = scene.variant.partition("-")
    scene.broker.refuse()
    {"handlers": _handlers, "applications": _applications, "changed": _changed, "versions": _versions}[kind](
        scene, end
    )


def _handlers(scene: Scene, end: str) -> None:
    """Two handlers of one process, whose spool is the same: two lives without a hub, one with it."""
    live_and_end(scene, end, HUB, AUDIT, name="first")
    live_and_end(scene, end, HUB, AUDIT, name="second")
    scene.broker.heal()
    finish(scene, live_on(scene, HUB, AUDIT, name="third"))


def _applications(scene: Scene, end: str) -> None:
    """Two applications: the one that comes back first leaves alone what the other one has logged."""
    live_and_end(scene, end, HUB, name="shop")
    live_and_end(scene, end, AUDIT, name="audit")
    scene.broker.heal()
    shop = live_on(scene, HUB, name="shop-again")
    mine = [id_ for id_ in scene.books.journal() if id_.endswith(f"@{HUB}")]
    scene.check(scene.broker.wait_for_ids(mine, scene.left_s), "the records of the shop did not arrive")
    _check_left(scene, AUDIT)
    finish(scene, shop, live_on(scene, AUDIT, name="audit-again"))


def _changed(scene: Scene, end: str) -> None:
    """An application whose event hub was changed while records of the former one waited."""
    live_and_end(scene, end, HUB, name="former")
    live_and_end(scene, end, AUDIT, name="later")
    scene.broker.heal()
    later = live_on(scene, AUDIT, name="later-again")
    mine = [id_ for id_ in scene.books.journal() if id_.endswith(f"@{AUDIT}")]
    scene.check(scene.broker.wait_for_ids(mine, scene.left_s), "the records of the new event hub are missing")
    _check_left(scene, HUB)
    command = [sys.executable, "-m", "hublog", "spool", "drain"]
    drain = scene.start("drain", command, EVENTHUB_LOGS_NAME=HUB)
    scene.check(drain.wait(scene.left_s) == 0, f"drain failed: {drain.text()}")
    finish(scene, later)


def _check_left(scene: Scene, hub: str) -> None:
    """See that what nobody here sends is all there, and is reported."""
    stored = stored_for(scene, hub)
    scene.check(len(stored) >= _COUNT, f"only {len(stored)} records for {hub} are on disk")
    other = AUDIT if hub == HUB else HUB
    status = scene.start("status", [sys.executable, "-m", "hublog", "status"], EVENTHUB_LOGS_NAME=other)
    scene.check(status.wait(scene.left_s) == 1, "status finds nothing wrong")
    wanted = f"{len(stored)} orphaned records waiting for event hub {hub} of "
    scene.check(wanted in status.text(), f"status does not name {hub}: {status.text()}")


def _versions(scene: Scene, _: str) -> None:
    """Segments of an older version name no destination and are sent; those of a newer one are left."""
    live_and_end(scene, "kill", HUB, AUDIT, name="current")
    ids = [f"older-{number}" for number in range(_COUNT)]
    older = _leave(scene.spool, segments.OLD_MAGIC, 1, ids)
    newer = _leave(scene.spool, segments.MAGIC[:-1] + b"\x03", 2, ["newer"])
    before = newer.read_bytes()
    scene.accept(ids)
    scene.broker.heal()
    program = live_on(scene, HUB, AUDIT, name="again")
    scene.check(scene.broker.wait_for_ids(ids, scene.left_s), "not all of the older version arrived")
    finish(scene, program)
    warnings = [line for line in program.text().splitlines() if "of an older version of hublog" in line]
    scene.check(len(warnings) == 1, f"{len(warnings)} warnings tell of the older version: {warnings}")
    scene.check(not older.exists(), "what the older version left is still there")
    scene.check(newer.read_bytes() == before, "what a newer version left was changed")
    scene.is_left_alone = True


def _leave(root: Path, head: bytes, number: int, ids: list[str]) -> Path:
    """Leave a segment as a dead process of another version; returns its file."""
    folder = root / f"{number:016x}-{os.getpid():08x}"
    folder.mkdir(0o700)
    (folder / "lock").write_bytes(bytes(segments.CURSOR.size))
    path = folder / "00000001.seg"
    lines = [
        b'{"message":"record","record_id":"%s","process_id":1,"sequence":%d,"extra":{"fault_id":"%s"}}'
        % (id_.encode(), place, id_.encode())
        for place, id_ in enumerate(ids)
    ]
    path.write_bytes(
        head + b"".join(struct.pack("<II", len(line), zlib.crc32(line)) + line for line in lines)
    )
    return path


_CHANGES: Final = {
    "directory": {"EVENTHUB_LOG_SPOOL_DIR": "later"},
    "hub": {"EVENTHUB_LOGS_NAME": AUDIT},
    "both": {"EVENTHUB_LOGS_NAME": AUDIT, "EVENTHUB_LOG_SPOOL_DIR": "later"},
    "packing": {"EVENTHUB_LOG_PACKING": "gzip"},
    "mode": {"EVENTHUB_LOG_SPOOL": "always"},
}


def _t2_expects(mode: Mode, variant: str) -> Expect | None:
    change, _, end = variant.partition("-")
    if end == "killed":
        return Expect(duplicates=EVENT, unconfirmed=1) if mode is Mode.ALWAYS else None
    return None if change == "mode" and mode is Mode.ALWAYS else Expect()


@row(
    "T2",
    "settings change after the first record",
    _t2_expects,
    seconds=15,
    variants=tuple(f"{change}-{end}" for change in _CHANGES for end in ("available", "refused", "killed")),
    has_control=False,
)
def _t2(scene: Scene) -> None:
    change, _, end = scene.variant.partition("-")
    wanted = dict(_CHANGES[change])
    if "EVENTHUB_LOG_SPOOL_DIR" in wanted:
        wanted["EVENTHUB_LOG_SPOOL_DIR"] = str(scene.folder / wanted["EVENTHUB_LOG_SPOOL_DIR"])
    changes = [f"{name}={value}" for name, value in wanted.items()]
    if end != "available":
        scene.broker.refuse()

    def start(name: str, flush_s: float) -> Child:
        settings = {"EVENTHUB_LOGS_NAME": HUB, "FAULTS_NAME": name, "FAULTS_FLUSH_S": str(flush_s)}
        program = scene.program("changed", _COUNT, *changes, **settings, **_QUICK)
        program.wait_for_text("all logged", scene.left_s)
        return program

    program = start("first", 0.1 if end != "available" else scene.left_s)
    is_flushed = end == "available"
    first = f"flush {is_flushed}, {0 if is_flushed else 2 * _COUNT} held, 0 unaccounted"
    scene.check(first in program.text(), f"not {first!r}: {program.text()}")
    if end == "killed":
        program.send(signal.SIGKILL)
        program.wait(scene.left_s)
        scene.broker.heal()
        program = start("second", scene.left_s)
    scene.broker.heal()
    finish(scene, program)
    last = [line for line in program.text().splitlines() if line.startswith("flush ")][-1]
    scene.check(last == "flush True, 0 held, 0 unaccounted", f"the books at the end: {last}")
    left = segments.dead_segments(scene.folder / "later")
    scene.check(not left, f"{len(left)} segments are left in the other directory")
