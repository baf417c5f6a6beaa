"""Control a local hub that runs in another process: faults, statistics, connections."""

import json
import os
import socket
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from hublog.errors import LocalHubError
from hublog_local.hub.faults import FaultKind

_TIMEOUT_S: Final = 10.0


class ControlClient:
    """Talks to the control socket of a local hub; for use by one thread.

    Args:
        path: of the socket, as given to the hub.
        timeout_s: the longest wait for an answer.

    Raises:
        LocalHubError: nothing listens there.
    """

    def __init__(self, path: Path | str, *, timeout_s: float = _TIMEOUT_S) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(timeout_s)
        try:
            self._socket.connect(os.fspath(path))
        except OSError as error:
            self._socket.close()
            raise LocalHubError(
                f"No local hub answers on the control socket {path}: {error.strerror or error}; "
                "start it with this path."
            ) from error
        self._lines = self._socket.makefile("rb")

    def close(self) -> None:
        """End the connection; faults stay."""
        self._lines.close()
        self._socket.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def add_fault(self, kind: FaultKind | str, **arguments: str | float | None) -> None:
        """Ask for a fault; the arguments are those of ``Faults.add``.

        Raises:
            LocalHubError: an argument is not allowed.
        """
        self._ask("add_fault", kind=str(kind), **arguments)

    def clear_faults(self) -> None:
        """Forget all faults."""
        self._ask("clear_faults")

    def faults(self) -> list[dict[str, object]]:
        """Return the faults that can still happen."""
        answer = self._ask("faults")
        return answer if isinstance(answer, list) else []

    def statistics(self) -> dict[str, int]:
        """Return the counters by name."""
        answer = self._ask("statistics")
        return answer if isinstance(answer, dict) else {}

    def events_total(self) -> dict[str, int]:
        """Return how many events were stored since the start, by name of the event hub."""
        answer = self._ask("events_total")
        return answer if isinstance(answer, dict) else {}

    def recent_errors(self) -> list[str]:
        """Return what peers did wrong, the newest last."""
        answer = self._ask("recent_errors")
        return answer if isinstance(answer, list) else []

    def connection_string(self, hub: str | None = None) -> str:
        """Return what clients connect with."""
        return str(self._ask("connection_string", hub=hub))

    def drop_connections(self) -> int:
        """Reset all connections; returns how many there were."""
        answer = self._ask("drop_connections")
        return answer if isinstance(answer, int) else 0

    def expire_tokens(self) -> None:
        """Take the tokens of all open connections as expired."""
        self._ask("expire_tokens")

    def stop_listening(self) -> None:
        """Refuse new connections."""
        self._ask("stop_listening")

    def start_listening(self) -> None:
        """Take connections again, on the same port."""
        self._ask("start_listening")

    def _ask(self, what: str, **arguments: str | float | None) -> object:
        try:
            self._socket.sendall(json.dumps({"do": what, **arguments}).encode() + b"\n")
            line = self._lines.readline()
        except OSError as error:
            raise LocalHubError(f"The local hub at {self._path} does not answer: {error}.") from error
        if not line:
            raise LocalHubError(f"The local hub at {self._path} has ended.")
        answer = json.loads(line)
        if not answer["ok"]:
            raise LocalHubError(answer["error"])
        result: object = answer["result"]
        return result
