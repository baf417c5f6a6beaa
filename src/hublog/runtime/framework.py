"""What surrounds the pipelines of a process: the framework's configuration, and who follows the settings."""

from collections.abc import Callable
from typing import Final

from hublog.settings import Settings

#: Gives the value of a setting by its environment name, None where it is not set.
Lookup = Callable[[str], object | None]


class Surroundings:
    """What a framework's adapter has handed over.

    Attributes:
        lookup: gives the framework's values; None without an adapter.
        framework: ``django``, ``flask`` or empty.
        is_hub_replaced: whether a test stands in for the hub, which is then switched on and connected.
    """

    def __init__(self) -> None:
        self.lookup: Lookup | None = None
        self.framework = ""
        self.is_hub_replaced = False


surroundings: Final = Surroundings()
#: Called with the settings of a pipeline whenever they are read anew, in the thread that reads.
followers: Final[list[Callable[[Settings], object]]] = []
