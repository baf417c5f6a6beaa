"""What ``table_app`` says that it logged, and the fields that each of its records must have.

Made of LogRecords and of the description of the table; nothing is shared with the package.
"""

import json
import math
import re
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

COLUMN_TEXT = 2_048
EXCEPTION_MESSAGE = 8_192
STACK = 16_384
_MARKS = re.compile(r"(?m)^(  \| )*[ ~^]+\n")
MADE = "made by the library"

#: The columns that the application may fill, and their types.
OPEN = {
    **dict.fromkeys(("event_name", "record_type", "trace_id", "span_id", "parent_span_id"), "string"),
    **dict.fromkeys(("correlation_id", "request_id", "http_method", "http_host", "http_path"), "string"),
    **dict.fromkeys(("http_route", "http_query", "http_user_agent", "client_ip", "view_name"), "string"),
    **dict.fromkeys(("user_id", "session_id", "tenant_id", "task_id", "task_name", "task_queue"), "string"),
    **dict.fromkeys(("http_status_code", "task_retries", "db_query_count"), "int"),
    **dict.fromkeys(("http_request_size", "http_response_size"), "long"),
    **dict.fromkeys(("duration_ms", "db_duration_ms"), "real"),
    "user_authenticated": "bool",
    "metrics": "dynamic",
}


@dataclass
class Entry:
    """One record of the ledger, with the fields that it must have."""

    said: dict
    number: int
    process: dict
    request: dict | None
    max_bytes: int
    columns: dict[str, object] = field(default_factory=dict)
    extra: dict[str, object] = field(default_factory=dict)
    is_shortened: bool = False

    def __post_init__(self):
        for name, value in _request_fields(self.request).items():
            (self.columns if name in OPEN else self.extra)[name] = value
        for name, told in (*self.said["bound"], *self.said["extra"]):
            self._add(name, _plain(told))
        for name, value in (("level_number", self.said["levelno"]), ("source_line", self.said["lineno"])):
            self._add_standard(name, value, 31)
        for name, value in (("process_id", self.said["process"]), ("thread_id", self.said["thread"])):
            self._add_standard(name, value, 63)
        if self.said["name"] == "hublog.request":
            self._add_reply(self.request["reply"])
        if self.exception:
            is_long = len(self.stacktrace) > STACK and not self.is_retold
            self.is_shortened |= is_long or len(self.exception["message"]) > EXCEPTION_MESSAGE

    @property
    def exception(self):
        return self.said["exception"]

    @property
    def stacktrace(self):
        return _MARKS.sub("", clean(self.exception["text"]))

    @property
    def is_retold(self):
        """Whether the traceback is told in other words than Python's: recursion and groups."""
        text = self.exception["text"] if self.exception else ""
        return "Previous line repeated" in text or "Exception Group" in text

    @property
    def is_large(self):
        """Whether the whole record is longer than a line may be; nothing is close to the limit."""
        parts = [self.said["message"], self.said["msg"], (self.said["stack_info"] or "")[:STACK], self.extra]
        if self.exception:
            parts += [self.exception["message"][:EXCEPTION_MESSAGE], self.exception["text"][:STACK]]
        size = len(json.dumps(parts, ensure_ascii=False).encode(errors="surrogatepass"))
        assert not 0.8 * self.max_bytes < size < self.max_bytes * 1.1, size
        return size > self.max_bytes

    def _add(self, name, value):
        if name not in OPEN:
            self.extra[clean(name)] = value
        elif value in (None, ""):
            return
        elif OPEN[name] == "string":
            text = as_text(value)
            self.is_shortened |= len(text) > COLUMN_TEXT
            self.columns[name] = text[:COLUMN_TEXT]
        elif _fits(value, OPEN[name]):
            self.columns[name] = float(value) if OPEN[name] == "real" else value
        else:
            self.extra[name] = as_text(value)

    def _add_reply(self, reply):
        length = reply["headers"].get("Content-Length")
        self.columns |= {"record_type": "request", "event_name": "request.finished"}
        self.columns |= {"http_status_code": reply["status"]}
        self.columns |= {"http_response_size": int(length)} if length else {}

    def _add_standard(self, name, value, bits):
        if value is not None and not -(1 << bits) <= value < 1 << bits:
            self.extra[name] = str(value)
        elif value is not None:
            self.columns[name] = value


