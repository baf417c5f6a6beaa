import logging
import sys
import threading
from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kits import interruptions
from tests.kits.interruptions import each_interruption
from tests.kits.lines import fits, strict
from tests.kits.sampling import Kit, error_of, make_record, make_scope

from hublog.capture import context, interop
from hublog.sampling.dedup import KEYS_MAX, LINES_MAX_BYTES, equality_key

AT = 1_700_000_000.25


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Interrupt this module's code."""
    monkeypatch.setattr(interruptions, "_PACKAGE", "/hublog/sampling/dedup")


def make_kit(seconds=10.0, **hub):
    return Kit(dedup_seconds=seconds, **hub)


def summary_of(kit):
    kit.sampler.report()
    return kit.rows[-1]


# What a window does


def test_the_first_is_shipped_at_once_and_those_that_follow_are_counted():
    kit = make_kit()
    for _ in range(5):
        kit.log()
    assert kit.messages == ["hello"]
    assert kit.sampler.deduplicated.read() == 4


def test_when_the_window_ends_one_more_says_how_many_and_from_when_to_when():
    kit = make_kit()
    for number in range(5):
        kit.log(at=AT + number)
    kit.clock.advance(10.0)
    kit.sampler.look()
    first, summary = kit.rows
    assert summary["message"] == first["message"] == "hello"
    assert summary["extra"] == {
        "repeat_count": 4,
        "first_at": "2023-11-14T22:13:20.250000Z",
        "last_at": "2023-11-14T22:13:24.250000Z",
    }
    assert summary["timestamp"] == summary["extra"]["last_at"]
    assert summary["sequence"] == 2
    assert summary["record_id"] != first["record_id"]
    assert int(summary["record_id"].replace("-", "")[:12], 16) == int((AT + 4) * 1000)


def test_a_record_that_does_not_come_again_has_no_summary():
    kit = make_kit()
    kit.log()
    kit.clock.advance(60.0)
    kit.sampler.look()
    kit.sampler.release()
    assert kit.messages == ["hello"]


def test_after_the_window_the_next_one_is_shipped_again_behind_the_summary():
    kit = make_kit()
    for wait in (0.0, 1.0, 10.0):
        kit.clock.advance(wait)
        kit.log()
    assert kit.counts == [1, 1, 1]
    assert ["repeat_count" in row.get("extra", {}) for row in kit.rows] == [False, True, False]


def test_the_worker_is_woken_by_the_first_repeat_and_told_when_to_look():
    kit = make_kit()
    kit.log()
    assert (kit.wakes, kit.sampler.look()) == (0, float("inf"))
    kit.clock.advance(4.0)
    for _ in range(3):
        kit.log()
    assert (kit.wakes, kit.sampler.look()) == (1, 6.0)
    kit.clock.advance(6.0)
    assert kit.sampler.look() == float("inf")
    assert kit.counts == [1, 3]


def test_the_next_look_is_that_of_the_window_that_ends_first():
    kit = make_kit()
    for name in ("a", "b"):
        kit.log(name)
        kit.clock.advance(1.0)
        kit.log(name)
    assert kit.sampler.look() == 8.0
    kit.clock.advance(8.0)
    assert kit.sampler.look() == 1.0
    kit.clock.advance(1.0)
    kit.sampler.look()
    assert kit.messages == ["a", "b", "a", "b"]


def test_a_flush_tells_what_was_counted_and_the_end_of_the_window_the_rest():
    kit = make_kit()
    for told in (2, 3):
        for _ in range(told):
            kit.log()
        kit.sampler.report()
    kit.clock.advance(10.0)
    kit.sampler.look()
    assert kit.counts == [1, 1, 3]


def test_the_exit_tells_all():
    kit = make_kit()
    for name in "aab":
        kit.log(name)
    kit.sampler.release()
    assert list(zip(kit.messages, kit.counts, strict=True)) == [("a", 1), ("b", 1), ("a", 1)]


STEPS = st.lists(
    st.tuples(st.integers(0, 3), st.floats(0, 6), st.sampled_from(["log", "log", "log", "look", "report"])),
    max_size=60,
)


