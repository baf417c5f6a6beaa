"""The error tree: a class exists only where a caller reacts to it differently."""

from collections.abc import Sequence


class HublogError(Exception):
    """Base of everything that hublog raises on purpose."""


class SettingsError(HublogError, ValueError):
    """One or more settings are invalid.

    Attributes:
        problems: one sentence for each invalid setting: what was seen, what is allowed, the name to change.
    """

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems = tuple(problems)
        super().__init__(" ".join(self.problems))


class SendError(HublogError):
    """A batch did not reach the Event Hub; its records are still held here.

    Attributes:
        cause: what went wrong, without the advice.
        advice: what the operator can check or change, without a full stop; empty if that is not known.
    """

    def __init__(self, message: str, *, advice: str = "") -> None:
        self.cause = message
        self.advice = advice
        super().__init__(message)

    def __str__(self) -> str:
        return f"{self.cause}; {self.advice}" if self.advice else self.cause


class TransientSendError(SendError):
    """Unavailable, slow or busy: the same batch may be accepted later.

    Attributes:
        retry_after_s: seconds that the hub asked us to wait; 0 when it did not say.
    """

    def __init__(self, message: str, *, advice: str = "", retry_after_s: float = 0.0) -> None:
        self.retry_after_s = retry_after_s
        super().__init__(message, advice=advice)


class PermanentSendError(SendError):
    """Wrong key, wrong name, no permission: this needs a configuration change."""


class EventTooLargeError(SendError):
    """One event is larger than the hub takes.

    Attributes:
        limit_bytes: what the hub's link allows for one send, overhead included.
    """

    def __init__(self, message: str, *, limit_bytes: int) -> None:
        self.limit_bytes = limit_bytes
        super().__init__(message)


class RejectedSendError(SendError):
    """The hub took the connection and refused what was sent: the records in it may be to blame."""
