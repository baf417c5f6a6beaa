"""The Flask extension: ``HubLog(app)``, or ``HubLog()`` and ``init_app(app)`` in an app factory."""

import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from types import TracebackType
from typing import TYPE_CHECKING, Any, Final

from hublog.capture.request import EXPOSE, RequestScope, user_fields
from hublog.configure import configure
from hublog.pipelines import use_lookup
from hublog.settings import Settings, read_settings

try:
    from flask import Flask, Response, g, request
    from flask.logging import default_handler
    from werkzeug.datastructures import Headers
except ImportError as error:
    raise ImportError("hublog.flask needs Flask: pip install 'hublog[flask]'.") from error

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["HubLog"]

KEY: Final = "hublog"
#: Under this key the reply of a request stands in its WSGI environment.
_REPLY: Final = "hublog.reply"
_PAGE_BYTES: Final = 65_536

_ExcInfo = tuple[type[BaseException], BaseException, TracebackType] | tuple[None, None, None]


@dataclass(frozen=True, slots=True)
class State:
    """What an app keeps under ``app.extensions["hublog"]``."""

    settings: Settings


class HubLog:
    """Sets console, log file and Event Hub up for an app, and fills request fields into every record.

    Settings are read from the app's config, then the environment, once, by ``init_app``. The
    extension object keeps nothing: one may serve many apps.

    Args:
        app: set up at once; without it ``init_app`` does it.
        strict: raise ``SettingsError`` for an invalid setting instead of taking its default.
    """

    def __init__(self, app: Flask | None = None, *, strict: bool = False) -> None:
        self._strict = strict
        if app is not None:
            self.init_app(app)

    def init_app(self, app: Flask) -> None:
        """Set an app up; call it after the app's config is complete.

        Raises:
            RuntimeError: the app has been set up already.
            SettingsError: a setting is invalid and the extension is strict.
        """
        if KEY in app.extensions:
            raise RuntimeError(
                "This app has a HubLog already. Call init_app once, or HubLog(app) without init_app."
            )
        reading = read_settings(framework=app.config.get)
        settings = reading.strict() if self._strict else reading.settings
        app.extensions[KEY] = State(settings)
        use_lookup(app.config.get, framework="flask")
        configure(settings, framework="flask", problems=reading.problems)
        app.logger.removeHandler(default_handler)  # else Flask's own and ours write each line twice
        app.wsgi_app = _Middleware(app.wsgi_app, settings)  # type: ignore[method-assign]  # Flask's documented way
        app.before_request(_bind_route)
        app.after_request(_note_stream)
        app.teardown_request(_note_user)


class _Middleware:
    """Around the whole app, so that error handlers, teardown and streamed bodies have the fields too."""

    def __init__(self, app: "WSGIApplication", settings: Settings) -> None:
        self._app = app
        self._settings = settings.request

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        scope = RequestScope(
            self._settings,
            lambda name: environ.get(_environ_name(name)),
            method=str(environ.get("REQUEST_METHOD", "")),
            path=_text(environ.get("SCRIPT_NAME", "")) + _text(environ.get("PATH_INFO", "")),
            host=_text(environ.get("HTTP_HOST", "")),
            remote_address=str(environ.get("REMOTE_ADDR", "")),
        )
        reply = environ[_REPLY] = _Reply(scope, start_response)
        scope.enter()
        try:
            body = self._app(environ, reply.start)
        except BaseException:
            reply.end(failed=True)
            raise
        if reply.is_streamed:
            return reply.over(body)
        reply.end()  # the body is made already: only sending it is left
        return body


class _Reply:
    """Follows the response of one request to its end."""

    def __init__(self, scope: RequestScope, start_response: "StartResponse") -> None:
        self.scope = scope
        self.is_streamed = False
        self._start_response = start_response
        self._status = 500
        self._size: str | None = None
        self._body: Iterable[bytes] = ()

    def start(
        self, status: str, headers: list[tuple[str, str]], exc_info: _ExcInfo | None = None, /
    ) -> Callable[[bytes], object]:
        """Stand in for ``start_response``: note the status, echo the request id."""
        self._status = int(status[:3])
        found = Headers(headers)
        self._size = found.get("Content-Length")
        exposed = ", ".join(found.getlist(EXPOSE))
        for name, value in self.scope.response_headers({EXPOSE: exposed}).items():
            found.set(name, value)
        return self._start_response(status, found.to_wsgi_list(), exc_info)

    def over(self, body: Iterable[bytes]) -> Iterable[bytes]:
        """Return the body; the request ends when the server closes it."""
        self._body = body
        return self

    def __iter__(self) -> Iterator[bytes]:
        try:
            yield from self._body
        except Exception:
            self._status = 500
            raise

    def __del__(self) -> None:
        # Thrown away without close: mark it only, this may be any thread.
        self.scope.is_over = True

    def close(self) -> None:
        """End the request: the server calls this however the response ended."""
        try:
            close = getattr(self._body, "close", None)
            if close is not None:
                close()
        finally:
            self.end()

    def end(self, *, failed: bool = False) -> None:
        """Write the request record and take the fields away."""
        try:
            self.scope.finish(500 if failed else self._status, size=self._size)
        finally:
            self.scope.leave()


def _reply() -> _Reply | None:
    found: _Reply | None = request.environ.get(_REPLY)
    return found


def _bind_route() -> None:
    reply = _reply()
    if reply is not None:
        rule = request.url_rule
        reply.scope.add(http_route=rule.rule if rule is not None else "", view_name=request.endpoint or "")


def _note_stream(response: Response) -> Response:
    reply = _reply()
    if reply is None:
        return response
    # An error page of Werkzeug comes as an iterator over what is in memory already.
    is_page = response.status_code >= HTTPStatus.BAD_REQUEST and not response.direct_passthrough
    if is_page and 0 < (response.content_length or 0) <= _PAGE_BYTES:
        response.make_sequence()
    reply.is_streamed = response.is_streamed
    return response


def _note_user(error: BaseException | None) -> None:
    """Note the user of Flask-Login, if the application has loaded it; never load it for the log."""
    del error
    reply = _reply()
    if reply is None or "flask_login" not in sys.modules:
        return
    user: Any = g.get("_login_user")
    if user is None:
        return
    get_id = getattr(user, "get_id", lambda: "")
    reply.scope.add(**user_fields(user, get_id))


def _environ_name(header: str) -> str:
    name = header.upper().replace("-", "_")
    return name if name in ("CONTENT_LENGTH", "CONTENT_TYPE") else f"HTTP_{name}"


def _text(value: str) -> str:
    """Undo WSGI's reading of bytes as Latin-1."""
    return value.encode("latin-1", "replace").decode("utf-8", "replace")
