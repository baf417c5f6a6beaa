"""Connection strings of Event Hubs: checked for their shape, and never shown.

Two things are normalized, since azure-eventhub would misread them: blanks around a part, and
``UseDevelopmentEmulator=True``, which only counts in lower case (azure-eventhub 5.15.1, ``_parse_conn_str``).
"""

import re
from datetime import UTC, datetime
from typing import Final
from urllib.parse import urlsplit

from hublog.settings.values import HUB_NAME, QUOTES, InvalidValueError, ValueKind, unquoted

_ENDPOINT = re.compile(r"(?i)sb://([a-z0-9_]([a-z0-9._-]*[a-z0-9_])?|\[[0-9a-f:]+\])(:[0-9]{1,5})?/*")
_PORT = re.compile(r"(?i)((?:^|;)endpoint=sb://(?:\[[0-9a-f:]+\]|[^:/;]+)):[0-9]+")
_EMULATOR: Final = "usedevelopmentemulator"
_SIGNATURE: Final = "sharedaccesssignature"
_KEY_NAMES: Final = ("SharedAccessKeyName", "SharedAccessKey")
#: Files saved on Windows may begin with it.
_BYTE_ORDER_MARK: Final = "\ufeff"
#: Prefix of a token; some generators omit it, some escape its blank.
_PREFIX: Final = "SharedAccessSignature"
_STARTED = re.compile(rf"(?i){_PREFIX}(?:\s+|\+|%20)(?=[a-z]+=)")
_FIELDS: Final = frozenset({"sr", "sig", "se", "skn"})
_FORM: Final = f"{_PREFIX} sr=<resource>&sig=<signature>&se=<expiry>&skn=<policy>"
#: Digits of an expiry in seconds since 1970; more are not a date.
_EXPIRY = re.compile(r"[0-9]{1,12}")


_LOCAL_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})


def parts_of(connection_string: str) -> dict[str, str]:
    """Return the parts of a valid connection string by their lower-case names; one is a secret."""
    pairs = (part.partition("=") for part in connection_string.split(";") if part)
    return {name.lower(): value for name, _, value in pairs}


def entity_path(connection_string: str) -> str:
    """Return the event hub that a valid connection string names; empty if it names none."""
    return parts_of(connection_string).get("entitypath", "")


def is_local(connection_string: str) -> bool:
    """Whether a valid connection string leads to a hub on this machine or to an emulator."""
    parts = parts_of(connection_string)
    host = urlsplit(parts.get("endpoint", "")).hostname or ""
    return parts.get("usedevelopmentemulator", "").lower() == "true" or host in _LOCAL_HOSTS


def without_port(connection_string: str) -> str:
    """Return a valid connection string without the port of its endpoint."""
    return _PORT.sub(r"\1", connection_string, count=1)


def signature_of(connection_string: str) -> str:
    """Return the signature in the token of a valid connection string, a secret; empty if there is none."""
    return _token_fields(parts_of(connection_string).get(_SIGNATURE, "")).get("sig", "")


def expiry_of(connection_string: str) -> datetime | None:
    """Return the expiry of the token in a valid connection string; None if there is none."""
    fields = _token_fields(parts_of(connection_string).get(_SIGNATURE, ""))
    try:
        return datetime.fromtimestamp(int(fields["se"]), UTC)
    except (KeyError, ValueError, OverflowError, OSError):
        return None


def _parse(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidValueError(f"is a {type(value).__name__}")
    text = _plain(value.strip().removeprefix(_BYTE_ORDER_MARK))
    parts = [part.strip() for part in text.split(";") if part.strip()]
    pairs = [(name.strip(), _plain(value)) for name, _, value in (part.partition("=") for part in parts)]
    if any(name[:1] in QUOTES or value[-1:] in QUOTES.values() for name, value in pairs):
        raise InvalidValueError("has a quotation mark at one end only")
    if not all(name and value for name, value in pairs):
        raise InvalidValueError("has a part that is not Name=value")
    pairs = [(name, _token(value) if name.lower() == _SIGNATURE else value) for name, value in pairs]
    if any(_has_space(name) or _has_space(value.removeprefix(f"{_PREFIX} ")) for name, value in pairs):
        raise InvalidValueError("has white space or control characters inside a part")
    known = {name.lower(): value for name, value in pairs}
    if len(known) != len(pairs):
        raise InvalidValueError("has a part more than once")
    _check(known)
    if _SIGNATURE in known:  # the client refuses a partial key along with it, and ignores a complete one
        pairs = [(name, value) for name, value in pairs if not name.lower().startswith("sharedaccesskey")]
    return ";".join(
        f"{name}={value.lower() if name.lower() == _EMULATOR else value}" for name, value in pairs
    )


def _plain(text: str) -> str:
    return str(unquoted(text)).strip()


def _has_space(text: str) -> bool:
    return not text.isprintable() or " " in text


def _token(text: str) -> str:
    """Return a token in the form that the hub expects."""
    started = _STARTED.match(text)
    rest = text[started.end() :] if started else text
    fields = _token_fields(rest)
    if not fields.keys() >= _FIELDS or not all(fields.values()):
        raise InvalidValueError(f"has a SharedAccessSignature that is not {_FORM}")
    if not _EXPIRY.fullmatch(fields["se"]):
        raise InvalidValueError("has a SharedAccessSignature whose se= is not a number of seconds since 1970")
    return f"{_PREFIX} {rest}"


def _token_fields(token: str) -> dict[str, str]:
    rest = token.removeprefix(f"{_PREFIX} ")
    return {name: value for name, _, value in (part.partition("=") for part in rest.split("&"))}


def _check(known: dict[str, str]) -> None:
    if not _ENDPOINT.fullmatch(known.get("endpoint", "")):
        raise InvalidValueError("has no Endpoint=sb://<host>/")
    if _SIGNATURE not in known:
        missing = [name for name in _KEY_NAMES if name.lower() not in known]
        if missing:
            raise InvalidValueError(f"has no {' and no '.join(missing)}")
    if known.get(_EMULATOR, "true").lower() not in {"true", "false"}:
        raise InvalidValueError("has a UseDevelopmentEmulator that is neither true nor false")
    if "entitypath" in known:
        try:
            HUB_NAME.parse(known["entitypath"])
        except InvalidValueError:
            raise InvalidValueError("has an EntityPath that is not the name of an event hub") from None


CONNECTION_STRING: Final = ValueKind(
    "Endpoint=sb://<host>/;SharedAccessKeyName=<policy>;SharedAccessKey=<key>, or SharedAccessSignature="
    "<token> in place of policy and key, as the portal shows it under shared access policies",
    _parse,
    is_secret=True,
)
