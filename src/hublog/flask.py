"""The Flask extension: ``HubLog(app)``, or ``HubLog()`` and ``init_app(app)`` in an app factory."""

import contextlib
import logging
import sys
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

from hublog.capture.hidden import hidden
from hublog.capture.service_name import suggest
from hublog.cli.click_group import register_commands
from hublog.configure import configure
from hublog.configure.handlers import conflicts
from hublog.internal_log import report
from hublog.requests.headers import HOST_MAX, PATH_MAX, QUERY_MAX, environ_name, length_of, utf8_text
from hublog.requests.request_scope import (
    RequestScope,
    UserLook,
    current_scope,
    session_hash,
    user_fields,
)
from hublog.requests.streaming import Body
from hublog.runtime.registry import use_lookup
from hublog.settings import Settings, read_settings

try:
    from flask import Flask, Response, g, got_request_exception, request
    from flask import globals as flask_globals
    from flask.logging import default_handler
    from werkzeug.wsgi import ClosingIterator
except ImportError as error:
    raise ImportError("hublog.flask needs Flask: pip install 'hublog[flask]'.") from error

if TYPE_CHECKING:
    from _typeshed.wsgi import StartResponse, WSGIApplication, WSGIEnvironment

__all__ = ["HubLog"]

KEY: Final = "hublog"
_CONNECTION: Final = "EVENTHUB_NAMESPACE_CONNECTION_STRING"
#: Under this key the reply of a request stands in its WSGI environment.
_REPLY: Final = "hublog.reply"
#: The apps that are set up in this process and in use.
_apps: Final["weakref.WeakSet[Flask]"] = weakref.WeakSet()
_PAGE_BYTES: Final = 65_536


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
        if _CONNECTION in app.config:
            app.config[_CONNECTION] = hidden(app.config[_CONNECTION])  # a dump of the config masks its key
        reading = read_settings(framework=app.config.get)
        settings = reading.strict() if self._strict else reading.settings
        conflict = _conflict(app, settings)
        app.extensions[KEY] = State(settings)
        _apps.add(app)
        name = app.name
        suggest("flask", lambda: name)
        use_lookup(app.config.get, framework="flask")
        configure(settings, framework="flask", problems=reading.problems, notices=reading.notices)
        if conflict:
            report(logging.ERROR, conflict)
        app.logger.removeHandler(default_handler)  # else Flask's own and ours write each line twice
        app.wsgi_app = _Middleware(app.wsgi_app, settings)  # type: ignore[method-assign]  # Flask's documented way
        app.before_request(_bind_route)
        app.after_request(_note_stream)
        app.teardown_request(_on_teardown)
        got_request_exception.connect(_on_exception, app)
        register_commands(app)


def _conflict(app: Flask, settings: Settings) -> str:
    """Return what to say of another app of this process whose settings cannot hold beside these.

    An app for tests may have any: the next one follows it, and only the last one serves.
    """
    if app.testing:
        return ""
    for other in list(_apps):
        names = conflicts(other.extensions[KEY].settings, settings)
        if names and not other.testing:
            return (
                f"The Flask apps {other.name!r} and {app.name!r} in this process differ in"
                f" {', '.join(names)}. Both log through the handlers on the root logger, which now follow"
                f" {app.name!r}; give them the same settings, or a process each."
            )
    return ""


