"""10,000 varied records of a web shop, as the formatter writes them: ``python -m benchmarks.workload``.

The lines in ``records.jsonl.gz`` are the truth: all figures are made from them. They are written anew
by this command, from a seed, with the formatter, the request scope and real exceptions; only clock,
ids, process and host are invented. The package's version, and line numbers in it, are today's.
"""

import contextvars
import gzip
import logging
import sys
from collections.abc import Callable, Generator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Final

import orjson

from benchmarks.failures import APP, SITE, raised
from benchmarks.shop import CALLS, ERROR, FAILURES, INFO, ROUTES, WARNING, Call, Failure, Route, weights
from benchmarks.vocabulary import HOSTS, Draw
from hublog.capture import context
from hublog.capture.formatter import LineFormatter
from hublog.capture.resource import process_fields
from hublog.line import RecordIds
from hublog.requests.request_record import LOGGER_NAME
from hublog.requests.request_scope import RequestScope
from hublog.settings import RequestSettings, ServiceSettings

PATH: Final = Path(__file__).parent / "records.jsonl.gz"
NUMBER: Final = 10_000
SEED: Final = 20_260_901
#: 1 September 2026, 12:00 UTC.
START_S: Final = 1_788_264_000.0
#: Mean of the records made in a second.
RATE: Final = 5_000
#: Requests and tasks served at the same time: their lines lie between each other's.
CONCURRENCY: Final = 24

_SERVICE: Final = ServiceSettings(name="shop", version="8.3", environment="prod")
_HOST: Final = "web-04"

ExcInfo = tuple[type[BaseException], BaseException, TracebackType | None]


def read_lines() -> list[bytes]:
    """Return the 10,000 lines in the order they were logged: JSON objects, UTF-8, without ``sent_at``."""
    return gzip.decompress(PATH.read_bytes()).splitlines()


