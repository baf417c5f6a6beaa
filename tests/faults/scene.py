"""One run: a folder, a broker, a mode, and all that is started in it."""

import os
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

from tests.faults import segments
from tests.faults.books import Books
from tests.faults.broker import Broker
from tests.faults.children import Child, StuckError, wait_until
from tests.faults.expect import Mode, Order, Seen
from tests.faults.load import Load
from tests.faults.servers import BOOTED, BOOTING, CHOSEN, PORT, answers, booting, free_port
from tests.kits.environ import inherited

APPS: Final = Path(__file__).resolve().parent / "apps"
#: The exit budget of the rows, F of the matrix; short, so that a row is.
EXIT_S: Final = 2.0
#: That of a program whose exit is not what its row is about.
RUN_EXIT_S: Final = "20"
#: The exit may take this much longer than its budget.
GRACE_S: Final = 0.5
#: A restart with a healthy broker must have sent what lies on disk by then.
ADOPTED_S: Final = 10.0
_START_S: Final = 20.0
#: What is set on this machine for other programs must not change a run.
_NOT_INHERITED: Final = (
    "LOG_",
    "FILE_LOG",
    "EVENTHUB_",
    "OTEL_",
    "FLASK_",
    "DJANGO_",
    "GUNICORN_",
    "COVERAGE",
)


class Server:
    """A server that answers on a port."""

    def __init__(self, child: Child, port: int) -> None:
        self.child = child
        self.port = port


