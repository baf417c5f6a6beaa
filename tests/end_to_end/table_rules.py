"""What each of the 70 columns must hold for what a program says that it logged: one rule a column.

A rule gets the record, what the column holds and the whole row, and tells what is wrong, or nothing.
"""

import json
import re
import uuid
from collections import defaultdict
from fractions import Fraction
from pathlib import Path

from tests.end_to_end.table_ledger import EXCEPTION_MESSAGE, MADE, STACK, Entry, as_text, clean

SCHEMA_VERSION = 1
#: In a record that is cut, a free text is bounded first, and says so at its end.
FREE_TEXT = 65_536
_SEVERITIES = {10: 5, 20: 9, 30: 13, 40: 17, 50: 21}
_LEFT_OUT = re.compile(r"\n\.\.\. (\d+) characters left out \.\.\.\n")
_HEX = {length: re.compile(f"[0-9a-f]{{{length}}}") for length in (16, 32, 64)}


def _shown(value):
    text = repr(value)
    return text if len(text) <= 400 else f"{text[:200]} ... {text[-200:]}"


def _json(value):
    """Tell 1, 1.0 and true apart, at any depth."""
    return json.dumps(value, sort_keys=True)


def _equals(expect):
    def rule(entry, seen, _row):
        expected = expect(entry)
        is_same = type(seen) is type(expected) and _json(seen) == _json(expected)
        return "" if is_same else f"expected {_shown(expected)}"

    return rule


def _may_be_cut(expect, limit=0):
    """A text that is whole, or cut in the middle where it or the record is longer than its limit."""

    def rule(entry, seen, _row):
        whole = expect(entry)
        is_over = limit and len(whole) > limit
        if is_over and len(seen) > limit:
            return f"expected at most {limit} characters"
        if seen == whole:
            return ""
        return _cut_wrongly(seen, whole) if is_over or entry.is_large else f"expected {_shown(whole)}"

    return rule


def _cut_wrongly(seen, whole):
    """Tell what is wrong with a text that was cut: both ends stand, and how much is not there in between."""
    found = _LEFT_OUT.search(seen)
    if found is None:
        return f"expected a note of what is left out of {_shown(whole)}"
    head, tail = seen[: found.start()], seen[found.end() :]
    if not (head and tail and whole.startswith(head) and whole.endswith(tail)):
        return f"expected both ends of {_shown(whole)}"
    left_out = len(whole) - len(head) - len(tail)
    return "" if left_out == int(found[1]) > 0 else f"expected {left_out} characters left out"


def _said(name):
    return _equals(lambda entry: clean(entry.said[name] or ""))


def _process(name):
    return _equals(lambda entry: entry.process[name])


def _number(name):
    return _equals(lambda entry: entry.columns.get(name))


def _text(name):
    """A column that the application or the request fills; within a request the library may make it."""

    def rule(entry, seen, _row):
        expected = entry.columns.get(name, "")
        if expected is not MADE:
            return "" if seen == expected else f"expected {_shown(expected)}"
        if name == "request_id":
            expected = entry.request["reply"]["headers"]["X-Request-ID"]
            return "" if seen == expected else f"expected {expected!r}, as the response says"
        length = 32 if name == "trace_id" else 16
        return "" if _HEX[length].fullmatch(seen) and seen.strip("0") else f"expected {length} hex digits"

    return rule


def _timestamp(entry, seen, _row):
    exact = Fraction(float.fromhex(entry.said["created"])) * 1_000_000
    return "" if type(seen) is int and abs(exact - seen) < 1 else f"expected {float(exact)!r} microseconds"


def _severity(entry):
    return max((to for level, to in _SEVERITIES.items() if level <= entry.said["levelno"]), default=1)


def _message(entry, seen, row):
    if entry.said["message"] is not None:
        return _may_be_cut(lambda entry: clean(entry.said["message"]))(entry, seen, row)
    arguments = entry.said["args"].strip("(),'")
    is_shown = entry.said["msg"] in seen and arguments in seen
    return "" if is_shown else f"expected {entry.said['msg']!r} and {arguments!r}"


def _record_type(entry):
    return entry.columns.get("record_type", "exception" if entry.exception else "log")


def _source_file(entry):
    path = entry.said["pathname"]
    _, is_installed, below = path.rpartition("/site-packages/")
    return below if is_installed else path.removeprefix(entry.process["cwd"] + "/")


