"""Names that are almost those of our settings: a typing error that nobody else would tell."""

import difflib
from collections.abc import Iterator, Mapping
from typing import Final

from hublog.settings import SETTINGS
from hublog.settings.values import NotAllowedError

#: How like a name must be, by its beginning: the more a beginning is ours alone, the less.
_LIKENESS: Final = (("EVENTHUB_LOG", 0.8), ("EVENTHUB_", 0.9), ("LOG_", 0.85), ("FILE_LOG", 0.85))
_OURS: Final = "EVENTHUB_"
_KNOWN: Final = {setting.name: setting for setting in SETTINGS}
#: What is looked at; all other names are somebody else's.
BEGINNINGS: Final = tuple(beginning for beginning, _ in _LIKENESS)


def misspelt(names: Mapping[str, object]) -> Iterator[tuple[str, str]]:
    """Yield each name that is almost that of a setting, and the setting.

    A name that may be anybody's is told only if its value is one that the setting takes.

    Args:
        names: of an environment or a framework's configuration, with their values.
    """
    for name, value in names.items():
        meant = "" if name in _KNOWN else _almost(name, value)
        if meant:
            yield name, meant


def _almost(name: str, value: object) -> str:
    least = next((least for beginning, least in _LIKENESS if name.startswith(beginning)), 0.0)
    found = difflib.get_close_matches(name, _KNOWN, n=1, cutoff=least) if least else []
    if not found:
        return ""
    if not name.startswith(_OURS):
        try:
            _KNOWN[found[0]].kind.parse(value)
        except NotAllowedError:
            return ""
    return found[0]
