"""How delivery went: since when its state holds, its last success and its last failure."""

from collections.abc import Callable, Sequence
from typing import Final

from hublog.delivery.accounting import Accounting, Circuit, State
from hublog.errors import SendError, TransientSendError
from hublog.redaction.redactor import DEFAULT

#: Characters of an error that are kept.
ERROR_MAX: Final = 300


class DeliveryHistory:
    """Notes what happens to one shipper; written by the thread that steps it, read by any.

    Args:
        accounting: counts how long things took, and what may be there twice.
        wall: seconds since 1970.

    Attributes:
        state_since_s: when the state of delivery changed last, seconds since 1970, as all times here.
        circuit_since_s: when the state of the circuit did.
        last_success_s: when the hub took something; None if it never did.
        last_failure_s: when a send failed; None if none did.
        last_error: what was wrong with it, without secrets; empty if none failed.
    """

    def __init__(self, accounting: Accounting, *, wall: Callable[[], float]) -> None:
        self._accounting = accounting
        self._wall = wall
        self._state, self._circuit = State.HEALTHY, Circuit.CLOSED
        self.state_since_s = self.circuit_since_s = wall()
        self.last_success_s: float | None = None
        self.last_failure_s: float | None = None
        self.last_error = ""

    def note(self, state: State, circuit: Circuit) -> None:
        """Note how delivery goes now."""
        if state is not self._state:
            self._state, self.state_since_s = state, self._wall()
        if circuit is not self._circuit:
            self._circuit, self.circuit_since_s = circuit, self._wall()

    def sent(self, events: Sequence[Sequence[bytes]], seconds: float) -> None:
        """Note that the hub took events.

        Args:
            events: the lines of each.
            seconds: how long the send took.
        """
        self.last_success_s = self._wall()
        self._accounting.send_duration.add(seconds)
        self._accounting.latency.add_ages(events, self.last_success_s)

    def failed(self, error: SendError, records: int, seconds: float) -> None:
        """Note that a send of this number of records failed; without an answer the hub may have them."""
        self.last_failure_s = self._wall()
        self.last_error = DEFAULT.text(" ".join(str(error).split()))[:ERROR_MAX]
        self._accounting.send_duration.add(seconds)
        if isinstance(error, TransientSendError):
            self._accounting.possible_duplicates_total += records
