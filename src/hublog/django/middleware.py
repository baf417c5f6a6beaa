"""Request fields in every record and one record for each request: one middleware class for sync and async.

Nothing here loads a user or session, makes a query, or raises.
"""

import contextlib
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import Any, Final

from asgiref.sync import iscoroutinefunction, markcoroutinefunction, sync_to_async
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created
from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import LazyObject, empty
from django.utils.log import log_response

from hublog.capture.context import stored
from hublog.django.project import read_project
from hublog.requests.framework_routes import route_text
from hublog.requests.query_counting import watched
from hublog.requests.request_fields import length_of, user_fields
from hublog.requests.request_scope import SCOPE_KEY, RequestScope
from hublog.requests.streaming import AsyncBody, Body
from hublog.settings import RequestSettings

GetResponse = Callable[[HttpRequest], HttpResponseBase] | Callable[[HttpRequest], Awaitable[HttpResponseBase]]

#: Attribute of a request that is served now.
_KEY: Final = "_hublog_request"
#: Attribute of a response with the id that we have set on it: a view or a cache may send it again.
_SENT: Final = "_hublog_id"
_CLIENT_ERROR: Final = 400
_FAILED: Final = 500


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
        if self.settings.count_db_queries:
            count_queries()
        self.process_view: Any = _note_route
        if self.is_async:
            markcoroutinefunction(self)
            self.process_view = _note_route_async  # else Django sends each request through a thread for it

    def __call__(self, request: HttpRequest) -> Any:  # noqa: ANN401  # a response, or its awaitable
        """Serve a request."""
        if self.is_async:
            return self._serve_async(request)
        served = _ServedRequest(request, self.settings)
        try:
            response: HttpResponseBase = self.get_response(request)
            if getattr(response, "status_code", 0) >= _CLIENT_ERROR and _is_unlogged(response):
                with contextlib.suppress(Exception):
                    _log_response(request, response)
        except BaseException as error:
            served.fail(error)
            raise
        served.end(response)
        return response

    async def _serve_async(self, request: HttpRequest) -> HttpResponseBase:
        served = _ServedRequest(request, self.settings)
        try:
            response: HttpResponseBase = await self.get_response(request)
            if getattr(response, "status_code", 0) >= _CLIENT_ERROR and _is_unlogged(response):
                with contextlib.suppress(Exception):
                    await sync_to_async(_log_response, thread_sensitive=False)(request, response)
        except BaseException as error:
            served.fail(error)
            raise
        served.end(response)
        return response

    def process_exception(self, request: HttpRequest, exception: Exception) -> None:
        """Bind the user, so that the record of the exception names whom it hit."""
        del exception
        served: _ServedRequest | None = vars(request).get(_KEY)
        if served is not None:
            served.note_user()


def _note_route(request: HttpRequest, view: object, args: object, kwargs: object) -> None:
    """Bind the route, known from here on."""
    del view, args, kwargs
    served: _ServedRequest | None = vars(request).get(_KEY)
    if served is not None:
        served.note_route()


async def _note_route_async(request: HttpRequest, view: object, args: object, kwargs: object) -> None:
    _note_route(request, view, args, kwargs)


def _is_unlogged(response: HttpResponseBase) -> bool:
    return not getattr(response, "_has_been_logged", False)


def _log_response(request: HttpRequest, response: HttpResponseBase) -> None:
    """Log a response of 400 and above as Django does, which does it outside of all middleware.

    Here the record has the request's fields, and Django does not log it again.
    """
    streamed_too: Any = response  # the stubs know of no streamed one
    log_response("%s: %s", response.reason_phrase, request.path, response=streamed_too, request=request)


