import contextvars
import gc
import json
import logging
import sys
import threading
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.kits import interruptions
from tests.kits.interruptions import each_exception, each_interruption
from tests.kits.sampling import Kit, error_of, make_record, make_scope

from hublog.capture import context
from hublog.capture.formatter import LineFormatter
from hublog.capture.thread_context import detached_context, preserve_context
from hublog.line import RecordIds
from hublog.sampling import tail_buffer
from hublog.sampling.sampler import UnnumberedIds
from hublog.settings import ServiceSettings

LEVELS = st.sampled_from([logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR])


@pytest.fixture(autouse=True)
def here(monkeypatch):
    """Interrupt this module's code, and leave no request behind."""
    monkeypatch.setattr(interruptions, "_PACKAGE", "/hublog/sampling/tail_buffer")
    token = context.enter({})
    yield
    context.leave(token)


def make_kit(**known):
    return Kit(tail_sampling=True, **known)


def begin(kit, **known):
    scope = make_scope(**known)
    scope.enter()
    kit.sampler.tail.begin(scope)
    return scope


def end(kit, scope, *, seconds=0.0, has_failed=False):
    kit.sampler.tail.end(scope, seconds=seconds, has_failed=has_failed)
    scope.leave()


def serve(kit, *messages, **verdict):
    scope = begin(kit)
    for message in messages:
        kit.log(message)
    end(kit, scope, **verdict)


def left_out(kit):
    return kit.sampler.tail.left_out.read()


# The verdict


def test_a_request_that_went_well_ships_nothing_below_warning_and_counts_it():
    kit = make_kit()
    serve(kit, "a", "b")
    assert (kit.messages, left_out(kit), kit.sampler.tail.kept) == ([], 2, 0)


def test_a_request_that_failed_ships_all_in_order():
    kit = make_kit()
    serve(kit, "a", "b", "c", has_failed=True)
    assert (kit.messages, left_out(kit)) == (["a", "b", "c"], 0)


@pytest.mark.parametrize(
    ("border", "seconds", "shipped"), [(1.0, 1.0, 0), (1.0, 1.001, 1), (0.0, 3_600.0, 0), (0.5, 0.1, 0)]
)
def test_a_request_over_the_border_of_slow_ones_ships_all(border, seconds, shipped):
    kit = make_kit(slow_seconds=border)
    serve(kit, "a", seconds=seconds)
    assert (len(kit.lines), left_out(kit)) == (shipped, 1 - shipped)


def test_a_warning_goes_at_once_and_decides_nothing():
    kit = make_kit()
    scope = begin(kit)
    kit.log("a")
    kit.log("b", level=logging.WARNING)
    kit.log("c")
    assert kit.messages == ["b"]
    end(kit, scope)
    assert (kit.messages, left_out(kit)) == (["b"], 2)


def test_an_error_is_shipped_behind_all_that_its_request_has_logged_and_nothing_is_kept_after_it():
    kit = make_kit()
    scope = begin(kit)
    kit.log("a", level=logging.DEBUG)
    kit.log("b")
    kit.log("c", level=logging.ERROR)
    kit.log("d")
    assert kit.messages == ["a", "b", "c", "d"]
    assert [row["sequence"] for row in kit.rows] == [1, 2, 3, 4]
    end(kit, scope)
    assert left_out(kit) == 0


def test_the_record_of_the_request_is_always_shipped():
    kit = make_kit()
    scope = begin(kit)
    kit.log("GET / 200", name="hublog.request")
    end(kit, scope)
    assert kit.messages == ["GET / 200"]


def test_records_outside_a_request_are_shipped():
    kit = make_kit()
    kit.log("before")
    serve(kit, "a")
    kit.log("after")
    assert kit.messages == ["before", "after"]


def test_a_request_inside_a_request_is_decided_for_itself():
    kit = make_kit()
    outer = begin(kit)
    kit.log("outer 1")
    inner = begin(kit)
    kit.log("inner")
    end(kit, inner, has_failed=True)
    kit.log("outer 2")
    end(kit, outer)
    assert (kit.messages, left_out(kit)) == (["inner"], 2)


