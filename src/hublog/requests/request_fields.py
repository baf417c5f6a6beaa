"""The fields of a request: from its headers at the start, from the user and session once they are loaded.

All headers are untrusted. Each value is cut before it is decoded or split, and of the fields of a request
only a bounded number is looked at, so that no request costs more than its server's own reading of it.
A user or session is never loaded for the log.
"""

import codecs
import contextlib
import hashlib
import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from itertools import islice
from types import GetSetDescriptorType, MemberDescriptorType
from typing import Any, AnyStr, Final, NamedTuple
from uuid import UUID

from hublog.capture.tracing import new_id, request_id, trace_fields, valid_id
from hublog.settings import RequestSettings

#: Gives a request header by its name in any case, or None; one that came several times is joined by commas.
#: Its bytes are read as Latin-1, as WSGI and ASGI hand them over.
Headers = Callable[[str], str | None]

EXPOSE: Final = "Access-Control-Expose-Headers"
PATH_MAX: Final = 2_048
QUERY_MAX: Final = 2_048
_USER_AGENT_MAX: Final = 256
_NAME_MAX: Final = 256
HOST_MAX: Final = 255
_METHOD_MAX: Final = 32
_INT64_DIGITS: Final = 18
#: Longest content of a header that says a number, blanks included.
_NUMBER_MAX: Final = 64
_UTF8_BYTES: Final = 4
#: Header fields of a request that are looked at. Servers that have a limit allow 100 to 200.
FIELDS_MAX: Final = 1_000
#: Of X-Forwarded-For the last characters: room for 100 proxies, the most that can be set.
_FORWARDED_MAX: Final = 8_192
FORWARDED: Final = "X-Forwarded-For"
#: Where a request id is looked for after the header that is set.
ID_HEADERS: Final = (
    "X-Request-ID",
    "X-Correlation-ID",
    "X-Azure-Ref",
    "X-ARR-LOG-ID",
    "Request-Id",
    "x-ms-client-request-id",
)
#: Ids that are recorded in addition to another request id: two are of Azure's Front Door and App Service.
_ID_COLUMNS: Final = (
    ("X-Correlation-ID", "correlation_id"),
    ("X-Azure-Ref", "azure_ref"),
    ("X-ARR-LOG-ID", "arr_log_id"),
)
PRINCIPAL_HEADERS: Final = (
    "X-MS-CLIENT-PRINCIPAL-ID",
    "X-MS-CLIENT-PRINCIPAL-NAME",
    "X-MS-CLIENT-PRINCIPAL-IDP",
)
_PRINCIPAL_COLUMNS: Final = ("user_id", "user_name", "identity_provider")
#: All headers that are read, apart from the configured header of the request id; adapters read ``Host``.
_READ: Final = frozenset(
    {
        *(*ID_HEADERS, *PRINCIPAL_HEADERS),
        *(FORWARDED, "Content-Length", "Host", "User-Agent", "traceparent", "tracestate"),
    }
)
_PORT: Final = re.compile(r":[0-9]{1,5}")
#: An address in brackets with a zone and a port is shorter.
_HOP_MAX: Final = 128
_HASH_BYTES: Final = 16
#: Where an object of an unknown kind may have its key, the surest first.
_KEYS: Final = ("pk", "identity", "user_id", "id", "auth_id", "sub", "username", "display_name")
#: Properties that frameworks document as computed from what is loaded: Django's model, Starlette's users.
_COMPUTED: Final = frozenset({"pk", "identity", "display_name"})
#: An attribute in a slot is read as one in a dictionary is.
_STORED: Final = (MemberDescriptorType, GetSetDescriptorType)


class RequestLine(NamedTuple):
    """What a server knows of a request apart from its headers.

    Attributes:
        method: ``GET`` ....
        path: decoded, without the query.
        host: what the client asked for, or empty.
        remote_address: address of the socket's other end, or empty.
        query: as it came, or empty.
    """

    method: str
    path: str
    host: str = ""
    remote_address: str = ""
    query: str = ""


