"""What every web framework's adapter does for a request: fields at its start, one record at its end."""

import contextlib
import fnmatch
import logging
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar, Token, copy_context
from functools import lru_cache
from typing import Final, Protocol

from hublog.capture import context, sentry, spans
from hublog.capture.engine_events import listen_if_imported
from hublog.capture.headers import (
    EXPOSE,
    PATH_MAX,
    Headers,
    client_address,
    exposing,
    request_fields,
    size_field,
)
from hublog.capture.queries import QueryCounter
from hublog.capture.tracing import request_id
from hublog.capture.user import session_hash, user_fields
from hublog.settings import RequestSettings

__all__ = [
    "CANCELLED",
    "EXPOSE",
    "LOGGER_NAME",
    "SCOPE_KEY",
    "Headers",
    "RequestObserver",
    "RequestScope",
    "client_address",
    "current_scope",
    "is_cancellation",
    "observers",
    "session_hash",
    "user_fields",
]

#: Logger of the one record for each request.
LOGGER_NAME: Final = "hublog.request"
#: Under this key the scope stands in a scope of ASGI, for the framework inside.
SCOPE_KEY: Final = "hublog.request"
#: Status of a request whose client went away before the end; nginx writes the same.
CANCELLED: Final = 499
_SERVER_ERROR: Final = 500
_CLIENT_ERROR: Final = 400
#: By their names, since neither trio nor greenlet is imported here.
_CANCELLATIONS: Final = frozenset({"CancelledError", "Cancelled", "GreenletExit", "GeneratorExit"})


class RequestObserver(Protocol):
    """Follows requests from their start to their end; see ``observers``.

    Both methods are called in the thread or task that serves the request, with the request's fields bound.
    They must not wait. What they raise hurts nobody.
    """

    def begin(self, scope: "RequestScope") -> None:
        """Note that a request begins. It is called once, before the application sees the request."""
        ...

    def end(self, scope: "RequestScope", *, status: int, seconds: float, has_failed: bool) -> None:
        """Note that a request has ended, its request record written.

        It is called once, unless nobody ever ends the request: a streamed body that is thrown away unread.

        Args:
            scope: the one that ``begin`` was given.
            status: of the response; 499 where the client went away.
            seconds: from the start to the end; for a streamed body the end is when it was sent.
            has_failed: whether the status is 500 or above, or an exception left the application.
        """
        ...


#: Who follows requests, in the order in which they are called.
observers: Final[list[RequestObserver]] = []