class _Middleware:
    """Around the whole app, so that error handlers, teardown and streamed bodies have the fields too."""

    def __init__(self, app: "WSGIApplication", settings: Settings) -> None:
        self._app = app
        self._settings = settings.request

    def __call__(self, environ: "WSGIEnvironment", start_response: "StartResponse") -> Iterable[bytes]:
        outer: _Reply | None = environ.get(_REPLY)
        if outer is not None and outer.scope is current_scope():
            # This app is mounted inside another one that has a HubLog: the request is that one's.
            return self._app(environ, start_response)
        scope = RequestScope(
            self._settings,
            lambda name: environ.get(environ_name(name)),
            method=str(environ.get("REQUEST_METHOD", "")),
            path=_text(environ, "SCRIPT_NAME", PATH_MAX) + _text(environ, "PATH_INFO", PATH_MAX),
            host=_text(environ, "HTTP_HOST", HOST_MAX),
            remote_address=_text(environ, "REMOTE_ADDR", HOST_MAX),
            query=_text(environ, "QUERY_STRING", QUERY_MAX),
        )
        reply = environ[_REPLY] = _Reply(scope, start_response, has_session=self._settings.session)
        scope.enter()
        try:
            body = self._app(environ, reply.start)
        except BaseException as error:
            reply.fail(error)
            raise
        if not reply.is_streamed:
            # It has the server's ``start_response``, and that perhaps the environment.
            environ.pop(_REPLY, None)
        return reply.follow(body, environ.get("wsgi.file_wrapper"))


def _text(environ: "WSGIEnvironment", name: str, limit: int) -> str:
    """Return a text of the environment, empty where a server or a caller has put something else there."""
    value: object = environ.get(name)
    return utf8_text(value, limit) if isinstance(value, str) else ""