@given(STEPS, st.floats(0.5, 10))
def test_what_is_shipped_stands_for_all_that_was_logged_and_nothing_twice(steps, seconds):
    kit, logged, firsts = make_kit(seconds), Counter(), {}
    for number, wait, what in steps:
        kit.clock.advance(wait)
        name = f"record {number}"
        if what == "log":
            before = len(kit.lines)
            kit.log(name)
            logged[name] += 1
            if "repeat_count" not in (kit.rows[-1].get("extra") or {}) and len(kit.lines) > before:
                assert kit.clock() - firsts.get(name, -1e9) >= seconds - 1e-6
                firsts[name] = kit.clock()
        else:
            getattr(kit.sampler, what)()
    kit.sampler.release()
    found = Counter()
    for row, count in zip(kit.rows, kit.counts, strict=True):
        found[row["message"]] += count
    assert found == logged
    repeats = [row["extra"]["repeat_count"] for row in kit.rows if "extra" in row]
    assert kit.sampler.deduplicated.read() == sum(repeats)
    assert [row["sequence"] for row in kit.rows] == list(range(1, len(kit.rows) + 1))
    assert all(row["extra"]["first_at"] <= row["extra"]["last_at"] for row in kit.rows if "extra" in row)


# What is equal

VARIANTS = [
    {},
    {"args": ("you",), "message": "hello %s"},
    {"args": (1,), "message": "hello %s"},
    {"level": logging.WARNING},
    {"name": "shop.cart"},
    {"line": 2},
    {"order": 7},
    {"order": "7"},
    {"order": True},
    {"order": 1},
    {"order": 1.0},
    {"basket": {"order": 7}},
    {"basket": "x" * 300},
    {"basket": "x" * 301},
    {"tenant_id": "acme"},
    {"exc_info": error_of("a", cause=KeyError("one"))},
    {"exc_info": error_of("b", cause=KeyError("one"))},
    {"exc_info": error_of("a", cause=KeyError("two"))},
    {"message": "x" * 5_000},
    {"message": "x" * 4_999 + "y"},
    {"message": ["a"]},
]


def log_variant(kit, variant):
    known = {"message": "hello", "args": (), **variant}
    kit.log(known.pop("message"), *known.pop("args"), **known)


def test_records_that_differ_in_anything_of_their_own_are_not_equal():
    kit = make_kit()
    for variant in VARIANTS:
        log_variant(kit, variant)
    assert len(kit.lines) == len(VARIANTS)
    for variant in VARIANTS:
        log_variant(kit, variant)
    assert len(kit.lines) == len(VARIANTS)
    kit.sampler.report()
    assert kit.counts == [1] * 2 * len(VARIANTS)


def take_structlog(kit, **event):
    record = make_record(event)
    interop.take_as_meant(record, kit.sampler.take)


def test_what_a_mapping_says_beside_its_text_is_compared_and_kept():
    kit = make_kit()
    for order, name in [(7, "a"), (7, "a"), (8, "a"), (7, "b"), (7, "a")]:
        take_structlog(kit, event="shipped", order=order, name=name)
    assert [(row["message"], row["extra"]) for row in kit.rows] == [
        ("shipped", {"order": 7, "name": "a"}),
        ("shipped", {"order": 8, "name": "a"}),
        ("shipped", {"order": 7, "name": "b"}),
    ]
    kit.sampler.report()
    summary = kit.rows[-1]["extra"]
    assert (summary["order"], summary["name"], summary["repeat_count"]) == (7, "a", 2)


class Braces(logging.LogRecord):
    def getMessage(self):  # noqa: N802  # the name is logging's
        return self.msg.format(*self.args)


def test_a_message_that_a_record_makes_in_its_own_way_is_compared():
    kit = make_kit()
    for number in (1, 2, 2):
        kit.sampler.take(Braces("shop", logging.INFO, "/srv/shop.py", 1, "order {}", (number,), None))
    kit.sampler.report()
    assert list(zip(kit.messages, kit.counts, strict=True)) == [
        ("order 1", 1),
        ("order 2", 1),
        ("order 2", 1),
    ]


def test_an_exception_raised_in_one_place_is_counted_and_the_summary_shows_it():
    kit = make_kit()
    for _ in range(3):
        kit.log("failed", level=logging.ERROR, exc_info=error_of())
    summary = summary_of(kit)
    assert kit.counts == [1, 2]
    same = ("record_type", "level", "exception_type", "exception_message", "exception_stacktrace")
    assert [summary[name] for name in same] == [kit.rows[0][name] for name in same]


@pytest.mark.parametrize("odd", [None, "x", float("nan"), -1.0, 1e300])
def test_a_record_without_a_moment_is_shipped_as_ever(odd):
    kit = make_kit()
    for _ in range(2):
        record = make_record()
        record.created = odd
        kit.sampler.take(record)
    assert kit.counts == [1, 1]


