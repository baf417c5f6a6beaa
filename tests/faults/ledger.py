"""The ledger of one run: every accepted record is delivered, on disk, or counted as dropped."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final, Self

#: How many ids a complaint names.
_SHOWN: Final = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Ledger:
    """What became of the records of one run.

    Attributes:
        accepted: ids of the records whose logging call returned and was confirmed to the driver.
        uncertain: ids that were or may have been logged, but whose request was not answered with 200.
        delivered: how often the broker settled each id as accepted.
        on_disk: how often each id stands in the spool and is not settled.
        dropped: records that the package itself reported as lost.
        set_aside: ids that the broker refused for their content, and that are kept beside the spool; whether
            the package counts them as dropped, too, makes no difference here.
    """

    accepted: frozenset[str] = frozenset()
    uncertain: frozenset[str] = frozenset()
    delivered: Counter[str] = field(default_factory=Counter)
    on_disk: Counter[str] = field(default_factory=Counter)
    dropped: int = 0
    set_aside: frozenset[str] = frozenset()

    @classmethod
    def of(
        cls,
        accepted: Iterable[str],
        *,
        uncertain: Iterable[str] = (),
        delivered: Iterable[str] = (),
        on_disk: Iterable[str] = (),
        dropped: int = 0,
        set_aside: Iterable[str] = (),
    ) -> Self:
        """Make a ledger of plain lists of ids; an id that stands twice in a list is counted twice."""
        known = frozenset(accepted)
        return cls(
            accepted=known,
            uncertain=frozenset(uncertain) - known,
            delivered=Counter(delivered),
            on_disk=Counter(on_disk),
            dropped=dropped,
            set_aside=frozenset(set_aside),
        )

    @property
    def unique_delivered(self) -> int:
        """Accepted records that the broker has, each counted once."""
        return sum(id_ in self.delivered for id_ in self.accepted)

    @property
    def stored(self) -> int:
        """Accepted records that are on disk and nowhere else."""
        return len(self.stored_ids)

    @property
    def stored_ids(self) -> frozenset[str]:
        """The ids of accepted records that are on disk and nowhere else."""
        return frozenset(id_ for id_ in self.accepted if id_ in self.on_disk and id_ not in self.delivered)

    @property
    def duplicates(self) -> int:
        """Deliveries beyond the first of each record, of whatever record."""
        return sum(number - 1 for number in self.delivered.values())

    @property
    def gone(self) -> frozenset[str]:
        """Accepted records that are neither delivered nor on disk."""
        return frozenset(
            id_ for id_ in self.accepted if id_ not in self.delivered and id_ not in self.on_disk
        )

    @property
    def missing(self) -> int:
        """Accepted records that nobody accounts for."""
        return max(0, len(self.gone - self.set_aside) - self.dropped)

    @property
    def overcounted(self) -> int:
        """Records reported as dropped that were not: more than are gone, uncertain ones included."""
        unseen = sum(id_ not in self.delivered and id_ not in self.on_disk for id_ in self.uncertain)
        return max(0, self.dropped - len(self.gone) - unseen)

    @property
    def unconfirmed(self) -> frozenset[str]:
        """Ids that arrived and nobody confirmed: their writer was killed first, or it is a fault."""
        return frozenset(self.delivered.keys() | self.on_disk.keys()) - self.accepted - self.uncertain

    def show_gone(self) -> str:
        """Return a few of the ids that are gone, for a complaint."""
        some = sorted(self.gone)[:_SHOWN]
        return ", ".join(some) + (" ..." if len(self.gone) > _SHOWN else "")
