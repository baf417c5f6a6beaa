"""Child processes of a run: each in a group of its own, its output in a file, and none left behind."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

#: The application dumps its stacks to a file when it gets this signal; see ``apps/probe.py``.
DUMP_SIGNAL: Final = signal.SIGRTMIN + 5
#: Replaces itself by a command whose signals do what they do under a terminal: a shell that runs the harness
#: in the background has its children ignore some. Not ``preexec_fn``: the harness has threads.
_BEGIN: Final = """
import os, signal, sys
for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    signal.signal(number, signal.SIG_DFL)
os.execvp(sys.argv[1], sys.argv[1:])
"""
_POLL_S: Final = 0.02
_DUMP_S: Final = 10.0
_TAIL_LINES: Final = 40


class StuckError(Exception):
    """Something did not happen within the limit of its row; the text says what, with all stacks."""


def wait_until(is_done: Callable[[], object], limit_s: float) -> bool:
    """Return whether it came true within the limit."""
    end = time.monotonic() + limit_s
    while not is_done():
        if time.monotonic() > end:
            return False
        time.sleep(_POLL_S)
    return True


class Child:
    """A running process and its group.

    Args:
        name: how messages call it.
        command: what to run.
        folder: where it runs, and where its output goes.
        environ: the whole environment.

    Attributes:
        pid: of the process, and of its group.
        exit_s: seconds from the last signal (or from the call of ``wait``) to its end; None while it runs.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        environ: Mapping[str, str],
        options: Mapping[str, object] | None = None,
    ) -> None:
        self.name = name
        self.output = folder / f"{name}.out"
        self.errors = folder / f"{name}.err"
        with self.output.open("ab") as out, self.errors.open("ab") as err:
            self._process: subprocess.Popen[bytes] = subprocess.Popen(  # type: ignore[call-overload]  # options
                [sys.executable, "-I", "-S", "-c", _BEGIN, *command],
                cwd=folder,
                env=dict(environ),
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=err,
                start_new_session=True,
                **(options or {}),
            )
        self.pid = self._process.pid
        self.exit_s: float | None = None
        self.dump = ""
        self._since_mono = time.monotonic()

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def send(self, number: int) -> None:
        """Send a signal to the process alone; its exit is timed from now."""
        self._since_mono = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            self._process.send_signal(number)

    def send_all(self, number: int) -> None:
        """Send a signal to the whole group; its exit is timed from now."""
        self._since_mono = time.monotonic()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def begin_exit(self) -> None:
        """Time the exit from now: the process was told otherwise than by a signal."""
        self._since_mono = time.monotonic()

    def tell(self, line: str = "") -> None:
        """Write a line to its standard input."""
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.write(line.encode() + b"\n")
                self._process.stdin.flush()

    def wait(self, limit_s: float) -> int:
        """Wait for its end; returns its exit status.

        Raises:
            StuckError: it still runs at the limit; it has been killed.
        """
        try:
            status = self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            self.dump = self.stacks()
            self.kill()
            raise StuckError(f"{self.name} did not end within {limit_s:.1f} s.\n{self.dump}") from None
        if self.exit_s is None:
            self.exit_s = time.monotonic() - self._since_mono
        return status

    def wait_for_text(self, pattern: str, limit_s: float) -> re.Match[str]:
        """Return the first place in its output or standard error that matches.

        Raises:
            StuckError: it ended without, or the limit has passed.
        """
        end = time.monotonic() + limit_s
        while True:
            has_ended = self.status is not None
            found = re.search(pattern, self.text())
            if found:
                return found
            if has_ended or time.monotonic() > end:
                what = f"ended with {self.status}" if has_ended else f"went on for {limit_s:.1f} s"
                raise StuckError(f"{self.name} {what} without printing {pattern!r}.\n{self.tail()}")
            time.sleep(_POLL_S)

    def text(self) -> str:
        """Return all that it has printed, standard error last."""
        return self.output.read_text(errors="replace") + self.errors.read_text(errors="replace")

    def tail(self) -> str:
        """Return the last lines of what it printed."""
        return "\n".join(self.text().splitlines()[-_TAIL_LINES:])

    def members(self) -> list[int]:
        """Return the processes of its group that still live, itself included."""
        return [pid for pid in _processes() if _group_of(pid) == self.pid]

    def stacks(self) -> str:
        """Return the stacks of all threads of the group: by py-spy, else by the processes themselves."""
        path = os.pathsep.join((str(Path(sys.executable).parent), os.environ.get("PATH", "")))
        spy = shutil.which("py-spy", path=path)
        stacks = self.errors.parent / "stacks.txt"
        shown: list[str] = []
        for pid in self.members():
            if spy is not None:
                done = subprocess.run(  # our own child
                    [spy, "dump", "--pid", str(pid)],
                    capture_output=True,
                    text=True,
                    timeout=_DUMP_S,
                    check=False,
                )
                shown.append(done.stdout or done.stderr)
            elif _catches(pid, DUMP_SIGNAL):
                before = _size(stacks)
                os.kill(pid, DUMP_SIGNAL)
                wait_until(lambda size=before: _size(stacks) > size, 2.0)
                shown.append(f"process {pid}\n{stacks.read_bytes()[before:].decode(errors='replace')}")
        return "\n".join([*shown, self.tail()])

    def kill(self) -> None:
        """Kill what is left of the group, and wait for the process itself."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, signal.SIGKILL)
        self._process.wait()
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError):
                self._process.stdin.close()


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _processes() -> list[int]:
    return [int(path.name) for path in Path("/proc").iterdir() if path.name.isdigit()]


def _group_of(pid: int) -> int | None:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[0] in "ZX" else int(fields[2])


def _catches(pid: int, number: int) -> bool:
    try:
        status = Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return False
    found = re.search(r"^SigCgt:\s*([0-9a-f]+)$", status, re.MULTILINE)
    return found is not None and bool(int(found[1], 16) >> (number - 1) & 1)
