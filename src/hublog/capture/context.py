"""Request fields in one context variable: every record of a request carries them, none of the next does.

Fields are columns (``request_id``, ``http_route`` ...) or free names; free names go into the column
``extra``. A context is never changed: binding makes a new one, so a task or thread that copied the
old one keeps what it saw.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from contextvars import ContextVar, Token
from dataclasses import KW_ONLY, dataclass, field
from typing import Any, Final, ParamSpec, Protocol, TypeVar

_P = ParamSpec("_P")
_R = TypeVar("_R")

#: Seconds after the end of a request for which a thread or task that it has started keeps its fields: it may
#: still work for the request. What goes on for longer serves others.
LINGER_S: Final = 60.0


class CountsQueries(Protocol):
    """Counts the queries of a request."""

    def add(self, seconds: float) -> None:
        """Count one query that took this many seconds."""
        ...


@dataclass(slots=True, eq=False)
class Life:
    """Whether the request, task or block of code whose fields are bound goes on.

    Attributes:
        ended_mono: when it ended (monotonic seconds); None while it goes on.
    """

    ended_mono: float | None = None


@dataclass(slots=True, eq=False)
class Look:
    """Finds fields that become known late, such as the user once the application has loaded it.

    Attributes:
        probes: mappings, names and values: as long as each is there, ``look`` would find nothing new.
        fields: what they were last; the same object as long as they stay the same.
    """

    probes: Sequence[tuple[Mapping[str, object], str, object]] = ()
    fields: Mapping[str, object] | None = None

    def look(self) -> None:
        """Set ``fields`` and ``probes`` anew; nothing is loaded for it, and it need not be total."""


@dataclass(slots=True, eq=False)
class Context:
    """An immutable set of fields, with a place where the formatter keeps their encoded form.

    Attributes:
        fields: must not be changed.
        counter: counts the queries of the request; threads and tasks that carry the fields share it.
        life: of the request or task; None for fields that never end.
        linger_s: how long the fields last where they are bound when the life has ended (seconds).
        since: when the fields were bound, or bound again (seconds since 1970).
        is_settled: whether these are the fields of a record that was made earlier or elsewhere, to which
            nothing is added now.
        settled: the same fields, settled; made when it is needed.
        look: finds fields that become known late; None for none. A context with one has no ``encoded``, so
            that each record comes to look.
        looked_up: what ``look`` had found when these fields were bound.
        encoded: what the formatter made of ``fields``, so that a request is encoded once; an
            ``EncodedContext``, whose module imports this one.
        partial: what it made of them while they may become more.
        in_span: the ids of the span that was active last, and the context of records inside it; see
            ``tracing``.
    """

    fields: Mapping[str, object]
    counter: CountsQueries | None = None
    life: Life | None = None
    _: KW_ONLY
    linger_s: float = LINGER_S
    since: float = field(default_factory=time.time)
    is_settled: bool = False
    settled: "Context | None" = None
    look: Look | None = None
    looked_up: Mapping[str, object] | None = None
    encoded: Any = None
    partial: Any = None
    in_span: "tuple[object, Context | None] | None" = None


class LateContext(Context):
    """The context of a request of which nothing is made before a record or a query needs it.

    ``fields``, ``counter`` and ``look`` are those of its life when they are first asked for.

    Args:
        life: of the request; it has these three as attributes.
    """

    __slots__ = ()

    def __init__(self, life: Life) -> None:
        self.life = life
        self.linger_s = LINGER_S
        self.since = time.time()
        self.is_settled = False
        self.settled = self.looked_up = self.encoded = self.partial = self.in_span = None

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401  # of any slot that is not filled
        value = getattr(self.life, name)
        setattr(self, name, value)
        return value


EMPTY = Context({})
_current: ContextVar[Context] = ContextVar("hublog_context", default=EMPTY)

#: What is bound here, whatever span is active; an alias, since a call would cost more than the look-up.
stored: Final = _current.get

#: Read by the formatter for each record, as an attribute of this module: once the application uses
#: OpenTelemetry, ``tracing`` puts a function here that gives the ids of the active span.
current: Callable[[], Context] = stored

#: The ``RequestScope`` that is served here; the outer one while an application calls itself.
current_request: Final[ContextVar[Any]] = ContextVar("hublog_request", default=None)


def enter(fields: Mapping[str, object], *, counter: CountsQueries | None = None) -> Token[Context]:
    """Begin a request or task: replace all bound fields by these.

    Args:
        fields: column or free names and their values; the mapping must not be changed afterwards.
        counter: counts the queries from now on; None keeps the one that does.

    Returns:
        The token that ``leave`` needs to bring back what was bound before.
    """
    now = _current.get()
    # A thread may outlive the request whose fields it has: what it begins then is none of it.
    life = now.life if now.life is not None and now.life.ended_mono is None else Life()
    return _current.set(Context(fields, counter or now.counter, life, linger_s=now.linger_s))


def resume(context: Context) -> Token[Context]:
    """Go on with a request: bind the fields that were bound when it was left.

    Args:
        context: what ``stored`` returned there, or a new one; ``EMPTY`` for none.

    Returns:
        The token that ``leave`` needs to bring back what was bound before.
    """
    if context.life is not None:
        context.life.ended_mono = None
    elif context is not EMPTY:
        context.life = Life()
    return _current.set(context)


def leave(token: Token[Context]) -> None:
    """End a request or task: bring back what was bound before ``enter`` or ``bind``.

    A token of another context (a generator closed in another thread, say) is no error: the fields
    of this context are then cleared, so that nothing leaks into the next request.
    """
    left = _current.get()
    restore(token)
    now = _current.get()
    if left.life is not None and left.life is not now.life:
        left.life.ended_mono = time.monotonic()
    if now is not EMPTY:
        now.since = time.time()  # what was logged before this moment may have had other fields


def lend(context: Context) -> Token[Context]:
    """Log with the fields of a request in another thread, whether or not the request goes on.

    Returns:
        The token that ``restore`` needs to bring back what was bound before.
    """
    return _current.set(context)


def restore(token: Token[Context]) -> None:
    """Bring back what was bound before ``lend``; whatever the fields belong to goes on."""
    try:
        _current.reset(token)
    except ValueError:
        _current.set(EMPTY)


def call_with(context: Context, function: Callable[_P, _R], /, *args: _P.args, **kwargs: _P.kwargs) -> _R:
    """Call a function that logs with the fields of a context, as ``lend`` has it."""
    token = lend(context)
    try:
        return function(*args, **kwargs)
    finally:
        restore(token)


def clear() -> None:
    """End whatever request or task is bound here."""
    now = _current.get()
    if now.life is not None:
        now.life.ended_mono = time.monotonic()
    _current.set(EMPTY)


def add_fields(**fields: object) -> Token[Context]:
    """Add fields to the records that are logged here from now on, and not to the request's own record."""
    return _replace({**bound(), **fields})