def test_a_streamed_body_belongs_to_its_request_and_what_comes_between_does_not():
    kit = make_kit()
    scope = begin(kit)
    kit.log("view")
    scope.suspend()
    kit.log("between")
    scope.enter()
    kit.log("body")
    end(kit, scope, has_failed=True)
    assert kit.messages == ["between", "view", "body"]


def test_what_a_thread_with_the_requests_context_logs_is_kept_and_goes_at_once_after_the_end():
    kit = make_kit()
    scope = begin(kit)
    copied = contextvars.copy_context()

    def log(message):
        thread = threading.Thread(target=copied.run, args=(kit.log, message))
        thread.start()
        thread.join()

    log("during")
    end(kit, scope)
    log("late")
    assert (kit.messages, left_out(kit)) == (["late"], 1)


def in_thread(work):
    thread = threading.Thread(target=contextvars.Context().run, args=(work,))
    thread.start()
    thread.join()


def test_what_a_thread_with_the_requests_fields_logs_belongs_to_the_request():
    kit = make_kit()
    scope = begin(kit)
    in_thread(preserve_context(lambda: kit.log("a")))
    in_thread(lambda: kit.log("outside"))
    late = preserve_context(lambda: kit.log("late"))
    assert kit.messages == ["outside"]
    end(kit, scope, has_failed=True)
    in_thread(late)
    assert kit.messages == ["outside", "a", "late"]


def test_an_error_of_a_thread_that_has_the_requests_fields_releases_it_and_no_other():
    kit = make_kit()
    scopes = [begin(kit)]
    kit.log("a")
    fail = preserve_context(lambda: kit.log("broken", level=logging.ERROR))
    scopes.append(begin(kit))
    kit.log("of another")
    in_thread(fail)
    assert kit.messages == ["a", "broken"]
    for scope in reversed(scopes):
        end(kit, scope)


def test_requests_that_a_client_gives_one_id_are_kept_apart_and_an_error_in_a_thread_releases_all():
    kit = make_kit()
    scopes = [begin(kit, request_id="same") for _ in range(3)]
    kit.log("of the third")
    in_thread(preserve_context(lambda: kit.log("of whichever")))
    end(kit, scopes.pop())
    kit.log("of the second")
    assert (kit.messages, left_out(kit)) == (["of whichever"], 1)
    in_thread(preserve_context(lambda: kit.log("broken", level=logging.ERROR)))
    assert kit.messages == ["of whichever", "of the second", "broken"]
    while scopes:
        end(kit, scopes.pop())
    assert kit.sampler.tail._by_id == {}


@pytest.mark.parametrize("bound", [None, 7, ["x"], "own"])
def test_a_request_id_that_the_application_binds_itself_is_borne(bound):
    kit = make_kit()
    scope = begin(kit)
    context.bind(request_id=bound)
    kit.log("a")
    end(kit, scope, has_failed=True)
    assert kit.messages == ["a"]


def test_what_is_logged_without_the_requests_fields_does_not_belong_to_it():
    kit = make_kit()
    scope = begin(kit)
    with detached_context():
        kit.log("detached")
    end(kit, scope)
    assert kit.messages == ["detached"]


STEPS = st.lists(
    st.tuples(st.integers(0, 2), st.sampled_from(["begin", "log", "log", "log", "end", "fail"]), LEVELS),
    max_size=80,
)


class Requests:
    """Three places in which a request may run, and all that was logged."""

    def __init__(self, kit):
        self.kit = kit
        self.tail = kit.sampler.tail
        self.open = {}
        self.logged = {}
        self.failed = set()

    def begin(self, who, level):
        if who not in self.open:
            scope = self.open[who] = make_scope()
            self.tail.begin(scope)

    def log(self, who, level):
        scope = self.open.get(who)
        if scope is None:
            return
        number = len(self.logged)
        scope.enter()
        self.kit.log("%d", number, level=level)
        scope.suspend()
        self.logged[number] = level, scope.request_id
        if level >= logging.ERROR:
            self.failed.add(scope.request_id)
        if level >= logging.WARNING or scope.request_id in self.failed:
            assert self.kit.messages[-1] == str(number)

    def end(self, who, level, *, has_failed=False):
        scope = self.open.pop(who, None)
        if scope is not None:
            self.tail.end(scope, seconds=0.0, has_failed=has_failed)
            self.failed |= {scope.request_id} if has_failed else set()

    def fail(self, who, level):
        self.end(who, level, has_failed=True)


