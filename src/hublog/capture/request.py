"""What every web framework's adapter does for a request: fields at its start, one record at its end."""

import contextlib
import logging
import time
from collections.abc import Callable, Mapping
from contextvars import ContextVar, Token
from typing import Final, Protocol

from hublog.capture import context
from hublog.capture.tracing import request_id, trace_fields, valid_id
from hublog.settings import RequestSettings

#: Logger of the one record for each request.
LOGGER_NAME: Final = "hublog.request"
EXPOSE: Final = "Access-Control-Expose-Headers"
_USER_AGENT_MAX: Final = 256
_PATH_MAX: Final = 2_048
_SERVER_ERROR: Final = 500
_CLIENT_ERROR: Final = 400

#: Gives a request header by its name in any case, or None.
Headers = Callable[[str], str | None]


class RequestObserver(Protocol):
    """Follows requests from their start to their end; see ``observers``.

    Both methods are called in the thread or task that serves the request, with the request's fields bound.
    They must not wait. What they raise hurts nobody.
    """

    def begin(self, scope: "RequestScope") -> None:
        """Note that a request begins. It is called once, before the application sees the request."""
        ...

    def end(self, scope: "RequestScope", *, status: int, seconds: float, has_failed: bool) -> None:
        """Note that a request has ended, its request record written.

        It is called once, unless nobody ever ends the request: a streamed body that is thrown away unread.

        Args:
            scope: the one that ``begin`` was given.
            status: of the response.
            seconds: from the start to the end; for a streamed body the end is when it was sent.
            has_failed: whether the status is 500 or above, or an exception left the application.
        """
        ...


#: Who follows requests, in the order in which they are called.
observers: Final[list[RequestObserver]] = []


