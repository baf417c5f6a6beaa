"""What is known of a request from its start, as it came: fields are made of it once something needs them.

Most of what a request costs is saved where nothing is logged, and nothing is made twice where much is.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from hublog.capture import context
from hublog.capture.tracing import new_id, request_id
from hublog.requests.query_counting import QueryCounter
from hublog.requests.request_fields import (
    EXPOSE,
    FORWARDED,
    HOST_MAX,
    ID_HEADERS,
    PATH_MAX,
    PRINCIPAL_HEADERS,
    QUERY_MAX,
    Headers,
    RequestLine,
    environ_name,
    request_fields,
    utf8_text,
)
from hublog.settings import RequestSettings

#: Returns the columns of the user that the application has loaded, nothing for none, and what tells that it
#: is still the same one, see ``context.Look.probes``. It loads nothing.
ReadUser: TypeAlias = Callable[
    [dict[str, Any]], tuple[Mapping[str, object], Sequence[tuple[Mapping[str, object], str, object]]]
]

#: What is taken from an environment of WSGI in addition to headers.
_LINE: Final = ("REQUEST_METHOD", "SCRIPT_NAME", "PATH_INFO", "HTTP_HOST", "REMOTE_ADDR", "QUERY_STRING")
#: Where the ids among the headers are in what is taken.
_IDS: Final = slice(len(_LINE), len(_LINE) + 1 + len(ID_HEADERS))
_NEW_ID_DIGITS: Final = 32


class RequestLife(context.Life):
    """A request from its start to its end; a ``LateContext`` asks it for fields, counter and look.

    Of an environment of WSGI nothing is kept but strings: it holds sockets, and middleware changes it.
    Threads that need the fields at the same moment may make them twice, of the same ids.

    Args:
        settings: what to take from the request.
        headers: reads a header; None where there is an environment.
        line: method, path and what else is known; None where there is an environment.
        environ: of WSGI; Django's ``META`` is one.
        path: in place of the environment's.
        host: in place of the environment's, or what gives it when it is needed.

    Attributes:
        made: the fields, once they are made.
        noted: fields that were added or bound anywhere in the request since its start, for its record.
        user: where the application's user comes to be: attributes, a name, and what reads it; or None.
        echoed: names of the response headers that have to do with the request id, in lower case.
    """

    __slots__ = (
        *("_headers", "_host", "_ids", "_line", "_names", "_path", "_queries", "_values"),
        *("echoed", "made", "noted", "settings", "user"),
    )

    def __init__(
        self,
        settings: RequestSettings,
        headers: Headers | None,
        line: RequestLine | None,
        *,
        environ: Mapping[str, Any] = MappingProxyType({}),
        path: str | None = None,
        host: str | Callable[[], str] | None = None,
    ) -> None:
        self.ended_mono = None
        self.settings = settings
        self.noted: dict[str, object] = {}
        self.made: dict[str, object] | None = None
        self.user: tuple[dict[str, Any], str, ReadUser] | None = None
        self._headers = headers
        self._line = line
        self._path = path
        self._host = host
        self._queries: list[tuple[int, float]] = []
        self._ids = new_id(40)  # all that it may need: for the request, the trace and the span
        self.echoed, self._names, keys = _names(
            settings.id_header, settings.easy_auth, settings.trusted_proxy_count > 0, settings.query
        )
        self._values: list[Any] = list(map(environ.get, keys)) if headers is None else []

    @property
    def method(self) -> str:
        """``GET`` ...."""
        return (self._line or self._read()).method

    @property
    def path(self) -> str:
        """Decoded, without the query."""
        return (self._line or self._read()).path[:PATH_MAX]

    @property
    def fields(self) -> dict[str, object]:
        """The fields of the request; the mapping is never changed."""
        fields = self.made
        if fields is None:
            line = self._line or self._read()
            try:
                known = request_fields(self.settings, self._headers or _no_header, line, ids=self._ids)
            except Exception:  # noqa: BLE001  # a request is served whatever is in its headers
                known = {"request_id": self.request_id, "http_method": line.method, "http_path": self.path}
            fields = self.made = {**known, **self.noted}
        return fields

    @property
    def request_id(self) -> str:
        """The id; to make it alone costs little."""
        if self.made is not None:
            return str(self.made["request_id"])
        known: Iterable[str | None] = ()
        if self.settings.trust_request_id:
            headers = self._headers
            known = (
                self._values[_IDS]
                if headers is None
                else map(headers, (self.settings.id_header, *ID_HEADERS))
            )
        try:
            return request_id(known, new=self._ids[:_NEW_ID_DIGITS])
        except Exception:  # noqa: BLE001  # as above
            return self._ids[:_NEW_ID_DIGITS]

    @property
    def counter(self) -> QueryCounter | None:
        """Counts the queries of the request, if they are to be counted."""
        return QueryCounter(self._queries) if self.settings.count_db_queries else None

    @property
    def look(self) -> "UserLook | None":
        """Finds the user."""
        return None if self.user is None else UserLook(*self.user, self.note_user)

    def note(self, fields: Mapping[str, object]) -> None:
        """Note fields that have become known."""
        self.noted.update(fields)
        if self.made is not None:
            self.made = {**self.made, **fields}

    def note_user(self, fields: Mapping[str, object]) -> Mapping[str, object] | None:
        """Note a user; return the fields to bind, None for an anonymous user in place of a signed-in one."""
        # Without Easy Auth the request begins without a user.
        known_before = self.noted if self.made is None and not self.settings.easy_auth else self.fields
        if not fields.get("user_authenticated") and known_before.get("user_authenticated"):
            return None
        known = filled(fields)
        self.note(known)
        return known

    def _read(self) -> RequestLine:
        """Read the environment's strings, and return what is no header."""
        values, host = self._values, self._host
        self._headers = dict(zip(self._names, values, strict=True)).get
        method, script, path = values[0], _text(values[1], PATH_MAX), _text(values[2], PATH_MAX)
        self._line = line = RequestLine(
            method="" if method is None else str(method),
            path=script + path if self._path is None else self._path,
            host=_text(values[3], HOST_MAX) if host is None else host if isinstance(host, str) else host(),
            remote_address=_text(values[4], HOST_MAX),
            query=_text(values[5], QUERY_MAX),
        )
        return line