def _container_id(_entry, seen, _row):
    known = "".join(Path(f"/proc/self/{name}").read_text() for name in ("cgroup", "mountinfo"))
    is_stated = _HEX[64].search(Path("/proc/self/cgroup").read_text())
    is_right = seen in known and _HEX[64].fullmatch(seen) if seen else not is_stated
    return "" if is_right else "expected the 64 hex digits of this container, if it has any"


def _duration(entry, seen, row):
    if entry.said["name"] == "hublog.request" and not 0 < seen <= entry.request["reply"]["seconds"] * 1000:
        return "expected the time that the request took"
    return _number("duration_ms")(entry, seen, row)


def _exception(part):
    def read(entry):
        error = entry.exception
        if error is None:
            return ""
        name = error["name"] if error["module"] == "builtins" else f"{error['module']}.{error['name']}"
        return name if part == "type" else clean(error["message"])

    return read


def _stacktrace(entry, seen, row):
    error = entry.exception
    if entry.is_retold:  # that nothing is missing is what matters
        frames = error["frames"][:3] + error["frames"][-3:]
        files = {frame.rpartition(":")[0] for frame in frames}
        is_told = seen.startswith(("Traceback (most", "  + Exception Group Traceback (most")) and all(
            f'File "{file}", line ' in seen for file in files
        )
        is_told = is_told and all(
            f"{name}: " in seen for name in re.findall(r"(?m)\b\w+Error(?=:)", error["text"])
        )
        return "" if is_told and error["message"] in seen and len(seen) <= STACK else "expected the traceback"
    return _may_be_cut(lambda entry: entry.stacktrace if error else "", STACK)(entry, seen, row)


def _fingerprint(entry, seen, _row):
    is_right = _HEX[16].fullmatch(seen) if entry.exception else seen == ""
    return "" if is_right else "expected 16 hex digits with an exception, else nothing"


def _record_id(_entry, seen, row):
    try:
        found = uuid.UUID(seen)
    except ValueError:
        return "expected a UUID"
    is_seven = str(found) == seen and found.version == 7 and found.variant == uuid.RFC_4122
    is_then = found.int >> 80 == row["timestamp"] // 1000
    return (
        "" if is_seven and is_then else f"expected version 7 and {row['timestamp'] // 1000:#x} milliseconds"
    )


def _sent_at(entry, seen, row):
    earliest, latest = max(row["timestamp"], (entry.said["noted"] - 1) * 1e6), row["_enqueued"] + 1e6
    return "" if type(seen) is int and earliest <= seen <= latest else f"expected {earliest} to {latest}"


def _truncated(entry, seen, row):
    is_cut = entry.is_retold and _LEFT_OUT.search(row["exception_stacktrace"])
    expected = True if entry.is_large or entry.is_shortened or is_cut else None
    return "" if seen is expected else f"expected {expected}"


def _extra(entry, seen, row):
    if not entry.is_large:
        return _equals(lambda entry: entry.extra or None)(entry, seen, row)
    left = dict(seen or {})
    size, number = left.pop("original_bytes", None), left.pop("left_out", 0)
    is_sized = type(size) is int and size > entry.max_bytes
    is_kept = all(
        name in entry.extra and _is_left_of(entry.extra[name], value) for name, value in left.items()
    )
    is_whole = is_sized and is_kept and len(left) + number == len(entry.extra)
    return "" if is_whole else f"expected original_bytes and what is left of {_shown(entry.extra)}"


def _is_left_of(whole, seen):
    if seen == whole:
        return True
    text = as_text(whole)
    bounded = f"{text[:FREE_TEXT]}<{len(text) - FREE_TEXT} characters left out>"
    return type(seen) is str and not (_cut_wrongly(seen, text) and _cut_wrongly(seen, bounded))