class _Reply:
    """Follows the response of one request to its end."""

    def __init__(self, scope: RequestScope, start_response: "StartResponse", *, has_session: bool) -> None:
        self.scope = scope
        self.is_streamed = False
        #: Whether the parts of the body are in memory, and nothing of the application makes them.
        self.is_made = False
        self.has_session = has_session
        self._start_response = start_response
        self._status = 500
        self._length: int | None = None

    def start(self, *given: Any, **named: Any) -> Callable[[bytes], object]:  # noqa: ANN401  # the server's own
        """Stand in for ``start_response``: note the status, echo the request id; all else is the server's."""
        with contextlib.suppress(Exception):  # a response that is odd is the server's to refuse
            status, headers, *rest = given
            self._status = int(status[:3])
            if type(headers) is list:
                self._length = length_of(", ".join(_values(headers, "Content-Length")))
                given = (status, self._with_id(headers), *rest)
        return self._start_response(*given, **named)

    def follow(self, body: Iterable[bytes], file_wrapper: object) -> Iterable[bytes]:
        """Return what the server is to send; the request ends now, or when a streamed body does."""
        is_file = isinstance(file_wrapper, type) and isinstance(body, file_wrapper)
        if self.is_streamed and not is_file:
            self.scope.suspend()
            return _Streamed(body, Body(self.scope, self._status, self._length))
        # The body is made already, or is a file that the server sends by itself.
        self.scope.finish(self._status, size=self._length)
        if is_file or not hasattr(body, "close"):
            self.scope.leave()
            return body
        self.scope.suspend()
        kind = _Sized if hasattr(body, "__len__") else _Whole
        return kind(body, self.scope, is_made=self.is_made)

    def fail(self, error: BaseException) -> None:
        """End a request whose app has raised."""
        self.scope.fail(error)
        self.scope.leave()

    def _with_id(self, headers: list[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the headers with the request id, which the application's own wins over."""
        found = {name: _values(headers, name) for name in self.scope.echoed}
        existing = {name: ", ".join(values) for name, values in found.items() if values}
        added = self.scope.response_headers(existing)
        names = {name.lower() for name in added}
        return [*(pair for pair in headers if pair[0].lower() not in names), *added.items()]


def _values(headers: list[tuple[str, str]], name: str) -> list[str]:
    """Return the values of a header, in their order."""
    name = name.lower()
    return [value for key, value in headers if key.lower() == name]


class _Streamed:
    """A streamed body as a server sees it: iterated once, and closed however the response ended."""

    def __init__(self, parts: Iterable[bytes], body: Body) -> None:
        self._parts = parts
        self._body = body

    def __iter__(self) -> Iterator[bytes]:
        return self._body.over(iter(self._parts))

    def close(self) -> None:
        """Close the app's own body, then end the request."""
        self._body.end_after(getattr(self._parts, "close", None))


class _Whole:
    """A body that is made already: its request has ended, what it still runs has the fields."""

    def __init__(self, parts: Any, scope: RequestScope, *, is_made: bool) -> None:  # noqa: ANN401  # an iterable with ``close``
        self._parts = parts
        self._next: Callable[[], bytes] | None = None
        self._scope = scope
        self._is_made = is_made

    def __iter__(self) -> Iterator[bytes]:
        return self

    def __next__(self) -> bytes:
        if not self._is_made:
            with self._scope.resumed():
                return self._part()
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
        """Close the app's own body, and with it all that waits for the end of the response."""
        with self._scope.resumed():
            try:
                self._parts.close()
            except BaseException as error:
                self._scope.fail(error)
                raise


class _Sized(_Whole):
    """One whose number of parts a server may ask for."""

    def __len__(self) -> int:
        return len(self._parts)


def _reply() -> _Reply | None:
    found: _Reply | None = request.environ.get(_REPLY)
    return found


def _bind_route() -> None:
    reply = _reply()
    if reply is None:
        return
    with contextlib.suppress(Exception):
        rule = request.url_rule
        reply.scope.adopt_span()
        reply.scope.add(http_route=rule.rule if rule is not None else "", view_name=request.endpoint or "")
        if "flask_login" in sys.modules:
            reply.scope.look_for_user(_UserLook(vars(g)))
        _note_session(reply)


class _UserLook(UserLook):
    """Looks whether Flask-Login has loaded a user, where it keeps it.

    Args:
        known: the attributes of ``flask.g``.
    """

    __slots__ = ("_known",)

    def __init__(self, known: dict[str, Any]) -> None:
        super().__init__()
        self._known = known
        self.probes = ((known, "_login_user", None),)

    def read(self) -> Mapping[str, object]:
        """Return the columns of the user that is loaded."""
        user = self._known.get("_login_user")
        self.probes = ((self._known, "_login_user", user),)
        return {} if user is None else user_fields(user, getattr(user, "get_id", lambda: ""))


def _note_stream(response: Response) -> Response:
    reply = _reply()
    if reply is None:
        return response
    with contextlib.suppress(Exception):
        reply.scope.adopt_span()
    reply.is_made = not getattr(response, "is_streamed", True)
    reply.is_streamed = not reply.is_made and not _is_page(response)
    return response


def _is_page(response: Response) -> bool:
    """Whether a response is a page of Werkzeug's, of an error or a redirect, whose body is made already.

    It comes as an iterator over what is in memory. Its parts are not looked at here: what they raise is the
    server's to answer.
    """
    with contextlib.suppress(Exception):
        is_made = isinstance(response.response, ClosingIterator) and not response.direct_passthrough
        is_short = 0 < (response.content_length or 0) <= _PAGE_BYTES
        return is_made and is_short and response.status_code >= HTTPStatus.MULTIPLE_CHOICES
    return False


def _on_teardown(error: BaseException | None) -> None:
    del error
    _note_caller()


def _on_exception(app: Flask, **known: object) -> None:
    """Note the user before Flask logs the exception, so that its record names whom it hit."""
    del app, known
    _note_caller()


def _note_caller() -> None:
    """Note the user of Flask-Login, if the application has loaded it, and the session."""
    reply = _reply()
    if reply is None:
        return
    with contextlib.suppress(Exception):
        user: Any = g.get("_login_user") if "flask_login" in sys.modules else None
        if user is not None:
            reply.scope.add_user(user_fields(user, getattr(user, "get_id", lambda: "")))
        _note_session(reply)


def _note_session(reply: _Reply) -> None:
    """Note the session where the server keeps it, as Flask-Session does: a cookie's has no key."""
    if not reply.has_session:
        return
    # Not by ``flask.session``, which notes that the application has used it, and so makes the response vary.
    for name in ("app_ctx", "request_ctx"):  # Flask 3.2 makes one of the two
        known = vars(getattr(flask_globals, name))
        session = known.get("_session", known.get("session"))
        if session is not None:
            reply.scope.add(session_id=session_hash(getattr(session, "sid", None)))
            return