class _ServedRequest:
    """Follows a request; where ``hublog.asgi.request_context`` is around Django, that begins and ends it.

    Args:
        request: at its start.
        settings: what to take from it.
    """

    __slots__ = ("_is_inner", "_request", "_scope")

    def __init__(self, request: HttpRequest, settings: RequestSettings) -> None:
        self._request = request
        asgi_scope = getattr(request, "scope", None)
        outer: RequestScope | None = asgi_scope.get(SCOPE_KEY) if isinstance(asgi_scope, dict) else None
        self._is_inner = outer is not None
        self._scope = scope = outer or RequestScope.from_environ(
            settings, request.META, path=request.path, host=_host_of(request)
        )
        attributes = vars(request)
        attributes[_KEY] = self
        scope.look_for_user(attributes, "user", _read_user)
        if outer is None:
            scope.enter()

    def end(self, response: HttpResponseBase) -> None:
        """End the request, or let it end with its streamed body; echo its id."""
        self._release()
        if self._is_inner:
            return
        is_streamed = False
        try:
            is_streamed = getattr(response, "streaming", False)
            self._echo(response)
        except Exception:  # noqa: BLE001, S110  # refusing another kind of response is up to Django's handler
            pass
        if is_streamed:
            self._follow(response)
            return
        self._scope.finish(getattr(response, "status_code", _FAILED), size=partial(_length, response))
        self._scope.suspend()
        try:
            closing = _Closing(response, self._scope)
            closing.install()
        except Exception:  # noqa: BLE001, S110  # as above
            pass

    def fail(self, error: BaseException) -> None:
        """End the request without a response, also a cancelled one."""
        self._release()
        if not self._is_inner:
            self._scope.fail(error)
            self._scope.leave()

    def _release(self) -> None:
        """Note the user and the session a last time."""
        if self._scope.life.settings.session:
            self._note_session()
        self._scope.stop_looking()
        vars(self._request).pop(_KEY, None)

    def note_route(self) -> None:
        """Bind the route, known once the view is."""
        match, scope = self._request.resolver_match, self._scope
        try:
            if match is not None:
                scope.use_active_span()
                scope.add(http_route=route_text(match.route or ""), view_name=match.view_name)
            if scope.life.made is not None:
                scope.add_user(_read_user(vars(self._request))[0])
        except Exception:  # noqa: BLE001, S110  # the request is served
            pass
        if scope.life.settings.session:
            self._note_session()

    def note_user(self) -> None:
        """Bind the user and the session, if the application has loaded them."""
        with contextlib.suppress(Exception):
            # Not with the look of the records, which must still find the user in copies of the context.
            self._scope.add_user(_read_user(vars(self._request))[0])
        self._note_session()

    def _note_session(self) -> None:
        with contextlib.suppress(Exception):
            self._scope.add_session(self._session_key)

    def _session_key(self) -> object:
        """Return the key of a session that was loaded; an unread cookie is not verified."""
        session: Any = vars(self._request).get("session")
        # Not by ``accessed``: middleware of others sets it back.
        return session.session_key if session is not None and "_session_cache" in vars(session) else None

    def _echo(self, response: HttpResponseBase) -> None:
        """Set the request's id, also in place of an earlier request's on a response that is sent again."""
        scope, attributes = self._scope, vars(response)
        # Where Django keeps the headers; to ask for each and to set it takes 15,000 instructions.
        store = vars(response.headers).get("_store")
        if type(store) is dict and store.keys().isdisjoint(scope.life.echoed):
            store.update(zip(scope.life.echoed, scope.id_headers, strict=True))
            attributes[_SENT] = scope.request_id
            return
        existing = {name: str(response[name]) for name in scope.echoed if name in response}
        name = scope.echoed[0]
        if name in existing and existing[name] == attributes.get(_SENT):
            del existing[name]
        for header, value in scope.response_headers(existing).items():
            response[header] = value
            attributes[_SENT] = scope.request_id

    def _follow(self, response: Any) -> None:  # noqa: ANN401  # a StreamingHttpResponse, in whose insides we are
        """End the request when the body ends, or when the server closes the response."""
        scope = self._scope
        kind = AsyncBody if response.is_async else Body
        length = length_of(response.get("Content-Length"))
        body = kind(scope, response.status_code, length, self.note_user)
        # A file is passed on as it is: the server sends it by itself where it can.
        if getattr(response, "file_to_stream", None) is None:
            with contextlib.suppress(Exception):  # a response class of the application may refuse it
                response.streaming_content = body.over(response.streaming_content)
        scope.suspend()
        try:
            response.close = partial(body.end_after, response.close)
        except Exception:  # noqa: BLE001  # it may refuse that, too: then the request ends here
            body.end()


