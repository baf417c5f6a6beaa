"""The Flask extension: ``HubLog(app)``, or ``HubLog()`` and ``init_app(app)`` in an app factory."""

import contextlib
import functools
import logging
import sys
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from http import HTTPStatus
from typing import Any, Final

from hublog.capture.resource import suggest
from hublog.cli.click_group import register_commands
from hublog.configure import configure, reload
from hublog.configure.handlers import conflicts
from hublog.internal_log import report
from hublog.redaction.redactor import hidden
from hublog.requests.request_fields import user_fields
from hublog.requests.request_scope import RequestScope
from hublog.requests.wsgi_requests import KEY as RESPONSE
from hublog.requests.wsgi_requests import WsgiResponse, response_of, serve
from hublog.runtime.registry import use_lookup
from hublog.runtime.shutdown import pipelines
from hublog.settings import Reading, Settings, read_settings

try:
    from flask import Blueprint, Flask, Response, abort, current_app, g, got_request_exception, request
    from flask import globals as flask_globals
    from flask.logging import default_handler
    from werkzeug.wsgi import ClosingIterator
except ImportError as error:
    raise ImportError("hublog.flask needs Flask: pip install 'hublog[flask]'.") from error

__all__ = ["HubLog", "status_pages"]

KEY: Final = "hublog"
_CONNECTION: Final = "EVENTHUB_NAMESPACE_CONNECTION_STRING"
#: The apps that are set up in this process and in use.
_apps: Final["weakref.WeakSet[Flask]"] = weakref.WeakSet()
_LOGIN_USER: Final = "_login_user"
_PAGE_BYTES: Final = 65_536
#: Returns the request itself: its proxy looks it up for each attribute.
_request: Final[Callable[[], Any]] = request._get_current_object  # type: ignore[attr-defined]  # noqa: SLF001  # documented by Werkzeug


@dataclass(frozen=True, slots=True)
class AppState:
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
        app.extensions[KEY] = AppState(settings)
        _apps.add(app)
        name = app.name
        suggest("flask", lambda: name)
        use_lookup(app.config.get, framework="flask")
        configure(settings, framework="flask", problems=reading.problems, notices=reading.notices)
        reload.follow(settings, partial(read_settings, framework=app.config.get), _apply)
        if conflict:
            report(logging.ERROR, conflict)
        app.logger.removeHandler(default_handler)  # else Flask's own and ours write each line twice
        app.wsgi_app = partial(serve, app.wsgi_app, settings.request)  # type: ignore[method-assign]  # Flask's documented way
        # Not by hooks: what Flask does for one of them takes longer than all of this.
        app.preprocess_request = _after_routing(app.preprocess_request)  # type: ignore[method-assign]  # Flask's documented way
        app.process_response = _before_sending(app.process_response)  # type: ignore[method-assign]  # as above
        if settings.request.session:
            app.teardown_request(_note_session)
        got_request_exception.connect(_note_session, app)
        register_commands(app)


def status_pages(*, may_see: Callable[[], bool] = lambda: False) -> Blueprint:
    """Return the blueprint of the pages ``status``, ``status.json``, ``healthz`` and ``metrics``.

    ``app.register_blueprint(status_pages(), url_prefix="/hublog")``. ``healthz`` is for everybody; the others
    answer 404 unless the request has ``Authorization: Bearer`` with ``LOG_STATUS_TOKEN``.

    Args:
        may_see: whether the client of the current request may see them as well; called in the request.
    """
    from hublog.pages import answers  # noqa: PLC0415  # for these pages only; they need fcntl

    blueprint = Blueprint("hublog", __name__, cli_group=None)

    def show(name: str) -> Response:
        if KEY not in current_app.extensions:
            raise RuntimeError("status_pages() shows what HubLog does: call HubLog(app) as well.")
        found = answers.pages.answer(
            name,
            current_app.extensions[KEY].settings,
            authorization=request.headers.get("Authorization", ""),
            is_trusted=may_see,
        )
        if found is None:
            abort(HTTPStatus.NOT_FOUND)
        return Response(found.body, status=found.status, headers=dict(found.headers))

    for name in answers.NAMES:
        blueprint.add_url_rule(f"/{name}", name.replace(".", "_"), partial(show, name))
    return blueprint


def _apply(reading: Reading) -> None:
    configure(reading.settings, framework="flask", problems=reading.problems, notices=reading.notices)
    for pipeline in pipelines():  # those of handlers that the application has made
        pipeline.read_again()


def _conflict(app: Flask, settings: Settings) -> str:
    """Return the message about another app of this process whose settings conflict; empty for none.

    An app for tests may have any settings: only the one that was set up last serves.
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


def _after_routing(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``preprocess_request``, which Flask calls when it has the route."""

    @functools.wraps(original)
    def preprocess_request(*args: object) -> object:
        try:
            current = _request()
            response: WsgiResponse | None = current.environ.get(RESPONSE)
            if response is not None:
                _note_route(current, response.scope)
        except Exception:  # noqa: BLE001, S110  # the request is served
            pass
        return original(*args)

    return preprocess_request


def _note_route(current: Any, scope: RequestScope) -> None:  # noqa: ANN401  # Flask's request, not its proxy
    rule = current.url_rule
    scope.use_active_span()
    scope.add(http_route=rule.rule if rule is not None else "", view_name=current.endpoint or "")
    if "flask_login" in sys.modules:
        scope.look_for_user(vars(g), _LOGIN_USER, _read_user)
    scope.add_session(_session_id)


def _before_sending(original: Callable[..., Any]) -> Callable[..., Any]:
    """Wrap ``process_response``, to note whether the body is made already or while it is sent."""

    @functools.wraps(original)
    def process_response(*args: object) -> object:
        made = original(*args)
        try:
            response: WsgiResponse | None = _request().environ.get(RESPONSE)
            if response is not None:
                response.scope.use_active_span()
                response.is_in_memory = not getattr(made, "is_streamed", True)
                response.is_streamed = not response.is_in_memory and not _is_page(made)
        except Exception:  # noqa: BLE001, S110  # the response is sent
            pass
        return made

    return process_response


def _read_user(attributes: dict[str, Any]) -> tuple[Mapping[str, object], Sequence[tuple[Any, str, object]]]:
    """Return the columns of the user that Flask-Login has loaded, and where it keeps it: in ``flask.g``."""
    user = attributes.get(_LOGIN_USER)
    fields = {} if user is None else user_fields(user, getattr(user, "get_id", lambda: ""))
    return fields, ((attributes, _LOGIN_USER, user),)


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


def _note_session(*_: object, **__: object) -> None:
    """Note the session: at the end, and before Flask logs an exception."""
    with contextlib.suppress(Exception):
        response = response_of(_request().environ)
        if response is not None:
            response.scope.add_session(_session_id)


def _session_id() -> object:
    """Return the id of a session that the server keeps, as Flask-Session does: a cookie's has none."""
    # Not by ``flask.session``, which notes that the application has used it, and so makes the response vary.
    for name in ("app_ctx", "request_ctx"):  # Flask 3.2 makes one of the two
        attributes = vars(getattr(flask_globals, name))
        session = attributes.get("_session", attributes.get("session"))
        if session is not None:
            return getattr(session, "sid", None)
    return None
