"""The values that say how a namespace is reached: connection string, proxy and endpoint.

A connection string is validated and never shown. Two things in it are normalized, since azure-eventhub would
misread them: blanks around a part, and ``UseDevelopmentEmulator=True``, which only counts in lower case
(azure-eventhub 5.15.1, ``_parse_conn_str``).
"""

import errno
import re
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final
from urllib.parse import SplitResult, quote, unquote, urlsplit

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


_FILE_MAX: Final = 65_536


def read_connection_string(path: Path) -> str:
    """Return the connection string that a file holds.

    Raises:
        InvalidValueError: it cannot be read, or holds none; the message has nothing of what is in it.
    """
    try:
        if not path.is_file():  # a pipe would have its reader wait
            raise FileNotFoundError(errno.ENOENT, "there is no such file")
        with path.open(encoding="utf-8") as file:
            text = file.read(_FILE_MAX)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "it is not text"
        raise InvalidValueError(f"is {path}, which cannot be read ({why})") from None
    try:
        return _parse(text)
    except InvalidValueError as error:
        raise InvalidValueError(f"is {path}, whose content {error}") from None


PROXY_PORT: Final = 80

PROXY_SETTING: Final = "EVENTHUB_LOG_PROXY"
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9._-]{0,251}[A-Za-z0-9_])?|[0-9a-f:.]{2,45}")
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
_ENDPOINT_SCHEMES: Final = frozenset({"sb", "amqps", "https", "wss"})
_KINDS: Final = {"https": "an https", "socks4": "a SOCKS", "socks5": "a SOCKS", "socks5h": "a SOCKS"}
_MAX_TEXT: Final = 2_048


@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """An HTTP proxy for a tunnel (CONNECT).

    Attributes:
        username: empty without a login.
        password: a secret; in no repr.
        source: the setting or variable that names it.
    """

    host: str
    port: int
    username: str = field(default="", repr=False)
    password: str = field(default="", repr=False)
    source: str = PROXY_SETTING

    @property
    def place(self) -> str:
        """Host and port, without the login."""
        return place_of(self.host, self.port)

    @property
    def url(self) -> str:
        """The whole address, a secret if it holds a password."""
        login = ":".join(quote(each, safe="") for each in (self.username, self.password) if each)
        return f"http://{login}@{self.place}" if login else f"http://{self.place}"


def read_proxy(text: str, source: str) -> Proxy:
    """Return a proxy from its address.

    Raises:
        InvalidValueError: it cannot be used; the message does not contain the password.
    """
    with_scheme = text if _SCHEME.match(text) else f"http://{text}"
    scheme = with_scheme.partition("://")[0].lower()
    if scheme != "http":
        raise InvalidValueError(
            f"names {_KINDS.get(scheme, 'another kind of')} proxy, which is not supported"
        )
    try:
        address = urlsplit(with_scheme)
        port = address.port
        host = address.hostname or ""
    except ValueError:
        host, port = "", None
    if not _HOST.fullmatch(host) or port == 0 or address.path.strip("/") or address.query or address.fragment:
        raise InvalidValueError(
            "is not the address of a proxy (in its password, the characters / ? # and % are written as"
            " %2F %3F %23 and %25)"
        )
    return Proxy(
        host=host,
        port=port or PROXY_PORT,
        username=unquote(address.username or ""),
        password=unquote(address.password or ""),
        source=source,
    )


def _parse_proxy(value: object) -> str:
    text = _bounded(value)
    read_proxy(text, PROXY_SETTING)
    return text


def _parse_endpoint(value: object) -> str:
    text = _bounded(value)
    scheme, has_scheme, rest = text.rpartition("://")
    if has_scheme and scheme.lower() not in _ENDPOINT_SCHEMES:
        raise InvalidValueError
    try:
        address = urlsplit(f"sb://{rest}")
        host, port = address.hostname or "", address.port
    except ValueError:
        raise InvalidValueError from None
    if not _HOST.fullmatch(host) or port == 0 or address.path.strip("/") or "@" in rest or address.query:
        raise InvalidValueError
    return place_of(host, port) if port else place_of(host, 0).removesuffix(":0")


def _bounded(value: object) -> str:
    if not isinstance(value, str):
        raise InvalidValueError(f"is a {type(value).__name__}")
    text = str.__str__(value).strip()
    if not text.isprintable() or " " in text or len(text) > _MAX_TEXT:
        raise InvalidValueError("has white space or control characters, or is too long")
    return text


def port_of(address: SplitResult) -> int:
    """Return the port of an address; 0 if it has none or an invalid one."""
    match = re.search(r":([0-9]{1,5})$", address.netloc)
    return int(match[1]) if match else 0


def place_of(host: str, port: int) -> str:
    """Return a host and its port as they are written in an address."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


PROXY: Final = ValueKind(
    "http://<host>:<port>, with user and password before the host if the proxy needs a login",
    _parse_proxy,
    is_secret=True,
)
ENDPOINT: Final = ValueKind(
    "a host name or address, with a port if it is not that of the transport, like gateway.example.com:443",
    _parse_endpoint,
)
