"""What the operator reads of delivery: one line for each change of state, made of facts."""

from pathlib import Path
from typing import Final

from hublog.delivery.accounting import Stats
from hublog.errors import PermanentSendError, SendError, TransientSendError
from hublog.settings import EventHubSettings, SpoolMode
from hublog.settings.network import route_of

#: Characters of an error that are shown.
SHOWN_MAX: Final = 500

#: From here on a bound is none, and nobody is told of it.
NO_BOUND_BYTES: Final = 1 << 40

_REPAIR: Final = (
    "This needs a configuration change; delivery goes on within minutes after it, at once after a restart."
)
#: What to do about a hub that is busy.
THROTTLED: Final = "The namespace throttles: add throughput units, or send less (EVENTHUB_LOG_PACKING=gzip)."


class Wording:
    """Makes the lines; each is one line, without secrets.

    Args:
        hub: names the hub, the mode and the bounds.
        spool_dir: where records wait on disk.
    """

    def __init__(self, hub: EventHubSettings, *, spool_dir: Path | None) -> None:
        self._hub = hub
        self._name = f"event hub {hub.eventhub_name!r}"
        self._directory = f" in {spool_dir}" if spool_dir else ""

    def degraded(self, error: SendError | None) -> str:
        """A send failed, and is tried again soon."""
        return (
            f"The {self._name} does not take records just now. {_why(error)}It is tried again within seconds."
            f" {self._where()}"
        )

    def opened(self, error: SendError | None, stats: Stats, *, away_s: float) -> str:
        """The hub is unavailable, or cannot be used: what to check, and where the records are."""
        since = f" for {_seconds(away_s)} now" if away_s >= 1 else ""
        is_ours = isinstance(error, PermanentSendError)  # the hub may be fine
        what = "cannot be sent to" if is_ours else "does not take records"
        begin = f"Records {what} the {self._name}" if is_ours else f"The {self._name} {what}{since}"
        return (
            f"{begin}. {_why(error)}{self._advice(error)} {self._where()}"
            f" {_waiting(stats)} It is asked again from time to time."
        )

    def still_open(self, error: SendError | None, stats: Stats, *, away_s: float) -> str:
        """A probe failed, or the circuit is open again."""
        return (
            f"The {self._name} is left in peace until the next probe, {_seconds(away_s)} after the first"
            f" failure. {_why(error)}{_waiting(stats)}"
        )

    def stuck(self, error: SendError | None, stats: Stats) -> str:
        """No send can be begun, since those that hang cannot be ended."""
        is_on_disk = self._hub.spool is not SpoolMode.MEMORY
        restart = " A restart helps, and sends what is on disk." if is_on_disk else ""
        return (
            f"Sends to the {self._name} hang and cannot be ended ({stats.abandoned} given up), so no other is"
            f" begun until one of them returns. {_why(error)}{self.reach()} {self._where()}"
            f" {_waiting(stats)}{restart}"
        )

    def probing(self, stats: Stats, *, away_s: float) -> str:
        """One send finds out whether the hub is back."""
        return (
            f"One send finds out whether the {self._name} is back after {_seconds(away_s)}. {_waiting(stats)}"
        )

    def back(self, stats: Stats, *, away_s: float) -> str:
        """The hub accepted a send, and nothing is stored for replay."""
        return f"The {self._name} takes records again after {_seconds(away_s)}. {_waiting(stats)}"

    def back_with_rest(self, stats: Stats, *, away_s: float) -> str:
        """The hub accepted a send, and stored records are sent from now on."""
        return (
            f"The {self._name} takes records again after {_seconds(away_s)}; what has waited is sent beside"
            f" what is new. {_waiting(stats)}"
        )

    def rest_found(self, stats: Stats) -> str:
        """There are stored records although the hub was not away."""
        return (
            f"Stored records for the {self._name}, left by an earlier process or kept when memory was full,"
            f" are sent beside what is new. {_waiting(stats)}"
        )

    def rest_sent(self, *, records: int, seconds: float) -> str:
        """The stores are empty again."""
        return (
            f"Nothing is stored for the {self._name} any more: {_count(records)} that had waited reached it"
            f" in {_seconds(seconds)}."
        )

    def kept_on_disk(self, stats: Stats) -> str:
        """The process ends."""
        return (
            f"This process ends and leaves {_count(stats.spooled)} on disk{self._directory}; a process with"
            " the same directory sends them."
        )

    def _advice(self, error: SendError | None) -> str:
        """Return what to check or do."""
        if isinstance(error, PermanentSendError):
            return f"{sentence_of(error.advice)} {_REPAIR}".lstrip()
        if isinstance(error, TransientSendError) and error.retry_after_s > 0:
            return THROTTLED
        return sentence_of(error.advice if error is not None else "") or self.reach()

    def reach(self) -> str:
        """Return what to check where nothing better is known."""
        where = route_of(self._hub).place if self._hub.is_configured else "the namespace"
        return (
            f"Check that this machine reaches {where} (DNS, firewall, proxy), and the state of the namespace"
            " in the portal."
        )

    def _where(self) -> str:
        """Return where records wait, and up to how many."""
        hub = self._hub
        if hub.spool is SpoolMode.MEMORY:
            return (
                f"Records wait in memory, up to {hub.max_queue_size:,} or {_size(hub.max_queue_bytes)}; later"
                " ones are dropped and counted, and a restart loses those that wait. Console and file go on."
            )
        if hub.spool_max_bytes >= NO_BOUND_BYTES:
            return f"Records wait on disk{self._directory}."
        return (
            f"Records wait on disk{self._directory}, up to {_size(hub.spool_max_bytes)} for all processes"
            " together; then the oldest are dropped and counted. Console and file go on."
        )


def _why(error: SendError | None) -> str:
    """Return the failure as one sentence in one line, with a blank behind it, or nothing."""
    sentence = sentence_of(error.cause if error is not None else "")
    return f"{sentence} " if sentence else ""


def sentence_of(text: str) -> str:
    """Return a text as a sentence in one line that is not endless; nothing if it is empty."""
    text = " ".join(text.split())
    if not text:
        return ""
    text = f"{text[:1].upper()}{text[1:]}"
    if len(text) > SHOWN_MAX:
        text = text[: SHOWN_MAX - 1] + "…"
    return text if text.endswith((".", "!", "?", "…")) else f"{text}."


def _waiting(stats: Stats) -> str:
    return f"Waiting: {_count(stats.held)}."


def _count(records: int) -> str:
    return f"{records:,} record" if records == 1 else f"{records:,} records"


def _seconds(seconds: float) -> str:
    return f"{seconds:,.0f} s"


def _size(number: int) -> str:
    for unit, factor in (("GiB", 1 << 30), ("MiB", 1 << 20)):
        if number >= factor:
            return f"{number / factor:.4g} {unit}"
    return f"{number / (1 << 10):.4g} KiB"
