"""The logging side of one request, for every web framework: fields at its start, one record at its end."""

import contextlib
import logging
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Token, copy_context
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from hublog.capture import context, tracing
from hublog.capture.context import current_request as _current
from hublog.capture.tracing import request_id, valid_id
from hublog.requests.query_counting import QueryCounter, listen_if_imported
from hublog.requests.request_fields import (
    EXPOSE,
    HOST_MAX,
    PATH_MAX,
    QUERY_MAX,
    Headers,
    ReadUser,
    RequestLine,
    UserLook,
    environ_name,
    environ_text,
    exposing,
    header_values,
    length_of,
    request_fields,
    session_hash,
    with_headers,
)
from hublog.requests.request_record import CANCELLED, SERVER_ERROR, RequestRecord, was_cancelled
from hublog.settings import RequestSettings

T = TypeVar("T")

#: Under this key the scope stands in a scope of ASGI, for the framework inside.
SCOPE_KEY: Final = "hublog.request"
#: Statuses whose responses have no body, whatever the application hands over; and all below 200.
_BODILESS: Final = frozenset({204, 304})
_FIRST_FINAL: Final = 200
_EXPOSE: Final = EXPOSE.lower()


class RequestObserver(Protocol):
    """Follows requests from their start to their end; see ``observers``.

    Both methods are called in the thread or task that serves the request, with the request's fields bound.
    They must not wait. Exceptions that they raise are ignored.
    """

    def begin(self, scope: "RequestScope") -> None:
        """Note that a request begins. It is called once, before the application sees the request."""
        ...

    def end(self, scope: "RequestScope", *, status: int, seconds: float, has_failed: bool) -> None:
        """Note that a request has ended, its request record written.

        It is called once, or never for a streamed body that is discarded unread.

        Args:
            scope: the one that ``begin`` was given.
            status: of the response; 499 if the client disconnected.
            seconds: from the start to the end; for a streamed body the end is when it was sent.
            has_failed: whether the status is 500 or above, or an exception left the application.
        """
        ...


#: Called for each request, in this order.
observers: Final[list[RequestObserver]] = []