class RequestScope:
    """The logging side of one request.

    ``enter`` binds its fields; ``finish`` writes the request record; ``leave`` takes the fields away.
    All three belong to the task or thread that serves the request.

    Args:
        settings: what to take from the request.
        headers: reads a header.
        method: ``GET`` ....
        path: the path, decoded, without the query.
        host: what the client asked for, or empty.
        remote_address: address of the socket's other end, or empty.
        now: monotonic seconds.
    """

    def __init__(
        self,
        settings: RequestSettings,
        headers: Headers,
        *,
        method: str,
        path: str,
        host: str = "",
        remote_address: str = "",
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._settings = settings
        self._now = now
        self._started = now()
        self._method = method
        self._path = path[:_PATH_MAX]
        self._is_begun = False
        self._is_finished = False
        self._token: Token[context.Context] | None = None
        self._outer: RequestScope | None = None
        #: True once the request has ended, or its response was thrown away unread.
        self.is_over = False
        trusted = settings.trust_request_id
        names = dict.fromkeys((settings.id_header, "X-Request-ID", "X-Correlation-ID"))
        self.request_id = request_id(map(headers, names) if trusted else ())
        trace = trace_fields(headers("traceparent"))
        correlation = valid_id(headers("X-Correlation-ID"))
        self.fields: dict[str, object] = {
            **trace,
            "request_id": self.request_id,
            "http_method": method,
            "http_path": self._path,
            **({"http_host": host} if host else {}),
            **_agent(headers("User-Agent")),
            **_client(settings, headers("X-Forwarded-For"), remote_address),
            **_size("http_request_size", headers("Content-Length")),
        }
        if correlation and correlation not in (self.request_id, trace.get("trace_id")):
            self.fields["correlation_id"] = correlation

    def enter(self) -> None:
        """Bind the fields; every record from here on carries them."""
        self._outer = _current.get()
        self._token = context.enter(self.fields)
        _current.set(self)
        if not self._is_begun:
            self._is_begun = True
            for observer in observers:
                with contextlib.suppress(Exception):
                    observer.begin(self)

    def add(self, **fields: object) -> None:
        """Bind fields that became known later, such as the route."""
        known = {name: value for name, value in fields.items() if value not in (None, "")}
        if known:
            self.fields = {**self.fields, **known}
            context.bind(**known)

    def finish(self, status: int, *, size: object = None, **fields: object) -> None:
        """Write the request record, once.

        Args:
            status: of the response.
            size: its Content-Length, where it has one.
            fields: more columns for this record.
        """
        if self._is_finished:
            return
        self._is_finished = True
        seconds = self._now() - self._started
        if self._settings.access_records:
            self._write(status, seconds, size, fields)
        for observer in observers:
            with contextlib.suppress(Exception):
                observer.end(self, status=status, seconds=seconds, has_failed=status >= _SERVER_ERROR)

    def _write(self, status: int, seconds: float, size: object, fields: Mapping[str, object]) -> None:
        duration = seconds * 1000
        logging.getLogger(LOGGER_NAME).log(
            _level(status),
            "%s %s %d %.1f ms",
            self._method,
            self._path,
            status,
            duration,
            extra={
                "record_type": "request",
                "event_name": "request.finished",
                "http_status_code": status,
                "duration_ms": round(duration, 3),
                **_size("http_response_size", size),
                **{name: value for name, value in fields.items() if value not in (None, "")},
            },
        )

    def leave(self) -> None:
        """Take the fields away again; what an abandoned request left behind goes with them."""
        token, self._token = self._token, None
        self.is_over = True
        if token is None:
            return
        context.leave(token)
        outer, self._outer = self._outer, None
        if outer is not None and outer.is_over:
            context.enter({})
            outer = None
        _current.set(outer)

    def suspend(self) -> None:
        """Take the fields away until ``enter`` is called again: a streamed body comes later."""
        self.leave()
        self.is_over = False

    def response_headers(self, existing: Mapping[str, str]) -> dict[str, str]:
        """Return the headers to set on the response, whatever its status.

        Args:
            existing: the response's headers; ``Access-Control-Expose-Headers`` is added to, not replaced.
        """
        name = self._settings.id_header
        exposed = existing.get(EXPOSE, "")
        listed = [item.strip().lower() for item in exposed.split(",")]
        if name.lower() in listed or "*" in listed:
            return {name: self.request_id}
        return {name: self.request_id, EXPOSE: f"{exposed}, {name}" if exposed.strip() else name}


def client_address(forwarded: str | None, remote_address: str, *, trusted_proxies: int) -> str:
    """Return the client's address behind a known number of proxies.

    Each trusted proxy appends the address that it saw, so the client is that many places from the
    right; whatever stands further left was written by the client itself.

    Args:
        forwarded: X-Forwarded-For, or None.
        remote_address: the socket's other end.
        trusted_proxies: number of own proxies in front; 0 believes no header.
    """
    if trusted_proxies <= 0 or not forwarded:
        return remote_address
    hops = [hop.strip() for hop in forwarded.split(",")]
    if len(hops) < trusted_proxies:
        return remote_address
    return valid_id(hops[-trusted_proxies].strip("[]")) or remote_address


def user_fields(user: object, key: Callable[[], object]) -> dict[str, object]:
    """Return the user's columns; an anonymous user has no id.

    Args:
        user: an object with ``is_authenticated``, loaded by the application.
        key: gives its key; asked only for a user who is signed in.
    """
    is_authenticated = bool(getattr(user, "is_authenticated", False))
    found = key() if is_authenticated else None
    return {"user_authenticated": is_authenticated, "user_id": "" if found is None else str(found)}


def _level(status: int) -> int:
    if status >= _SERVER_ERROR:
        return logging.ERROR
    return logging.WARNING if status >= _CLIENT_ERROR else logging.INFO


def _agent(value: str | None) -> dict[str, object]:
    return {"http_user_agent": value[:_USER_AGENT_MAX]} if value else {}


def _client(settings: RequestSettings, forwarded: str | None, remote_address: str) -> dict[str, object]:
    found = client_address(forwarded, remote_address, trusted_proxies=settings.trusted_proxies)
    return {"client_ip": found} if found else {}


def _size(name: str, value: object) -> dict[str, object]:
    text = str(value).strip() if value is not None else ""
    return {name: int(text)} if text.isascii() and text.isdigit() and len(text) < len(str(1 << 62)) else {}


#: The request that is served here; the outer one while an application calls itself.
_current: ContextVar[RequestScope | None] = ContextVar("hublog_request", default=None)


def current_scope() -> RequestScope | None:
    """Return the request that is served here, in this thread or task or one that copied its context."""
    return _current.get()
