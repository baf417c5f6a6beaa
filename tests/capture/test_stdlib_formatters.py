import io
import logging
import os
import re
import subprocess
import sys
import threading
import time

import pytest

from hublog.capture import context
from hublog.capture.stdlib_formatters import ConsoleFormatter, ConsoleHandler
from hublog.terminal import harmless

HEAD = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} ")


def record(message, *args, name="shop.orders", level=logging.INFO, exc_info=None):
    return logging.LogRecord(name, level, "shop.py", 7, message, args, exc_info)


def formatted(*args, **kwargs):
    return ConsoleFormatter().format(record(*args, **kwargs))


def failure(message):
    try:
        raise ValueError(message)
    except ValueError:
        return sys.exc_info()


class Hostile:
    def __init__(self, error=RuntimeError):
        self.error = error

    def __str__(self):
        raise self.error


def test_a_record_is_one_line_with_time_level_logger_and_message():
    line = formatted("order %d", 7)
    assert HEAD.match(line)
    assert line[24:] == "INFO     shop.orders order 7"


def test_inside_a_request_its_id_stands_in_brackets():
    token = context.enter({"request_id": "r-1"})
    try:
        assert formatted("paid")[24:] == "INFO     shop.orders [r-1] paid"
    finally:
        context.leave(token)
    assert formatted("paid")[24:] == "INFO     shop.orders paid"


@pytest.mark.parametrize(
    ("message", "expected"),
    [
        (
            "a\n2026-11-23 13:10:31,123 INFO     shop forged",
            "a\n    2026-11-23 13:10:31,123 INFO     shop forged",
        ),
        ("a\rb", r"a\rb"),
        ("a\x1b]0;title\x07b", r"a\x1b]0;title\x07b"),
        ("a\x85b\u2028c\u2029d\x0be\x0cf", r"a\x85b\u2028c\u2029d\x0be\x0cf"),
        ("a\tb", "a\tb"),
        ("\x1b[32mGET / 304\x1b[0m\x1b[8m", "GET / 304"),
        ("a\u202eb\u200bc\xad", r"a\u202eb\u200bc\xad"),
        ("Größe", "Größe"),
    ],
    ids=[
        "line feed",
        "carriage return",
        "terminal title",
        "separators",
        "tab",
        "colour",
        "direction",
        "umlauts",
    ],
)
def test_a_message_cannot_look_like_another_record(message, expected):
    assert formatted(message)[24:] == f"INFO     shop.orders {expected}"


@pytest.mark.parametrize(
    "before", ["", "\x1b[m", "\u200b", "\ufeff", "\u200f", "\u2066", "\u2060", "\xad", "\x1b[8m"]
)
def test_no_line_of_an_exception_can_look_like_a_record(before):
    text = formatted(
        "failed", exc_info=failure(f"bad\n{before}2026-11-23 13:10:31,123 INFO     shop forged\rx")
    )
    head, *lines = text.split("\n")
    assert head.endswith("failed")
    assert lines[0] == "    Traceback (most recent call last):"
    assert lines[-2] == "    ValueError: bad"
    assert lines[-1].endswith("2026-11-23 13:10:31,123 INFO     shop forged\\rx")
    assert all(line.startswith("    ") and harmless(line) == line for line in lines)


def test_the_colours_of_werkzeug_are_its_own_and_not_those_of_a_client():
    template = '127.0.0.1 - - [23/Nov/2026 13:10:31] "%s" %s %s'
    args = ("\x1b[33mGET /a\x1b[8m HTTP/1.1\x1b[0m", "404", "-")
    shown = formatted(template, *args, name="werkzeug")
    assert shown.endswith('"\x1b[33mGET /a\\x1b[8m HTTP/1.1\x1b[0m" 404 -')
    assert formatted(template, *args).endswith('"GET /a HTTP/1.1" 404 -')


def test_neither_the_name_of_a_logger_nor_a_request_id_can_start_a_line():
    token = context.enter({"request_id": "r\n2026\x1b[8m"})
    try:
        assert (
            formatted("paid", name="a\n2026\u202e")[24:] == "INFO     a\n    2026\\u202e [r\n    2026] paid"
        )
    finally:
        context.leave(token)


def test_the_stack_that_was_asked_for_follows_the_message():
    made = record("here")
    made.stack_info = "Stack (most recent call last):\n  File"
    assert ConsoleFormatter().format(made).endswith("here\n    Stack (most recent call last):\n      File")


def test_the_traceback_that_another_handler_made_is_used_and_none_is_left_behind():
    made = record("failed", exc_info=failure("bad"))
    ConsoleFormatter().format(made)
    assert made.exc_text is None
    made.exc_text = "made before"
    assert ConsoleFormatter().format(made).endswith("failed\n    made before")


