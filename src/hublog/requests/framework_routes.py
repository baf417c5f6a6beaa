"""The route and the view of a request, as its framework names them; no framework is imported here.

- Starlette and FastAPI put ``route`` and ``endpoint`` into the scope of ASGI, once for each mount on the way.
- Litestar puts ``route_handler`` and ``path_template`` there.
- All of them put ``user`` there, by their authentication middleware.
- Quart sends a signal once it has a route.
- Channels hands each application a copy of the scope, so two of its classes are wrapped, once, and only in a
  process that uses them under ``request_context``.
- Django and Channels write routes with ``path`` or ``re_path``; ``route_text`` makes one kind of both.
"""

import contextlib
import functools
import re
import sys
from collections.abc import Callable, Mapping
from functools import lru_cache, partial
from typing import Any, Final

from hublog.requests.request_fields import caller_fields
from hublog.requests.request_scope import SCOPE_KEY, RequestScope, current_scope

_NOTED: Final = frozenset({"route", "endpoint", "route_handler", "path_template", "user"})
_NAME_MAX: Final = 256


class FollowedScope(dict[str, Any]):
    """A scope of ASGI that passes on to its request what a framework puts into it; its copy is a dict.

    Args:
        scope: as the server made it.
        request: whose fields are added to.

    Attributes:
        prefix: the templates of the mounts that the request has come through.
    """

    __slots__ = ("_last", "_request", "prefix")

    def __init__(self, scope: Mapping[str, Any], request: RequestScope) -> None:
        super().__init__(scope)
        self.prefix = ""
        self._request = request
        self._last: object = None

    def __setitem__(self, name: str, value: Any) -> None:  # noqa: ANN401  # whatever a framework puts there
        """Note one entry."""
        super().__setitem__(name, value)
        if name in _NOTED:
            with contextlib.suppress(Exception):  # the application may put anything there
                self._note({name: value})

    def update(self, *given: Any, **named: Any) -> None:  # noqa: ANN401  # as of any mapping
        """Note several entries."""
        root = self.get("root_path") or ""
        super().update(*given, **named)
        with contextlib.suppress(Exception):
            entries = dict(*given, **named)
            moved = str(entries.get("root_path", root))
            if len(moved) > len(root) and moved.startswith(root):
                self._enter_mount(moved[len(root) :])
            elif not _NOTED.isdisjoint(entries):
                self._note(entries)

    def __reduce__(self) -> tuple[object, ...]:
        """Be copied as a plain scope."""
        return dict, (dict(self),)

    def _enter_mount(self, path: str) -> None:
        """Note that the request goes on inside a mounted application, below this part of its path."""
        route = self._last
        template = getattr(route, "path", None) if hasattr(route, "routes") else None
        self.prefix += template if isinstance(template, str) else self._template(path)
        self._last = None
        self._request.add(http_route=f"{self.prefix}/{{path}}"[:_ROUTE_MAX])

    def _template(self, path: str) -> str:
        """Return a path with the names of its parameters in place of their values."""
        names = {str(value): name for name, value in (self.get("path_params") or {}).items()}
        parts = path.split("/")
        return "/".join(f"{{{names[part]}}}" if part and part in names else part for part in parts)

    def _note(self, entries: Mapping[str, Any]) -> None:
        route, endpoint = entries.get("route"), entries.get("endpoint")
        if route is not None:
            self._last = route
            path = self._path_of(route)
            if path and not hasattr(route, "routes"):
                self._request.add(http_route=(self.prefix + path)[:_ROUTE_MAX])
        if endpoint is not None:
            self._request.add(view_name=name_of(endpoint))
        handler, template = entries.get("route_handler"), entries.get("path_template")
        if handler is not None:
            self._request.add(view_name=str(handler)[:_NAME_MAX])
        if isinstance(template, str):
            self._request.add(http_route=(self.prefix + template)[:_ROUTE_MAX])
        if "user" in entries:
            self._request.add_user(caller_fields(entries["user"]))

    def _path_of(self, route: Any) -> str:  # noqa: ANN401  # of any framework
        """Return the path of a route, with the prefixes of the routers that it was included by."""
        inner = self.get("fastapi")
        if isinstance(inner, dict):
            for included in inner.values():
                if getattr(included, "original_route", None) is route and isinstance(included.path, str):
                    return str(included.path)
        path = getattr(route, "path", "")
        return path if isinstance(path, str) else ""


def name_of(endpoint: Any) -> str:  # noqa: ANN401  # a function, a class, or something that wraps one
    """Return the dotted name of what serves a request; empty for an application that is mounted."""
    while isinstance(endpoint, partial):
        endpoint = endpoint.func
    name = getattr(endpoint, "__qualname__", "")
    return (
        f"{getattr(endpoint, '__module__', '')}.{name}"[:_NAME_MAX] if isinstance(name, str) and name else ""
    )


_ROUTE_MAX: Final = 2_048
#: Names of the modules that are hooked into once they are imported.
_QUART: Final = "quart"
_CONSUMERS: Final = "channels.consumer"
_ROUTERS: Final = "channels.routing"
_waiting: Final = {_QUART, _CONSUMERS, _ROUTERS}