def read_ledger(path: Path, *, service: dict[str, str], max_bytes: int) -> dict[tuple[int, int], Entry]:
    """Read a ledger, by process and number of the record in it, from 1 on in the order of the log calls.

    Args:
        path: what the program wrote.
        service: columns that come from the program's environment.
        max_bytes: how long a line may be.
    """
    lines = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    processes = {line["pid"]: {**line, **service} for line in lines if line["kind"] == "process"}
    requests = {(line["pid"], line["number"]): line for line in lines if line["kind"] == "request"}
    counts, entries = defaultdict(int), {}
    for line in lines:
        if line["kind"] == "record":
            pid = line["pid"]
            counts[pid] += 1
            request = requests.get((pid, line["request"]))
            entries[pid, counts[pid]] = Entry(line, counts[pid], processes[pid], request, max_bytes)
    return entries


def clean(text):
    """Show lone surrogates, which UTF-8 cannot hold, as their escape."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def as_text(value):
    """Return a text as it is, everything else as JSON."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def _fits(value, kind):
    bits = {"int": 31, "long": 63}.get(kind)
    if bits:
        return type(value) is int and -(1 << bits) <= value < 1 << bits
    if kind == "real":
        return type(value) is int or (type(value) is float and math.isfinite(value))
    return kind == "dynamic" or type(value) is bool


def _plain(told):
    """Return what JSON can hold of a value as the ledger tells it."""
    kind, value = told
    match kind:
        case "int":
            found = int(value) if -(1 << 63) <= int(value) < 1 << 63 else value
        case "float":
            number = float.fromhex(value)
            found = number if math.isfinite(number) else f"<{number!r}>"
        case "bytes":
            found = bytes.fromhex(value).decode("utf-8", "backslashreplace")
        case "list":
            found = [_plain(item) for item in value]
        case "dict":
            found = {str(_key(key)): _plain(item) for key, item in value}
        case _:
            found = clean(value) if isinstance(value, str) else value
    return found


def _key(told):
    kind, value = told
    if kind == "float":
        return float.fromhex(value)
    return (
        tuple(_key(item) if item[0] != "int" else int(item[1]) for item in value) if kind == "list" else value
    )


def _request_fields(request):
    """Return the columns that are known from what the server handed over; others are made."""
    if request is None:
        return {}
    environ = request["environ"]
    trace = re.fullmatch(r"00-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f](.)", environ.get("HTTP_TRACEPARENT", ""))
    is_known = trace and trace[1].strip("0")
    ids = [environ[name] for name in ("HTTP_X_REQUEST_ID", "HTTP_X_CORRELATION_ID") if name in environ]
    size = environ.get("CONTENT_LENGTH", "")
    found = {
        "trace_id": trace[1] if is_known else MADE,
        "span_id": MADE,
        "parent_span_id": trace[2] if is_known else "",
        "trace_sampled": int(trace[3], 16) % 2 == 1 if is_known else None,
        "request_id": ids[0] if ids else MADE,
        "correlation_id": ids[-1] if len(ids) > 1 else "",
        "http_method": environ["REQUEST_METHOD"],
        "http_path": environ["PATH_INFO"].encode("latin-1").decode(),
        "http_host": environ["HTTP_HOST"],
        "http_route": request["route"],
        "view_name": request["view"],
        "http_user_agent": environ.get("HTTP_USER_AGENT", "")[:256],
        "client_ip": environ["REMOTE_ADDR"],
        "http_request_size": int(size) if size else None,
    }
    return {name: value for name, value in found.items() if value not in (None, "")}