@given(STEPS, st.integers(1, 6) | st.just(100))
def test_what_is_shipped_left_out_and_kept_is_what_was_logged_in_order(steps, max_records):
    kit = make_kit(tail_max_records=max_records)
    requests = Requests(kit)
    for who, what, level in [*steps, *[(who, "end", 0) for who in range(3)]]:
        getattr(requests, what)(who, level)
        assert len(kit.lines) + left_out(kit) + kit.sampler.tail.kept == len(requests.logged)
        assert all(len(request.lines) <= max_records for request in kit.sampler.tail._open.values())
    assert (kit.sampler.tail.kept, kit.sampler.tail._size, kit.sampler.tail._open) == (0, 0, {})
    shipped = list(map(int, kit.messages))
    assert len(set(shipped)) == len(shipped)
    assert [row["sequence"] for row in kit.rows] == list(range(1, len(shipped) + 1))
    for kind in set(requests.logged.values()):  # of one request and one level; a warning goes past the rest
        found = [number for number in shipped if requests.logged[number] == kind]
        assert found == sorted(found)
        if kind[1] in requests.failed and max_records == 100:
            assert found == [number for number, other in requests.logged.items() if other == kind]
        if kind[1] not in requests.failed and kind[0] < logging.WARNING:
            assert found == []


# The line


class Fixed(RecordIds):
    """Ids of a process that is always the same, from a number on."""

    def __init__(self, first):
        super().__init__(entropy=bytes)
        for _ in range(first - 1):
            next(self._issued)


TEXTS = st.text(max_size=200) | st.sampled_from(["x" * 3_000, "é" * 900, "\u2028", '"record_id":"', "\ud800"])
VALUES = TEXTS | st.integers() | st.floats() | st.binary(max_size=9) | st.none()
EXTRAS = st.dictionaries(
    st.sampled_from(["order", "record_id", "sequence", "tenant_id", "duration_ms", "metrics", "note", "ü"]),
    VALUES,
)


MOMENTS = [1_700_000_000.123456, 0.0, 253_402_300_799.999, -1.0, None, float("nan")]


@st.composite
def records(draw):
    record = make_record(draw(TEXTS), *draw(st.tuples() | st.tuples(VALUES)), **draw(EXTRAS))
    record.exc_info = draw(st.sampled_from([None, error_of("x" * 999), error_of("\ud800")]))
    record.stack_info = draw(st.sampled_from([None, "Stack (most recent call last):\n  here"]))
    record.created = draw(st.sampled_from(MOMENTS))
    return record


@given(records(), st.integers(1_024, 4_000) | st.just(65_536), st.integers(1, 1_500))
@settings(deadline=None, max_examples=300)
def test_a_line_that_was_kept_is_what_it_would_have_been(record, max_bytes, first):
    def make_line(ids):
        return LineFormatter(ServiceSettings(name="shop"), ids=ids, max_record_bytes=max_bytes).encode(record)

    straight = make_line(Fixed(first))
    unnumbered = UnnumberedIds(Fixed(first))
    filled = unnumbered.number(make_line(unnumbered))
    assert len(filled) <= max(max_bytes, len(straight))
    if record.created not in MOMENTS[:3]:  # then the line is of now
        straight, filled = (
            {**json.loads(line), "timestamp": "", "record_id": ""} for line in (straight, filled)
        )
    assert filled == straight