RULES = {
    "timestamp": _timestamp,
    "level": _said("levelname"),
    "level_number": _number("level_number"),
    "severity_number": _equals(_severity),
    "logger_name": _said("name"),
    "message": _message,
    "message_template": _may_be_cut(lambda entry: clean(entry.said["msg"])),
    "event_name": _text("event_name"),
    "record_type": _equals(_record_type),
    "source_file": _equals(_source_file),
    "source_module": _said("module"),
    "source_function": _said("funcName"),
    "source_line": _number("source_line"),
    "stack_info": _may_be_cut(lambda entry: entry.said["stack_info"] or "", STACK),
    "process_id": _number("process_id"),
    "process_name": _said("processName"),
    "thread_id": _number("thread_id"),
    "thread_name": _said("threadName"),
    "async_task_name": _said("taskName"),
    "service_name": _process("service_name"),
    "service_namespace": _process("service_namespace"),
    "service_version": _process("service_version"),
    "service_instance_id": _equals(
        lambda entry: entry.process["service_instance_id"] or entry.process["host"]
    ),
    "environment": _process("environment"),
    "framework": _process("framework"),
    "host_name": _process("host"),
    "container_id": _container_id,
    "k8s_namespace": _process("k8s_namespace"),
    "k8s_pod_name": _process("k8s_pod_name"),
    "k8s_node_name": _process("k8s_node_name"),
    "cloud_region": _process("cloud_region"),
    "trace_id": _text("trace_id"),
    "span_id": _text("span_id"),
    "parent_span_id": _text("parent_span_id"),
    "correlation_id": _text("correlation_id"),
    "request_id": _text("request_id"),
    "http_method": _text("http_method"),
    "http_host": _text("http_host"),
    "http_path": _text("http_path"),
    "http_route": _text("http_route"),
    "http_query": _text("http_query"),
    "http_user_agent": _text("http_user_agent"),
    "client_ip": _text("client_ip"),
    "http_request_size": _number("http_request_size"),
    "view_name": _text("view_name"),
    "http_status_code": _number("http_status_code"),
    "http_response_size": _number("http_response_size"),
    "duration_ms": _duration,
    "user_id": _text("user_id"),
    "user_authenticated": _number("user_authenticated"),
    "session_id": _text("session_id"),
    "tenant_id": _text("tenant_id"),
    "exception_type": _equals(_exception("type")),
    "exception_message": _may_be_cut(_exception("message"), EXCEPTION_MESSAGE),
    "exception_stacktrace": _stacktrace,
    "exception_fingerprint": _fingerprint,
    "task_id": _text("task_id"),
    "task_name": _text("task_name"),
    "task_queue": _text("task_queue"),
    "task_retries": _number("task_retries"),
    "db_query_count": _number("db_query_count"),
    "db_duration_ms": _number("db_duration_ms"),
    "metrics": _number("metrics"),
    "record_id": _record_id,
    "sequence": _equals(lambda entry: entry.number),
    "sent_at": _sent_at,
    "truncated": _truncated,
    "schema_version": _equals(lambda _: SCHEMA_VERSION),
    "handler_version": _process("version"),
    "extra": _extra,
}


def differences(entry: Entry, row: dict[str, object]) -> list[str]:
    """Return what a row has that the record does not, or the other way round, column by column."""
    missing = [f"{name} is missing" for name in RULES if name not in row]
    if missing:
        return missing
    found = []
    for name, rule in RULES.items():
        wrong = rule(entry, row[name], row)
        if wrong:
            found.append(f"{name} is {_shown(row[name])}; {wrong}; {entry.said['msg']!r:.60}")
    return found


def all_differences(entries: dict[tuple[int, int], Entry], rows: list[dict[str, object]]) -> list[str]:
    """Compare a table with a ledger: every record once, every column, and what holds between rows."""
    found, seen = [], defaultdict(list)
    for row in rows:
        seen[row["process_id"], row["sequence"]].append(row)
    found += [f"{key} is in the table but was not logged" for key in seen.keys() - entries.keys()]
    for key, entry in entries.items():
        if len(seen[key]) != 1:
            found.append(f"{key} is in the table {len(seen[key])} times; {entry.said['msg']!r:.60}")
        for row in seen[key]:
            found += differences(entry, row)
    if len({row["record_id"] for row in rows}) != len(rows):
        found.append("record_id is not unique")
    return found + list(_torn(entries, {key: same[0] for key, same in seen.items() if same}))


def _torn(entries, rows):
    """Tell which columns do not group the rows as they must."""
    both = [(entry, rows[key]) for key, entry in entries.items() if key in rows]
    failed = [(entry, row) for entry, row in both if entry.exception]
    groups = {
        "exception_fingerprint": [
            ((entry.exception["name"], *entry.exception["frames"]), row) for entry, row in failed
        ],
        "span_id": [
            ((entry.said["pid"], entry.said["request"]), row)
            for entry, row in both
            if entry.columns.get("span_id") is MADE
        ],
    }
    for name, pairs in groups.items():
        pairs_seen = {(key, row[name]) for key, row in pairs}
        if (
            not len(pairs_seen)
            == len({key for key, _ in pairs_seen})
            == len({value for _, value in pairs_seen})
        ):
            yield f"{name} does not group the rows: {sorted(pairs_seen, key=str)!r:.600}"
    traces = {(row["span_id"], row["trace_id"]) for _, row in groups["span_id"]}
    if len(traces) != len({span for span, _ in traces}):
        yield f"trace_id changes within a request: {traces}"
