"""Requests of a WSGI application, followed from outside, whatever framework is inside."""

import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import TYPE_CHECKING, Any, Final

from hublog.requests.request_fields import header_values, length_of
from hublog.requests.request_scope import RequestScope, current_scope
from hublog.requests.streaming import Body
from hublog.settings import RequestSettings

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

#: Under this key the environment of a request has its ``WsgiResponse``.
_KEY: Final = "hublog.response"
_LENGTH: Final = ("content-length",)
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
    outer = response_of(environ)
    if outer is not None and outer.scope is current_scope():
        # This application is mounted inside another one that is followed: the request is that one's.
        return app(environ, start_response)
    scope = RequestScope.from_environ(settings, environ)
    response = environ[_KEY] = WsgiResponse(scope, start_response)
    scope.enter()
    try:
        body = app(environ, response.start)
    except BaseException as error:
        scope.fail(error)
        scope.leave()
        raise
    if not response.is_streamed:
        # It has the server's ``start_response``, and that perhaps the environment.
        environ.pop(_KEY, None)
    return response.follow(body, environ.get("wsgi.file_wrapper"))


def response_of(environ: "WSGIEnvironment") -> "WsgiResponse | None":
    """Return the response of a request that is served now, None for one that is not followed."""
    response: WsgiResponse | None = environ.get(_KEY)
    return response


class WsgiResponse:
    """Follows the response of one request to its end.

    Attributes:
        is_streamed: whether the application makes the body while the server sends it; set by the adapter.
        is_in_memory: whether all parts of the body are in memory; set by the adapter.
    """

    def __init__(self, scope: RequestScope, start_response: "StartResponse") -> None:
        self.scope = scope
        self.is_streamed = False
        self.is_in_memory = False
        self._start_response = start_response
        self._status = _FAILED
        self._length: int | None = None

    def start(self, *args: Any, **kwargs: Any) -> Callable[[bytes], object]:  # noqa: ANN401  # the server's own
        """Stand in for ``start_response``: note the status, echo the request id; all else is the server's."""
        with contextlib.suppress(Exception):  # refusing an invalid response is up to the server
            status, headers, *rest = args
            self._status = int(status[:3])
            if type(headers) is list:
                self._length = length_of(header_values(headers, _LENGTH).get("content-length"))
                args = (status, self.scope.with_request_id(headers), *rest)
        return self._start_response(*args, **kwargs)

    def follow(self, body: Iterable[bytes], file_wrapper: object) -> Iterable[bytes]:
        """Return what the server is to send; the request ends now, or when a streamed body does."""
        is_file = isinstance(file_wrapper, type) and isinstance(body, file_wrapper)
        if self.is_streamed and not is_file:
            self.scope.suspend()
            return _StreamedBody(body, Body(self.scope, self._status, self._length))
        # The body is made already, or is a file that the server sends by itself.
        self.scope.finish(self._status, size=self._length)
        if is_file or not hasattr(body, "close"):
            self.scope.leave()
            return body
        self.scope.suspend()
        kind = _SizedBody if hasattr(body, "__len__") else _FinishedBody
        return kind(body, self.scope, is_in_memory=self.is_in_memory)


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


class _FinishedBody:
    """A body whose request has its record already: what is still run for it has the fields."""

    def __init__(self, parts: Any, scope: RequestScope, *, is_in_memory: bool) -> None:  # noqa: ANN401  # an iterable with ``close``
        self._parts = parts
        self._next: Callable[[], bytes] | None = None
        self._scope = scope
        self._is_in_memory = is_in_memory

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if self._is_in_memory:
            return self._part()
        with self._scope.resumed():
            return self._part()

    def _part(self) -> bytes:
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


class _SizedBody(_FinishedBody):
    """One whose number of parts a server may ask for."""

    def __len__(self) -> int:
        return len(self._parts)
