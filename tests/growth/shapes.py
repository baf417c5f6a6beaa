"""Inputs that a client may have chosen, each of about so many bytes, as the application would log them."""

import json
import logging
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Logged:
    """The arguments of a log call."""

    msg: object = "order taken"
    args: object = ()
    extra: dict[str, Any] = field(default_factory=dict)
    bound: dict[str, Any] = field(default_factory=dict)
    error: BaseException | None = None
    logger: str = "shop"
    path: str = "/srv/shop.py"
    line: int = 7
    headers: list[tuple[bytes, bytes]] = field(default_factory=list)

    def scope(self) -> dict[str, Any]:
        """Return the request inside of which it is logged, as an ASGI server hands it over."""
        return {
            "type": "http",
            "method": "GET",
            "path": "/",
            "query_string": b"",
            "client": ("127.0.0.1", 1),
            "headers": self.headers,
        }

    def record(self) -> logging.LogRecord:
        exc_info = None if self.error is None else (type(self.error), self.error, self.error.__traceback__)
        record = logging.LogRecord(
            self.logger, logging.INFO, self.path, self.line, self.msg, self.args, exc_info
        )
        record.__dict__.update(self.extra)
        return record


def filled(part: str, size: int) -> str:
    return (part * (size // len(part) + 1))[:size]


def alike(size: int) -> dict[str, int]:
    """Keys that are equal in their first 256 characters."""
    return {f"{'k' * 256}{number:06d}": number for number in range(size // 270 + 1)}


def secret_keys(size: int) -> dict[str, int]:
    return {f"sig=abcd{number:06d}": number for number in range(size // 16 + 1)}


def surrogates(size: int) -> dict[str, int]:
    return {f"\ud800{'k' * 255}{number:06d}": number for number in range(size // 270 + 1)}


def underscores(size: int) -> dict[str, int]:
    """Keys that are what others become when they are made to differ."""
    return {f"{'k' * 256}{'_' * number}": number for number in range(min(int(size**0.5), 1_000))}


def nested(size: int, opening: str) -> object:
    value: object = 1
    for _ in range(size // 16 + 1):
        value = {"a": value} if opening == "{" else [value]
    return value


def bushy(size: int) -> object:
    value: object = "leaf"
    for _ in range(max(size.bit_length() - 5, 1)):
        value = [value, value]
    return value


def error_of(size: int) -> BaseException:
    return ValueError(filled("token=abcdef123 ", size))


def group_of(size: int) -> BaseException:
    error: BaseException = ValueError(filled("password=hunter2 ", size // 10))
    for _ in range(3):
        error = ExceptionGroup("several", [error] * 10)
    return error


def noted(size: int) -> BaseException:
    error = ValueError("x")
    error.__notes__ = ["note password=hunter2"] * (size // 10)
    return error


def chained(size: int) -> BaseException:
    first = error = ValueError("password=hunter2")
    for _ in range(size // 64):
        error.__cause__ = ValueError("password=hunter2")
        error = error.__cause__
    return first


def grouped_wide(size: int) -> BaseException:
    return ExceptionGroup("several", [ValueError(f"x{number}") for number in range(size // 64 + 1)])


def grouped_deep(size: int) -> BaseException:
    error: BaseException = ValueError("x")
    for _ in range(min(size // 64 + 1, 500)):
        error = ExceptionGroup("several", [error])
    return error


SHAPES = {
    "message": lambda size: Logged(filled("the order was taken ", size)),
    "message with secrets": lambda size: Logged(filled("password=hunter2 ", size)),
    "message with openings": lambda size: Logged(filled("password=[{(\"'", size)),
    "message with digits": lambda size: Logged(filled("4111 1111 1111 111", size)),
    "message with addresses": lambda size: Logged(filled("://a:b@c?", size)),
    "message of equals": lambda size: Logged(filled("token=", size)),
    "message with escapes": lambda size: Logged(
        filled('password\\u003dab&quot;,value="x" name="token" ', size)
    ),
    "message not ASCII": lambda size: Logged(filled("commande reçue \u2028 ", size)),
    "argument": lambda size: Logged("got %s", (filled("a=b&c ", size),)),
    "argument mapping": lambda size: Logged("got %s", ({"body": alike(size)},)),
    "argument bytes": lambda size: Logged("got %s", (b"\xff" * (size // 4),)),
    "arguments that do not fit": lambda size: Logged("got", tuple(range(size // 8))),
    "extra text": lambda size: Logged(extra={"body": filled("key: value, ", size)}),
    "extra bytes": lambda size: Logged(extra={"body": b"\xff" * size}),
    "extra bytes of secrets": lambda size: Logged(extra={"body": filled("password=hunter2 ", size).encode()}),
    "extra bytearray": lambda size: Logged(extra={"body": bytearray(b"\xfe" * size)}),
    "extra memoryview": lambda size: Logged(extra={"body": memoryview(b"\xfe" * size)}),
    "extra list of bytes": lambda size: Logged(extra={"body": [b"\xff" * (size // 8)] * 8}),
    "extra keys alike": lambda size: Logged(extra={"body": alike(size)}),
    "extra keys secret": lambda size: Logged(extra={"body": secret_keys(size)}),
    "extra keys of surrogates": lambda size: Logged(extra={"body": surrogates(size)}),
    "extra keys of underscores": lambda size: Logged(extra={"body": underscores(size)}),
    "extra lists": lambda size: Logged(extra={"body": nested(size, "[")}),
    "extra mappings": lambda size: Logged(extra={"body": nested(size, "{")}),
    "extra bush": lambda size: Logged(extra={"body": bushy(size)}),
    "extra list": lambda size: Logged(extra={"body": list(range(size // 8))}),
    "extra set": lambda size: Logged(extra={"body": set(range(size // 8))}),
    "extra texts": lambda size: Logged(extra={"body": ["password=hunter2"] * (size // 16)}),
    "extra JSON in JSON": lambda size: Logged(extra={"body": json.dumps(json.dumps(alike(size)))}),
    "extra number": lambda size: Logged(extra={"body": 1 << size * 8}),
    "one name": lambda size: Logged(extra={filled("name", size): 1}),
    "names": lambda size: Logged(extra={f"name{number}": number for number in range(size // 16 + 1)}),
    "names alike": lambda size: Logged(extra=alike(size)),
    "names secret": lambda size: Logged(extra=secret_keys(size)),
    "column": lambda size: Logged(extra={"http_path": filled("/a?token=b", size)}),
    "column of bytes": lambda size: Logged(extra={"tenant_id": b"\xff" * size}),
    "logger name": lambda size: Logged(logger=filled("shop.", size)),
    "mapping as message, keys alike": lambda size: Logged(alike(size)),
    "mapping as message, keys secret": lambda size: Logged(secret_keys(size)),
    "mapping as message with text": lambda size: Logged({"event": "webhook", **alike(size)}),
    "mapping as message, one key": lambda size: Logged({filled("name", size): 1}),
    "mapping as message, names taken": lambda size: Logged({"event": "x", "name": alike(size)}),
    "structlog": lambda size: Logged(
        {"event": "webhook", **alike(size)}, extra={"_logger": None, "_name": "shop"}
    ),
    "loguru": lambda size: Logged("webhook", extra={"extra": alike(size)}),
    "bound": lambda size: Logged(bound={"body": alike(size)}),
    "bound names": lambda size: Logged(bound=alike(size)),
    "bound secrets": lambda size: Logged(bound={"body": secret_keys(size)}),
    "bound bytes": lambda size: Logged(bound={"body": b"\xff" * size}),
    "headers": lambda size: Logged(headers=[(b"a", b"b")] * (size // 4)),
    "headers that are read": lambda size: Logged(headers=[(b"x-forwarded-for", b"::1")] * (size // 20)),
    "one header": lambda size: Logged(
        headers=[(b"user-agent", b"\xff" * size), (b"traceparent", b"0" * size)]
    ),
    "exception": lambda size: Logged(error=error_of(size)),
    "exception group": lambda size: Logged(error=group_of(size)),
    "exception group, wide": lambda size: Logged(error=grouped_wide(size)),
    "exception group, deep": lambda size: Logged(error=grouped_deep(size)),
    "exception notes": lambda size: Logged(error=noted(size)),
    "exception causes": lambda size: Logged(error=chained(size)),
}


def field(number: int) -> object:
    """Return the value of a field, of one of five types."""
    return (number, f"value {number}", number / 7, bool(number % 2), f"{number:032x}")[number % 5]


#: What an application logs, growing in steps: each next part of a record costs what the one before did.
STEPS = {
    "bytes of message": lambda size: Logged(filled("the order was taken ", size)),
    "bytes of secrets": lambda size: Logged(filled("password=hunter2 ", size)),
    "bytes of an argument": lambda size: Logged("got %s", (filled("a=b&c ", size),)),
    "bytes of an extra": lambda size: Logged(extra={"body": filled("key: value, ", size)}),
    "extra fields": lambda number: Logged(extra={f"field_{each}": field(each) for each in range(number)}),
    "bound fields": lambda number: Logged(bound={f"field_{each}": field(each) for each in range(number)}),
}


def call_site(number: int) -> Logged:
    """Return the record of a template of its own, at one of 64 places in the code, each with its logger."""
    return Logged(
        f"step {number} of order %s took %d ms",
        (number, 31),
        extra={"order_id": number, "items": 3},
        logger=f"shop.part{number % 64}",
        path=f"/srv/shop/part{number % 64}.py",
        line=number % 64 + 1,
    )
