"""Section 7 of the matrix: a spool that cannot be written, is damaged by others, or is too small."""

import os
import shutil
import signal
import stat
import time
from typing import Final

from tests.faults import segments
from tests.faults.children import wait_until
from tests.faults.expect import Expect, Mode
from tests.faults.machine import limit_files, mount_image, mount_small_disk, run
from tests.faults.matrix import both, by_mode, command, disk, root, row
from tests.faults.rows.broker_faults import until_logged
from tests.faults.rows.spool_files import segment_bytes
from tests.faults.scene import Scene

_QUICK: Final = {"EVENTHUB_LOG_CIRCUIT_COOLDOWN": "1", "EVENTHUB_LOG_CIRCUIT_THRESHOLD": "1"}
_MIB: Final = 1 << 20
_LIMIT: Final = 2 * _MIB
_WRITERS: Final = 8


@row(
    "D2",
    "power loss",
    by_mode(always=Expect(unconfirmed=1)),
    seconds=15,
    variants=("batch", "interval", "none"),
    needs=both(root, command("mkfs.ext4"), command("losetup")),
    has_control=False,
)
def _d2(scene: Scene) -> None:
    image, copy = scene.folder / "disk.img", scene.folder / "copy.img"
    mount_image(scene.cleanup, image, scene.spool, mib=64)
    scene.broker.refuse()
    program = scene.program("steady", 0, 2_000, EVENTHUB_LOG_SPOOL_SYNC=scene.variant, **_QUICK)
    until_logged(scene, 3_000)
    written = set(scene.books.journal())
    if scene.variant == "interval":
        begin = time.monotonic()
        scene.until(lambda: time.monotonic() - begin > 1.0, "the records are a second old")
    run("cp", "--sparse=always", image, copy)  # what had reached the device
    program.send(signal.SIGKILL)
    program.wait(scene.left_s)
    after = scene.folder / "after"
    mount_image(scene.cleanup, copy, after, mib=0)
    found = {str(row["extra"]["fault_id"]) for row in segments.unsettled(after)}
    wrong = found - set(scene.books.journal())
    scene.check(len(wrong) <= 1, f"{len(wrong)} records on the device were never written")
    lost = written - found if scene.variant != "none" else set()
    scene.check(not lost, f"{len(lost)} of {len(written)} records had not reached the device")


@row(
    "D4",
    "files may not grow beyond 2 MiB",
    by_mode(always=Expect()),
    seconds=8,
    variants=("ignored", "default"),
    has_control=False,
)
def _d4(scene: Scene) -> None:
    scene.broker.refuse()
    program = scene.start(
        "limited",
        scene.command("surroundings", "limited", scene.variant),
        options={"preexec_fn": limit_files(_LIMIT)},
        **_QUICK,
    )
    program.wait_for_text("all logged", scene.left_s)
    stored = len(scene.books.ledger().stored_ids)
    scene.check(stored == 8_000, f"{stored} of 8000 records are on disk")
    program.tell()
    scene.end(program, is_timed=False)


@row(
    "D6",
    "a spool root that cannot be written",
    # What somebody removes that was not sent yet is lost, and counted.
    lambda mode, variant: (
        None if mode is Mode.MEMORY else Expect(dropped=None if variant == "removed" else 0)
    ),
    seconds=10,
    variants=("file", "read-only", "removed"),
    needs={"read-only": root},
    has_control=False,
)
def _d6(scene: Scene) -> None:
    if scene.variant == "file":
        scene.spool.write_text("somebody else's")
    if scene.variant == "read-only":
        mount_small_disk(scene.cleanup, scene.spool, mib=1, options=",ro")
    program = scene.program("steady", 0, 300, FAULTS_FLUSH_S="10", **_QUICK)
    scene.until_delivered(300)
    if scene.variant == "removed":
        shutil.rmtree(scene.spool, ignore_errors=True)
        scene.until_delivered(900)
    else:
        warnings = [line for line in program.text().splitlines() if line.startswith("WARNING hublog")]
        scene.check(len(warnings) == 1, f"{len(warnings)} warnings tell of the spool: {warnings}")
    if scene.variant == "file":
        scene.spool.unlink()
    program.tell()
    scene.end(program, is_timed=False)


