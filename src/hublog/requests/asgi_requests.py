"""Requests and websockets of an ASGI application, followed from outside, whatever framework is inside."""

import contextlib
import logging
import sys
from collections.abc import Awaitable, Callable, Iterator, Mapping
from typing import Any, Final, TypeAlias

from hublog.requests.framework_routes import FollowedScope
from hublog.requests.request_fields import (
    HOST_MAX,
    QUERY_MAX,
    AsgiHeaders,
    header_text,
    header_values,
    length_of,
    utf8_text,
    with_headers,
)
from hublog.requests.request_record import was_cancelled
from hublog.requests.request_scope import SCOPE_KEY, RequestScope
from hublog.settings import RequestSettings

Message: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

HTTP: Final = "http"
WEBSOCKET: Final = "websocket"
_LENGTH: Final = ("content-length",)
_SWITCHING: Final = 101
_FORBIDDEN: Final = 403
_FAILED: Final = 500
#: Close codes of websockets, RFC 6455 section 7.4.1: normal, none given, connection lost, internal error.
_NORMAL: Final = 1_000
_NO_CODE: Final = 1_005
_LOST: Final = 1_006
_INTERNAL_ERROR: Final = 1_011
#: Orderly ends: normal, going away, no code given, service restart.
_ORDERLY: Final = frozenset({_NORMAL, 1_001, _NO_CODE, 1_012})
#: Codes from here on belong to the application.
_APPLICATIONS: Final = 3_000
#: Names of the exceptions that frameworks raise in an application whose client has disconnected.
_DISCONNECTS: Final = frozenset({"ClientDisconnect", "RequestAborted", "WebSocketDisconnect"})
#: The first version of ASGI whose websockets are accepted with headers.
_WITH_HEADERS: Final = (2, 1)
#: A file that the server sends by itself completes the response, as does the last part of a body.
_WHOLE_FILES: Final = frozenset({"http.response.pathsend", "http.response.zerocopysend"})


async def serve(
    app: Application, scope: Message, receive: Receive, send: Send, settings: RequestSettings
) -> None:
    """Let an application serve one request or websocket, with its fields bound and one record at the end.

    What the application raises goes on to the server. A framework inside finds the request in the scope.
    """
    try:
        request = _request(scope, settings)
    except Exception:  # noqa: BLE001  # refusing an invalid scope is up to the application
        await app(scope, receive, send)
        return
    follower = (_Websocket if scope["type"] == WEBSOCKET else _Http)(request, scope, receive, send)
    request.enter()
    try:
        followed = FollowedScope(scope, request)
        followed[SCOPE_KEY] = request
        await app(followed, follower.receive, follower.send)
    except BaseException as error:
        follower.end(error)
        raise
    else:
        follower.end(None)


class _Follower:
    """Passes the messages between server and application on, and writes the request's record at the end."""

    def __init__(self, request: RequestScope, scope: Message, receive: Receive, send: Send) -> None:
        self._request = request
        self._scope = scope
        self._receive = receive
        self._send = send
        self._status = 0
        #: Whether a send failed: the client has disconnected, whatever the application does then.
        self._is_lost = False
        #: Whether the server has reported that the client disconnected.
        self._has_disconnected = False

    async def receive(self) -> Message:
        """Pass on a message of the server."""
        message = await self._receive()
        with contextlib.suppress(Exception):
            self.note_received(message)
        return message

    async def send(self, message: Message) -> None:
        """Pass on a message of the application."""
        if isinstance(message, dict) and isinstance(message.get("headers"), Iterator):
            # An iterator can be read once, and the server needs it.
            message = {**message, "headers": list(message["headers"])}
        with contextlib.suppress(Exception):  # refusing an invalid message is up to the server
            message = self.note_sent(message)
        try:
            await self._send(message)
        except OSError:  # the client disconnected: ASGI's specification of HTTP and websockets, 2.4
            self._is_lost = True
            raise
        with contextlib.suppress(Exception):
            self.note_delivered(message)

    def note_received(self, message: Message) -> None:
        """Note a message of the server."""

    def note_sent(self, message: Message) -> Message:
        """Note a message of the application before it is sent; return the message to send instead."""
        return message

    def note_delivered(self, message: Message) -> None:
        """Note a message of the application that was sent."""

    def end(self, error: BaseException | None) -> None:
        """Write the record when the application has returned, or has raised this error."""
        # Not with what is bound here: a framework inside may have added more in a task of its own.
        self._request.leave()
        self.write_record(error)

    def write_record(self, error: BaseException | None) -> None:
        """Write the record, unless it is written."""
        raise NotImplementedError

    def _with_id(self, message: Message) -> Message:
        """Return the start of a response with the request id; one that the application has set stays."""
        headers = list(message.get("headers") or ())
        added = self._request.response_headers(header_values(headers, self._request.echoed))
        if not added:
            return message
        encoded = {name.lower().encode("latin-1"): value.encode("latin-1") for name, value in added.items()}
        return {**message, "headers": with_headers(headers, encoded)}

    def _is_cancelled(self, error: BaseException | None) -> bool:
        """Whether the client disconnected, by the server's report, or the server ended the task."""
        if self._is_lost:
            return True
        if error is None:
            return self._has_disconnected
        return was_cancelled(error) or (self._has_disconnected and _is_disconnect(error))


