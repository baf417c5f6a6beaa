"""The logging side of one request, for every web framework: fields at its start, one record at its end."""

import contextlib
import logging
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextvars import Token, copy_context
from functools import partial
from typing import Any, Final, Protocol, TypeVar

from hublog.capture import context, tracing
from hublog.capture.context import current_request as _current
from hublog.capture.tracing import valid_id
from hublog.requests import request_record
from hublog.requests.query_counting import NAME as LIBRARY
from hublog.requests.query_counting import listen_if_imported
from hublog.requests.request_fields import (
    EXPOSE,
    Headers,
    RequestLine,
    exposing,
    header_values,
    length_of,
    session_hash,
    with_headers,
)
from hublog.requests.request_life import ReadUser, RequestLife, filled
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

    __slots__ = (
        *("__weakref__", "_has_begun", "_is_finished", "_is_long_lived", "_now", "_record", "_sent_id"),
        *("_started", "_suspended", "_tokens", "life"),
    )

    def __init__(
        self,
        settings: RequestSettings,
        headers: Headers,
        *,
        is_long_lived: bool = False,
        now: Callable[[], float] = time.perf_counter,
        **line: str,
    ) -> None:
        life = RequestLife(settings, headers, RequestLine(**line))
        self._start(life, is_long_lived=is_long_lived, now=now)

    def _start(
        self, life: RequestLife, *, is_long_lived: bool = False, now: Callable[[], float] = time.perf_counter
    ) -> None:
        self._now = now
        self._started = now()
        #: What is known of the request; what it bound is asked for there.
        self.life = life
        self._has_begun = self._is_finished = False
        self._is_long_lived = is_long_lived
        self._tokens: _Tokens | None = None
        self._suspended: context.Context | None = None
        self._record: RequestRecord | None = None
        self._sent_id = ""
        if tracing.MODULE in sys.modules:
            life.fields  # noqa: B018  # of the span that is active now

    @classmethod
    def from_environ(
        cls,
        settings: RequestSettings,
        environ: Mapping[str, Any],
        *,
        path: str | None = None,
        host: str | Callable[[], str] | None = None,
    ) -> "RequestScope":
        """Return the scope of a request of WSGI.

        Args:
            settings: what to take from the request.
            environ: its environment; Django's ``META`` is one.
            path: in place of the environment's.
            host: in place of the environment's, or what gives it when it is needed.
        """
        scope = cls.__new__(cls)
        scope._start(RequestLife(settings, None, None, environ=environ, path=path, host=host))  # noqa: SLF001  # of the same class
        return scope

    @property
    def fields(self) -> dict[str, object]:
        """The fields of the request, all that were added included; the mapping is never changed."""
        return self.life.fields

    @property
    def request_id(self) -> str:
        """The id of the request."""
        return self.life.request_id

    @property
    def record(self) -> RequestRecord:
        """What writes the request record."""
        if self._record is None:
            self._record = RequestRecord(self.life, is_long_lived=self._is_long_lived)
        return self._record

    def __deepcopy__(self, _: object) -> "RequestScope":
        """Return this scope: a copy of an application's scope of ASGI belongs to the same request."""
        return self

    def enter(self) -> None:
        """Bind the fields, and after ``suspend`` what else was bound; each record now carries them."""
        self._tokens = self._bind()
        if not self._has_begun:
            self._has_begun = True
            if LIBRARY in sys.modules and self.life.settings.count_db_queries:
                listen_if_imported()
            if observers:
                for observer in self._observers():
                    with contextlib.suppress(Exception):
                        observer.begin(self)

    def add(self, **fields: object) -> None:
        """Bind fields that became known later, such as the route."""
        known = filled(fields)
        if known:
            self.life.note(known)
            if not self._is_untouched():
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
        active = tracing.active_fields() if tracing.MODULE in sys.modules else None
        if active and active["span_id"] != self.fields.get("span_id"):
            self.life.made = tracing.merged(self.fields, active)
            context.enter(tracing.merged(context.bound(), active))

    def add_user(self, fields: Mapping[str, object]) -> None:
        """Bind the application's user; an anonymous one does not replace the user of Easy Auth."""
        if not fields:
            return
        if self._is_untouched():
            self.life.note_user(fields)
        elif not filled(fields).items() <= context.bound().items():  # else a record has looked already
            known = self.life.note_user(fields)
            if known:
                context.add_fields(**known)

    def add_session(self, find_key: Callable[[], object]) -> None:
        """Bind the hash of the session's key, where the settings ask for it.

        Args:
            find_key: returns the key of the session that is loaded; nothing or None for none.
        """
        if self.life.settings.session:
            self.add(session_id=session_hash(find_key()))

    def look_for_user(self, attributes: dict[str, Any], name: str, read: ReadUser) -> None:
        """Have each record look for the user until one who is signed in is loaded; see ``UserLook``."""
        life = self.life
        life.user = attributes, name, read
        if life.made is not None and _current.get() is self:
            now = context.stored()
            now.look, now.encoded = life.look, None

    def stop_looking(self) -> None:
        """Note the user a last time; after this no record looks, and nothing holds the application's."""
        life, user = self.life, self.life.user
        if user is None:
            return
        try:
            # Not with the look of the records, which must still find the user in copies of the context.
            attributes, _, read = user
            fields = read(attributes)[0]
            if fields and _current.get() is self:
                self.add_user(fields)
            elif fields:
                life.note_user(fields)
        except Exception:  # noqa: BLE001, S110  # the user's own code may be called
            pass
        life.user = None
        if life.made is not None and _current.get() is self:
            now = context.stored()
            if now.look is not None:
                now.look, now.encoded = None, now.partial

    def _is_untouched(self) -> bool:
        """Whether what is bound here is not made yet, so that it will have all that is noted."""
        if self.life.made is not None:
            return False
        now = context.stored()
        return type(now) is context.LateContext and now.life is self.life

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
            size: length of the response's body in bytes, where that is known, or what gives it.
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
        if self.life.user is not None:
            self.stop_looking()
        followers = self._observers() if observers else ()
        is_heard = error is not None or (self.life.settings.access_records and request_record.is_heard())
        if not (is_heard or followers):
            return
        seconds, status = self._now() - self._started, _whole(status)
        known = {"event_name": event_name, **filled(fields)}
        self._add_ends(known, status, size)

        def end() -> None:
            if is_heard:
                self.record.write(status, seconds, known, level=level, error=error)
            has_failed = status >= SERVER_ERROR or error is not None
            for observer in followers:
                with contextlib.suppress(Exception):
                    observer.end(self, status=status, seconds=seconds, has_failed=has_failed)

        self._run(end)

    def _add_ends(self, known: dict[str, object], status: int, size: object) -> None:
        """Add to the fields of the request record what the response was."""
        if callable(size):
            size = size()
        length = length_of(0 if size is not None and self.is_bodiless(status) else size)
        if length is not None:
            known["http_response_size"] = length
        if self._sent_id:
            known["response_request_id"] = self._sent_id

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
        return self.life.method == "HEAD" or status < _FIRST_FINAL or status in _BODILESS

    def leave(self) -> None:
        """Unbind the fields."""
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            self._unbind(tokens)

    def suspend(self) -> None:
        """Unbind the fields and what else is bound now, until ``resumed`` binds them again."""
        tokens, self._tokens = self._tokens, None
        if tokens is None:
            self._keep()
        else:
            self._unbind(tokens, is_kept=True)

    def resumed(self) -> "_Resumed":
        """Bind the fields of a suspended request again; where they are bound already nothing changes."""
        return _Resumed(self)

    def run(self, work: Callable[[], T]) -> T:
        """Do a part of a suspended request that is left after its response, with the fields bound.

        What it raises is noted as the request's failure, and goes on.
        """
        tokens = self._bind() if _current.get() is not self else None
        try:
            return work()
        except BaseException as error:
            self.fail(error)
            raise
        finally:
            if tokens is not None:
                self._unbind(tokens, is_kept=True)

    @property
    def echoed(self) -> tuple[str, str]:
        """Names of the response headers whose values ``response_headers`` needs, in lower case."""
        return self.life.echoed

    def response_headers(self, existing: Mapping[str, str]) -> dict[str, str]:
        """Return the headers to set on the response, whatever its status.

        An id that the application has set stays, and the request record contains it.

        Args:
            existing: those of ``echoed`` that the response has, each as one text; its list of exposed headers
                is added to, not replaced.
        """
        name = self.life.settings.id_header
        own = existing.get(name.lower())
        if own is None:
            return exposing(name, self.request_id, existing.get(_EXPOSE, ""))
        if own != self.request_id:
            self._sent_id = valid_id(own)
        return {}

    @property
    def id_headers(self) -> tuple[tuple[str, str], tuple[str, str]]:
        """The headers to add to a response that has none of ``echoed``."""
        name = self.life.settings.id_header
        return (name, self.life.request_id), (EXPOSE, name)

    def with_request_id(self, headers: Iterable[tuple[str, str]]) -> list[tuple[str, str]]:
        """Return the headers of a response with the request id; one that the application has set stays."""
        headers = list(headers)
        return with_headers(headers, self.response_headers(header_values(headers, self.echoed)))

    def _bind(self) -> "_Tokens":
        kept, self._suspended = self._suspended, None
        return context.resume(kept or context.LateContext(self.life)), _current.set(self)

    def _keep(self) -> None:
        """Keep what is bound now for the time when the request is resumed."""
        self._suspended = kept = context.stored()
        if self._is_finished:
            kept.look = None

    def _unbind(self, tokens: "_Tokens", *, is_kept: bool = False) -> None:
        if is_kept:
            self._keep()
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
            context.add_fields(**self.life.noted)
        write()
        context.clear()

    def _has_all(self) -> bool:
        """Whether what is bound here includes what was bound in other threads and tasks of the request."""
        if self._is_untouched():
            return True
        bound = context.bound()
        return all(bound.get(name) is value for name, value in list(self.life.noted.items()))

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
            self._scope._unbind(self._tokens, is_kept=True)  # noqa: SLF001  # a part of it


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