class Shop:
    """Serves requests and runs tasks in one process, and writes down what it logs.

    Args:
        seed: the same one gives the same lines.
    """

    def __init__(self, seed: int = SEED) -> None:
        self._draw = Draw(seed)
        self._now_s = START_S
        self._encode = _encoder(Draw(seed))
        self._slot = 0
        self.lines: list[bytes] = []

    def run(self, number: int) -> list[bytes]:
        """Return the lines of the first so many records."""
        slots = [(contextvars.Context(), self._work()) for _ in range(CONCURRENCY)]
        with _request_records(self._emit):
            while len(self.lines) < number:
                self._slot = self._draw.randrange(CONCURRENCY)
                around, work = slots[self._slot]
                around.run(next, work)
        return self.lines[:number]

    def _work(self) -> Iterator[None]:
        """Serve one request or task after the other; each step logs at most one record."""
        while True:
            kind = self._draw.random()
            if kind < 0.09:
                yield from self._task()
            elif kind < 0.63:
                yield from self._calls("background", 1)
            else:
                yield from self._request()

    def _request(self) -> Iterator[None]:
        draw = self._draw
        route = draw.choices(ROUTES, weights(ROUTES))[0]
        scope = self._scope(route)
        scope.enter()
        started_s = self._now_s
        self._bind(scope, route)
        for _ in range(draw.number(1, 30)):
            yield  # work without a word
        if route.part != "any":
            yield from self._calls(route.part, draw.choices(_CALLS_MADE, _CALLS_WEIGHTS)[0])
        status = draw.choices(_STATUSES, _STATUS_WEIGHTS)[0]
        if draw.random() < 0.008:
            status = yield from self._failure(scope, route, status)
        if status == 404:
            request = _Request(f"<WSGIRequest: {route.method} {scope.fields['http_path']!r}>")
            self._say(_NOT_FOUND, (scope.fields["http_path"],), {"status_code": 404, "request": request})
            yield
        queries, took_ms = draw.number(0, 30), (self._now_s - started_s) * 1_000
        scope.finish(
            status,
            size=draw.number(90, 180_000) if draw.random() < 0.9 else None,
            db_query_count=queries,
            db_duration_ms=round(min(queries * draw.milliseconds(0.8), 0.7 * took_ms), 3),
        )
        scope.leave()
        yield
        if draw.random() < 0.03:
            self._say(_ACCESS, _access(draw, scope, status), {})
            yield

    def _bind(self, scope: RequestScope, route: Route) -> None:
        """Add what becomes known once the route is: not every view looks at the user."""
        draw = self._draw
        scope.add(http_route=route.route, view_name=route.view)
        if route.part != "any" and (route.part != "catalog" or draw.random() < 0.4):
            user = str(draw.number(1, 90_000)) if draw.random() < 0.7 else ""
            scope.add(user_authenticated=bool(user), user_id=user)
        if route.part == "account" and draw.random() < 0.3:
            scope.add(tenant_id=draw.choice(("retail", "b2b")), experiment=f"exp-{draw.number(1, 40)}")

    def _scope(self, route: Route) -> RequestScope:
        draw = self._draw
        headers = {
            "X-Request-ID": draw.hex(16),
            "User-Agent": "kube-probe/1.31" if route.part == "any" else draw.agent(),
            "X-Forwarded-For": draw.address(),
        }
        if draw.random() < 0.3:
            headers["traceparent"] = f"00-{draw.hex(16)}-{draw.hex(8)}-01"
        if route.method in ("POST", "PUT"):
            headers["Content-Length"] = str(draw.number(20, 6_000))
        if draw.random() < 0.1:
            headers["X-Correlation-ID"] = f"crm-{draw.number(1, 10**7)}"
        scope = RequestScope(
            RequestSettings(trusted_proxy_count=1),
            headers.get,
            method=route.method,
            path=route.path(draw),
            host=draw.choice(HOSTS),
            remote_address="10.244.3.17",
            now=lambda: self._now_s,
        )
        scope.fields["span_id"] = draw.hex(8)  # drawn by the system otherwise
        if "traceparent" not in headers:
            scope.fields["trace_id"] = draw.hex(16)
        return scope

    def _task(self) -> Iterator[None]:
        draw = self._draw
        name = draw.choice(("shop.tasks.mail", "shop.tasks.index", "shop.tasks.feed", "shop.tasks.stock"))
        asked = {"trace_id": draw.hex(16), "span_id": draw.hex(8)} if draw.random() < 0.3 else {}
        token = context.enter(
            {
                **asked,
                "task_id": f"{draw.hex(4)}-{draw.hex(2)}-4{draw.hex(2)[1:]}-9{draw.hex(2)[1:]}-{draw.hex(6)}",
                "task_name": name,
                "task_queue": draw.choice(("default", "mail", "slow")),
                "task_retries": draw.choice((0, 0, 0, 0, 1, 2)),
            }
        )
        yield from self._calls("task", draw.randint(3, 12))
        if draw.random() < 0.05:
            failure = draw.choice([one for one in FAILURES if one.call.part == "task"])
            self._fail(failure, caller="trace_task")
            yield
        context.leave(token)

    def _calls(self, part: str, number: int) -> Iterator[None]:
        calls = _BY_PART[part]
        for call in self._draw.choices(calls, weights(calls), k=number):
            self._say(call, call.args(self._draw), call.attached(self._draw))
            yield

    def _failure(self, scope: RequestScope, route: Route, status: int) -> Generator[None, None, int]:
        """Log an exception; return the status with which the request ends."""
        possible = [one for one in FAILURES if one.call.part in (route.part, "any")]
        failure = self._draw.choice(possible)
        self._fail(failure, caller="inner" if failure.layers else "")
        yield
        if failure.is_fatal:
            told = replace(_SERVER_ERROR, args=lambda _: (scope.fields["http_path"],))
            self._fail(replace(failure, call=told), caller="inner")
            yield
            return 500
        return 502 if failure.call.level == ERROR else status

    def _fail(self, failure: Failure, *, caller: str) -> None:
        call, draw = failure.call, self._draw
        error = raised(failure.work(draw), caller=caller, layers=failure.layers)
        exc_info = (type(error), error, error.__traceback__)
        self._say(call, call.args(draw), call.attached(draw), exc_info)

    def _say(
        self,
        call: Call,
        args: tuple[object, ...],
        extra: Mapping[str, object],
        exc_info: ExcInfo | None = None,
    ) -> None:
        function, line = call.place
        path = call.path or f"{APP}{call.logger.replace('.', '/')}.py"
        record = logging.LogRecord(
            call.logger, call.level, path, line, call.template, args, exc_info, function
        )
        vars(record).update(extra)
        self._emit(record)

    def _emit(self, record: logging.LogRecord) -> None:
        """Encode a record as if it had been made here and now, in the invented process."""
        self._now_s += self._draw.expovariate(RATE)
        record.created = self._now_s
        record.process, record.processName = 31, "MainProcess"
        record.thread = 140_213_571_790_528 + 8_392_704 * self._slot
        record.threadName = f"Thread-{self._slot + 1}"
        if record.name == LOGGER_NAME:
            record.pathname = f"{SITE}hublog/requests/request_scope.py"
        elif record.pathname.startswith(APP):  # where the shop runs
            record.pathname = record.pathname.removeprefix(APP)
        self.lines.append(self._encode(record))


