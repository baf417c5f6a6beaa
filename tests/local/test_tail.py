import io
import json
from pathlib import Path

import pytest

from hublog.terminal import harmless
from hublog_local.errors import LocalHubError
from hublog_local.store import Store, active_file
from hublog_local.tail import Filter, Follower, lines_backwards, run_tail


def line(number, **fields):
    row = {
        "timestamp": "2026-11-23T14:00:00.123456Z",
        "level": "INFO",
        "level_number": 20,
        "logger_name": "shop.orders",
        "message": f"message {number}",
        "sequence": number,
    }
    return (
        json.dumps({name: value for name, value in (row | fields).items() if value is not None}).encode()
        + b"\n"
    )


def numbers(found):
    return [row["sequence"] for _, row in found]


def drain(follower):
    found = []
    while True:
        found += numbers(follower.step())
        if not follower.made_progress:
            return found


class Stop(Exception):  # noqa: N818  # ends an endless loop, as Ctrl-C does
    pass


def printed(directory, *, appear=(), **options):
    """What is printed; each of ``appear`` is called at one of the waits, and then it is interrupted."""
    out, reports, steps = io.StringIO(), [], list(appear)

    def wait(_):
        if not steps:
            raise Stop
        steps.pop(0)()

    wanted = options.pop("wanted", Filter())
    try:
        run_tail(directory, wanted, out=out, report=reports.append, wait=wait, **options)
    except Stop:
        assert options.get("follows", True)
    return out.getvalue(), reports


@pytest.fixture
def store(tmp_path):
    with Store(tmp_path, max_file_bytes=1000, max_files=100) as opened:
        yield opened


def test_the_last_rows_come_first_across_files(store, tmp_path):
    for number in range(50):
        store.append(line(number))
    assert numbers(Follower(tmp_path).last(20)) == list(range(30, 50))
    assert numbers(Follower(tmp_path).last(500)) == list(range(50))
    assert Follower(tmp_path).last(0) == []


def test_then_come_the_new_ones_each_once(store, tmp_path):
    store.append(line(1))
    follower = Follower(tmp_path)
    follower.last(10)
    assert drain(follower) == []
    store.append(line(2) + line(3))
    assert drain(follower) == [2, 3]
    assert drain(follower) == []
    follower.close()


def test_nothing_is_missed_when_files_are_renamed_several_times(store, tmp_path):
    follower = Follower(tmp_path)
    follower.last(0)
    seen = []
    for number in range(200):
        store.append(line(number))
        if number % 37 == 0:
            seen += drain(follower)
    seen += drain(follower)
    follower.close()
    assert seen == list(range(200))


def test_half_a_line_waits_for_its_other_half(tmp_path):
    path = active_file(tmp_path)
    path.write_bytes(line(1) + line(2)[:20])
    follower = Follower(tmp_path)
    assert numbers(follower.last(5)) == [1]
    assert drain(follower) == []
    with path.open("ab") as file:
        file.write(line(2)[20:])
    assert drain(follower) == [2]
    follower.close()


def test_a_line_longer_than_any_block_is_read(store, tmp_path):
    follower = Follower(tmp_path)
    follower.last(0)
    store.append(line(1, message="x" * 3_000_000))
    assert drain(follower) == [1]
    assert numbers(Follower(tmp_path).last(1)) == [1]
    follower.close()


def test_a_directory_that_appears_later_is_followed_from_its_first_row(tmp_path):
    follower = Follower(tmp_path / "later")
    assert follower.last(5) == []
    assert drain(follower) == []
    with Store(tmp_path / "later") as store:
        store.append(line(1))
        assert drain(follower) == [1]
    follower.close()


def test_a_directory_that_is_made_anew_is_followed_from_its_first_row(tmp_path):
    path = active_file(tmp_path)
    path.write_bytes(line(1) + line(2))
    follower = Follower(tmp_path)
    follower.last(5)
    path.unlink()
    assert drain(follower) == []
    path.write_bytes(line(3))
    assert drain(follower) == [3]
    follower.close()


@pytest.mark.parametrize("size", [0, 1, 65_535, 65_536, 65_537, 200_000])
def test_lines_come_backwards_whatever_the_blocks_cut(tmp_path, size):
    lines = [b"a" * size, b"", b"b", b"c" * size, b"d"]
    path = tmp_path / "file"
    path.write_bytes(b"".join(each + b"\n" for each in lines))
    with path.open("rb") as file:
        found = list(lines_backwards(file.fileno(), path.stat().st_size))
    assert found == [each for each in reversed(lines) if each]