@pytest.mark.parametrize(
    ("message", "args", "expected"),
    [
        ("%d orders", ("many",), "%d orders <arguments do not fit: TypeError>"),
        ("%s", (Hostile(),), "%s <arguments do not fit: RuntimeError>"),
        ("%s", (Hostile(SystemExit),), "%s <arguments do not fit: SystemExit>"),
        (Hostile(), (), "<Hostile that cannot be shown: RuntimeError> <arguments do not fit: RuntimeError>"),
    ],
    ids=["type", "str raises", "str exits", "message raises"],
)
def test_a_message_that_cannot_be_made_is_shown_by_its_template(message, args, expected):
    assert formatted(message, *args)[24:] == f"INFO     shop.orders {expected}"


def test_the_handler_writes_to_standard_output_as_it_is_at_the_time(capsys, monkeypatch):
    handler = ConsoleHandler()
    handler.handle(record("first"))
    assert capsys.readouterr() == ("first\n", "")
    monkeypatch.setattr(sys, "stdout", other := io.StringIO())
    handler.handle(record("second"))
    assert other.getvalue() == "second\n"


@pytest.mark.parametrize(
    ("encoding", "expected"),
    [("ascii", b"\\xfc \\udc80\n"), ("utf-8", b"\xfc \\udc80\n".replace(b"\xfc", "ü".encode()))],
)
def test_what_the_stream_cannot_encode_is_written_escaped(encoding, expected, monkeypatch):
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding, write_through=True))
    ConsoleHandler().handle(record("ü \udc80"))
    assert raw.getvalue() == expected


def test_a_process_without_standard_output_loses_nothing_but_the_console(monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "__stdout__", None)
    handler = ConsoleHandler()
    handler.handle(record("nobody sees it"))
    handler.flush()


def test_a_stand_in_that_logs_what_is_written_is_passed_by(monkeypatch):
    class Logging:
        def write(self, text):
            raise AssertionError(text)

    monkeypatch.setattr(sys, "stdout", Logging())
    monkeypatch.setattr(sys, "__stdout__", real := io.StringIO())
    ConsoleHandler().handle(record("once"))
    assert real.getvalue() == "once\n"


def test_an_endless_recursion_of_the_application_is_not_hidden(monkeypatch):
    def recurse(record):
        raise RecursionError

    handler = ConsoleHandler()
    handler.format = recurse
    with pytest.raises(RecursionError):
        handler.handle(record("deep"))


def test_a_broken_standard_output_does_not_raise_and_is_reported_once(monkeypatch, caplog, capsys):
    caplog.set_level(logging.INFO, "hublog.internal")
    closed = io.StringIO()
    closed.close()
    monkeypatch.setattr(sys, "stdout", closed)
    handler = ConsoleHandler()
    for _ in range(3):
        handler.handle(record("lost hunter2"))
    handler.flush()
    told = [found.getMessage() for found in caplog.records if found.name == "hublog.internal"]
    assert told == [
        (
            "The console cannot be written (standard output is closed), everything else goes on; see where"
            " standard output leads, or set LOG_TO_STDOUT=false."
        ),
        "The console lacks 3 records: it could not be written.",
    ]
    assert "hunter2" not in capsys.readouterr().err


PROGRAM = """
import logging, os, sys
from hublog.capture.stdlib_formatters import ConsoleFormatter, ConsoleHandler

handler = ConsoleHandler()
handler.setFormatter(ConsoleFormatter())
logging.getLogger().addHandler(handler)
logging.getLogger().setLevel(logging.INFO)
{prepare}
for number in range(2000):
    logging.getLogger("shop").error("password=hunter2 %d", number, extra={{"token": "hunter3"}})
print("ended", handler.lost_total, file=sys.stderr)
"""


def ended(prepare, **options):
    """Run a program whose standard output is broken, and return what it says and its exit status."""
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(prepare=prepare)],
        stderr=subprocess.PIPE,
        text=True,
        timeout=60,
        check=False,
        **options,
    )
    return result.stderr, result.returncode


@pytest.mark.parametrize(
    ("prepare", "cause"),
    [
        ("os.close(1)", "Bad file descriptor"),
        ("sys.stdout.close()", "standard output is closed"),
        ("os.dup2(os.open('/dev/full', os.O_WRONLY), 1)", "No space left on device"),
        ("reader, writer = os.pipe(); os.dup2(writer, 1); os.close(reader)", "Broken pipe"),
        (
            "reader, writer = os.pipe(); os.set_blocking(writer, False); os.dup2(writer, 1)",
            "temporarily unavailable",
        ),
    ],
    ids=["descriptor closed", "stream closed", "full", "nobody reads", "nobody reads, and it would block"],
)
def test_where_standard_output_fails_standard_error_has_one_line_and_no_record(prepare, cause):
    errors, status = ended(prepare, stdout=subprocess.DEVNULL)
    lines = errors.splitlines()
    assert [cause in line for line in lines if "The console cannot be written" in line] == [True]
    assert lines[-1].startswith("The console lacks ") or "The console lacks " in errors
    assert "hunter" not in errors
    assert "Traceback" not in errors
    assert len(lines) == 3
    assert status == 0