class RequestScope:
    """The logging side of one request.

    ``enter`` binds its fields; ``finish`` writes the request record; ``leave`` unbinds the fields.
    Call all three in the task or thread that serves the request. None of them raises.

    Args:
        settings: what to take from the request.
        headers: reads a header.
        line: method, path and what else is known, see ``RequestLine``.
        is_long_lived: whether this is a websocket: it may take hours without being slow, and no observer
            follows it.
        now: monotonic seconds.
    """

    def __init__(
        self,
        settings: RequestSettings,
        headers: Headers,
        *,
        is_long_lived: bool = False,
        now: Callable[[], float] = time.perf_counter,
        **line: str,
    ) -> None:
        self._settings = settings
        self._now = now
        self._started = now()
        request = RequestLine(**line)
        self._method, path = request.method, request.path[:PATH_MAX]
        self._has_begun = False
        self._is_long_lived = is_long_lived
        self._is_finished = False
        self._tokens: _Tokens | None = None
        self._suspended: context.Context | None = None
        self._counter = QueryCounter() if settings.count_db_queries else None
        self.record = RequestRecord(
            settings=settings,
            counter=self._counter,
            method=self._method,
            path=path,
            is_long_lived=is_long_lived,
        )
        #: Fields that were added or bound anywhere in the request since its start, for its record.
        self.noted: dict[str, object] = {}
        self._user: UserLook | None = None
        self._sent_id = ""
        self.fields: dict[str, object]
        try:
            self.fields = request_fields(settings, headers, request)
        except Exception:  # noqa: BLE001  # a request is served whatever is in its headers
            self.fields = {"request_id": request_id(()), "http_method": self._method, "http_path": path}
        self.request_id = str(self.fields["request_id"])

    @classmethod
    def from_environ(
        cls,
        settings: RequestSettings,
        environ: Mapping[str, Any],
        *,
        path: str | None = None,
        host: str | None = None,
    ) -> "RequestScope":
        """Return the scope of a request of WSGI.

        Args:
            settings: what to take from the request.
            environ: its environment; Django's ``META`` is one.
            path: in place of the environment's.
            host: in place of the environment's.
        """
        if path is None:
            path = environ_text(environ, "SCRIPT_NAME", PATH_MAX) + environ_text(
                environ, "PATH_INFO", PATH_MAX
            )
        return cls(
            settings,
            lambda name: environ.get(environ_name(name)),
            method=str(environ.get("REQUEST_METHOD", "")),
            path=path,
            host=environ_text(environ, "HTTP_HOST", HOST_MAX) if host is None else host,
            remote_address=environ_text(environ, "REMOTE_ADDR", HOST_MAX),
            query=environ_text(environ, "QUERY_STRING", QUERY_MAX) if settings.query else "",
        )

    def __deepcopy__(self, _: object) -> "RequestScope":
        """Return this scope: a copy of an application's scope of ASGI belongs to the same request."""
        return self

    def enter(self) -> None:
        """Bind the fields, and after ``suspend`` what else was bound; each record now carries them."""
        self._tokens = self._bind()
        if not self._has_begun:
            self._has_begun = True
            if self._counter is not None:
                listen_if_imported()
            for observer in self._observers():
                with contextlib.suppress(Exception):
                    observer.begin(self)

    def add(self, **fields: object) -> None:
        """Bind fields that became known later, such as the route."""
        known = _known(fields)
        if known:
            self._note(known)
            context.add_fields(**known)

    def serves(self, fields: Mapping[str, object]) -> bool:
        """Whether fields are those of this request, not those of a task that runs inside it."""
        mine = self.fields.get("request_id"), self.fields.get("task_id")
        return (fields.get("request_id"), fields.get("task_id")) == mine

    def use_active_span(self) -> None:
        """Use the ids of the active span of OpenTelemetry, if there is one.

        Instrumentation may open it inside the adapter. Call this before and after the view only, where the
        active span is that of the request.
        """
        active = tracing.active_fields()
        if active and active["span_id"] != self.fields.get("span_id"):
            self.fields = tracing.merged(self.fields, active)
            context.enter(tracing.merged(context.bound(), active))

    def add_user(self, fields: Mapping[str, object]) -> None:
        """Bind the application's user; an anonymous one does not replace the user of Easy Auth."""
        if not fields or _known(fields).items() <= context.bound().items():
            return  # a record has looked for the user already
        known = self._note_user(fields)
        if known:
            context.add_fields(**known)

    def add_session(self, find_key: Callable[[], object]) -> None:
        """Bind the hash of the session's key, where the settings ask for it.

        Args:
            find_key: returns the key of the session that is loaded; nothing or None for none.
        """
        if self._settings.session:
            self.add(session_id=session_hash(find_key()))

    def look_for_user(self, attributes: dict[str, Any], name: str, read: ReadUser) -> None:
        """Have each record look for the user until one who is signed in is loaded; see ``UserLook``."""
        self._user = UserLook(attributes, name, read, self._note_user)
        if _current.get() is self:
            now = context.stored()
            now.look, now.encoded = self._user, None

    def stop_looking(self) -> None:
        """Let no record look for the user any more, so that no reference cycle holds the request."""
        self._user = None
        now = context.stored()
        if _current.get() is self and now.look is not None:
            now.look, now.encoded = None, now.partial

    def _note_user(self, fields: Mapping[str, object]) -> Mapping[str, object] | None:
        """Note a user; return the fields to bind, None for an anonymous user in place of a signed-in one."""
        if not fields.get("user_authenticated") and self.fields.get("user_authenticated"):
            return None
        known = _known(fields)
        self._note(known)
        return known

    def _note(self, fields: Mapping[str, object]) -> None:
        self.fields = {**self.fields, **fields}
        self.noted.update(fields)

    def finish(
        self,
        status: int,
        *,
        size: object = None,
        event_name: str = "request.finished",
        level: int = logging.NOTSET,
        error: BaseException | None = None,
        **fields: object,
    ) -> None:
        """Write the request record, once.

        Args:
            status: of the response; ``CANCELLED`` if the client disconnected.
            size: length of the response's body in bytes, where that is known.
            event_name: what happened.
            level: the least level of the record.
            error: what the application raised; the record is an ERROR then, and has the exception, unless
                another record of the request has. Where the request record is written already, the exception
                has a record of its own.
            fields: more fields for this record.
        """
        if self._is_finished:
            if error is not None:
                self._run(partial(self.record.write_error, error))
            return
        self._is_finished = True
        self._user = None
        seconds, status = self._now() - self._started, _whole(status)
        if size is not None and self.is_bodiless(status):
            size = 0
        known = {"event_name": event_name, **_known(fields)}
        length = length_of(size)
        if length is not None:
            known["http_response_size"] = length
        if self._sent_id:
            known["response_request_id"] = self._sent_id

        def end() -> None:
            self.record.write(status, seconds, known, level=level, error=error)
            has_failed = status >= SERVER_ERROR or error is not None
            for observer in self._observers():
                with contextlib.suppress(Exception):
                    observer.end(self, status=status, seconds=seconds, has_failed=has_failed)

        self._run(end)

    def cancel(self, *, size: object = None) -> None:
        """Write the request record of a request whose client disconnected, unless it has ended."""
        self.finish(CANCELLED, size=size, event_name="request.cancelled")

    def fail(self, error: BaseException, status: int = SERVER_ERROR, *, size: object = None) -> None:
        """Write the record of a request that has raised: 499 where its server ended it, else the exception.

        Args:
            error: the exception.
            status: of the response, where it has one.
            size: length of what was sent of it, in bytes.
        """
        if was_cancelled(error):
            self.cancel(size=size)
        else:
            self.finish(status, size=size, error=error)

    def is_bodiless(self, status: int) -> bool:
        """Whether the response has no body, by its method or status."""
        if self._is_long_lived:
            return False
        return self._method == "HEAD" or status < _FIRST_FINAL or status in _BODILESS

    def leave(self) -> None:
        """Unbind the fields."""
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            self._unbind(tokens)

    def suspend(self) -> None:
        """Unbind the fields and what else is bound now, until ``resumed`` binds them again."""
        self._keep()
        self.leave()

    def resumed(self) -> "_Resumed":
        """Bind the fields of a suspended request again; where they are bound already nothing changes."""
        return _Resumed(self)

    def run(self, work: Callable[[], T]) -> T:
        """Do a part of a suspended request that is left after its response, with the fields bound.

        What it raises is noted as the request's failure, and goes on.
        """
        with self.resumed():
            try:
                return work()
            except BaseException as error:
                self.fail(error)
                raise

    @property
    def echoed(self) -> tuple[str, str]:
        """Names of the response headers whose values ``response_headers`` needs, in lower case."""
        return self._settings.id_header.lower(), _EXPOSE

    def response_headers(self, existing: Mapping[str, str]) -> dict[str, str]:
        """Return the headers to set on the response, whatever its status.

        An id that the application has set stays, and the request record contains it.

        Args:
            existing: those of ``echoed`` that the response has, each as one text; its list of exposed headers
                is added to, not replaced.
        """
        name = self._settings.id_header
        own = existing.get(name.lower())
        if own is None:
            return exposing(name, self.request_id, existing.get(_EXPOSE, ""))
        if own != self.request_id:
            self._sent_id = valid_id(own)
        return {}

    def with_request_id(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the headers of a response with the request id; one that the application has set stays."""
        headers = list(headers)
        existing = header_values(headers, self.echoed)
        added = self.response_headers(existing)
        return with_headers(headers, added) if existing else [*headers, *added.items()]

    def _bind(self) -> "_Tokens":
        kept, self._suspended = self._suspended, None
        if kept is None:
            kept = context.Context(self.fields, self._counter)
            kept.look = self._user
        return context.resume(kept), _current.set(self)

    def _keep(self) -> None:
        """Keep what is bound now for the time when the request is resumed."""
        self._suspended = kept = context.stored()
        if self._is_finished:
            kept.look = None  # it refers to this scope

    def _unbind(self, tokens: "_Tokens") -> None:
        bound, current = tokens
        try:
            _current.reset(current)
        except ValueError:  # bound in another context, of which this one may be a copy
            if _current.get() is self:
                _current.set(None)
                context.clear()
            return
        context.leave(bound)

    def _run(self, write: Callable[[], None]) -> None:
        """Write a record with the fields bound."""
        if _current.get() is self and self._has_all():
            write()
        else:  # closed by another thread or task, or between two parts of a stream
            copy_context().run(self._run_elsewhere, write)

    def _run_elsewhere(self, write: Callable[[], None]) -> None:
        if _current.get() is not self:
            self._bind()
        if not self._has_all():
            context.add_fields(**self.noted)
        write()
        context.clear()

    def _has_all(self) -> bool:
        """Whether what is bound here includes what was bound in other threads and tasks of the request."""
        bound = context.bound()
        return all(bound.get(name) is value for name, value in list(self.noted.items()))

    def _observers(self) -> Sequence[RequestObserver]:
        return () if self._is_long_lived else observers


_Tokens = tuple[Token[context.Context], Token[RequestScope | None]]


class _Resumed:
    """A context manager that is cheaper than one of a generator: streamed bodies need one for each part."""

    __slots__ = ("_scope", "_tokens")

    def __init__(self, scope: RequestScope) -> None:
        self._scope = scope
        self._tokens: _Tokens | None = None

    def __enter__(self) -> None:
        scope = self._scope
        if _current.get() is not scope:
            self._tokens = scope._bind()  # noqa: SLF001  # a part of it

    def __exit__(self, *_: object) -> None:
        if self._tokens is not None:
            self._scope._keep()  # noqa: SLF001  # a part of it
            self._scope._unbind(self._tokens)  # noqa: SLF001  # a part of it


def current_scope() -> RequestScope | None:
    """Return the request that is served here, in this thread or task or one that copied its context."""
    scope: RequestScope | None = _current.get()
    return scope


def _whole(status: object) -> int:
    """Return a status as a plain number: it may be an enum, or whatever an application has said."""
    try:
        number = int(status)  # type: ignore[call-overload]  # raises for what is not a number
    except (TypeError, ValueError):
        return SERVER_ERROR
    return number if number > 0 else SERVER_ERROR


def _known(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value not in (None, "")}