class Bad:
    def __str__(self):
        raise ValueError("no text")


@pytest.mark.parametrize(
    ("message", "args", "extra"),
    [
        ("%s", (Bad(),), {}),
        ("%d", ("x",), {}),
        ("hello", (), {"stack_info": "Stack"}),
        ("\ud800", (), {"note": "\ud800"}),
    ],
    ids=["no text", "wrong arguments", "stack", "surrogate"],
)
def test_what_cannot_be_compared_is_shipped_each_time(message, args, extra):
    kit = make_kit()
    for _ in range(2):
        kit.log(message, *args, **extra)
    assert kit.counts == [1, 1]


def test_a_name_that_runs_code_of_the_application_is_never_compared():
    class Name(str):
        __slots__ = ()

    assert equality_key(make_record(name=Name("shop"))) is None


def test_records_of_ours_are_never_counted():
    kit = make_kit()
    for _ in range(2):
        kit.log(name="hublog.request")
    assert kit.counts == [1, 1]


def test_records_of_different_requests_are_equal_and_the_summary_names_none_of_them():
    kit = make_kit()
    for number in range(3):
        scope = make_scope(path=f"/orders/{number}", host="shop.example", remote_address="192.0.2.1")
        scope.enter()
        context.bind(tenant_id="acme", basket=number)
        kit.log(order=7, task_name="import")
        scope.leave()
    summary = summary_of(kit)
    first = kit.rows[0]
    assert first["request_id"]
    assert first["extra"] == {"basket": 0, "order": 7}
    assert kit.counts == [1, 2]
    assert (summary["extra"]["order"], summary["task_name"]) == (7, "import")
    gone = {"trace_id", "span_id", "request_id", "client_ip", "tenant_id"}
    gone |= {"http_method", "http_path", "http_host"}
    assert gone <= first.keys()
    assert first.keys() - summary.keys() == gone | {"thread_id", "thread_name"}
    assert set(summary["extra"]) == {"order", "repeat_count", "first_at", "last_at"}


# The line of a summary


@given(
    st.text(max_size=3_000),
    st.dictionaries(st.text(min_size=1, max_size=9), st.text(max_size=2_000) | st.integers(), max_size=5),
    st.booleans(),
    st.integers(1_024, 4_096),
)
@settings(deadline=None)
def test_a_summary_is_a_line_of_the_table_and_within_the_bound(message, extra, fails, max_bytes):
    extra = {name: value for name, value in extra.items() if name not in make_record().__dict__}
    kit = make_kit(max_record_bytes=max_bytes)
    for _ in range(3):
        record = make_record(message.replace("%", ""), exc_info=error_of() if fails else None)
        record.__dict__.update(extra)
        kit.sampler.take(record)
    kit.sampler.report()
    if len(kit.lines) == 3:
        return  # it could not be compared
    first, summary = map(strict, kit.lines)
    assert fits(summary) == {}
    assert len(kit.lines[1]) <= max_bytes
    assert summary["extra"]["repeat_count"] == 2
    if "truncated" not in summary:
        told = {"repeat_count", "first_at", "last_at"}
        rest = {name: value for name, value in summary["extra"].items() if name not in told}
        assert rest == {name: value for name, value in first.get("extra", {}).items() if name not in told}
        assert summary["message"] == first["message"]


def test_a_line_that_was_cut_is_told_with_its_counts():
    kit = make_kit(max_record_bytes=2_048)
    for _ in range(2):
        kit.log("x" * 9_000, note="y" * 9_000)
    summary = summary_of(kit)
    assert len(kit.lines[1]) <= 2_048
    assert (summary["extra"]["repeat_count"], summary["truncated"]) == (1, True)


# The memory


def test_the_record_not_met_for_the_longest_time_leaves_and_has_its_summary_written():
    kit = make_kit()
    for name in ("left", "left", "kept", "kept"):
        kit.log(name)
    for number in range(KEYS_MAX - 1):
        kit.log(f"other {number}")
        kit.log("kept")
    assert Counter(kit.messages)["left"] == 2
    assert kit.counts[kit.messages.index("left", 1)] == 1
    assert len(kit.sampler._deduplicator._windows) == KEYS_MAX
    kit.log("kept")
    assert Counter(kit.messages)["kept"] == 1