class _Closing:
    """Stands in for ``close`` of a response: the receivers of ``request_finished`` log with the fields.

    It goes when it is called, so that it neither keeps the response nor piles up on one that a view returns
    again and again. A response that is pickled meanwhile, by a cache, gets its class's own method back.

    Args:
        response: whose request has ended.
        scope: of the request, suspended.
    """

    def __init__(self, response: HttpResponseBase, scope: RequestScope) -> None:
        self._response = response
        self._scope = scope
        #: The one that the application has set on the response, if any.
        self.own: Callable[[], object] | None = None

    def install(self) -> None:
        """Stand in from now on."""
        attributes = vars(self._response)
        before = attributes.get("close")
        self.own = before.own if isinstance(before, _Closing) else before
        attributes["close"] = self

    def __call__(self) -> None:
        """Close the response."""
        attributes = vars(self._response)
        if attributes.get("close") is self:
            del attributes["close"]
            if self.own is not None:
                attributes["close"] = self.own
        self._scope.run(self.own or _own_close(self._response))

    def __reduce__(self) -> tuple[object, ...]:
        return _own_close, (self._response,)


def _own_close(response: HttpResponseBase) -> Callable[[], None]:
    return partial(type(response).close, response)


def _host_of(request: HttpRequest) -> Callable[[], str]:
    """Return what gives the host: to check it takes longer than all else that is done for a request."""
    meta = request.META
    if "HTTP_HOST" not in meta:  # made of what the server calls itself
        return partial(str, _host(request))
    return partial(_checked_host, type(request), meta["HTTP_HOST"], meta.get("HTTP_X_FORWARDED_HOST"))


def _checked_host(kind: type[HttpRequest], host: str, forwarded: str | None) -> str:
    request = kind.__new__(kind)  # the one that was served may be changed by now, or gone
    request.META = {"HTTP_HOST": host}
    if forwarded is not None:
        request.META["HTTP_X_FORWARDED_HOST"] = forwarded
    return _host(request)


def _host(request: HttpRequest) -> str:
    try:
        return request.get_host()
    except Exception:  # noqa: BLE001  # DisallowedHost above all: Django answers 400 by itself
        return ""


def _length(response: HttpResponseBase) -> object:
    with contextlib.suppress(Exception):  # another kind of response may have neither
        content = getattr(response, "content", None)
        return len(content) if content is not None else response.get("Content-Length")
    return None


def _read_user(attributes: dict[str, Any]) -> tuple[Mapping[str, object], Sequence[tuple[Any, str, object]]]:
    """Return the columns of the user that the application has loaded for a request, and where it is kept."""
    user, awaited = attributes.get("user"), attributes.get("_acached_user")
    places: tuple[tuple[Any, str, object], ...] = ((attributes, "user", user),)
    if isinstance(user, LazyObject):
        inside = vars(user)
        user = inside.get("_wrapped", empty)
        places += ((inside, "_wrapped", user), (attributes, "_acached_user", awaited))
    if user is None or user is empty:  # the latter is what ``await request.auser()`` leaves
        user = attributes.get("_cached_user") or awaited
    return {} if user is None else user_fields(user, lambda: getattr(user, "pk", None)), places


def count_queries() -> None:
    """Count the queries of all connections: those of this thread, and each one that is opened from now on."""
    connection_created.connect(_wrap, dispatch_uid="hublog")
    for connection in connections.all(initialized_only=True):
        _wrap(connection)
    watched.add("django")


def _wrap(connection: BaseDatabaseWrapper, **_: object) -> None:
    wrappers: list[Any] = connection.execute_wrappers
    if _timed not in wrappers:
        # In front: ``execute_wrapper`` takes off the last one when its block ends, and a connection may be
        # opened inside that block.
        wrappers.insert(0, _timed)


def _timed(execute: Callable[..., object], sql: str, params: object, many: bool, context: object) -> object:  # noqa: FBT001  # Django's order
    counter = stored().counter
    if counter is None:
        return execute(sql, params, many, context)
    started = time.perf_counter()
    try:
        return execute(sql, params, many, context)
    finally:
        counter.add(time.perf_counter() - started)
