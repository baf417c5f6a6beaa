"""The local hub as tests and the command line use it."""

import asyncio
import re
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Final, Self, TypeVar

from hublog_local.errors import LocalHubError
from hublog_local.hub.control import ControlServer
from hublog_local.hub.faults import Faults
from hublog_local.hub.partitions import EventHub, Retention
from hublog_local.hub.server import Server, check_loopback
from hublog_local.hub.service import Limits, OnEvent, Service
from hublog_local.hub.stored_events import StoredEvent
from hublog_local.hub.tokens import TokenChecker

#: Size of one send in the tiers Standard and above.
STANDARD_MESSAGE_BYTES: Final = 1 << 20
#: Size of one send in the tier Basic.
BASIC_MESSAGE_BYTES: Final = 1 << 18
_MAX_PARTITIONS: Final = 1024
_CALL_S: Final = 10.0
_NAME: Final = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,254}[A-Za-z0-9])?")

_T = TypeVar("_T")


class LocalHub:
    """An Event Hubs namespace on loopback that Event Hubs clients use unchanged.

    Use it as a context manager, with ``start`` and ``stop``, or in an event loop with ``serve``. It runs in
    a daemon thread of its own, or in the loop of ``serve``. Every method may be called from any thread.
    After ``stop`` make a new one; on the same port clients reconnect to it.

    Args:
        hubs: number of partitions by name of the event hub.
        host: a loopback address.
        port: 0 takes a free one, and keeps it.
        keys: key by name of the policy; then signatures are checked, and links without a token refused. None
            takes every token that is well formed, JWT included.
        max_message_bytes: size of one send, announced and enforced: ``BASIC_MESSAGE_BYTES`` for Basic.
        on_event: called in the hub's thread with the name of the hub and each event, before its sender
            gets the settlement; must be fast, since it blocks the hub. An exception is logged
            once on ``hublog.internal`` and counted.
        idle_timeout_s: silence after which a connection is closed; None is for ever.
        retention_events: events that each partition keeps.
        retention_bytes: memory that each partition takes, roughly.
        ssl_context: for TLS, with a certificate loaded; None is plain TCP.
        control_path: Unix socket on which other processes can ask for faults and read statistics, with
            ``hublog_local.ControlClient``.

    Attributes:
        faults: what to do wrong.

    Raises:
        LocalHubError: an argument is not allowed.
    """

    def __init__(
        self,
        hubs: Mapping[str, int],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        keys: Mapping[str, str] | None = None,
        max_message_bytes: int = STANDARD_MESSAGE_BYTES,
        on_event: OnEvent | None = None,
        idle_timeout_s: float | None = None,
        retention_events: int = 200_000,
        retention_bytes: int = 1 << 28,
        ssl_context: ssl.SSLContext | None = None,
        control_path: Path | str | None = None,
    ) -> None:
        _check(hubs, keys, max_message_bytes, idle_timeout_s, (retention_events, retention_bytes))
        self._host = check_loopback(host)
        self._keys = dict(keys) if keys else None
        self._has_tls = ssl_context is not None
        self._service = Service(
            hubs,
            tokens=TokenChecker(keys),
            limits=Limits(max_message_bytes, idle_timeout_s),
            retention=Retention(retention_events, retention_bytes),
            on_event=on_event,
        )
        self.faults: Faults = self._service.faults
        self._server = Server(self._service, host=self._host, port=port, ssl_context=ssl_context)
        self._control: ControlServer | None = None
        if control_path is not None:
            actions: tuple[Callable[..., object], ...] = (
                self.statistics, self.events_total, self.recent_errors, self.connection_string,
                self.drop_connections, self.expire_tokens, self.set_key,
                self.stop_listening, self.start_listening,
            )  # fmt: skip
            named = {action.__name__: action for action in actions}
            self._control = ControlServer(Path(control_path), self.faults, named)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopped = asyncio.Event()
        self._thread: threading.Thread | None = None
        self._failure: BaseException | None = None

    def __repr__(self) -> str:
        hubs = {hub.name: len(hub.partitions) for hub in self._service.hubs}
        return f"LocalHub({hubs}, host={self._host!r}, port={self.port})"

    # Start and stop.

    def start(self) -> Self:
        """Start the thread and listen.

        Raises:
            LocalHubError: the port is taken, or the hub was started already.
        """
        if self._thread is not None or self._loop is not None:
            raise LocalHubError("This local hub was started already; make a new LocalHub to start again.")
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), name="hublog-local-hub", daemon=True)
        self._thread.start()
        ready.wait()
        if self._failure is not None:
            self._thread.join()
            raise self._failure
        return self

    def stop(self) -> None:
        """End all connections and the thread; does nothing if it does not run."""
        loop, thread = self._loop, self._thread
        if loop is None:
            return
        try:
            loop.call_soon_threadsafe(self._stopped.set)
        except RuntimeError:  # the loop is closed: it has stopped already
            return
        if thread is not None and thread is not threading.current_thread():
            thread.join()

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    async def serve(self, ready: Callable[[], None] | None = None) -> None:
        """Run in this event loop until ``stop`` is called or the task is cancelled.

        Args:
            ready: called once clients can connect.

        Raises:
            LocalHubError: the port or the control socket is taken, or the hub was started already.
        """
        if self._loop is not None:
            raise LocalHubError("This local hub was started already; make a new LocalHub to start again.")
        self._loop = asyncio.get_running_loop()
        try:
            self._server.start_listening()
            if self._control is not None:
                await self._control.start()
            if ready is not None:
                ready()
            await self._stopped.wait()
        finally:
            if self._control is not None:
                await self._control.stop()
            await self._server.stop()

    def _run(self, ready: threading.Event) -> None:
        try:
            asyncio.run(self.serve(ready.set))
        except Exception as error:  # noqa: BLE001  # start() waits for it and raises it
            self._failure = error
        finally:
            ready.set()

    def _call(self, act: Callable[[], _T]) -> _T:
        """Do something in the loop of the hub, and wait for it.

        Raises:
            LocalHubError: the hub does not run.
        """

        async def run() -> _T:
            return act()

        loop = self._loop
        if loop is None or loop.is_closed():
            raise LocalHubError("The local hub does not run; start it first.")
        if _is_running_in(loop):
            return act()
        return asyncio.run_coroutine_threadsafe(run(), loop).result(_CALL_S)

    # Address.

    @property
    def port(self) -> int:
        """The port that it listens on; 0 before the start if a free one is wanted."""
        return self._server.port

    def connection_string(self, hub: str | None = None) -> str:
        """Return what clients connect with.

        With TLS, Azure's clients also need ``custom_endpoint_address``, since they ignore the port; hublog
        does not. Inside WebSockets they always need it.

        Args:
            hub: event hub to name in it.
        """
        name, key = next(iter((self._keys or {"local": "local"}).items()))
        host = f"[{self._host}]" if ":" in self._host else self._host
        parts = [f"Endpoint=sb://{host}:{self.port}", f"SharedAccessKeyName={name}", f"SharedAccessKey={key}"]
        if not self._has_tls:
            parts.append("UseDevelopmentEmulator=true")
        if hub is not None:
            parts.append(f"EntityPath={self._find(hub).name}")
        return ";".join(parts)

    # Events and counters.

    def events(self, hub: str | None = None) -> list[StoredEvent]:
        """Return the events that are kept, partition by partition, oldest first in each.

        Args:
            hub: name of the event hub; may be left off if there is one only.
        """
        return self._find(hub).events()

    def wait_for(self, count: int, *, hub: str | None = None, timeout_s: float = 10.0) -> list[StoredEvent]:
        """Wait until this number of events were stored since the start.

        Args:
            count: number of events, kept or not.
            hub: name of the event hub; may be left off if there is one only.
            timeout_s: the longest wait; then it returns what there is.

        Returns:
            The events that are kept.
        """
        event_hub = self._find(hub)
        with self._service.changed:
            self._service.changed.wait_for(lambda: event_hub.events_total >= count, timeout_s)
        return event_hub.events()

    def statistics(self) -> dict[str, int]:
        """Return the counters by name, and the connections that are open now."""
        return {**asdict(self._service.statistics), "connections": len(self._service.connections)}

    def events_total(self) -> dict[str, int]:
        """Return how many events were stored since the start, by name of the event hub."""
        return {hub.name: hub.events_total for hub in self._service.hubs}

    def recent_errors(self) -> list[str]:
        """Return what peers did wrong, the newest last, at most 100."""
        return list(self._service.recent_errors)

    # Faults of the whole hub.

    def stop_listening(self) -> None:
        """Refuse new connections; those that are open stay, and the port stays ours by number only."""
        self._call(self._server.stop_listening)

    def start_listening(self) -> None:
        """Take connections again, on the same port.

        Raises:
            LocalHubError: another program took the port meanwhile.
        """
        self._call(self._server.start_listening)

    def drop_connections(self) -> int:
        """Reset all connections; returns how many there were."""
        return self._call(self._server.drop_connections)

    def expire_tokens(self) -> None:
        """Take the tokens of all open connections as expired: links are detached at their next use."""

        def expire() -> None:
            for connection in tuple(self._service.connections):
                connection.expire_tokens()

        self._call(expire)

    def set_key(self, policy: str, key: str) -> None:
        """Revoke the key of a policy and give it another; what it has signed ends at its next use.

        Raises:
            LocalHubError: there is no such policy, or the key is empty.
        """
        known = self._keys or {}
        if policy not in known or not key:
            names = ", ".join(known) or "none, since this hub takes any token"
            raise LocalHubError(f"A key needs a policy of this hub and a value; there is {names}.")

        def change() -> None:
            known[policy] = key
            self._service.tokens.set_key(policy, key)
            for connection in tuple(self._service.connections):
                connection.expire_tokens()

        self._call(change)

    def _find(self, name: str | None) -> EventHub:
        hubs = self._service.hubs
        event_hub = self._service.find_hub(name) if name is not None else hubs[0] if len(hubs) == 1 else None
        if event_hub is None:
            names = ", ".join(hub.name for hub in hubs)
            raise LocalHubError(f"The event hub {name!r} is not here; there is {names}.")
        return event_hub


