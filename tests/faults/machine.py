"""What rows do to the machine, and put right again: small disks, limits, damage."""

import os
import random
import resource
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from tests.faults.segments import FRAME, MAGIC, read_segment

SECTOR: Final = 512


def run(*command: object) -> None:
    """Run a command of the system; its standard error is shown if it fails."""
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    if done.returncode:
        raise OSError(f"{' '.join(map(str, command))}: {done.stderr.strip()}")


def mount_small_disk(cleanup: ExitStack, path: Path, *, mib: int, options: str = "") -> None:
    """Mount a file system in memory of a few MiB; it is unmounted with the scene."""
    path.mkdir(parents=True, exist_ok=True)
    run("mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=700{options}", "tmpfs", path)
    cleanup.callback(run, "umount", "--lazy", path)


def mount_image(cleanup: ExitStack, image: Path, path: Path, *, mib: int) -> None:
    """Mount an ext4 image; it is made when ``mib`` is not 0."""
    path.mkdir(parents=True, exist_ok=True)
    if mib:
        with image.open("wb") as file:
            file.truncate(mib << 20)
        run("mkfs.ext4", "-q", "-F", image)
    run("mount", "-o", "loop", image, path)
    cleanup.callback(run, "umount", path)


def fill(path: Path, *, leave: int) -> None:
    """Write a file that leaves so many bytes of its file system."""
    free = os.statvfs(path.parent)
    number = max(0, free.f_bavail * free.f_bsize - leave)
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, number)


def limit_files(max_bytes: int) -> Callable[[], None]:
    """Return what limits the size of files in a child; its signal stays ignored, as Python has it."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (max_bytes, max_bytes))


def limit_descriptors(number: int) -> Callable[[], None]:
    """Return what limits the number of open files in a child."""
    return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))


def damage(path: Path, kind: str, chance: random.Random) -> set[bytes]:
    """Damage a segment; returns the lines that it touches.

    Args:
        path: of a segment that is whole.
        kind: ``zeros`` or ``random`` for a sector, ``cut`` for the tail.
        chance: where, and what.
    """
    frames = read_segment(path).frames
    content = bytearray(path.read_bytes())
    begin, end = chance.randrange(len(MAGIC), len(content)), len(content)
    if kind == "cut":
        begin = max(len(MAGIC), end - chance.randrange(1, 8 * SECTOR))
        del content[begin:]
    else:
        begin = max(len(MAGIC), begin // SECTOR * SECTOR)
        end = min(begin + SECTOR, len(content))
        content[begin:end] = bytes(end - begin) if kind == "zeros" else chance.randbytes(end - begin)
    path.write_bytes(content)
    return {
        frame.payload
        for frame in frames
        if frame.offset < end and frame.offset + FRAME.size + len(frame.payload) > begin
    }
