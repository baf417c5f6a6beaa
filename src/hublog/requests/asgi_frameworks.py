"""Quart and Channels, which keep what they find out of a request in places of their own.

Quart sends a signal once it has a route. Channels hands each application a copy of the scope, so the two
classes that do so are wrapped, once, and only in a process that uses them under ``request_context``. Neither
is imported here.
"""

import contextlib
import functools
import sys
from collections.abc import Callable
from typing import Any, Final

from hublog.requests.asgi_scopes import FollowedScope, name_of
from hublog.requests.request_scope import SCOPE_KEY, RequestScope, current_scope
from hublog.requests.routes import route_text
from hublog.requests.user import caller_fields

_ROUTE_MAX: Final = 2_048
#: Modules by their names, until they were seen.
_QUART: Final = "quart"
_CONSUMERS: Final = "channels.consumer"
_ROUTERS: Final = "channels.routing"
_waiting: Final = {_QUART, _CONSUMERS, _ROUTERS}


def watch() -> None:
    """Have the frameworks that the application uses say what they find out; to be called for each request."""
    for name in tuple(_waiting):
        if name in sys.modules:
            with contextlib.suppress(
                Exception
            ):  # one that is being imported, or another package of this name
                _WATCHES[name]()
                _waiting.discard(name)


def _watch_quart() -> None:
    quart: Any = sys.modules[_QUART]

    async def note_request(*_: object, **__: object) -> None:  # one without ``async`` would take a thread
        _note_quart(quart.request)

    async def note_websocket(*_: object, **__: object) -> None:
        _note_quart(quart.websocket)

    quart.signals.request_started.connect(note_request, weak=False)
    quart.signals.websocket_started.connect(note_websocket, weak=False)


def _note_quart(request: Any) -> None:  # noqa: ANN401  # Quart's request or websocket
    with contextlib.suppress(Exception):
        scope, rule = current_scope(), request.url_rule
        if scope is not None and rule is not None:
            outer = request.scope
            prefix = outer.prefix if isinstance(outer, FollowedScope) else ""
            scope.add(http_route=f"{prefix}{rule.rule}"[:_ROUTE_MAX], view_name=request.endpoint or "")


def _watch_consumers() -> None:
    module: Any = sys.modules[_CONSUMERS]
    _wrap(module.AsyncConsumer, _note_consumer)


def _watch_routers() -> None:
    module: Any = sys.modules[_ROUTERS]
    _wrap(module.URLRouter, _note_routes)


def _wrap(kind: Any, note: Callable[[Any, Any, RequestScope], None]) -> None:  # noqa: ANN401  # a class of Channels
    original = kind.__call__

    @functools.wraps(original)
    async def call(self: Any, scope: Any, receive: Any, send: Any) -> Any:  # noqa: ANN401  # Channels' own
        with contextlib.suppress(Exception):  # what is odd is the application's own
            request = scope.get(SCOPE_KEY)
            if isinstance(request, RequestScope):
                note(self, scope, request)
        return await original(self, scope, receive, send)

    kind.__call__ = call


def _note_consumer(consumer: Any, scope: Any, request: RequestScope) -> None:  # noqa: ANN401  # Channels' own
    request.add(view_name=name_of(type(consumer)))
    request.add_user(caller_fields(scope.get("user")))


def _note_routes(router: Any, scope: Any, request: RequestScope) -> None:  # noqa: ANN401  # Channels' own
    """Note which of its routes a router is about to take; one inside another adds to that one's."""
    is_inner = "path_remaining" in scope
    path = scope["path_remaining"] if is_inner else scope["path"].removeprefix(scope.get("root_path", ""))
    prefix = str(request.fields.get("http_route") or "") if is_inner else ""
    for route in router.routes:
        if route.pattern.match(path.lstrip("/")):
            request.add(http_route=f"{prefix.rstrip('/')}{route_text(str(route.pattern))}"[:_ROUTE_MAX])
            return


_WATCHES: Final = {_QUART: _watch_quart, _CONSUMERS: _watch_consumers, _ROUTERS: _watch_routers}
