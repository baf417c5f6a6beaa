"""The names of table and database as KQL writes them, and our KQL texts under other names."""

import re
from dataclasses import dataclass

from hublog.capture.columns import TABLE
from hublog.settings.values import ENTITY_NAME, InvalidValueError

#: Every keyword of KQL is in lower case, so such a name is none of them.
_NEEDS_NO_QUOTES = re.compile(r"[A-Z][A-Za-z0-9_]*", re.ASCII)
_OURS = re.compile(rf"\b{TABLE}(\w*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Names:
    """What the table and its database are called.

    Raises:
        ValueError: Azure Data Explorer would not allow the name.

    Source: "Entity names" in the documentation of Azure Data Explorer.
    """

    table: str = TABLE
    database: str = "Logs"

    def __post_init__(self) -> None:
        for what, name in (("table", self.table), ("database", self.database)):
            if not _is_allowed(name):
                raise ValueError(f"The name of the {what} is {name!r}; it must be {ENTITY_NAME.allowed}.")

    @property
    def mapping(self) -> str:
        """The name of the ingestion mapping, which an event or a data connection refers to."""
        return f"{self.table}Mapping"

    def rename(self, kql: str) -> str:
        """Return a KQL text that is written for the table's default name under the real one.

        Functions and views begin with the name of their table, and change with it.
        """
        return _OURS.sub(lambda found: quoted(self.table + found[1]), kql)


def _is_allowed(name: str) -> bool:
    try:
        return ENTITY_NAME.parse(name) == name  # a blank at an end would be cut off
    except InvalidValueError:
        return False


def quoted(name: str) -> str:
    """Return a name as KQL takes it wherever it stands: ``Logs``, but ``['logs-prod']``."""
    return name if _NEEDS_NO_QUOTES.fullmatch(name) else f"['{name}']"


def text(value: str) -> str:
    """Return a text as a KQL literal of one line."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