@row(
    "D8",
    "the same process id in two containers on one volume",
    by_mode(always=Expect()),
    seconds=10,
    needs=both(root, command("unshare")),
    has_control=False,
)
def _d8(scene: Scene) -> None:
    scene.broker.refuse()
    unshare = ["unshare", "--pid", "--fork", "--kill-child"]
    programs = [
        scene.start(
            "contained",
            [*unshare, *scene.command("steady", 500)],
            FAULTS_NAME=f"container{number}",
            FAULTS_FLUSH_S="20",
            **_QUICK,
        )
        for number in range(2)
    ]
    for program in programs:
        program.wait_for_text("all logged", scene.left_s)
    wait_until(lambda: False, 2.0)  # as long as an adoption may take
    owners = segments.read_root(scene.spool)
    alive = [sum(1 for _ in owner.lines()) for owner in owners if owner.is_alive]
    scene.check(sorted(alive) == [500, 500], f"the living owners have {alive} records on disk")
    scene.broker.heal()
    for program in programs:
        program.tell()
        scene.end(program, is_timed=False)


_HOSTILE: Final = b"cos\nsystem\n(S'touch taken'\ntR."


@row("D9", "segments of another version and of strangers", disk(Expect(is_drained=False)), has_control=False)
def _d9(scene: Scene) -> None:
    strange = {"00000001.seg": b"hublog\x00\x7f" + bytes(range(256)), "00000002.seg": _HOSTILE}
    damaged = segments.OLD_MAGIC + segments.FRAME.pack(len(_HOSTILE), 0) + _HOSTILE
    scene.is_left_alone = True  # strange segments stay where they are
    # A directory is written by one process, so by one version.
    for folder, files in (
        ("000001a208b4f658-5f0c9a31", strange),
        ("000001a208b4f659-5f0c9a32", {"00000001.seg": damaged}),
    ):
        path = scene.spool / folder
        path.mkdir(parents=True)
        (path / "lock").touch()
        for name, content in files.items():
            (path / name).write_bytes(content)
    program = scene.program("revive")
    scene.until_delivered(1)
    wait_until(lambda: False, 2.0)  # as long as an adoption may take
    program.tell()
    scene.end(program, is_timed=False)
    for name, content in strange.items():
        left = list(scene.spool.rglob(name))
        scene.check(
            any(path.read_bytes() == content for path in left),
            f"{name} of a stranger is gone or changed",
        )
    warnings = [line for line in program.text().splitlines() if line.startswith("WARNING hublog")]
    told = [line for line in warnings if "another version" in line]
    scene.check(len(told) == 1, f"strangers are told {len(told)} times: {warnings}")
    # The damaged one is of this version.
    scene.check(len(warnings) == 2, f"{len(warnings)} warnings: {warnings}")
    scene.check(not list(scene.folder.rglob("taken")), "something on disk was evaluated")


@row(
    "D10",
    "many processes reach the bound together",
    disk(Expect(dropped=None)),
    seconds=15,
    has_control=False,
)
def _d10(scene: Scene) -> None:
    scene.broker.refuse()
    bound = 16 * _MIB
    scene.settings.update(EVENTHUB_LOG_SPOOL_BYTES=str(bound), EVENTHUB_LOG_QUEUE_SIZE="500", **_QUICK)
    programs = [
        scene.start("bound", scene.command("surroundings", "bound"), FAULTS_NAME=f"writer{number}")
        for number in range(_WRITERS)
    ]
    for program in programs:
        program.wait_for_text("all logged", scene.left_s)
    held = segment_bytes(scene.spool)
    scene.check(held <= bound + _WRITERS * _MIB, f"{held / _MIB:.1f} MiB lie in a spool of 16 MiB")
    scene.check(
        held > bound / 2 or scene.mode is Mode.OVERFLOW, f"only {held / _MIB:.1f} MiB lie in the spool"
    )
    for program in programs:
        program.tell()
        scene.end(program, is_timed=False)


@row("D11", "modes of files and directories", disk(Expect()), has_control=False)
def _d11(scene: Scene) -> None:
    scene.broker.refuse()
    program = scene.start(
        "steady", scene.command("steady", 500), options={"preexec_fn": lambda: os.umask(0)}, **_QUICK
    )
    program.wait_for_text("all logged", scene.left_s)
    program.tell()
    scene.end(program, is_timed=False)
    found = list(scene.spool.rglob("*"))
    scene.check(found, "nothing is on disk")
    for path in [scene.spool, *found] if found else []:
        mode = stat.S_IMODE(path.stat().st_mode)
        wanted = 0o700 if path.is_dir() else 0o600
        scene.check(mode == wanted, f"{path.name} has the mode {mode:o}")
