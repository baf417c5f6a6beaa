"""What a request says of itself and its caller: ids, address, sign-in.

All of it is untrusted. Each value is cut before it is decoded or split, and of the fields of a request only a
bounded number is looked at, so that no request costs more than its server's own reading of it.
"""

import codecs
import contextlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from ipaddress import ip_address
from itertools import islice
from typing import Any, AnyStr, Final

from hublog.capture.tracing import request_id, trace_fields, valid_id
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
_FORWARDED: Final = "X-Forwarded-For"
#: Where a request id is looked for after the header that is set.
_ID_HEADERS: Final = (
    "X-Request-ID",
    "X-Correlation-ID",
    "X-Azure-Ref",
    "X-ARR-LOG-ID",
    "Request-Id",
    "x-ms-client-request-id",
)
#: What Azure's edge (Front Door, App Service) calls a request: kept beside an id of another kind.
_EDGE_HEADERS: Final = (("X-Azure-Ref", "azure_ref"), ("X-ARR-LOG-ID", "arr_log_id"))
_PRINCIPAL_ID: Final = "X-MS-CLIENT-PRINCIPAL-ID"
_PRINCIPAL_HEADERS: Final = (
    ("X-MS-CLIENT-PRINCIPAL-NAME", "user_name"),
    ("X-MS-CLIENT-PRINCIPAL-IDP", "identity_provider"),
)
#: All that is asked for, beside the header of the request id that is set; ``Host`` is asked for by adapters.
_READ: Final = frozenset(
    {
        *_ID_HEADERS,
        *(name for name, _ in (*_EDGE_HEADERS, *_PRINCIPAL_HEADERS)),
        *(_PRINCIPAL_ID, _FORWARDED, "Content-Length", "Host", "User-Agent", "traceparent", "tracestate"),
    }
)
_PORT: Final = re.compile(r":[0-9]{1,5}")
#: An address in brackets with a zone and a port is shorter.
_HOP_MAX: Final = 128


def request_fields(
    settings: RequestSettings,
    headers: Headers,
    *,
    method: str,
    path: str,
    host: str = "",
    remote_address: str = "",
    query: str = "",
) -> dict[str, object]:
    """Return all that is known of a request before the application has seen it.

    Args:
        settings: what to take from it.
        headers: reads a header.
        method: ``GET`` ....
        path: decoded, without the query.
        host: what the client asked for, or empty.
        remote_address: address of the socket's other end, or empty.
        query: the query as it came, or empty.
    """
    fields = trace_fields(headers("traceparent"), lambda: headers("tracestate"))
    found = request_id(_candidates(settings, headers))
    fields["request_id"] = found
    fields["http_method"] = method[:_METHOD_MAX]
    fields["http_path"] = path[:PATH_MAX]
    if host:
        fields["http_host"] = host[:HOST_MAX]
    if query and settings.query:
        fields["http_query"] = query[:QUERY_MAX]
    agent = headers("User-Agent")
    if agent:
        fields["http_user_agent"] = header_text(agent, _USER_AGENT_MAX)
    client = _client(settings, headers, remote_address)
    if client:
        fields["client_ip"] = client
    fields.update(size_field("http_request_size", headers("Content-Length")))
    correlation = valid_id(headers("X-Correlation-ID"))
    if correlation and correlation not in (found, fields["trace_id"]):
        fields["correlation_id"] = correlation
    for header, name in _EDGE_HEADERS:
        edge = valid_id(headers(header))
        if edge and edge != found:
            fields[name] = edge
    if settings.easy_auth:
        fields.update(_signed_in(headers))
    return fields


def client_address(forwarded: str | None, remote_address: str, *, trusted_proxies: int) -> str:
    """Return the client's address behind a known number of proxies.

    Each trusted proxy appends the address that it saw, so the client is that many places from the
    right; whatever stands further left was written by the client itself. A port, brackets and a zone,
    which only the proxy's own machine knows, are taken off.

    Args:
        forwarded: X-Forwarded-For, several joined by commas, or None.
        remote_address: the socket's other end.
        trusted_proxies: number of own proxies in front; 0 believes no header.
    """
    if trusted_proxies <= 0 or not forwarded:
        return remote_address
    parts = forwarded[-_FORWARDED_MAX:].split(",")
    if len(forwarded) > _FORWARDED_MAX:
        del parts[0]  # the cut has left half of it
    hops = [hop for hop in map(str.strip, parts) if hop]
    if len(hops) < trusted_proxies:
        return remote_address
    return _address(hops[-trusted_proxies]) or remote_address


def size_field(name: str, value: object) -> dict[str, object]:
    """Return a size as a column, nothing if it is none."""
    length = length_of(value)
    return {} if length is None else {name: length}


def length_of(value: object) -> int | None:
    """Return a length in bytes as a header says it; None if it is no whole number of up to 18 digits."""
    text = str(value)[:_NUMBER_MAX].strip() if value is not None else ""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _INT64_DIGITS else None