@given(st.integers(1_700, 2_100), st.integers(900, 2_000))
@settings(deadline=None)
def test_a_line_whose_number_has_grown_stays_within_the_bound(max_bytes, length):
    kit = make_kit(max_record_bytes=max_bytes)
    scope = begin(kit)
    kit.log("x" * (length // 2))
    for _ in range(120):
        kit.log("warning", level=logging.WARNING)
    end(kit, scope, has_failed=True)
    assert len(kit.lines[-1]) <= max_bytes
    assert kit.rows[-1]["sequence"] == 121


def test_a_record_is_kept_as_it_was_at_the_log_call():
    kit = make_kit()
    basket = ["apple"]
    scope = begin(kit)
    kit.log("%s", basket, basket=basket)
    basket.append("pear")
    end(kit, scope, has_failed=True)
    assert (kit.messages, kit.rows[0]["extra"]) == (["['apple']"], {"basket": ["apple"]})


def test_what_is_left_out_takes_no_number():
    kit = make_kit()
    serve(kit, "a", "b")
    kit.log("c")
    assert kit.rows[0]["sequence"] == 1


def test_the_id_is_of_the_records_own_moment():
    kit = make_kit()
    scope = begin(kit)
    kit.log("a", at=1_700_000_000.25)
    end(kit, scope, has_failed=True)
    assert int(kit.rows[0]["record_id"].replace("-", "")[:12], 16) == 1_700_000_000_250


# Bounds


def test_of_too_many_records_the_oldest_are_left_out():
    kit = make_kit(tail_max_records=3)
    serve(kit, *"abcde", has_failed=True)
    assert (kit.messages, left_out(kit)) == (["c", "d", "e"], 2)


def test_of_too_many_bytes_the_oldest_are_left_out():
    kit = make_kit()
    scope = begin(kit)
    for number in range(100):
        kit.log(f"{number}" + "x" * 28_000)
    end(kit, scope, has_failed=True)
    assert tail_buffer.REQUEST_MAX_BYTES - 60_000 < sum(map(len, kit.lines)) <= tail_buffer.REQUEST_MAX_BYTES
    assert (kit.messages[-1][:2], len(kit.lines) + left_out(kit)) == ("99", 100)


def test_with_too_many_open_requests_records_go_at_once(monkeypatch):
    monkeypatch.setattr(tail_buffer, "PROCESS_MAX_BYTES", 100_000)
    kit = make_kit()
    scopes = []
    for _ in range(200):
        scope = make_scope()
        kit.sampler.tail.begin(scope)
        scope.enter()
        kit.log("x" * 500)
        scope.suspend()
        scopes.append(scope)
    kept = kit.sampler.tail.kept
    assert 50 <= kept <= 100
    assert (len(kit.lines), kit.sampler.tail._size < 102_000) == (200 - kept, True)
    for scope in scopes:
        kit.sampler.tail.end(scope, seconds=0.0, has_failed=False)
    serve(kit, "again")
    assert left_out(kit) == kept + 1


def test_the_bytes_that_are_counted_are_those_that_are_taken():
    kit = make_kit(tail_max_records=100_000)
    scope = begin(kit)
    kit.log("record %d", 0)  # another template from this place would have its texts remembered
    gc.collect()
    tracemalloc.start()
    before, counted = tracemalloc.get_traced_memory()[0], kit.sampler.tail._size
    for number in range(900):
        kit.log("record %d", number)
    taken = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    # Threads that other tests have left, and what measures coverage, take a little too.
    assert 0.95 * taken <= kit.sampler.tail._size - counted <= 1.2 * taken
    end(kit, scope)


# Requests that never end


def test_what_a_request_has_logged_that_is_thrown_away_is_shipped():
    kit = make_kit()
    scope = begin(kit)
    kit.log("a")
    scope.suspend()
    del scope
    gc.collect()
    assert (kit.messages, left_out(kit), kit.sampler.tail._open) == (["a"], 0, {})


def test_the_exit_ships_what_is_kept_and_what_comes_after_it():
    kit = make_kit()
    scope = begin(kit)
    kit.log("a")
    kit.sampler.release()
    kit.log("b")
    assert kit.messages == ["a", "b"]
    end(kit, scope)
    assert left_out(kit) == 0


def test_another_process_does_not_ship_what_was_kept_in_its_parent():
    kit = make_kit()
    scope = begin(kit)
    kit.log("a")
    kit.sampler.tail._pid += 1  # as it is for a child
    scope.suspend()
    del scope
    gc.collect()
    assert kit.messages == []


# Threads and interruptions


def test_eight_threads_of_one_request_lose_nothing_though_it_ends_meanwhile():
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for round_ in range(10):
            kit = make_kit(tail_max_records=500)
            scope = begin(kit)
            copies = [contextvars.copy_context() for _ in range(8)]

            def work(kit=kit):
                for number in range(100):
                    kit.log("%d", number)

            threads = [threading.Thread(target=copy.run, args=(work,)) for copy in copies]
            for thread in threads:
                thread.start()
            end(kit, scope, has_failed=bool(round_ % 2))
            for thread in threads:
                thread.join()
            assert len(kit.lines) + left_out(kit) == 800
            assert kit.sampler.tail._size == 0
    finally:
        sys.setswitchinterval(before)


@pytest.mark.parametrize("ahead", [0, 3])
@pytest.mark.parametrize("what", ["info", "error", "end", "fail", "all"])
def test_whoever_interrupts_a_log_call_loses_nothing(ahead, what):
    def make():
        kit = make_kit(tail_max_records=3)
        kit.scope = begin(kit)
        for number in range(ahead):
            kit.log("ahead %d", number)
        return kit

    def interrupt(kit):
        if what in ("info", "error"):
            kit.log(what, level=logging.ERROR if what == "error" else logging.INFO)
        elif what == "all":
            kit.sampler.release()
        else:
            kit.sampler.tail.end(kit.scope, seconds=0.0, has_failed=what == "fail")

    for kit in each_interruption(make, Kit.log, interrupt):
        end(kit, kit.scope)
        assert len(kit.lines) + left_out(kit) == ahead + 1 + (what in ("info", "error"))
        assert (kit.sampler.tail._size, kit.sampler.tail.kept) == (0, 0)


@pytest.mark.parametrize("has_failed", [False, True])
def test_a_signal_handler_that_ends_the_verdict_costs_at_most_the_line_in_hand(has_failed):
    def make():
        kit = make_kit()
        kit.scope = begin(kit)
        for number in range(4):
            kit.log("%d", number)
        return kit

    def act(kit):
        kit.sampler.tail.end(kit.scope, seconds=0.0, has_failed=has_failed)

    for kit in each_exception(make, act):
        kit.scope.suspend()
        kit.sampler.release()
        assert 3 <= len(kit.lines) + left_out(kit) <= 4
        assert kit.sampler.tail.kept == 0


def test_a_str_that_logs_an_error_does_not_keep_the_record_it_stands_in():
    kit = make_kit()
    scope = begin(kit)

    class Chatty:
        def __str__(self):
            kit.log("inner", level=logging.ERROR)
            return "outer"

    kit.log("before")
    kit.log("%s", Chatty())
    assert kit.messages == ["before", "inner", "outer"]
    end(kit, scope)


# Changes, and the others


def test_let_go_all_that_is_kept_is_shipped_and_open_requests_keep_nothing():
    kit = make_kit()
    scope = begin(kit)
    kit.log("a")
    kit.sampler.release()
    kit.log("b")
    end(kit, scope)
    assert (kit.messages, left_out(kit)) == (["a", "b"], 0)


def test_the_rate_applies_to_what_is_released():
    kit = make_kit(rate_limit=1, rate_burst=2)
    serve(kit, *"abcd", has_failed=False)
    serve(kit, *"abcd", has_failed=True)
    assert (kit.messages, kit.refused, left_out(kit)) == (["a", "b"], [("INFO", "shop")] * 2, 4)
    assert [row["sequence"] for row in kit.rows] == [1, 2]


def test_what_is_released_is_shipped_as_it_was_logged_though_it_is_equal():
    kit = make_kit(dedup_seconds=10.0)
    serve(kit, *"aaa", has_failed=True)
    assert (kit.messages, kit.counts) == (["a"] * 3, [1] * 3)
