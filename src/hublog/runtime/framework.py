"""The configuration of the framework, as its adapter hands it over, and what follows the settings."""

from collections.abc import Callable
from typing import Final

from hublog.settings import Settings

#: Gives the value of a setting by its environment name, None where it is not set.
Lookup = Callable[[str], object | None]


class Adapter:
    """What a framework's adapter has handed over.

    Attributes:
        lookup: gives the framework's values; None without an adapter.
        framework: ``django``, ``flask`` or empty.
        followers: called with the settings of a pipeline whenever it reads them, in the thread that reads.
        is_hub_replaced: whether a test stands in for the hub, which is then switched on and connected.
    """

    def __init__(self) -> None:
        self.lookup: Lookup | None = None
        self.framework = ""
        self.is_hub_replaced = False
        self.followers: list[Callable[[Settings], object]] = []


adapter: Final = Adapter()