def request_fields(
    settings: RequestSettings, headers: Headers, line: RequestLine, *, ids: str = ""
) -> dict[str, object]:
    """Return all that is known of a request before the application has seen it.

    Args:
        settings: what to take from the request.
        headers: reads a header.
        line: method, path and what else is known.
        ids: new ones of the request, the trace and the span, 80 hex digits; empty to make them here.
    """
    ids = ids or new_id(40)
    fields = trace_fields(headers("traceparent"), lambda: headers("tracestate"), ids=ids[32:])
    candidates = map(headers, (settings.id_header, *ID_HEADERS)) if settings.trust_request_id else ()
    id_ = fields["request_id"] = request_id(candidates, new=ids[:32])
    fields["http_method"] = line.method[:_METHOD_MAX]
    fields["http_path"] = line.path[:PATH_MAX]
    if line.host:
        fields["http_host"] = line.host[:HOST_MAX]
    if line.query and settings.query:
        fields["http_query"] = line.query[:QUERY_MAX]
    agent = headers("User-Agent")
    if agent:
        fields["http_user_agent"] = header_text(agent, _USER_AGENT_MAX)
    proxies = settings.trusted_proxy_count
    forwarded = headers(FORWARDED) if proxies else None
    client = client_address(forwarded, line.remote_address, trusted_proxy_count=proxies)
    if client:
        fields["client_ip"] = client
    size = length_of(headers("Content-Length"))
    if size is not None:
        fields["http_request_size"] = size
    for header, name in _ID_COLUMNS:
        further = valid_id(headers(header))
        if further and further not in (id_, fields["trace_id"]):
            fields[name] = further
    if settings.easy_auth:
        fields.update(_signed_in(headers))
    return fields


def client_address(forwarded: str | None, remote_address: str, *, trusted_proxy_count: int) -> str:
    """Return the client's address behind a known number of proxies.

    Each trusted proxy appends the address that it saw, so the client is that many places from the
    right; what stands further left may have been written by the client. A port, brackets and a zone,
    which has a meaning on the proxy alone, are removed.

    Args:
        forwarded: X-Forwarded-For, several joined by commas, or None.
        remote_address: the socket's other end.
        trusted_proxy_count: number of own proxies in front; 0 believes no header.
    """
    if trusted_proxy_count <= 0 or not forwarded:
        return remote_address
    parts = forwarded[-_FORWARDED_MAX:].split(",")
    if len(forwarded) > _FORWARDED_MAX:
        del parts[0]  # the cut may have halved it
    hops = [hop for hop in map(str.strip, parts) if hop]
    if len(hops) < trusted_proxy_count:
        return remote_address
    return _address(hops[-trusted_proxy_count]) or remote_address


def length_of(value: object) -> int | None:
    """Return a length in bytes as a header says it; None if it is not a whole number of up to 18 digits."""
    if value is None:
        return None
    text = str(value)[:_NUMBER_MAX].strip()
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _INT64_DIGITS else None


def exposing(name: str, value: str, exposed: str) -> dict[str, str]:
    """Return the headers that carry the request id and let a script of another origin read it.

    Args:
        name: of the header with the id.
        value: the id.
        exposed: the response's own ``Access-Control-Expose-Headers``, several joined by commas, or empty;
            it is added to, not replaced.
    """
    if not exposed.strip():
        return {name: value, EXPOSE: name}
    listed = [item.strip().lower() for item in exposed.split(",")]
    if name.lower() in listed or "*" in listed:
        return {name: value}
    return {name: value, EXPOSE: f"{exposed}, {name}"}


@lru_cache(maxsize=64)
def environ_name(header: str) -> str:
    """Return the name of a header in an environment of WSGI, and in Django's ``META``."""
    name = header.upper().replace("-", "_")
    return name if name in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{name}"