@pytest.mark.parametrize(
    ("wanted", "found"),
    [
        (Filter(), [1, 2, 3, 4]),
        (Filter(level=30), [2, 3]),
        (Filter(level=31), [3]),
        (Filter(logger="shop"), [1, 3]),
        (Filter(logger="shop.orders"), [1]),
        (Filter(trace="a" * 32), [3]),
        (Filter(trace="a" * 31), []),
        (Filter(level=30, logger="shop", trace="a" * 32), [3]),
        (Filter(level=30, logger="web", trace="a" * 32), []),
    ],
)
def test_filters_leave_out_what_is_not_wanted(store, tmp_path, wanted, found):
    store.append(line(1))
    store.append(line(2, level_number=30, logger_name="shopping"))
    store.append(line(3, level_number=50, logger_name="shop", trace_id="a" * 32))
    store.append(line(4, level_number=None, logger_name=None, message="a" * 32))
    assert numbers(Follower(tmp_path, wanted).last(10)) == found


def test_the_number_of_last_rows_counts_those_that_are_wanted(store, tmp_path):
    for number in range(40):
        store.append(line(number, level_number=40 if number % 10 == 0 else 20))
    assert numbers(Follower(tmp_path, Filter(level=40)).last(2)) == [20, 30]


def test_a_record_is_one_line_with_time_level_logger_and_message(store, tmp_path):
    store.append(line(1, service_name="shop", trace_id="ab" * 16))
    text, reports = printed(tmp_path, follows=False)
    assert text == f"2026-11-23 14:00:00.123Z INFO     shop shop.orders message 1 trace={'ab' * 16}\n"
    assert reports == []


def test_a_long_message_is_not_folded_where_there_is_no_terminal(store, tmp_path):
    store.append(line(1, message="word " * 100 + "end"))
    assert printed(tmp_path, follows=False)[0].count("\n") == 1


def test_a_traceback_is_indented_below_its_record(store, tmp_path):
    store.append(line(1, exception_stacktrace="Traceback:\n  File x\nKeyError: 1\n"))
    assert printed(tmp_path, follows=False)[0].splitlines()[1:] == [
        "    Traceback:",
        "      File x",
        "    KeyError: 1",
    ]


def test_a_message_of_several_lines_cannot_pass_for_another_record(store, tmp_path):
    store.append(line(1, message="harmless\n2026-11-23 14:00:00.123Z CRITICAL shop forged\r2026"))
    lines = printed(tmp_path, follows=False)[0].splitlines()
    assert lines[1].startswith("    2026-11-23")
    assert "\\r2026" in lines[1]


HOSTILE = "\x1b]0;title\x07\x1b[2J\x9b31m\x7f\u202egnp\u2066\u200b\ufeff\x00\x08"


def test_no_control_character_reaches_the_terminal(store, tmp_path):
    store.append(
        line(1, message=HOSTILE, logger_name=HOSTILE, level=HOSTILE, service_name=HOSTILE, trace_id=HOSTILE,
             timestamp=HOSTILE * 3, exception_stacktrace=HOSTILE)
    )  # fmt: skip
    for options in ({}, {"as_json": True}):
        text, _ = printed(tmp_path, follows=False, **options)
        assert text.replace("\n", "") == harmless(text.replace("\n", ""))
        assert len(text) > 100


def test_json_is_the_row_as_it_is_stored(store, tmp_path):
    store.append(line(1, message=HOSTILE + "ü€😀"))
    text, _ = printed(tmp_path, follows=False, as_json=True)
    assert json.loads(text) == json.loads(active_file(tmp_path).read_bytes())
    assert "ü€😀" in text or "\\u00fc" in text


def test_what_comes_while_following_is_printed(store, tmp_path):
    store.append(line(1))
    appear = [lambda: store.append(line(2)), lambda: None, lambda: store.append(line(3) + line(4))]
    text, _ = printed(tmp_path, appear=appear)
    assert [row.split()[-1] for row in text.splitlines()] == ["1", "2", "3", "4"]


def test_a_missing_directory_is_waited_for_and_reported(tmp_path):
    text, reports = printed(tmp_path / "later")
    assert text == ""
    assert len(reports) == 1
    assert "start hublog local" in reports[0]


def test_a_missing_directory_is_an_error_when_nothing_is_followed(tmp_path):
    with pytest.raises(LocalHubError, match="start hublog local"):
        printed(tmp_path / "later", follows=False)


def test_levels_have_colours_in_a_terminal_and_none_elsewhere(store, tmp_path, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm-256color")
    for name in ("NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE"):
        monkeypatch.delenv(name, raising=False)
    store.append(line(1, level="ERROR", level_number=40))
    terminal, pipe = Terminal(), io.StringIO()
    run_tail(tmp_path, Filter(), follows=False, out=terminal, report=print)
    run_tail(tmp_path, Filter(), follows=False, out=pipe, report=print)
    assert "\x1b[1;31mERROR" in terminal.getvalue()
    assert "\x1b" not in pipe.getvalue()


def open_files():
    return len(list(Path("/dev/fd").iterdir()))


def test_the_file_is_closed_at_the_end(store, tmp_path):
    store.append(line(1))
    before = open_files()
    printed(tmp_path)
    assert open_files() == before