def _is_running_in(loop: asyncio.AbstractEventLoop) -> bool:
    try:
        return asyncio.get_running_loop() is loop
    except RuntimeError:
        return False


def _check(
    hubs: Mapping[str, int],
    keys: Mapping[str, str] | None,
    max_message_bytes: int,
    idle_timeout_s: float | None,
    retention: tuple[int, int],
) -> None:
    if not hubs:
        raise LocalHubError("The local hub needs at least one event hub, such as {'application-logs': 2}.")
    for name, partitions in hubs.items():
        if not _NAME.fullmatch(name):
            raise LocalHubError(
                f"The event hub name {name!r} is not allowed: up to 256 letters, digits, '.', '_' and '-', "
                "beginning and ending with a letter or digit."
            )
        if not 1 <= partitions <= _MAX_PARTITIONS:
            raise LocalHubError(f"{name} has {partitions} partitions; it must have 1 to {_MAX_PARTITIONS}.")
    if len({name.casefold() for name in hubs}) != len(hubs):
        raise LocalHubError("Two event hubs have one name but for upper and lower case.")
    if keys is not None and not all(keys.values()):
        raise LocalHubError("keys has an empty key; give each policy a key, or keys=None to take any token.")
    if max_message_bytes < 1024:
        raise LocalHubError(f"max_message_bytes is {max_message_bytes}; it must be 1024 or more.")
    if idle_timeout_s is not None and idle_timeout_s <= 0:
        raise LocalHubError(f"idle_timeout_s is {idle_timeout_s}; it must be above 0, or None for ever.")
    if min(retention) < 1:
        raise LocalHubError("retention_events and retention_bytes must be 1 or more.")