def header_values(
    headers: Iterable[tuple[str | bytes, str | bytes]], names: Collection[str]
) -> dict[str, str]:
    """Return some headers of a response; one that it has several times is joined by commas.

    Args:
        headers: of WSGI or ASGI.
        names: in lower case, as they are in the result.
    """
    values: dict[str, str] = {}
    for name, value in headers:
        key = (name if isinstance(name, str) else name.decode("latin-1")).lower()
        if key in names:
            text = value if isinstance(value, str) else value.decode("latin-1")
            values[key] = f"{values[key]}, {text}" if key in values else text
    return values


def with_headers(
    headers: Iterable[tuple[AnyStr, AnyStr]], added: Mapping[AnyStr, AnyStr]
) -> list[tuple[AnyStr, AnyStr]]:
    """Return the headers of a response with these, which replace those of the same names."""
    names = {name.lower() for name in added}
    others = [(name, value) for name, value in headers if name.lower() not in names]
    return others + list(added.items())


def utf8_text(value: str, limit: int) -> str:
    """Return the first characters of UTF-8 that was read as Latin-1, as WSGI and ASGI hand it over."""
    if value.isascii():
        return value[:limit]
    cut = value[: _UTF8_BYTES * limit]
    return cut.encode("latin-1", "replace").decode("utf-8", "replace")[:limit]


def header_text(value: str, limit: int) -> str:
    """Return the text of a header: UTF-8 where its bytes are that, else Latin-1, which HTTP once had.

    Args:
        value: its bytes, read as Latin-1; a string that has other characters stays as it is.
        limit: characters that are kept.
    """
    cut = value[: _UTF8_BYTES * limit]
    if not cut.isascii():
        with contextlib.suppress(UnicodeError):
            # A character that the cut has halved is left out, and lies behind the limit.
            cut, _ = codecs.utf_8_decode(cut.encode("latin-1"), "strict", len(cut) == len(value))
    return cut[:limit]


class AsgiHeaders:
    """The few headers of an ASGI request that are asked for; all others cost a look, none a copy.

    Args:
        pairs: as ASGI has them; what is no pair of bytes ends the reading.
        id_header: the header of the request id that is set.
    """

    __slots__ = ("_is_cut", "_values")

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]], id_header: str) -> None:
        self._values: dict[bytes, list[bytes]] = {}
        self._is_cut = False
        with contextlib.suppress(Exception):
            self._read(iter(pairs), _names(id_header))

    def _read(self, pairs: Iterator[tuple[bytes, bytes]], names: frozenset[bytes]) -> None:
        values = self._values
        for name, value in islice(pairs, FIELDS_MAX):
            key = name.lower()
            if key in names and isinstance(value, bytes):
                values.setdefault(key, []).append(value)
        self._is_cut = next(pairs, None) is not None

    def __call__(self, name: str) -> str | None:
        """Return a header, several of its name joined by commas, or None.

        X-Forwarded-For is None where there are more fields than are looked at: its end, which the own
        proxies have written, may be among the others.
        """
        if self._is_cut and name == FORWARDED:
            return None
        values = self._values.get(name.lower().encode("latin-1"))
        return b",".join(values).decode("latin-1") if values else None


@lru_cache(maxsize=64)
def _names(id_header: str) -> frozenset[bytes]:
    return frozenset(name.lower().encode("latin-1") for name in (*_READ, id_header))


def _address(hop: str) -> str:
    """Return the address of a hop; empty if it has none."""
    # A longer string is not an address, and must not fill the cache.
    return _address_of(hop) if len(hop) <= _HOP_MAX else ""


@lru_cache(maxsize=1_024)
def _address_of(hop: str) -> str:
    text = hop
    if hop.startswith("["):
        text, bracket, port = hop[1:].partition("]")
        if not bracket or (port and not _PORT.fullmatch(port)):
            return ""
    elif hop.count(":") == 1:  # IPv6 has at least two
        text, _, port = hop.partition(":")
        if not _PORT.fullmatch(f":{port}"):
            return ""
    try:
        return str(ip_address(text.partition("%")[0]))
    except ValueError:
        return ""


