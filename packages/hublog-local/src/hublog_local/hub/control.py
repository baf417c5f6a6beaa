"""Control of a hub from another process: one JSON object a line over a Unix socket of the same user."""

import asyncio
import contextlib
import dataclasses
import json
import os
import socket
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final, Self

from hublog_local.errors import LocalHubError
from hublog_local.hub.faults import Fault, FaultKind, Faults
from hublog_local.hub.server import Listener

_LINE_BYTES: Final = 65536
#: Longest path of a Unix socket on Linux, without the NUL.
_PATH_BYTES: Final = 107


class ControlServer:
    """Answers ``{"do": name, ...}`` with ``{"ok": true, "result": ...}`` or ``{"ok": false, "error": text}``.

    Args:
        path: of the socket; only this user may connect.
        faults: of the hub.
        actions: what else a request may name, and what answers it with a JSON value.
    """

    def __init__(self, path: Path, faults: Faults, actions: Mapping[str, Callable[..., object]]) -> None:
        if len(os.fsencode(path)) > _PATH_BYTES:
            raise LocalHubError(
                f"The path of the control socket has {len(os.fsencode(path))} bytes; "
                f"it may have {_PATH_BYTES}: choose a shorter one."
            )
        self._path = path
        self._listener: Listener | None = None
        self._actions: dict[str, Callable[..., object]] = {
            "add_fault": lambda **arguments: _as_json(faults.add(**arguments)),
            "clear_faults": faults.clear,
            "faults": lambda: [_as_json(fault) for fault in faults.pending()],
            **actions,
        }

    async def start(self) -> None:
        """Listen.

        Raises:
            LocalHubError: another hub listens there, or the path cannot be used.
        """
        await asyncio.to_thread(self._make_room)
        listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        mask = os.umask(0o177)
        try:
            listening.bind(os.fspath(self._path))
        except OSError as error:
            listening.close()
            raise LocalHubError(f"Cannot make the control socket {self._path}: {error.strerror}.") from error
        finally:
            os.umask(mask)
        self._listener = Listener(listening, self._take)

    async def stop(self) -> None:
        """End all clients and remove the socket."""
        if self._listener is None:
            return
        self._listener.stop()
        await self._listener.settle(cancel=True)
        with contextlib.suppress(FileNotFoundError):
            await asyncio.to_thread(self._path.unlink)
        self._listener = None

    def _make_room(self) -> None:
        """Remove the socket of a hub that was killed."""
        try:
            is_socket = stat.S_ISSOCK(self._path.lstat().st_mode)
        except OSError:
            return
        if not is_socket:
            raise LocalHubError(f"{self._path} exists and is not a socket; remove it or choose another path.")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(os.fspath(self._path))
            except ConnectionRefusedError:
                self._path.unlink()
                return
            except OSError as error:
                raise LocalHubError(
                    f"Cannot use the control socket {self._path}: {error.strerror}."
                ) from error
        raise LocalHubError(
            f"Another local hub has the control socket {self._path}; stop it or choose another path."
        )

    async def _take(self, connection: socket.socket) -> None:
        """Serve a client to its end."""
        try:
            reader, writer = await asyncio.open_connection(sock=connection, limit=_LINE_BYTES)
        except asyncio.CancelledError:
            connection.close()
            raise
        try:
            while line := await reader.readline():
                writer.write(json.dumps(self._answer(line)).encode() + b"\n")
                await writer.drain()
        except (ValueError, ConnectionError, asyncio.CancelledError):
            pass  # a line too long, a client that has disconnected, or the shutdown
        finally:
            writer.close()
            with contextlib.suppress(ConnectionError):
                await writer.wait_closed()

    def _answer(self, line: bytes) -> dict[str, object]:
        try:
            request = json.loads(line)
            name = request.pop("do")
            if name not in self._actions:
                known = ", ".join(sorted(self._actions))
                return {"ok": False, "error": f"The request {name!r} is not known; there is {known}."}
            return {"ok": True, "result": self._actions[name](**request)}
        except LocalHubError as error:
            return {"ok": False, "error": str(error)}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            text = f"A request is one JSON object a line with 'do' and its arguments: {error}"
            return {"ok": False, "error": text}


def _as_json(fault: Fault) -> dict[str, object]:
    names = (field.name for field in dataclasses.fields(fault) if not field.name.startswith("_"))
    return {name: getattr(fault, name) for name in names}


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

    def __exit__(self, *_: object) -> None:
        self.close()

    def add_fault(self, kind: FaultKind | str, **arguments: str | float | None) -> None:
        """Add a fault; the arguments are those of ``Faults.add``.

        Raises:
            LocalHubError: an argument is not allowed.
        """
        self._ask("add_fault", kind=str(kind), **arguments)

    def clear_faults(self) -> None:
        """Remove all faults."""
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

    def set_key(self, policy: str, key: str) -> None:
        """Revoke the key of a policy and give it another.

        Raises:
            LocalHubError: there is no such policy, or the key is empty.
        """
        self._ask("set_key", policy=policy, key=key)

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