class _Http(_Follower):
    """A request: it ends with the last part of its response."""

    def __init__(self, request: RequestScope, scope: Message, receive: Receive, send: Send) -> None:
        super().__init__(request, scope, receive, send)
        self._size = 0
        self._length: int | None = None

    def note_received(self, message: Message) -> None:
        """Note that the client disconnected."""
        self._has_disconnected = self._has_disconnected or message["type"] == "http.disconnect"

    def note_sent(self, message: Message) -> Message:
        """Note the status; return the message with the request id."""
        if message["type"] != "http.response.start":
            return message
        self._status = message["status"]
        self._length = length_of(header_values(message.get("headers") or (), _LENGTH).get("content-length"))
        return self._with_id(message)

    def note_delivered(self, message: Message) -> None:
        """Count the body; write the record once it is whole, which may be with the headers."""
        kind = message["type"]
        if kind == "http.response.body":
            self._size += len(message.get("body", b""))
            if not message.get("more_body", False):
                self._finish(self._size)
        elif kind in _WHOLE_FILES:
            self._finish(self._length)
        elif kind == "http.response.start" and self._request.is_bodiless(self._status):
            self._finish(0)

    def write_record(self, error: BaseException | None) -> None:
        """Write the record of a request whose response was not sent to its end, and of what was raised."""
        size = self._size if self._status else None
        if self._is_cancelled(error):
            self._end_early(size)
        elif error is not None:
            self._request.fail(error, size=size)
        else:
            # An application that returns without a response has the server answer 500 for it.
            self._request.finish(_FAILED)

    def _finish(self, size: int | None) -> None:
        # A framework that answers for what was raised does so while it handles it, and may log nothing.
        error = sys.exception() if self._status >= _FAILED else None
        if self._is_cancelled(error):
            self._end_early(size)
        else:
            self._request.finish(self._status, size=size, error=error)

    def _end_early(self, size: int | None) -> None:
        """End a request whose client disconnected, perhaps after it had the whole response."""
        if self._length is not None and self._size >= self._length:
            self._request.finish(self._status, size=size)
        else:
            self._request.cancel(size=size)


class _Websocket(_Follower):
    """A websocket: its record says how it was closed."""

    def __init__(self, request: RequestScope, scope: Message, receive: Receive, send: Send) -> None:
        super().__init__(request, scope, receive, send)
        self._code: int | None = None

    def note_received(self, message: Message) -> None:
        """Note that the client disconnected or the connection was lost."""
        if message["type"] == "websocket.disconnect":
            self._has_disconnected = True
            if self._code is None:
                self._code = message.get("code") or _NO_CODE

    def note_sent(self, message: Message) -> Message:
        """Note how the application answers; return the message with the request id, where it has headers."""
        kind = message["type"]
        if kind == "websocket.accept":
            self._status = _SWITCHING
            return self._with_id(message) if _version(self._scope) >= _WITH_HEADERS else message
        if kind == "websocket.close":
            self._status = self._status or _FORBIDDEN
            self._code = self._code or message.get("code") or _NORMAL
        elif kind == "websocket.http.response.start":
            self._status = message["status"]
            return self._with_id(message)
        return message

    def write_record(self, error: BaseException | None) -> None:
        """Write the record."""
        if error is not None and self._is_cancelled(error):
            error = None
        code = self._code
        if error is not None:
            code = _INTERNAL_ERROR
        elif code is None and self._status in (0, _SWITCHING):
            code = _LOST
        self._request.finish(
            _FAILED if error is not None else self._status or _FORBIDDEN,
            event_name="websocket.closed",
            level=_level(code, has_disconnected=self._has_disconnected),
            error=error,
            close_code=code,
        )


def _level(code: int | None, *, has_disconnected: bool) -> int:
    """Return the least level of a websocket's record: an orderly end has none."""
    if code is None or code in _ORDERLY or code >= _APPLICATIONS:
        return logging.NOTSET
    return logging.ERROR if code == _INTERNAL_ERROR and not has_disconnected else logging.WARNING


def _is_disconnect(error: BaseException) -> bool:
    """Whether an exception means that the client disconnected; by name: no framework is imported here."""
    return any(base.__name__ in _DISCONNECTS for base in type(error).__mro__)


def _request(scope: Message, settings: RequestSettings) -> RequestScope:
    headers = AsgiHeaders(scope.get("headers") or (), settings.id_header)
    client = scope.get("client")
    return RequestScope(
        settings,
        headers,
        method=str(scope.get("method") or "GET"),
        path=str(scope.get("path") or ""),
        host=header_text(headers("host") or "", HOST_MAX),
        remote_address=str(client[0] or "") if client else "",
        query=utf8_text((scope.get("query_string") or b"")[: 4 * QUERY_MAX].decode("latin-1"), QUERY_MAX),
        is_long_lived=scope["type"] == WEBSOCKET,
    )


def _version(scope: Message) -> tuple[int, ...]:
    text = str((scope.get("asgi") or {}).get("spec_version", "2.0"))
    return tuple(int(part) for part in text.split("."))