def _signed_in(headers: Headers) -> dict[str, object]:
    """Return the user whom App Service has signed in; it removes these headers from what a client sends."""
    values = [_name(headers(header)) for header in PRINCIPAL_HEADERS]
    if not values[0]:
        return {}
    known = {name: value for name, value in zip(_PRINCIPAL_COLUMNS, values, strict=True) if value}
    return {"user_authenticated": True, **known}


def _name(value: str | None) -> str:
    text = header_text((value or "").strip(), _NAME_MAX)
    return text if text.isprintable() else ""


def user_fields(user: object, key: Callable[[], object]) -> dict[str, object]:
    """Return the user's columns; an anonymous user has no id.

    One that SQLAlchemy has expired, as after a commit, is known by the primary key: to read an attribute
    would make a query.

    Args:
        user: an object with ``is_authenticated``, loaded by the application.
        key: gives its key; asked only for a user who is signed in.
    """
    expired = _expired_key(user)
    if expired is not None:
        return {"user_authenticated": True, "user_id": expired[:_NAME_MAX]}
    is_authenticated = bool(getattr(user, "is_authenticated", False))
    user_id = key() if is_authenticated else None
    return {"user_authenticated": is_authenticated, "user_id": "" if user_id is None else str(user_id)}


def _expired_key(user: Any) -> str | None:  # noqa: ANN401  # of any kind
    """Return the primary key of an object whose attributes SQLAlchemy would load again, None for others."""
    state = user._sa_instance_state if hasattr(type(user), "_sa_class_manager") else None  # noqa: SLF001  # how it marks its own
    if state is None or not state.expired_attributes or state.key is None:
        return None
    identity = state.key[1]
    return str(identity[0]) if len(identity) == 1 else ""


def caller_fields(user: Any) -> dict[str, object]:  # noqa: ANN401  # of any framework, or the application's own
    """Return the columns of whatever a framework has put in the place of the user; nothing is loaded for it.

    A user without ``is_authenticated`` counts as signed in.
    """
    if user is not None and any(base.__name__ == "LazyObject" for base in type(user).__mro__):
        user = vars(user).get("_wrapped")
        if type(user) is object:  # not loaded
            return {}
    if user is None:
        return {}
    is_authenticated = bool(getattr(user, "is_authenticated", True))
    return {"user_authenticated": is_authenticated, "user_id": _key_of(user) if is_authenticated else ""}


def _key_of(user: Any) -> str:  # noqa: ANN401  # of any framework, or the application's own
    if isinstance(user, str | int | UUID):
        return str(user)[:_NAME_MAX]
    known = user if isinstance(user, Mapping) else getattr(user, "__dict__", {})
    for name in _KEYS:
        value = known.get(name)
        if value is None and not isinstance(user, Mapping):
            value = _computed(user, name)
        if isinstance(value, str | int | UUID) and value != "":
            return str(value)[:_NAME_MAX]
    return ""


def _computed(user: object, name: str) -> object:
    """Return an attribute that is not in the dictionary of an object, where reading it loads nothing."""
    kind = type(user)
    attribute = getattr(kind, name, None)
    if isinstance(attribute, str | int | UUID):
        return attribute
    is_safe = isinstance(attribute, _STORED) or (
        name in _COMPUTED and isinstance(attribute, property) and not hasattr(kind, "_sa_class_manager")
    )
    try:
        return getattr(user, name) if is_safe else None
    except Exception:  # noqa: BLE001  # Starlette's users need not have an identity
        return None


def session_hash(key: object) -> str:
    """Return the ``session_id`` of a session's key: 32 hex digits that do not lead back to it.

    Who holds the key can make them: ``hashlib.blake2b(key.encode(), digest_size=16).hexdigest()``.
    """
    text = str(key) if key else ""
    if not text:
        return ""
    return hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=_HASH_BYTES).hexdigest()
