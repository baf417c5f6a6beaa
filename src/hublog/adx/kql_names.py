"""The names of table and database in KQL, and KQL templates rewritten for other names."""

import re
from dataclasses import dataclass

from hublog.capture.columns import TABLE
from hublog.settings.values import ENTITY_NAME, InvalidValueError

#: All keywords of KQL are in lower case, so such a name is not a keyword.
_NEEDS_NO_QUOTES = re.compile(r"[A-Z][A-Za-z0-9_]*", re.ASCII)
_OURS = re.compile(rf"\b{TABLE}(\w*)")


@dataclass(frozen=True, slots=True, kw_only=True)
class KqlNames:
    """The names of the table and its database.

    Raises:
        ValueError: Azure Data Explorer does not allow the name.

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
        """Return KQL that is written with the table's default name, with the configured one.

        The names of functions and views begin with that of their table, and change with it.
        """
        return _OURS.sub(lambda found: quoted(self.table + found[1]), kql)


def _is_allowed(name: str) -> bool:
    try:
        return ENTITY_NAME.parse(name) == name  # a leading or trailing blank would be stripped
    except InvalidValueError:
        return False


def quoted(name: str) -> str:
    """Return a name as a KQL identifier: ``Logs``, but ``['logs-prod']``."""
    return name if _NEEDS_NO_QUOTES.fullmatch(name) else f"['{name}']"


def text(value: str) -> str:
    """Return a string as a KQL literal on one line."""
    return '"' + value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'
