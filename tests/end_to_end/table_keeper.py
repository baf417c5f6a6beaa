"""The ledger of a program: what it says that it logged, in the standard library's words.

A second handler beside the package's: one JSON line for each record, taken from the LogRecord, with what the
program itself had bound and which request it was serving.
"""

import contextlib
import contextvars
import datetime as dt
import enum
import json
import logging
import os
import pathlib
import socket
import time
import traceback

import hublog

LEDGER = os.environ["TABLE_LEDGER"]
STANDARD = {*vars(logging.LogRecord("", 0, "", 0, "", (), None)), "message", "asctime"}
OWN_REPORTS = ("hublog.internal", "azure")  # these go to console and file only
#: What this program has bound, and the request that it serves; told to the ledger, never to the package.
STATE = contextvars.ContextVar("state", default=({}, None))


def note(kind, **values):
    with pathlib.Path(LEDGER).open("a", encoding="utf-8") as file:
        file.write(json.dumps({"kind": kind, "pid": os.getpid(), **values}) + "\n")


def shown(value):
    """Tell a value and its type in JSON."""
    if value is None or isinstance(value, bool):
        return ["plain", value]
    if isinstance(value, enum.Enum):
        return ["plain", value.value]
    for kinds, name, tell in (
        (str, "plain", str),
        (int, "int", str),
        (float, "float", float.hex),
        (dict, "dict", lambda found: [[shown(key), shown(item)] for key, item in found.items()]),
        ((list, tuple, set), "list", lambda found: list(map(shown, found))),
        (bytes, "bytes", bytes.hex),
        ((dt.date, dt.time), "plain", lambda found: found.isoformat()),
        (BaseException, "plain", lambda found: f"{type(found).__name__}: {found}"),
    ):
        if isinstance(value, kinds):
            return [name, tell(value)]
    return ["plain", str(value)]


def told(error):
    """Tell an exception in the standard library's words."""
    return {
        "module": type(error).__module__,
        "name": type(error).__qualname__,
        "message": str(error),
        "text": "".join(traceback.TracebackException.from_exception(error).format()),
        "frames": [f"{frame.filename}:{frame.name}" for frame in traceback.extract_tb(error.__traceback__)],
    }


class Ledger(logging.Handler):
    def emit(self, record):
        if record.name.startswith(OWN_REPORTS):
            return
        attributes = vars(record)
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = None
        bound, request = STATE.get()
        note(
            "record",
            **{
                name: attributes[name]
                for name in (
                    *("levelname", "levelno", "name", "pathname", "module", "funcName", "lineno"),
                    *("process", "processName", "thread", "threadName", "stack_info"),
                )
            },
            taskName=attributes.get("taskName"),
            noted=time.time(),
            created=float(record.created).hex(),
            message=message,
            msg=str(record.msg),
            args=str(record.args),
            exception=told(record.exc_info[1]) if record.exc_info and record.exc_info[1] else None,
            extra=[[name, shown(value)] for name, value in attributes.items() if name not in STANDARD],
            bound=[[name, shown(value)] for name, value in bound.items()],
            request=request,
        )


def bind(**fields):
    """Bind for good, as a view does: the end of the request takes it back."""
    bound, request = STATE.get()
    return hublog.bind(**fields), STATE.set(({**bound, **fields}, request))


@contextlib.contextmanager
def bound(**fields):
    token, mine = bind(**fields)
    try:
        yield
    finally:
        hublog.unbind(token)
        STATE.reset(mine)


def serve(app, number, *, method, route, view, path, headers, data=None):
    """Make one request; the ledger gets what the server handed to the application, and what came back."""
    inner, known = app.wsgi_app, {}

    def outer(environ, start_response):
        names = ("REQUEST_METHOD", "PATH_INFO", "REMOTE_ADDR", "CONTENT_LENGTH")
        known.update({name: environ[name] for name in environ if name in names or name.startswith("HTTP_")})
        STATE.set(({}, number))
        return inner(environ, start_response)

    token, began = STATE.set(({}, number)), time.perf_counter()
    app.wsgi_app = outer
    response = app.test_client().open(path, method=method, headers=headers, data=data)
    seconds = time.perf_counter() - began
    app.wsgi_app = inner
    STATE.reset(token)
    reply = {"status": response.status_code, "headers": dict(response.headers), "seconds": seconds}
    note("request", number=number, environ=known, route=route, view=view, reply=reply)


def tell_process(framework):
    """Tell what all records of this process share."""
    note(
        "process",
        host=socket.gethostname(),
        version=hublog.__version__,
        cwd=str(pathlib.Path.cwd()),
        framework=framework,
    )


def begin(framework):
    """Keep the ledger of this process from here on."""
    tell_process(framework)
    logging.getLogger().addHandler(Ledger())
