"""Request fields in every record: one middleware class for sync and async."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any

from asgiref.sync import iscoroutinefunction, markcoroutinefunction
from django.core.exceptions import DisallowedHost
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import LazyObject, empty

from hublog.capture.request import EXPOSE, RequestScope, user_fields
from hublog.django.project import read_project
from hublog.settings import RequestSettings

_SCOPE = "_hublog_scope"

GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]


class RequestContextMiddleware:
    """Binds trace id, request id, method, path, route and user; echoes the request id; logs the request.

    Put it first in ``MIDDLEWARE``. It makes no query and does not touch the session, so no response
    varies by cookie on its account.
    """

    sync_capable = True
    async_capable = True

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response: Any = get_response
        self.is_async = iscoroutinefunction(get_response)
        self.settings: RequestSettings = read_project().settings.request
        if self.is_async:
            markcoroutinefunction(self)

    def __call__(self, request: HttpRequest) -> Any:  # noqa: ANN401  # a response, or its awaitable
        """Serve a request."""
        if self.is_async:
            return self._serve_async(request)
        scope = self._scope(request)
        with _serving(scope):
            response = self.get_response(request)
        return self._end(request, scope, response)

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        scope = self._scope(request)
        with _serving(scope):
            response = await self.get_response(request)
        return self._end(request, scope, response)

    def process_view(self, request: HttpRequest, view: object, args: object, kwargs: object) -> None:
        """Bind the route, known from here on."""
        del view, args, kwargs
        scope: RequestScope | None = getattr(request, _SCOPE, None)
        match = request.resolver_match
        if scope is not None and match is not None:
            route = {"http_route": f"/{match.route or ''}", "view_name": match.view_name}
            scope.add(**route, **_user_fields(request))

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Bind the user, so that the record of the exception names whom it hit."""
        del exception
        scope: RequestScope | None = getattr(request, _SCOPE, None)
        if scope is not None:
            scope.add(**_user_fields(request))

    def _scope(self, request: HttpRequest) -> RequestScope:
        scope = RequestScope(
            self.settings,
            request.headers.get,
            method=request.method or "",
            path=request.path,
            host=_host(request),
            remote_address=str(request.META.get("REMOTE_ADDR") or ""),
        )
        setattr(request, _SCOPE, scope)
        return scope

    def _end(self, request: HttpRequest, scope: RequestScope, response: HttpResponseBase) -> HttpResponseBase:
        for name, value in scope.response_headers({EXPOSE: response.get(EXPOSE, "")}).items():
            response[name] = value
        user = _user_fields(request)
        if getattr(response, "streaming", False):
            body: Any = response
            over = _over_async if body.is_async else _over
            body.streaming_content = over(body.streaming_content, scope, response.status_code, user)
            scope.suspend()
            return response
        scope.finish(response.status_code, size=_length(response), **user)
        scope.leave()
        return response


@contextmanager
def _serving(scope: RequestScope) -> Iterator[None]:
    """Bind the request's fields; end the request here only if there is no response."""
    scope.enter()
    try:
        yield
    except BaseException:  # a cancelled request too
        scope.finish(500)
        scope.leave()
        raise


def _over(
    content: Iterator[bytes], scope: RequestScope, status: int, user: dict[str, object]
) -> Iterator[bytes]:
    """Stream a body with the request's fields bound while it is made."""
    try:
        scope.enter()
        yield from content
    except Exception:
        status = 500
        raise
    finally:
        scope.finish(status, **user)
        scope.leave()


async def _over_async(
    content: AsyncIterator[bytes], scope: RequestScope, status: int, user: dict[str, object]
) -> AsyncIterator[bytes]:
    """Stream a body with the request's fields bound while it is made."""
    try:
        scope.enter()
        async for part in content:
            yield part
    except Exception:
        status = 500
        raise
    finally:
        scope.finish(status, **user)
        scope.leave()


def _host(request: HttpRequest) -> str:
    try:
        return request.get_host()
    except DisallowedHost:
        return ""  # Django answers 400 by itself; what was asked for is hostile


def _length(response: HttpResponseBase) -> object:
    content = getattr(response, "content", None)
    return len(content) if content is not None else response.get("Content-Length")


def _user_fields(request: HttpRequest) -> dict[str, object]:
    """Return the user's columns if the application has loaded the user; never load it for the log."""
    known = request.__dict__
    user: Any = known.get("user")
    if isinstance(user, LazyObject):
        user = user.__dict__.get("_wrapped", empty)
    if user is None or user is empty:
        # The latter is what ``await request.auser()`` leaves.
        user = known.get("_cached_user") or known.get("_acached_user")
    if user is None:
        return {}
    return user_fields(user, lambda: getattr(user, "pk", None))
