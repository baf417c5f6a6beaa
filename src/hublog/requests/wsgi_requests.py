"""Requests of a WSGI application, followed from outside, whatever framework is inside."""

from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from hublog.requests.request_fields import length_of
from hublog.requests.request_scope import RequestScope, current_scope
from hublog.requests.streaming import Body
from hublog.settings import RequestSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Under this key the environment of a request has its ``WsgiResponse``.
KEY: Final = "hublog.response"
_FAILED: Final = 500


def serve(
    app: "WSGIApplication",
    settings: RequestSettings,
    environ: "WSGIEnvironment",
    start_response: "StartResponse",
) -> Iterable[bytes]:
    """Let an application serve one request, its error handlers, teardown and streamed body included.

    What the application raises goes on to the server.
    """
    outer: WsgiResponse | None = environ.get(KEY)
    if outer is not None and outer.scope is current_scope():
        # This application is mounted inside another one that is followed: the request is that one's.
        return app(environ, start_response)
    scope = RequestScope.from_environ(settings, environ)
    response = environ[KEY] = WsgiResponse(scope, start_response)
    scope.enter()
    try:
        body = app(environ, response.start)
    except BaseException as error:
        scope.fail(error)
        scope.leave()
        raise
    if not response.is_streamed:
        # It has the server's ``start_response``, and that perhaps the environment.
        environ.pop(KEY, None)
    return response.follow(body, environ.get("wsgi.file_wrapper"))


def response_of(environ: "WSGIEnvironment") -> "WsgiResponse | None":
    """Return the response of a request that is served now, None for one that is not followed."""
    response: WsgiResponse | None = environ.get(KEY)
    return response


class WsgiResponse:
    """Follows the response of one request to its end.

    Attributes:
        is_streamed: whether the application makes the body while the server sends it; set by the adapter.
        is_in_memory: whether all parts of the body are in memory; set by the adapter.
    """

    __slots__ = ("_length", "_start_response", "_status", "is_in_memory", "is_streamed", "scope")

    def __init__(self, scope: RequestScope, start_response: "StartResponse") -> None:
        self.scope = scope
        self.is_streamed = self.is_in_memory = False
        self._start_response = start_response
        self._status = _FAILED
        self._length: str | None = None

    def start(self, status: str, headers: Any, *rest: Any, **named: Any) -> Callable[[bytes], object]:  # noqa: ANN401  # the server's own
        """Stand in for ``start_response``: note the status, echo the request id; all else is the server's."""
        try:
            self._status = int(status[:3])
            if type(headers) is list:
                scope = self.scope
                names = scope.life.echoed
                length, has_own = None, False
                for name, value in headers:
                    key = name.lower()
                    if key in names:
                        has_own = True
                    elif key == "content-length":
                        length = value if length is None else ""
                self._length = length
                headers = scope.with_request_id(headers) if has_own else [*headers, *scope.id_headers]
        except Exception:  # noqa: BLE001, S110  # refusing an invalid response is up to the server
            pass
        return self._start_response(status, headers, *rest, **named)

    def follow(self, body: Iterable[bytes], file_wrapper: object) -> Iterable[bytes]:
        """Return what the server is to send; the request ends now, or when a streamed body does."""
        is_file = isinstance(file_wrapper, type) and isinstance(body, file_wrapper)
        if self.is_streamed and not is_file:
            self.scope.suspend()
            return _StreamedBody(body, Body(self.scope, self._status, length_of(self._length)))
        # The body is made already, or is a file that the server sends by itself.
        self.scope.finish(self._status, size=self._length)
        if is_file or not hasattr(body, "close"):
            self.scope.leave()
            return body
        self.scope.suspend()
        kind = _SizedBody if hasattr(body, "__len__") else _MadeBody if self.is_in_memory else _FinishedBody
        return kind(body, self.scope)


class _StreamedBody:
    """A streamed body as a server sees it: iterated once, and closed however the response ended."""

    def __init__(self, parts: Iterable[bytes], body: Body) -> None:
        self._parts = parts
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return self._body.over(iter(self._parts))

    def close(self) -> None:
        """Close the application's own body, then end the request."""
        self._body.end_after(getattr(self._parts, "close", None))


class _MadeBody:
    """A body in memory, whose request has its record already; what is run at its close has the fields."""

    __slots__ = ("_next", "_parts", "_scope")

    def __init__(self, parts: Any, scope: RequestScope) -> None:  # noqa: ANN401  # an iterable with ``close``
        self._parts = parts
        self._next: Callable[[], bytes] | None = None
        self._scope = scope

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        try:
            if self._next is None:
                self._next = iter(self._parts).__next__
            return self._next()
        except StopIteration:
            raise
        except BaseException as error:
            self._scope.fail(error)
            raise

    def close(self) -> None:
        """Close the application's own body, and with it all that waits for the end of the response."""
        self._scope.run(self._parts.close)


class _FinishedBody(_MadeBody):
    """One whose parts are made while it is sent: that has the fields, too."""

    __slots__ = ()

    def __next__(self) -> bytes:
        with self._scope.resumed():
            return super().__next__()


class _SizedBody(_FinishedBody):
    """One whose number of parts a server may ask for."""

    __slots__ = ()

    def __len__(self) -> int:
        return len(self._parts)