class RequestScope:
    """The logging side of one request.

    ``enter`` binds its fields; ``finish`` writes the request record; ``leave`` takes the fields away.
    All three belong to the task or thread that serves the request. None of them raises.

    Args:
        settings: what to take from the request.
        headers: reads a header.
        method: ``GET`` ....
        path: the path, decoded, without the query.
        host: what the client asked for, or empty.
        remote_address: address of the socket's other end, or empty.
        query: the query as it came, or empty.
        is_long_lived: whether this is a websocket: it may take hours without being slow, and no observer
            follows it.
        now: monotonic seconds.
    """

    def __init__(
        self,
        settings: RequestSettings,
        headers: Headers,
        *,
        method: str,
        path: str,
        host: str = "",
        remote_address: str = "",
        query: str = "",
        is_long_lived: bool = False,
        now: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._settings = settings
        self._now = now
        self._started = now()
        self._method = method
        self._path = path[:PATH_MAX]
        self._is_begun = False
        self._is_long_lived = is_long_lived
        self._is_finished = False
        self._tokens: _Tokens | None = None
        self._kept: context.Context | None = None
        self._counter = QueryCounter() if settings.count_queries else None
        self.fields: dict[str, object]
        try:
            self.fields = request_fields(
                settings,
                headers,
                method=method,
                path=path,
                host=host,
                remote_address=remote_address,
                query=query,
            )
        except Exception:  # noqa: BLE001  # a request is served whatever its headers are
            self.fields = {"request_id": request_id(()), "http_method": method, "http_path": self._path}
        self._first = self.fields
        self.request_id = str(self.fields["request_id"])

    def enter(self) -> None:
        """Bind the fields, and what was bound when they were taken away; each record now carries them."""
        self._tokens = self._bind()
        if not self._is_begun:
            self._is_begun = True
            if self._counter is not None:
                listen_if_imported()
            for observer in self._observers():
                with contextlib.suppress(Exception):
                    observer.begin(self)

    def add(self, **fields: object) -> None:
        """Bind fields that became known later, such as the route."""
        known = _known(fields)
        if known:
            self.fields = {**self.fields, **known}
            context.bind(**known)

    def adopt_span(self) -> None:
        """Take on the ids of the active span of OpenTelemetry, if there is one.

        Instrumentation may open it inside the adapter. It is the request's own where nothing else can be
        open yet or any more: before and after the view.
        """
        active = spans.active_fields()
        if active and active["span_id"] != self.fields.get("span_id"):
            self.fields = spans.merged(self.fields, active)
            context.enter(spans.merged(context.bound(), active))

    def add_user(self, fields: Mapping[str, object]) -> None:
        """Bind the application's user; one who is not signed in there does not hide Easy Auth's."""
        if fields.get("user_authenticated") or not self.fields.get("user_authenticated"):
            self.add(**fields)

    def take_bound(self) -> None:
        """Take on what is bound here, in a task or thread whose context ends before the request does."""
        bound = context.bound()
        if _current.get() is self and bound is not self._first:
            self.fields = {**self.fields, **bound}

    def finish(
        self,
        status: int,
        *,
        size: object = None,
        event_name: str = "request.finished",
        level: int = logging.NOTSET,
        **fields: object,
    ) -> None:
        """Write the request record, once.

        Args:
            status: of the response; ``CANCELLED`` where its client went away.
            size: its length in bytes, where that is known.
            event_name: what happened.
            level: the least level of the record.
            fields: more fields for this record.
        """
        if self._is_finished:
            return
        self._is_finished = True
        seconds, status = self._now() - self._started, _whole(status)
        known = {"event_name": event_name, **_known(fields), **size_field("http_response_size", size)}
        if _current.get() is self:
            self._end(status, seconds, level, known)
        else:  # closed by another thread or task, or between two parts of a stream
            copy_context().run(self._end_elsewhere, status, seconds, level, known)

    def cancel(self, *, size: object = None) -> None:
        """Write the request record of a request whose client went away, unless it has ended."""
        self.finish(CANCELLED, size=size, event_name="request.cancelled")

    def fail(self, error: BaseException) -> None:
        """Write the request record of a request that has raised instead of answering, unless it has ended."""
        if is_cancellation(error):
            self.cancel()
        else:
            self.finish(_SERVER_ERROR)

    def leave(self) -> None:
        """Take the fields away again."""
        tokens, self._tokens = self._tokens, None
        if tokens is not None:
            self._release(tokens)

    def suspend(self) -> None:
        """Take the fields away until they are bound again, with what else is bound now."""
        self._kept = context.stored()
        self.leave()

    @contextmanager
    def resumed(self) -> Iterator[None]:
        """Bind the fields of a suspended request again; where they are bound already nothing changes."""
        if _current.get() is self:
            yield
            return
        tokens = self._bind()
        try:
            yield
        finally:
            self._kept = context.stored()
            self._release(tokens)

    def response_headers(self, existing: Mapping[str, str]) -> dict[str, str]:
        """Return the headers to set on the response, whatever its status.

        Args:
            existing: the response's headers; ``Access-Control-Expose-Headers`` is added to, not replaced.
        """
        return exposing(self._settings.id_header, self.request_id, existing.get(EXPOSE, ""))

    def _bind(self) -> "_Tokens":
        kept, self._kept = self._kept, None
        if kept is None:
            kept = context.Context(self.fields, self._counter)
        return context.resume(kept), _current.set(self)

    def _release(self, tokens: "_Tokens") -> None:
        bound, current = tokens
        try:
            _current.reset(current)
        except ValueError:  # bound in another context, of which this one may be a copy
            if _current.get() is self:
                _current.set(None)
                context.resume(context.EMPTY)
            return
        context.leave(bound)

    def _end_elsewhere(self, status: int, seconds: float, level: int, fields: Mapping[str, object]) -> None:
        self._bind()
        self._end(status, seconds, level, fields)

    def _end(self, status: int, seconds: float, level: int, fields: Mapping[str, object]) -> None:
        with contextlib.suppress(Exception):  # a filter or handler of the application's own may raise
            if self._is_wanted(status):
                self._write(status, seconds, max(level, _level(status)), fields)
        for observer in self._observers():
            with contextlib.suppress(Exception):
                observer.end(self, status=status, seconds=seconds, has_failed=status >= _SERVER_ERROR)

    def _observers(self) -> Sequence[RequestObserver]:
        return () if self._is_long_lived else observers

    def _is_wanted(self, status: int) -> bool:
        settings = self._settings
        if not settings.access_records:
            return False
        if status >= _SERVER_ERROR or not settings.excluded_paths:
            return True
        return not _pattern(settings.excluded_paths).fullmatch(self._path)

    def _write(self, status: int, seconds: float, level: int, fields: Mapping[str, object]) -> None:
        duration = seconds * 1000
        if 0 < self._settings.slow_seconds < seconds and not self._is_long_lived:
            level = max(level, logging.WARNING)
            fields = {**fields, "slow": True}
        if level >= logging.ERROR:
            sentry.leave_out(LOGGER_NAME)
        logging.getLogger(LOGGER_NAME).log(
            level,
            "%s %s %d %.1f ms",
            self._method,
            self._path,
            status,
            duration,
            extra={
                "record_type": "request",
                "http_status_code": status,
                "duration_ms": round(duration, 3),
                **(self._counter.columns() if self._counter is not None else {}),
                **fields,
            },
        )


_Tokens = tuple[Token[context.Context], Token[RequestScope | None]]

#: The request that is served here; the outer one while an application calls itself.
_current: ContextVar[RequestScope | None] = ContextVar("hublog_request", default=None)


def current_scope() -> RequestScope | None:
    """Return the request that is served here, in this thread or task or one that copied its context."""
    return _current.get()


def is_cancellation(error: BaseException) -> bool:
    """Whether somebody outside ended the request: asyncio, trio, a greenlet's killer, a closed generator."""
    return not isinstance(error, Exception) and type(error).__name__ in _CANCELLATIONS


def _whole(status: object) -> int:
    """Return a status as a plain number: it may be an enum, or whatever an application has said."""
    try:
        found = int(status)  # type: ignore[call-overload]  # it says itself whether it can
    except (TypeError, ValueError):
        return _SERVER_ERROR
    return found if found > 0 else _SERVER_ERROR


def _known(fields: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in fields.items() if value not in (None, "")}


def _level(status: int) -> int:
    if status >= _SERVER_ERROR:
        return logging.ERROR
    return logging.WARNING if status >= _CLIENT_ERROR else logging.INFO


@lru_cache(maxsize=64)
def _pattern(paths: tuple[str, ...]) -> re.Pattern[str]:
    """Return what matches any of these paths, in which ``*`` alone has a meaning."""
    literal = str.maketrans({"?": "[?]", "[": "[[]"})
    return re.compile("|".join(fnmatch.translate(path.translate(literal)) for path in paths))