def watch() -> None:
    """Hook into Quart and Channels once the application has imported them; to be called for each request."""
    for name in tuple(_waiting):
        if name in sys.modules:
            # It may be half imported, or another package of this name.
            with contextlib.suppress(Exception):
                _WATCHES[name](sys.modules[name])
                _waiting.discard(name)


def _watch_quart(quart: Any) -> None:  # noqa: ANN401  # the module
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


def _wrap(kind: Any, note: Callable[[Any, Any, RequestScope], None]) -> None:  # noqa: ANN401  # a class of Channels
    original = kind.__call__

    @functools.wraps(original)
    async def call(self: Any, scope: Any, receive: Any, send: Any) -> Any:  # noqa: ANN401  # Channels' own
        with contextlib.suppress(Exception):  # the application may put anything there
            request = scope.get(SCOPE_KEY)
            if isinstance(request, RequestScope):
                note(self, scope, request)
        return await original(self, scope, receive, send)

    kind.__call__ = call


def _note_consumer(consumer: Any, scope: Any, request: RequestScope) -> None:  # noqa: ANN401  # Channels' own
    request.add(view_name=name_of(type(consumer)))
    request.add_user(caller_fields(scope.get("user")))


def _note_routes(router: Any, scope: Any, request: RequestScope) -> None:  # noqa: ANN401  # Channels' own
    """Note the route that a router is about to take, appended to that of the router around it."""
    is_inner = "path_remaining" in scope
    path = scope["path_remaining"] if is_inner else scope["path"].removeprefix(scope.get("root_path", ""))
    prefix = str(request.fields.get("http_route") or "") if is_inner else ""
    for route in router.routes:
        if route.pattern.match(path.lstrip("/")):
            request.add(http_route=f"{prefix.rstrip('/')}{route_text(str(route.pattern))}"[:_ROUTE_MAX])
            return


_WATCHES: Final[dict[str, Callable[[Any], None]]] = {
    _QUART: _watch_quart,
    _CONSUMERS: lambda module: _wrap(module.AsyncConsumer, _note_consumer),
    _ROUTERS: lambda module: _wrap(module.URLRouter, _note_routes),
}


#: What only routes of ``re_path`` contain: Django's own check warns of the first three in ``path``.
_REGEX: Final = re.compile(r"\(\?|^\^|\$$|\\|\(.*\)", re.DOTALL)
#: A piece of a regular expression with its quantifier: an escape, a set, the start of a group with its kind,
#: the end of one, an anchor, or another sign.
_PIECE: Final = re.compile(
    r"""(?:\\(?P<escaped>.?)|(?P<set>\[\^?\]?(?:\\.|[^\]\\])*+\]?)
    |(?P<opens>\()(?P<kind>\?(?:P<\w+>|P=|<[=!]|[=!\#]|[^:()]*:?))?|(?P<closes>\))|(?P<anchor>[$^])|(?P<sign>.))
    (?:(?:[?*+]|\{[0-9,]+\})[?+]?)?""",
    re.DOTALL | re.VERBOSE,
)
#: Groups that match no characters of the path, or that repeat another one.
_SILENT: Final = frozenset({"?=", "?!", "?<=", "?<!", "?#", "?P="})
#: Anchors and boundaries, written with a backslash.
_ANCHORS: Final = frozenset("AZzbB")
_VARIABLE: Final = "<var>"


@lru_cache(maxsize=4_096)
def route_text(route: str) -> str:
    """Return the route of a resolved request with a slash in front.

    What ``re_path`` names is shown as ``path`` shows it: ``^orders/(?P<pk>[0-9]+)/$`` as ``/orders/<pk>/``,
    and a group without a name as ``<var>``.
    """
    return f"/{_simplified(route) if _REGEX.search(route) else route}"


def _simplified(regex: str) -> str:
    """Return a regular expression as a path with variables."""
    #: The groups that are open: of which kind, where the inside begins, and what is shown of it.
    groups: list[tuple[str, int, list[str]]] = [("", 0, [])]
    for piece in _PIECE.finditer(regex):
        shown, escaped = groups[-1][2], piece["escaped"]
        if piece["opens"]:
            groups.append((piece["kind"] or "", piece.end("opens"), []))
        elif piece["closes"] and len(groups) > 1:
            kind, start, parts = groups.pop()
            groups[-1][2].append(_group(kind, regex[start : piece.start()], "".join(parts)))
        elif piece["set"]:
            shown.append(piece[0])
        elif escaped is None:
            shown.append(piece["closes"] or piece["sign"] or "")
        elif escaped not in _ANCHORS:
            shown.append(f"\\{escaped}" if escaped.isalnum() else escaped)
    return "".join(part for _, _, parts in groups for part in parts)


def _group(kind: str, inside: str, shown: str) -> str:
    """Return what stands for a group of a kind, by what is inside of it and what is shown of that."""
    if kind.startswith("?P<"):
        return kind[2:]
    if kind in _SILENT:
        return ""
    if kind:
        return f"({shown})" if "|" in shown else shown
    # Where some groups have names, Django does not look at those without.
    return shown if "(?P<" in inside else _VARIABLE