class Scene:
    """What a row drives.

    Args:
        folder: of this run alone.
        broker: started by whoever made it.
        mode: where records wait; None is the control run, without the handler.
        variant: of the row.
        order: what every process imports first.
        limit_s: of the whole run: three times the time of its row.

    Attributes:
        seen: what the row notes; the rest is filled in by ``close``.
        settings: environment of everything that is started from now on.
        spool: the root of the spool.
        cleanup: what the row must put right when all processes are gone.
        is_left_alone: no restart at the end: the row has made its own.
    """

    def __init__(
        self,
        folder: Path,
        broker: Broker,
        mode: Mode | None,
        *,
        variant: str = "",
        order: Order = Order.LOGGING,
        limit_s: float = 60.0,
    ) -> None:
        self.folder = folder
        self.broker = broker
        self.mode = mode
        self.variant = variant
        self.order = order
        self.seen = Seen()
        self.settings: dict[str, str] = {}
        self.spool = folder / "spool"
        self.is_left_alone = False
        self._end_mono = time.monotonic() + limit_s
        self._children: list[Child] = []
        self._loads: list[Load] = []
        self._known: set[str] = set()
        self.cleanup = ExitStack()
        self._serve_again: Callable[[], Server] | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._children:
            child.kill()
        for load in self._loads:
            load.stop()
        self.cleanup.close()

    # Time.

    @property
    def is_control(self) -> bool:
        """Whether this run is the one without the handler."""
        return self.mode is None

    @property
    def has_spool(self) -> bool:
        """Whether records may wait on disk."""
        return self.mode in (Mode.OVERFLOW, Mode.ALWAYS)

    @property
    def left_s(self) -> float:
        """Seconds until the limit of the run."""
        return max(0.5, self._end_mono - time.monotonic())

    @property
    def is_over(self) -> bool:
        """Whether the limit has passed."""
        return time.monotonic() > self._end_mono

    def until(self, is_done: Callable[[], object], what: str, *, limit_s: float | None = None) -> None:
        """Wait for an event.

        Raises:
            StuckError: it did not happen within the limit.
        """
        limit = min(limit_s or self.left_s, self.left_s)
        if not wait_until(is_done, limit):
            raise StuckError(f"Not within {limit:.1f} s: {what}.\n{self.stacks()}")

    def until_delivered(self, number: int) -> None:
        """Wait until so many different records have arrived; the control run sends none.

        Raises:
            StuckError: they have not within the limit.
        """
        if not self.is_control and not self.broker.wait_for(number, self.left_s):
            raise StuckError(f"{len(self.broker.delivered())} of {number} records arrived.\n{self.stacks()}")

    def check(self, is_right: object, complaint: str) -> None:
        """Note a complaint if something is not as the row wants it; not in the control run."""
        if not is_right and not self.is_control:
            self.seen.complaints.append(complaint)

    def stacks(self) -> str:
        """Return the stacks of all that still runs."""
        return "\n".join(f"--- {child.name}\n{child.stacks()}" for child in self._children if child.members())

    # Processes.

    def environ(self, **settings: str) -> dict[str, str]:
        """Return the environment of an application of this run."""
        own = inherited(*_NOT_INHERITED)
        known = [str(Path(part).resolve()) for part in own.get("PYTHONPATH", "").split(os.pathsep) if part]
        return {
            **own,
            "PYTHONPATH": os.pathsep.join([str(APPS), *known]),
            "PYTHONUNBUFFERED": "1",
            "FAULTS_DIR": str(self.folder),
            "FAULTS_ORDER": self.order.value,
            "LOG_TO_STDOUT": "false",
            "LOG_ACCESS_RECORDS": "false",
            "FILE_LOGGING_ENABLED": "false",
            "EVENTHUB_LOGGING_ENABLED": str(not self.is_control).lower(),
            "EVENTHUB_NAMESPACE_CONNECTION_STRING": self.broker.connection_string,
            "EVENTHUB_LOG_SPOOL": (self.mode or Mode.MEMORY).value,
            "EVENTHUB_LOG_SPOOL_DIR": str(self.spool),
            "EVENTHUB_LOG_BATCH_TIMEOUT": "0.2",
            "EVENTHUB_LOG_EXIT_TIMEOUT": str(EXIT_S),
            "EVENTHUB_LOG_HEARTBEAT_SECONDS": "0",  # they would be records that nobody has logged
            **self.settings,
            **settings,
        }

    def start(
        self, name: str, command: Sequence[str], *, options: Mapping[str, Any] | None = None, **settings: str
    ) -> Child:
        """Start a process in a group of its own."""
        child = Child(
            f"{len(self._children)}-{name}",
            command,
            folder=self.folder,
            environ=self.environ(**settings),
            options=options,
        )
        self._children.append(child)
        return child

    def command(self, module: str, *arguments: object) -> list[str]:
        """Return the command line of a program of ``apps`` under this interpreter."""
        return [sys.executable, "-m", module, *map(str, arguments)]

    def program(self, module: str, *arguments: object, **settings: str) -> Child:
        """Start a program of ``apps`` under this interpreter."""
        name = "-".join(map(str, (module, *arguments[:1])))
        return self.start(name, self.command(module, *arguments), **settings)

    def serve(self, command: Sequence[str], **settings: str) -> Server:
        """Start a server on a free port, and wait until it listens and its workers have booted.

        The restart will start it again.
        """
        self._serve_again = lambda: self.serve(command, **settings)
        limit_s = min(_START_S, self.left_s)
        if not any(CHOSEN in part for part in command):
            child = self.start("server", command, **settings)
            port = int(child.wait_for_text(PORT, limit_s)[1])
            self.wait_for_boots(child, workers=booting(command), limit_s=limit_s)
            return Server(child, port)
        port = free_port()
        child = self.start("server", [part.replace(CHOSEN, str(port)) for part in command], **settings)
        self.until(lambda: answers(port) or child.status is not None, "the server listens", limit_s=limit_s)
        return Server(child, port)

    def wait_for_boots(self, child: Child, *, workers: int = 0, limit_s: float | None = None) -> None:
        """Wait until as many workers of gunicorn have booted, and all that have begun to.

        A younger one drops the signal that ends it.
        """

        def has_booted() -> bool:
            text = child.text()
            return text.count(BOOTED) >= max(text.count(BOOTING), workers)

        self.until(has_booted, "all workers have booted", limit_s=limit_s)

    def load(self, server: Server, **arguments: Any) -> Load:
        """Begin a load; records of its answered requests are accepted."""
        arguments.setdefault("prefix", f"r{len(self._loads)}x")
        load = Load(lambda: server.port, **arguments)
        self._loads.append(load)
        return load.start()

    def finish(self, load: Load) -> None:
        """Wait until a load is done.

        Raises:
            StuckError: not all requests were answered within the limit.
        """
        if not load.finish(self.left_s):
            raise StuckError(f"Only {load.answered} requests were answered.\n{self.stacks()}")

    def end(self, child: Child, number: int | None = None, *, is_timed: bool = True) -> int:
        """Send a signal, if any, and wait for the end; its time counts as an exit of the row."""
        if number is not None:
            child.send(number)
        status = child.wait(self.left_s)
        if is_timed and child.exit_s is not None:
            self.seen.exits_s.append(child.exit_s)
        return status

    def run(self, module: str, *arguments: object, **settings: str) -> Child:
        """Run a program of ``apps`` to its end, which must be a good one.

        Its time is no exit time, so it may take more of it: a busy machine connects slowly.
        """
        child = self.program(module, *arguments, **{"EVENTHUB_LOG_EXIT_TIMEOUT": RUN_EXIT_S, **settings})
        status = self.end(child, is_timed=False)
        self.check(status == 0, f"{child.name} ended with {status}: {child.tail()}")
        return child

    # Books.

    def accept(self, ids: Iterable[str]) -> None:
        """Count further records as accepted: the row itself knows of them."""
        self._known.update(ids)

    @property
    def books(self) -> Books:
        """What is written about this run."""
        return Books(
            folder=self.folder,
            spool=self.spool,
            broker=self.broker,
            loads=self._loads,
            errors=[child.errors for child in self._children],
            known=self._known,
        )

    def close(self) -> Seen:
        """Fill in what was seen; in a mode with a disk also what a restart with a healthy broker brings."""
        for load in self._loads:
            load.stop()
        if self.is_control:
            self.seen.costs = self.books.costs()
            return self.seen
        self.seen.ledger = self.books.ledger()
        if self.has_spool and not self.is_left_alone:
            self.restart()
            self.seen.after = self.books.ledger()
        self.books.fill(self.seen)
        return self.seen

    def restart(self) -> None:
        """Start the row's server, or a program, once more; wait until nothing of the dead is on disk."""
        self.broker.heal()
        stored = self.books.ledger().stored_ids
        if self._serve_again is None:
            child = self.program("revive")
        else:
            server = self._serve_again()
            child = server.child
            again = self.load(server, requests=1, connections=1, prefix=f"again{len(self._loads)}x")
            self.finish(again)
            stored = {*stored, *again.accepted}  # how this server ends is no part of the row
        end = time.monotonic() + ADOPTED_S
        self.broker.wait_for_ids(stored, ADOPTED_S)
        wait_until(lambda: not segments.dead_segments(self.spool), max(0.0, end - time.monotonic()))
        # Now: where no exit hook runs, this process leaves a segment, too, although all of it is settled.
        self.seen.left = len(segments.dead_segments(self.spool))
        child.tell()
        if self._serve_again is not None:
            child.send(signal.SIGTERM)
        child.wait(self.left_s)
