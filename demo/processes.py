"""Child processes: each in a group of its own, its output in a file, and none left behind."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from demo.interrupts import Interrupts

_POLL_S: Final = 0.05
_TAIL_LINES: Final = 15


class DemoError(Exception):
    """The demo cannot go on; its text is for the person who started it."""


class Server:
    """A running child process.

    Attributes:
        name: how messages call it.
        log: the file with all that it printed.
    """

    def __init__(
        self, name: str, command: Sequence[str], *, folder: Path, environ: Mapping[str, str], log: Path
    ) -> None:
        self.name = name
        self.log = log
        self._is_swept = False
        with log.open("wb") as output:
            self._process = subprocess.Popen(
                command,
                cwd=folder,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C reaches us alone, and its whole group can be ended at once
            )

    def wait_for_output(self, pattern: str, *, limit_s: float) -> re.Match[str]:
        """Return the first place in the output that matches.

        Raises:
            DemoError: it ended, or the limit has passed.
        """
        end = time.monotonic() + limit_s
        while True:
            ended = self._poll()
            found = re.search(pattern, self.log.read_text(errors="replace"))
            if found:
                return found
            self._check(ended, end, f"print {pattern!r}", limit_s)
            time.sleep(_POLL_S)

    def wait_for_end(self, *, limit_s: float) -> None:
        """Wait until it has done its work.

        Raises:
            DemoError: it failed, or the limit has passed.
        """
        end = time.monotonic() + limit_s
        while (status := self._poll()) is None:
            self._check(None, end, "end", limit_s)
            time.sleep(_POLL_S)
        if status != 0:
            raise DemoError(f"{self.name} failed with status {status}.\n{self.tail()}")

    def check_alive(self) -> None:
        """Raise a DemoError if it has ended."""
        status = self._poll()
        if status is not None:
            raise DemoError(f"{self.name} has ended with status {status}.\n{self.tail()}")

    def tail(self) -> str:
        """Return the last lines of its output, for a message."""
        lines = self.log.read_text(errors="replace").splitlines()[-_TAIL_LINES:]
        return "\n".join([f"The end of {self.log}:", *(f"  {line}" for line in lines)])

    def stop(self, *, grace_s: float) -> None:
        """Ask it to end, wait, then end what is left of its group."""
        if self._poll() is None:
            self._process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(grace_s)
        self._sweep()
        self._process.wait()

    def _poll(self) -> int | None:
        status = self._process.poll()
        if status is not None:
            self._sweep()
        return status

    def _sweep(self) -> None:
        """End what is left of the group; once only, since its number may then be given to others."""
        if not self._is_swept:
            self._is_swept = True
            with contextlib.suppress(ProcessLookupError, PermissionError):  # none left; macOS says the second
                os.killpg(self._process.pid, signal.SIGKILL)

    def _check(self, ended: int | None, end: float, what: str, limit_s: float) -> None:
        if ended is not None:
            raise DemoError(f"{self.name} ended with status {ended} before it did {what}.\n{self.tail()}")
        if time.monotonic() > end:
            raise DemoError(f"{self.name} did not {what} within {limit_s:.0f} s.\n{self.tail()}")


class Processes:
    """Starts servers and stops all of them when the block is left, the last one first.

    Args:
        folder: where their output goes.
        interrupts: held back while a process is started or stopped.
        grace_s: how long a server may take to end by itself.
    """

    def __init__(self, folder: Path, interrupts: Interrupts, *, grace_s: float = 15.0) -> None:
        self._folder = folder
        self._interrupts = interrupts
        self._grace_s = grace_s
        self._running: list[Server] = []

    def start(self, name: str, command: Sequence[str], *, folder: Path, environ: Mapping[str, str]) -> Server:
        """Start a process."""
        log = self._folder / f"{name.replace(' ', '-')}.log"
        with self._interrupts.held():
            try:
                server = Server(name, command, folder=folder, environ=environ, log=log)
            except OSError as error:
                raise DemoError(f"{name} cannot be started: {command[0]}: {error.strerror}.") from error
            self._running.append(server)
        return server

    def run(
        self,
        name: str,
        command: Sequence[str],
        *,
        folder: Path,
        environ: Mapping[str, str],
        limit_s: float = 60.0,
    ) -> None:
        """Run a command to its end.

        Raises:
            DemoError: it failed, or the limit has passed.
        """
        self.start(name, command, folder=folder, environ=environ).wait_for_end(limit_s=limit_s)

    def stop(self, server: Server) -> None:
        """Stop one server; harmless if it has ended."""
        with self._interrupts.held():
            server.stop(grace_s=self._grace_s)
            if server in self._running:
                self._running.remove(server)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything, whatever happened."""
        with self._interrupts.ignored():
            while self._running:
                self._running.pop().stop(grace_s=self._grace_s)
