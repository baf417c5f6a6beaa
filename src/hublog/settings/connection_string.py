"""Connection strings of Event Hubs: checked for their shape, and never shown.

What azure-eventhub takes differently from what people write is put right here: blanks around a
part make the part unknown to it, and only ``UseDevelopmentEmulator=true`` in lower case counts
(azure-eventhub 5.15.1, ``_parse_conn_str``).
"""

import re
from typing import Final

from hublog.settings.values import HUB_NAME, Kind, NotAllowedError

_ENDPOINT = re.compile(r"(?i)sb://([a-z0-9]([a-z0-9.-]*[a-z0-9])?|\[[0-9a-f:]+\])(:[0-9]{1,5})?/*")
_EMULATOR: Final = "usedevelopmentemulator"


def parts_of(connection_string: str) -> dict[str, str]:
    """Return the parts of a checked connection string by their lower-case names; a secret is among them."""
    pairs = (part.partition("=") for part in connection_string.split(";") if part)
    return {name.lower(): value for name, _, value in pairs}


def entity_path(connection_string: str) -> str:
    """Return the event hub that a checked connection string names, or nothing."""
    return parts_of(connection_string).get("entitypath", "")


def _parse(value: object) -> str:
    if not isinstance(value, str):
        raise NotAllowedError(f"is a {type(value).__name__}")
    parts = [part.strip() for part in value.split(";") if part.strip()]
    pairs = [(name.strip(), found.strip()) for name, _, found in (part.partition("=") for part in parts)]
    if not all(name and found for name, found in pairs):
        raise NotAllowedError("has a part that is not Name=value")
    if any(not text.isprintable() or " " in text for pair in pairs for text in pair):
        raise NotAllowedError("has white space or control characters inside a part")
    known = {name.lower(): found for name, found in pairs}
    if len(known) != len(pairs):
        raise NotAllowedError("has a part twice")
    _check(known)
    return ";".join(
        f"{name}={found.lower() if name.lower() == _EMULATOR else found}" for name, found in pairs
    )


def _check(known: dict[str, str]) -> None:
    if not _ENDPOINT.fullmatch(known.get("endpoint", "")):
        raise NotAllowedError("has no Endpoint=sb://<host>/")
    if "sharedaccesssignature" not in known:
        missing = [name for name in ("SharedAccessKeyName", "SharedAccessKey") if name.lower() not in known]
        if missing:
            raise NotAllowedError(f"has no {' and no '.join(missing)}")
    if known.get(_EMULATOR, "true").lower() not in {"true", "false"}:
        raise NotAllowedError("has a UseDevelopmentEmulator that is neither true nor false")
    if "entitypath" in known:
        try:
            HUB_NAME.parse(known["entitypath"])
        except NotAllowedError:
            raise NotAllowedError("has an EntityPath that is not the name of an event hub") from None


CONNECTION_STRING: Final = Kind(
    "Endpoint=sb://<host>/;SharedAccessKeyName=<policy>;SharedAccessKey=<key>, or SharedAccessSignature="
    "<token> in place of policy and key, as the portal shows it under shared access policies",
    _parse,
)