def test_a_process_without_standard_output_has_nothing_to_report():
    errors, status = ended("sys.stdout = sys.__stdout__ = None", stdout=subprocess.DEVNULL)
    assert (errors, status) == ("ended 0\n", 0)


def test_a_record_that_a_full_pipe_took_half_of_is_completed_before_the_next(monkeypatch):
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    with io.TextIOWrapper(io.BufferedWriter(io.FileIO(writer, "w")), encoding="utf-8") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        handler = ConsoleHandler()
        for number in range(200):
            handler.handle(record(f"{number:04d}" * 1_100))
        lost = handler.lost_total
        got = os.read(reader, 1 << 20)
        handler.handle(record("last"))
        os.set_blocking(reader, False)
        got += os.read(reader, 1 << 20)
        monkeypatch.undo()
    os.close(reader)
    lines = got.decode().splitlines()
    assert lines == [*(f"{number:04d}" * 1_100 for number in range(len(lines) - 1)), "last"]
    assert 0 < handler.lost_total == lost - 1 == 200 - (len(lines) - 1)


def test_an_ascii_standard_output_has_the_rest_escaped():
    result = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(prepare='logging.error("gr\\xfc\\xdfe \\udc80")')],
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
        capture_output=True,
        timeout=60,
        check=True,
    )
    assert b"gr\\xfc\\xdfe" in result.stdout.splitlines()[0]
    assert result.stdout.isascii()


def test_a_str_that_exits_leaves_no_log_call(capsys):
    class Exits:
        def __str__(self):
            raise SystemExit(3)

    handler = ConsoleHandler()
    handler.setFormatter(ConsoleFormatter())
    handler.handle(record("%s", Exits()))
    handler.setFormatter(logging.Formatter("%(message)s"))
    handler.handle(record("%s", Exits()))
    assert handler.lost_total == 1
    assert "arguments do not fit: SystemExit" in capsys.readouterr().out


@pytest.mark.parametrize("created", [None, "soon", float("nan"), 1e20, -1e20], ids=repr)
def test_a_record_made_at_no_time_is_shown_all_the_same(created):
    odd = record("order %d", 7)
    odd.created = created
    assert ConsoleFormatter().format(odd).endswith("INFO     shop.orders order 7")


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"converter": time.gmtime},
        {"default_msec_format": None},
        {"default_msec_format": "%s.%03d"},
        {"default_time_format": "%d.%m. %H:%M:%S"},
    ],
    ids=str,
)
def test_the_time_is_that_of_logging(options):
    ours, theirs = ConsoleFormatter(), logging.Formatter()
    for name, value in options.items():
        setattr(ours, name, value)
        setattr(theirs, name, value)
    for created in (-0.5, 0.0, 1e9, 1e9 + 0.999, 1e9 + 1, 1e9 + 1.5, 1e9):
        made = record("paid")
        made.created, made.msecs = created, created % 1 * 1_000 // 1
        assert ours.formatTime(made) == theirs.formatTime(made)
        assert ours.formatTime(made, "%H") == theirs.formatTime(made, "%H")


def test_a_record_is_formatted_before_the_lock_is_taken(monkeypatch):
    monkeypatch.setattr(sys, "stdout", shown := io.StringIO())
    handler = ConsoleHandler()

    class Waits:
        def __str__(self):  # for another thread that logs
            other = threading.Thread(target=handler.handle, args=(record("other"),))
            other.start()
            other.join(30)
            return "first"

    handler.handle(record("%s", Waits()))
    assert shown.getvalue() == "other\nfirst\n"


def test_an_exception_without_end_is_printed_up_to_a_bound():
    error = ValueError("x" * 60_000)
    for _ in range(3):
        error = ExceptionGroup("several", [error] * 10)
    made = record("failed")
    made.exc_info = (type(error), error, None)
    assert len(ConsoleFormatter(redaction={}).format(made)) < 2_000_000
    noted = ValueError("x")
    noted.__notes__ = ["note"] * 100_000
    made.exc_info = (type(noted), noted, None)
    assert len(ConsoleFormatter(redaction={}).format(made)) < 10_000


def test_an_exception_whose_names_say_nothing_is_printed():
    class OddError(ValueError):
        __notes__ = property(lambda self: 1 / 0)
        __cause__ = "nothing"

    made = record("failed")
    made.exc_info = (OddError, OddError("of its own"), None)
    assert "OddError: of its own" in ConsoleFormatter(redaction={}).format(made)
