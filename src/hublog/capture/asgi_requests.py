"""Requests and websockets of an ASGI application, followed from outside, whatever framework is inside."""

import contextlib
import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

from hublog.capture.headers import HOST_MAX, QUERY_MAX, AsgiHeaders, header_text, utf8_text
from hublog.capture.request import EXPOSE, SCOPE_KEY, RequestScope, is_cancellation
from hublog.settings import RequestSettings

Message: TypeAlias = Mapping[str, Any]
Receive: TypeAlias = Callable[[], Awaitable[Message]]
Send: TypeAlias = Callable[[Message], Awaitable[None]]
Application: TypeAlias = Callable[[Message, Receive, Send], Awaitable[None]]

HTTP: Final = "http"
WEBSOCKET: Final = "websocket"
_SWITCHING: Final = 101
_FORBIDDEN: Final = 403
_FAILED: Final = 500
#: Close codes of websockets, RFC 6455 section 7.4.1: usual, none given, lost, failed.
_NORMAL: Final = 1_000
_NO_CODE: Final = 1_005
_LOST: Final = 1_006
_INTERNAL_ERROR: Final = 1_011
#: The first version of ASGI whose websockets are accepted with headers.
_WITH_HEADERS: Final = (2, 1)
#: A file that the server sends by itself ends the response, as does the last part of a body.
_WHOLE_FILES: Final = frozenset({"http.response.pathsend", "http.response.zerocopysend"})


async def serve(
    app: Application, scope: Message, receive: Receive, send: Send, settings: RequestSettings
) -> None:
    """Let an application serve one request or websocket, with its fields bound and one record at the end.

    What the application raises goes on to the server. A framework inside finds the request in the scope.
    """
    try:
        request = _request(scope, settings)
    except Exception:  # noqa: BLE001  # a scope that is odd is the application's to refuse
        await app(scope, receive, send)
        return
    follower = (_Websocket if scope["type"] == WEBSOCKET else _Http)(request, scope, receive, send)
    request.enter()
    try:
        await app({**scope, SCOPE_KEY: request}, follower.receive, follower.send)
    except BaseException as error:
        follower.end(error)
        raise
    else:
        follower.end(None)
    finally:
        request.leave()


class _Follower:
    """What both kinds share: messages pass, noted.

    Args:
        request: its scope, whose record is written at the end.
        scope: of ASGI.
        receive: the server's.
        send: the server's.
    """

    def __init__(self, request: RequestScope, scope: Message, receive: Receive, send: Send) -> None:
        self._request = request
        self._scope = scope
        self._receive = receive
        self._send = send
        self._status = 0
        #: Whether the server could not send: the client is gone, whatever the application makes of that.
        self._is_lost = False

    async def receive(self) -> Message:
        """Pass on what the server says."""
        message = await self._receive()
        with contextlib.suppress(Exception):
            self.note_received(message)
        return message

    async def send(self, message: Message) -> None:
        """Pass on what the application says."""
        with contextlib.suppress(Exception):  # a message that is odd is the server's to refuse
            message = self.note_sent(message)
        try:
            await self._send(message)
        except OSError:  # how a server says so: ASGI's specification of HTTP and websockets, 2.4
            self._is_lost = True
            raise
        with contextlib.suppress(Exception):
            self.note_gone(message)

    def note_received(self, message: Message) -> None:
        """Note a message of the server."""

    def note_sent(self, message: Message) -> Message:
        """Note a message of the application before it goes; return what goes in its place."""
        return message

    def note_gone(self, message: Message) -> None:
        """Note a message of the application that has gone."""

    def end(self, error: BaseException | None) -> None:
        """Write the record."""

    def _with_id(self, message: Message) -> Message:
        headers = list(message.get("headers") or ())
        exposed = b", ".join(value for name, value in headers if name.lower() == EXPOSE.lower().encode())
        added = self._request.response_headers({EXPOSE: exposed.decode("latin-1")})
        names = {name.lower().encode("latin-1") for name in added}
        kept = [(name, value) for name, value in headers if name.lower() not in names]
        new = [(name.lower().encode("latin-1"), value.encode("latin-1")) for name, value in added.items()]
        return {**message, "headers": [*kept, *new]}


class _Http(_Follower):
    """A request: it ends with the last part of its response."""

    def __init__(self, request: RequestScope, scope: Message, receive: Receive, send: Send) -> None:
        super().__init__(request, scope, receive, send)
        self._size = 0
        self._has_left = False

    def note_received(self, message: Message) -> None:
        """Note that the client is gone."""
        self._has_left = self._has_left or message["type"] == "http.disconnect"

    def note_sent(self, message: Message) -> Message:
        """Note the status, and put the request id beside it."""
        if message["type"] != "http.response.start":
            return message
        self._status = message["status"]
        return self._with_id(message)

    def note_gone(self, message: Message) -> None:
        """Count the body; write the record once it is whole."""
        kind = message["type"]
        is_body = kind == "http.response.body"
        if is_body:
            self._size += len(message.get("body", b""))
        if (is_body and not message.get("more_body", False)) or kind in _WHOLE_FILES:
            self._request.take_bound()
            self._request.finish(self._status, size=self._size if is_body else None)

    def end(self, error: BaseException | None) -> None:
        """Write the record of a request whose response was not sent to its end."""
        self._request.take_bound()
        self._request.leave()  # what a framework inside has added in a task of its own is not bound here
        is_cancelled = error is not None and is_cancellation(error)
        if is_cancelled or self._is_lost or (error is None and self._has_left):
            self._request.cancel(size=self._size if self._status else None)
        else:
            # An application that returns without a response has the server answer 500 for it.
            self._request.finish(_FAILED)


class _Websocket(_Follower):
    """A websocket: its record tells how it was closed."""

    def __init__(self, request: RequestScope, scope: Message, receive: Receive, send: Send) -> None:
        super().__init__(request, scope, receive, send)
        self._code: int | None = None

    def note_received(self, message: Message) -> None:
        """Note that the client or the connection is gone."""
        if message["type"] == "websocket.disconnect" and self._code is None:
            self._code = message.get("code") or _NO_CODE

    def note_sent(self, message: Message) -> Message:
        """Note how the application answers; put the request id where there is a place for it."""
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

    def end(self, error: BaseException | None) -> None:
        """Write the record."""
        self._request.take_bound()
        self._request.leave()
        has_failed = error is not None and not self._is_lost and not is_cancellation(error)
        lost = _INTERNAL_ERROR if has_failed else _LOST
        is_lost = self._code is None and self._status in (0, _SWITCHING)
        self._request.finish(
            _FAILED if has_failed else self._status or _FORBIDDEN,
            event_name="websocket.closed",
            level=logging.WARNING if is_lost else logging.NOTSET,
            close_code=lost if is_lost or has_failed else self._code,
        )


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
