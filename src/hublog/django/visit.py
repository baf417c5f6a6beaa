"""One request of Django from its start to its end: what is read from it and from its response.

Nothing here loads a user or session, makes a query, or raises.
"""

import contextlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final

from django.http import HttpRequest, HttpResponseBase
from django.utils.functional import LazyObject, empty

from hublog.requests.headers import QUERY_MAX, environ_name, length_of, utf8_text
from hublog.requests.request_scope import (
    SCOPE_KEY,
    RequestScope,
    UserLook,
    session_hash,
    user_fields,
)
from hublog.requests.routes import route_text
from hublog.requests.streaming import AsyncBody, Body
from hublog.settings import RequestSettings

_KEY: Final = "_hublog_visit"
_FAILED: Final = 500
#: Under this name a response keeps the id that we have set on it: a view or a cache may send it again.
_SENT: Final = "_hublog_id"


class Visit:
    """Follows a request; ``hublog.asgi.request_context`` around Django begins and ends it in our place.

    Args:
        request: at its start.
        settings: what to take from it.
    """

    def __init__(self, request: HttpRequest, settings: RequestSettings) -> None:
        self._request = request
        self._settings = settings
        scope = getattr(request, "scope", None)
        outer: RequestScope | None = scope.get(SCOPE_KEY) if isinstance(scope, dict) else None
        #: Whether somebody outside ends the request.
        self.is_inner = outer is not None
        self._scope = outer or _scope(request, settings)
        setattr(request, _KEY, self)

    def begin(self) -> None:
        """Bind the fields."""
        self._scope.look_for_user(Look(vars(self._request)))
        if not self.is_inner:
            self._scope.enter()

    def note_route(self) -> None:
        """Bind the route, known once the view is."""
        match = self._request.resolver_match
        with contextlib.suppress(Exception):
            if match is not None:
                self._scope.adopt_span()
                self._scope.add(http_route=route_text(match.route or ""), view_name=match.view_name)
        self.note_user()

    def note_user(self) -> None:
        """Bind the user and the session, if the application has loaded them."""
        with contextlib.suppress(Exception):
            self._scope.add_user(Look(vars(self._request)).read())
            if self._settings.session:
                self._scope.add(session_id=session_hash(_session_key(self._request)))

    def fail(self, error: BaseException) -> None:
        """End the request without a response."""
        self._let_go()
        if self.is_inner:
            self._scope.take_bound()
            return
        self._scope.fail(error)
        self._scope.leave()

    def end(self, response: HttpResponseBase) -> None:
        """End the request, or let it end with its streamed body; echo its id."""
        self._let_go()
        if self.is_inner:
            self._scope.take_bound()
            return
        with contextlib.suppress(Exception):
            self._echo(response)
        if getattr(response, "streaming", False):
            self._follow(response)
            return
        self._scope.finish(getattr(response, "status_code", _FAILED), size=_length(response))
        self._scope.suspend()
        try:
            Closing(response, self._scope).take()
        except Exception:  # noqa: BLE001  # what is no response of Django's is its handler's to refuse
            self._scope.drop()

    def _echo(self, response: HttpResponseBase) -> None:
        """Set the request's id; one of a request before, on a response that is sent again, gives way."""
        existing = {name: str(response[name]) for name in self._scope.echoed if name in response}
        name, known = self._scope.echoed[0], vars(response)
        if name in existing and existing[name] == known.get(_SENT):
            del existing[name]
        added = self._scope.response_headers(existing)
        for header, value in added.items():
            response[header] = value
        if added:
            known[_SENT] = added[name]

    def _let_go(self) -> None:
        """Note the user a last time; from here on no cycle keeps the request."""
        self.note_user()
        self._scope.look_for_user(None)
        vars(self._request).pop(_KEY, None)

    def _follow(self, response: Any) -> None:  # noqa: ANN401  # a StreamingHttpResponse, in whose insides we are
        """End the request when the body ends, or when the server closes the response."""
        scope = self._scope
        kind = AsyncBody if response.is_async else Body
        length = length_of(response.get("Content-Length"))
        body = kind(scope, response.status_code, length, self.note_user)
        # A file is left alone: the server sends it by itself where it can.
        if getattr(response, "file_to_stream", None) is None:
            with contextlib.suppress(Exception):  # a response of the application's own may not take it
                response.streaming_content = body.over(response.streaming_content)
        scope.suspend()
        try:
            response.close = partial(body.end_after, response.close)
        except Exception:  # noqa: BLE001  # nor that: then the request ends here
            body.end()


class Closing:
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
        #: The application's own, where it has set one on the response.
        self.own: Callable[[], object] | None = None

    def take(self) -> None:
        """Stand in."""
        known = vars(self._response)
        before = known.get("close")
        self.own = before.own if isinstance(before, Closing) else before
        known["close"] = self

    def __call__(self) -> None:
        """Close the response."""
        known = vars(self._response)
        if known.get("close") is self:
            del known["close"]
            if self.own is not None:
                known["close"] = self.own
        with self._scope.resumed():
            try:
                (self.own or _own_close(self._response))()
            except BaseException as error:
                self._scope.fail(error)
                raise

    def __reduce__(self) -> tuple[object, ...]:
        return _own_close, (self._response,)


def _own_close(response: HttpResponseBase) -> Callable[[], None]:
    return partial(type(response).close, response)


def visit_of(request: HttpRequest) -> Visit | None:
    """Return the visit that is under way, None where our middleware has not seen the request."""
    found: Visit | None = getattr(request, _KEY, None)
    return found


def _scope(request: HttpRequest, settings: RequestSettings) -> RequestScope:
    meta = request.META
    return RequestScope(
        settings,
        lambda name: meta.get(environ_name(name)),
        method=request.method or "",
        path=request.path,
        host=_host(request),
        remote_address=str(meta.get("REMOTE_ADDR") or ""),
        query=utf8_text(str(meta.get("QUERY_STRING") or ""), QUERY_MAX),
    )


def _host(request: HttpRequest) -> str:
    try:
        return request.get_host()
    except Exception:  # noqa: BLE001  # DisallowedHost above all: Django answers 400 by itself
        return ""


def _length(response: HttpResponseBase) -> object:
    with contextlib.suppress(Exception):  # what is no response of Django's has neither
        content = getattr(response, "content", None)
        return len(content) if content is not None else response.get("Content-Length")
    return None


class Look(UserLook):
    """Looks whether the application has loaded the user of a request; never loads it.

    Args:
        known: the attributes of the request.
    """

    __slots__ = ("_known",)

    def __init__(self, known: dict[str, Any]) -> None:
        super().__init__()
        self._known = known
        self.probes = ((known, "user", None),)

    def read(self) -> Mapping[str, object]:
        """Return the columns of the user that is loaded."""
        known = self._known
        user, awaited = known.get("user"), known.get("_acached_user")
        self.probes = ((known, "user", user),)
        if isinstance(user, LazyObject):
            inside = vars(user)
            user = inside.get("_wrapped", empty)
            self.probes += ((inside, "_wrapped", user), (known, "_acached_user", awaited))
        if user is None or user is empty:  # the latter is what ``await request.auser()`` leaves
            user = known.get("_cached_user") or awaited
        return {} if user is None else user_fields(user, lambda: getattr(user, "pk", None))


def _session_key(request: HttpRequest) -> object:
    """Return the key of a session that was loaded; a cookie that nobody looked at may say anything."""
    session: Any = vars(request).get("session")
    # Not by ``accessed``: middleware of others sets it back.
    return session.session_key if session is not None and "_session_cache" in vars(session) else None