def test_long_lines_take_a_bounded_part_of_memory():
    kit = make_kit()
    for number in range(200):
        kit.log(f"{number}" + "x" * 28_000)
        assert kit.sampler._deduplicator._bytes <= LINES_MAX_BYTES
    assert 10 < len(kit.sampler._deduplicator._windows) < 80
    kit.sampler.release()
    assert (kit.sampler._deduplicator._bytes, len(kit.sampler._deduplicator._windows)) == (0, 0)


def test_a_record_whose_line_cannot_be_made_is_known_no_more():
    kit = make_kit()
    encode = kit.sampler._encode

    def leave(record):
        raise KeyboardInterrupt

    kit.sampler._encode = leave
    with pytest.raises(KeyboardInterrupt):
        kit.log()
    kit.sampler._encode = encode
    kit.log()
    assert kit.messages == ["hello"]


# Threads and interruptions


def test_eight_threads_and_one_that_tells_lose_nothing_and_ship_one_first():
    kit, per_thread, is_over = make_kit(3_600.0), 400, threading.Event()

    def work():
        for number in range(per_thread):
            kit.log(f"record {number % 5}")

    def tell():
        while not is_over.is_set():
            kit.sampler.report()
            kit.sampler.look()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=work) for _ in range(8)]
    teller = threading.Thread(target=tell)
    try:
        for thread in [*threads, teller]:
            thread.start()
        for thread in threads:
            thread.join()
        is_over.set()
        teller.join()
    finally:
        sys.setswitchinterval(before)
    kit.sampler.release()
    assert sum(kit.counts) == 8 * per_thread
    firsts = [row["message"] for row in kit.rows if "extra" not in row]
    assert sorted(firsts) == [f"record {number}" for number in range(5)]


def test_eight_threads_lose_nothing_while_windows_end_and_are_shut():
    kit, per_thread, is_over = make_kit(1.0), 400, threading.Event()

    def work():
        for number in range(per_thread):
            kit.log(f"record {number % 3}")

    def end():
        while not is_over.is_set():
            kit.clock.advance(0.5)
            kit.sampler.look()
            kit.sampler._deduplicator._shut_oldest()

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=work) for _ in range(8)]
    ender = threading.Thread(target=end)
    try:
        for thread in [*threads, ender]:
            thread.start()
        for thread in threads:
            thread.join()
        is_over.set()
        ender.join()
    finally:
        sys.setswitchinterval(before)
    kit.sampler.release()
    assert sum(kit.counts) == 8 * per_thread
    assert kit.sampler._deduplicator._bytes == 0


@pytest.mark.parametrize("ahead", [0, 1, 2])
@pytest.mark.parametrize("what", ["log", "report", "end", "late"])
def test_whoever_interrupts_a_log_call_loses_nothing(ahead, what):
    def make():
        kit = make_kit()
        for _ in range(ahead):
            kit.log()
        return kit

    def interrupt(kit):
        if what == "late":
            kit.clock.advance(60.0)
        if what in ("log", "late"):
            kit.log()
        elif what == "report":
            kit.sampler.report()
        else:
            kit.sampler._deduplicator._shut_oldest()

    for kit in each_interruption(make, Kit.log, interrupt):
        kit.sampler.release()
        assert sum(kit.counts) == ahead + 1 + (what in ("log", "late"))
        assert kit.sampler._deduplicator._bytes == 0


def test_a_str_that_logs_the_same_is_borne():
    kit = make_kit()

    class Chatty:
        depth = 0

        def __str__(self):
            if Chatty.depth < 3:
                Chatty.depth += 1
                kit.log("%s", self)
            return "chatty"

    kit.log("%s", Chatty())
    kit.sampler.release()
    assert set(kit.messages) == {"chatty"}
    assert sum(kit.counts) == 4


# Changes


def test_a_log_call_that_was_on_its_way_when_all_was_let_go_is_told():
    kit = make_kit()
    former = kit.sampler._deduplicator
    kit.sampler.release()
    record = make_record()
    window = former.open(equality_key(record), record)
    assert (window.is_shut, len(former._windows)) == (True, 0)


def test_the_rate_applies_to_what_is_shipped_and_a_summary_passes():
    kit = make_kit(rate_limit=1, rate_burst=2)
    for number in range(4):
        for _ in range(3):
            kit.log(f"record {number}")
    kit.sampler.release()
    assert kit.messages == ["record 0", "record 1", "record 0", "record 1"]
    assert kit.counts == [1, 1, 2, 2]
    assert kit.refused == [("INFO", "shop")] * 6