def _text(value: object, limit: int) -> str:
    """Return the first characters of a string in an environment of WSGI; empty for any other value."""
    return utf8_text(value, limit) if isinstance(value, str) else ""


@lru_cache(maxsize=64)
def _names(
    id_header: str,
    easy_auth: bool,  # noqa: FBT001  # a cached function takes no names as cheaply
    has_proxies: bool,  # noqa: FBT001  # as above
    has_query: bool,  # noqa: FBT001  # as above
) -> tuple[tuple[str, str], tuple[str, ...], tuple[str, ...]]:
    """Return ``echoed``, the names of what is taken from an environment, and the keys that it has there."""
    headers = (
        *(id_header, *ID_HEADERS, "User-Agent", "Content-Length", "traceparent", "tracestate"),
        *(PRINCIPAL_HEADERS if easy_auth else ()),
        *((FORWARDED,) if has_proxies else ()),
    )
    line = _LINE if has_query else (*_LINE[:-1], "")
    return (id_header.lower(), EXPOSE.lower()), (*_LINE, *headers), (*line, *map(environ_name, headers))


def _no_header(name: str) -> None:
    """Have no header."""


def filled(fields: Mapping[str, object]) -> dict[str, object]:
    """Return the fields that have a value."""
    return {name: value for name, value in fields.items() if value not in (None, "")}


class UserLook(context.Look):
    """Looks, for each record of a request, whether the application has loaded the user.

    Args:
        attributes: of the framework's object that has the user.
        name: of the user there; it must not be loaded yet.
        read: reads the user from the attributes.
        note: takes the user's columns and returns those to bind.
    """

    __slots__ = ("_attributes", "_note", "_read")

    def __init__(
        self,
        attributes: dict[str, Any],
        name: str,
        read: ReadUser,
        note: Callable[[Mapping[str, object]], Mapping[str, object] | None],
    ) -> None:
        self.probes = ((attributes, name, None),)
        self.fields = None
        self._attributes = attributes
        self._read = read
        self._note = note

    def look(self) -> None:
        """Note the user if it is another one than before."""
        fields, self.probes = self._read(self._attributes)
        if fields:
            self.fields = self._note(fields) or self.fields