def exposing(name: str, value: str, exposed: str) -> dict[str, str]:
    """Return the headers that carry the request id and let a script of another origin read it.

    Args:
        name: of the header with the id.
        value: the id.
        exposed: the response's own ``Access-Control-Expose-Headers``, several joined by commas, or empty;
            it is added to, not replaced.
    """
    listed = [item.strip().lower() for item in exposed.split(",")]
    if name.lower() in listed or "*" in listed:
        return {name: value}
    return {name: value, EXPOSE: f"{exposed}, {name}" if exposed.strip() else name}


@lru_cache(maxsize=64)
def environ_name(header: str) -> str:
    """Return the name of a header in an environment of WSGI, and in Django's ``META``."""
    name = header.upper().replace("-", "_")
    return name if name in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{name}"


def environ_text(environ: Mapping[str, Any], name: str, limit: int) -> str:
    """Return a string of an environment of WSGI; empty where a server or a caller has put another type there.

    Args:
        environ: the environment, or Django's ``META``.
        name: of the entry, such as ``PATH_INFO``.
        limit: characters that are kept.
    """
    value = environ.get(name)
    return utf8_text(value, limit) if isinstance(value, str) else ""


def joined_values(headers: Iterable[tuple[AnyStr, AnyStr]], name: AnyStr) -> str | None:
    """Return a header of a response, several of its name joined by commas; None where it has none."""
    name = name.lower()
    values = [_latin1(value) for key, value in headers if key.lower() == name]
    return ", ".join(values) if values else None


def _latin1(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode("latin-1")


def with_headers(
    headers: Iterable[tuple[AnyStr, AnyStr]], added: Mapping[AnyStr, AnyStr]
) -> list[tuple[AnyStr, AnyStr]]:
    """Return the headers of a response with these, which replace those of the same names."""
    names = {name.lower() for name in added}
    others = [(name, value) for name, value in headers if name.lower() not in names]
    return others + list(added.items())


def utf8_text(value: str, limit: int) -> str:
    """Undo the reading of bytes as Latin-1, which is how WSGI and ASGI hand them over.

    Args:
        value: what was read so.
        limit: characters that are kept.
    """
    cut = value[: _UTF8_BYTES * limit]
    return (cut if cut.isascii() else cut.encode("latin-1", "replace").decode("utf-8", "replace"))[:limit]


def header_text(value: str, limit: int) -> str:
    """Return the text of a header: UTF-8 where its bytes are that, else Latin-1, which HTTP once had.

    Args:
        value: its bytes, read as Latin-1; a text that is no such thing stays as it is.
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

    __slots__ = ("_found", "_is_cut")

    def __init__(self, pairs: Iterable[tuple[bytes, bytes]], id_header: str) -> None:
        self._found: dict[bytes, list[bytes]] = {}
        self._is_cut = False
        with contextlib.suppress(Exception):
            self._read(iter(pairs), _names(id_header))

    def _read(self, pairs: Iterator[tuple[bytes, bytes]], names: frozenset[bytes]) -> None:
        found = self._found
        for name, value in islice(pairs, FIELDS_MAX):
            key = name.lower()
            if key in names and isinstance(value, bytes):
                found.setdefault(key, []).append(value)
        self._is_cut = next(pairs, None) is not None

    def __call__(self, name: str) -> str | None:
        """Return a header, several of its name joined by commas, or None.

        X-Forwarded-For is None where there are more fields than are looked at: its end, which the own
        proxies have written, may be among the others.
        """
        if self._is_cut and name == _FORWARDED:
            return None
        values = self._found.get(name.lower().encode("latin-1"))
        return b",".join(values).decode("latin-1") if values else None


@lru_cache(maxsize=64)
def _names(id_header: str) -> frozenset[bytes]:
    return frozenset(name.lower().encode("latin-1") for name in (*_READ, id_header))


def _candidates(settings: RequestSettings, headers: Headers) -> Iterator[str | None]:
    if not settings.trust_request_id:
        return
    yield headers(settings.id_header)
    yield from map(headers, _ID_HEADERS)


def _client(settings: RequestSettings, headers: Headers, remote_address: str) -> str:
    proxies = settings.trusted_proxies
    forwarded = headers(_FORWARDED) if proxies else None
    return client_address(forwarded, remote_address, trusted_proxies=proxies)


def _address(hop: str) -> str:
    """Return the address of a hop, or an empty text where it has none."""
    return _address_of(hop) if len(hop) <= _HOP_MAX else ""  # a longer one is none, and is not kept


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
    """Return whom App Service has signed in; it takes these headers off whatever a client sends."""
    user = _name(headers(_PRINCIPAL_ID))
    if not user:
        return {}
    found: dict[str, object] = {"user_id": user, "user_authenticated": True}
    for header, name in _PRINCIPAL_HEADERS:
        value = _name(headers(header))
        if value:
            found[name] = value
    return found


def _name(value: str | None) -> str:
    text = header_text((value or "").strip(), _NAME_MAX)
    return text if text.isprintable() else ""