def bind(**fields: object) -> Token[Context]:
    """Add fields to every record that this request, task or thread logs from now on.

    A web framework runs an endpoint in a thread pool or in a task of its own, with a copy of the context that
    the request was begun in. Fields that are bound there are in the request record, too.

    Args:
        fields: column names (``tenant_id="acme"``) or free names, which go into ``extra``.

    Returns:
        The token that ``unbind`` takes back; not needed inside a request, whose end clears all.
    """
    token = add_fields(**fields)
    scope = current_request.get()
    if scope is not None and scope.serves(bound()):
        scope.life.noted.update(fields)
    return token


def unbind(*names: str | Token[Context]) -> None:
    """Take fields back: these names, or what one call of ``bind`` has added.

    Args:
        names: of fields, bound or not; or the token that ``bind`` returned, which brings back all that was
            bound before that call.

    Raises:
        TypeError: it is neither names nor one token.
    """
    before = bound()
    if len(names) == 1 and isinstance(names[0], Token):
        leave(names[0])
    else:
        for name in names:
            if not isinstance(name, str):
                raise TypeError(
                    f"unbind got a {type(name).__name__}; it takes names of fields, or one token of bind."
                )
        _replace({name: value for name, value in before.items() if name not in names})
    scope = current_request.get()
    if scope is None or not scope.serves(before):
        return
    after = bound()
    for name in before:
        if name not in after:
            scope.life.noted.pop(name, None)
        elif name in scope.life.noted:
            scope.life.noted[name] = after[name]


def bound() -> Mapping[str, object]:
    """Return the fields that are bound now; the mapping must not be changed."""
    now = _current.get()
    if is_over(now):
        return EMPTY.fields
    return now.fields if now.look is None else looked(now).fields


def looked(now: Context) -> Context:
    """Return a context with what has become known of its request since; it is bound here from now on.

    Args:
        now: what is bound here, or what ``tracing`` has made of it.
    """
    look = now.look
    if look is None or now.is_settled:
        return now
    for known, name, value in look.probes:
        if known.get(name) is not value:
            with suppress(Exception):  # a log call never raises
                look.look()
            break
    fields = look.fields
    if fields is None or fields is now.looked_up:
        return now
    here = _current.get()
    made = _with(now, fields)
    if here is now:
        _current.set(made)
    elif here.look is look:
        _current.set(_with(here, fields))
    return made


def _with(now: Context, looked_up: Mapping[str, object]) -> Context:
    return Context(
        {**now.fields, **looked_up},
        now.counter,
        now.life,
        linger_s=now.linger_s,
        since=now.since,  # for the records of this moment nothing else is bound
        looked_up=looked_up,
        look=None if looked_up.get("user_authenticated") else now.look,  # who signs in later is another one
    )


def is_over(context: Context) -> bool:
    """Whether fields are those of a request or task that has ended, and must not be logged any more."""
    life = context.life
    if life is None:
        return False
    ended_mono = life.ended_mono
    return ended_mono is not None and time.monotonic() - ended_mono >= context.linger_s


def _replace(fields: Mapping[str, object]) -> Token[Context]:
    now = _current.get()
    if is_over(now):
        now = EMPTY
    made = Context(
        fields,
        now.counter,
        now.life or Life(),
        linger_s=now.linger_s,
        is_settled=now.is_settled,
        look=now.look,
        looked_up=now.looked_up,
    )
    return _current.set(made)


def note_shown(record: logging.LogRecord) -> None:
    """Note that the line of a record shows its exception, so that the request record need not.

    A record below WARNING may be left out at one of the destinations, so it does not count.
    """
    scope = current_request.get()
    if scope is None or record.levelno < logging.WARNING:
        return
    shown: object = record.exc_info
    error = shown[1] if isinstance(shown, tuple) and len(shown) > 1 else shown
    if isinstance(error, BaseException):
        scope.record.note_shown(error)
