"""The scope that an ASGI application gets: what its framework finds out of a request becomes fields of it.

No framework is imported; each is known by what it puts into the scope, and when.

- Starlette and FastAPI: ``route`` and ``endpoint``, one after the other for each mount on the way.
- Litestar: ``route_handler`` and ``path_template``.
- All of them, by their authentication middleware: ``user``.
"""

import contextlib
from collections.abc import Mapping
from functools import partial
from typing import Any, Final

from hublog.requests.request_scope import RequestScope
from hublog.requests.user import caller_fields

_TOLD: Final = frozenset({"route", "endpoint", "route_handler", "path_template", "user"})
_ROUTE_MAX: Final = 2_048
_NAME_MAX: Final = 256


class FollowedScope(dict[str, Any]):
    """A scope of ASGI whose request is told what is put into it; a copy of it is a plain one.

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
        if name in _TOLD:
            with contextlib.suppress(Exception):  # what is odd is the application's own
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
            elif not _TOLD.isdisjoint(entries):
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
        """Return a path with the parameters that were found in it put back in their places."""
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
            for found in inner.values():
                if getattr(found, "original_route", None) is route and isinstance(found.path, str):
                    return str(found.path)
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
