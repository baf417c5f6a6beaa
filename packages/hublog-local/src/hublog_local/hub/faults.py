"""Faults on request: at a named stage the hub misbehaves in a defined way."""

import threading
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final, Self, TypedDict, Unpack

from hublog_local.errors import LocalHubError


class Stage(StrEnum):
    """Where a connection stands when a fault can act."""

    ACCEPT = "accept"
    OPEN = "open"
    TOKEN = "token"  # noqa: S105  # a place, not a secret
    ATTACH = "attach"
    REQUEST = "request"
    FRAME = "frame"
    TRANSFER = "transfer"


class FaultKind(StrEnum):
    """What the hub does wrong.

    A new TCP connection:
        refuse (reset at once), silent (accepted, then not one byte), slow (``bytes_per_s`` both ways).
    The open of a connection:
        silent-open (never answered), close-open (answered, then closed with the error).
    A token:
        refuse-token (``status`` and ``description``), withhold-token (no answer),
        expire-token (taken, but expired after ``seconds``).
    The attach of a link (for those of tokens and requests give ``hub`` as ``$cbs`` or ``$management``):
        refuse-attach (with the error), silent-attach (never answered).
    A management request:
        refuse-request (``status`` and ``description``), withhold-reply (no answer).
    A frame of a delivery:
        drop-frame (reset in mid-delivery).
    A delivery, not stored:
        drop (reset), reject (with the error), reject-bare (no error given), reject-short (an error without
        description), release, modify, swallow (never settled), mute (the connection says nothing
        more), detach, end, close (each with the error).
    A delivery, stored:
        store-and-drop (reset before the settlement), delay (settled after ``seconds``),
        withhold (never settled).
    """

    stage: Stage

    def __new__(cls, value: str, stage: Stage = Stage.TRANSFER) -> Self:
        """Make a kind; most act on a delivery."""
        kind = str.__new__(cls, value)
        kind._value_, kind.stage = value, stage
        return kind

    REFUSE = "refuse", Stage.ACCEPT
    SILENT = "silent", Stage.ACCEPT
    SLOW = "slow", Stage.ACCEPT
    SILENT_OPEN = "silent-open", Stage.OPEN
    CLOSE_OPEN = "close-open", Stage.OPEN
    REFUSE_TOKEN = "refuse-token", Stage.TOKEN
    WITHHOLD_TOKEN = "withhold-token", Stage.TOKEN
    EXPIRE_TOKEN = "expire-token", Stage.TOKEN
    REFUSE_ATTACH = "refuse-attach", Stage.ATTACH
    SILENT_ATTACH = "silent-attach", Stage.ATTACH
    REFUSE_REQUEST = "refuse-request", Stage.REQUEST
    WITHHOLD_REPLY = "withhold-reply", Stage.REQUEST
    DROP_FRAME = "drop-frame", Stage.FRAME
    DROP = "drop"
    REJECT = "reject"
    REJECT_BARE = "reject-bare"
    REJECT_SHORT = "reject-short"
    RELEASE = "release"
    MODIFY = "modify"
    SWALLOW = "swallow"
    MUTE = "mute"
    DETACH = "detach"
    END = "end"
    CLOSE = "close"
    STORE_AND_DROP = "store-and-drop"
    DELAY = "delay"
    WITHHOLD = "withhold"


#: Descriptions of the service for the most common conditions.
_DESCRIPTIONS: Final = {
    "com.microsoft:server-busy": (
        "The request was terminated because the entity is being throttled. "
        "Please wait 4 seconds and try again."
    ),
    "amqp:unauthorized-access": (
        "Unauthorized access. 'Send' claim(s) are required to perform this operation."
    ),
    "amqp:link:message-size-exceeded": (
        "The received message exceeds the limit currently allowed on the link."
    ),
    "amqp:connection:forced": "The connection was closed by the local hub on request.",
}


@dataclass(slots=True, kw_only=True)
class Fault:
    """One requested fault.

    Attributes:
        kind: what happens.
        times: how often it still happens; None is for ever.
        after: how many occasions still pass before it does.
        hub: name of the event hub, ``$cbs`` or ``$management`` that it is limited to; None is every hub.
        condition: of the error, where there is one.
        description: of the error or status; the text of the service for the condition if empty.
        status: of a refused token or request, as in HTTP.
        seconds: of a delay, or until a token expires.
        bytes_per_s: what a slow connection carries each way.
        fired_total: how often it happened.
    """

    kind: FaultKind
    times: int | None = 1
    after: int = 0
    hub: str | None = None
    condition: str = "com.microsoft:server-busy"
    description: str = ""
    status: int = 401
    seconds: float = 1.0
    bytes_per_s: float = 10.0
    fired_total: int = field(default=0, init=False)
    _fired: threading.Event = field(default_factory=threading.Event, init=False, repr=False)

    def __post_init__(self) -> None:
        if self.after < 0 or (self.times is not None and self.times < 1):
            raise LocalHubError("A fault needs times of 1 or more (or None for ever) and after of 0 or more.")
        if self.seconds < 0 or self.bytes_per_s <= 0:
            raise LocalHubError("A fault needs seconds of 0 or more and bytes_per_s above 0.")
        if not self.description:
            self.description = _DESCRIPTIONS.get(self.condition, "The local hub was asked for this error.")

    def wait(self, timeout_s: float = 10.0) -> bool:
        """Wait until it has happened once; returns whether it has."""
        return self._fired.wait(timeout_s)

    def fire(self) -> None:
        """Count that it happens."""
        self.fired_total += 1
        if self.times is not None:
            self.times -= 1
        self._fired.set()


class FaultOptions(TypedDict, total=False):
    """What a fault may be added with."""

    times: int | None
    after: int
    hub: str | None
    condition: str
    description: str
    status: int
    seconds: float
    bytes_per_s: float


class Faults:
    """The requested faults; any thread may use it.

    Faults of one place are asked in the order they were added. The first that is due acts, and those
    after it do not see the occasion.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._faults: list[Fault] = []

    def add(self, kind: FaultKind | str, **options: Unpack[FaultOptions]) -> Fault:
        """Add a fault; ``Fault`` documents the options.

        Returns:
            The fault, to wait for it or to look how often it happened.

        Raises:
            LocalHubError: the kind is not known, or a number is out of range.
        """
        if kind not in tuple(FaultKind):
            raise LocalHubError(f"The fault {kind!r} is not known; it must be one of {', '.join(FaultKind)}.")
        fault = Fault(kind=FaultKind(kind), **options)
        with self._lock:
            self._faults.append(fault)
        return fault

    def clear(self) -> None:
        """Remove all faults; connections that are silent or slow already stay so."""
        with self._lock:
            self._faults.clear()

    def pending(self) -> list[Fault]:
        """Return the faults that can still happen."""
        with self._lock:
            return [fault for fault in self._faults if fault.times != 0]

    def take(self, stage: Stage, hub: str = "") -> Fault | None:
        """Return the fault that is due at this place, and count it.

        Args:
            stage: the place.
            hub: the event hub, ``$cbs`` or ``$management`` that is meant; empty if none is yet.
        """
        if not self._faults:
            return None
        with self._lock:
            for fault in self._faults:
                is_meant = not hub.startswith("$") if fault.hub is None else fault.hub == hub
                if fault.kind.stage is not stage or fault.times == 0 or not is_meant:
                    continue
                if fault.after:
                    fault.after -= 1
                    continue
                fault.fire()
                return fault
        return None