class _Request:
    """Stands for the request object that Django attaches to its records."""

    def __init__(self, shown: str) -> None:
        self._shown = shown

    def __repr__(self) -> str:
        return self._shown


class _Catcher(logging.Handler):
    """Hands records on."""

    def __init__(self, catch: Callable[[logging.LogRecord], None]) -> None:
        super().__init__()
        self._catch = catch

    def emit(self, record: logging.LogRecord) -> None:
        self._catch(record)


@contextmanager
def _request_records(catch: Callable[[logging.LogRecord], None]) -> Iterator[None]:
    """Catch what request scopes log, and nothing else."""
    logger, handler = logging.getLogger(LOGGER_NAME), _Catcher(catch)
    before = logger.level, logger.propagate, logger.disabled, logging.root.manager.disable
    logger.propagate = logger.disabled = False
    logging.disable(logging.NOTSET)
    logger.setLevel(INFO)  # and so forget which levels were enabled
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)
        level, logger.propagate, logger.disabled, disabled = before
        logger.setLevel(level)
        logging.disable(disabled)


def _encoder(draw: Draw) -> Callable[[logging.LogRecord], bytes]:
    """Return the formatter's ``encode``, with the invented process at the end of each line."""
    ids = RecordIds(entropy=draw.randbytes)
    formatter = LineFormatter(_SERVICE, framework="django", ids=ids)
    here = orjson.dumps(process_fields(_SERVICE, framework="django"))[1:]
    fields = process_fields(
        _SERVICE, framework="django", environ={}, host_name=lambda: _HOST, proc=Path("/srv/none")
    )
    there = orjson.dumps(fields)[1:]

    def encode(record: logging.LogRecord) -> bytes:
        line = formatter.encode(record)
        if not line.endswith(here):
            raise AssertionError("The line does not end with the process's columns; adapt the benchmark.")
        return line.removesuffix(here) + there

    return encode


def _access(draw: Draw, scope: RequestScope, status: int) -> tuple[object, ...]:
    fields = scope.fields
    return (
        fields["client_ip"],
        "01/Sep/2026:12:00:00 +0000",
        fields["http_method"],
        fields["http_path"],
        status,
        draw.number(90, 180_000),
        fields["http_user_agent"],
    )


#: Log calls in a request: most have none beside the request record.
_CALLS_MADE: Final = (0, 1, 2, 3, 4, 6, 9)
_CALLS_WEIGHTS: Final = (30, 8, 3, 1, 0.6, 0.2, 0.1)
_STATUSES: Final = (200, 201, 204, 302, 304, 400, 403, 404, 422, 429)
_STATUS_WEIGHTS: Final = (800, 60, 20, 60, 40, 6, 3, 20, 8, 2)
#: Outside of requests.
_ALONE: Final = ("task", "background")
_BY_PART: Final = {
    part: tuple(call for call in CALLS if call.part in ((part,) if part in _ALONE else (part, "any")))
    for part in ("catalog", "cart", "checkout", "account", *_ALONE)
}
_DJANGO: Final = f"{SITE}django/utils/log.py"
_NOT_FOUND: Final = Call(
    "any", "django.request", ("log_response", 253), WARNING, "Not Found: %s", path=_DJANGO
)
_SERVER_ERROR: Final = Call(
    "any",
    "django.request",
    ("log_response", 253),
    ERROR,
    "Internal Server Error: %s",
    attached=lambda _: {"status_code": 500},
    path=_DJANGO,
)
_ACCESS: Final = Call(
    "any",
    "gunicorn.access",
    ("access", 360),
    INFO,
    '%s - - [%s] "%s %s HTTP/1.1" %d %d "-" "%s"',
    path=f"{SITE}gunicorn/glogging.py",
)


def main() -> int:
    """Write the lines anew and say what they are."""
    lines = Shop().run(NUMBER)
    body = b"".join(line + b"\n" for line in lines)
    with PATH.open("wb") as file, gzip.GzipFile("", "wb", 9, file, mtime=0) as packed:
        packed.write(body)
    mean = sum(map(len, lines)) / len(lines)
    print(
        f"{PATH.name}: {len(lines):,} lines, {mean:,.0f} bytes a line, {PATH.stat().st_size:,} bytes packed"
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
