import json
import re
import sys
import threading
from collections import Counter
from enum import StrEnum

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.delivery.made_lines import DEBUG, make_line
from tests.kits.interruptions import each_exception, each_interruption

from hublog.delivery.accounting import (
    INTENTIONAL,
    LEVELS_MAX,
    LOGGERS_MAX,
    NAME_MAX,
    OTHER,
    Accounting,
    Circuit,
    DiskCounts,
    Drop,
    DropReport,
    ProcessStats,
    QueueCounts,
    State,
    Stats,
)
from hublog.settings.model import SETTINGS

#: By what the fault harness, and whoever reads a log file, counts drops that are told.
TOLD = re.compile(r"(\d[\d,]*) records? (?:were|was)\b[^\n]*\bdropped\b")
TOLD_ELSEWHERE = {Drop.EXIT, Drop.NOT_CONFIGURED} | INTENTIONAL
REASONS = st.sampled_from(Drop)
ENTRIES = st.lists(
    st.tuples(REASONS, st.text(max_size=9), st.text(max_size=9), st.integers(1, 9)), max_size=30
)


def make_book(*entries):
    book = Accounting()
    for entry in entries:
        book.drop(*entry)
    return book


def sums_of(book):
    sums = book.drops()
    return sums.totals, sums.refused_total, sums.evicted_total


def report_of(*entries):
    return make_book(*entries).take_report()


# The sums


def test_what_is_lost_is_counted_by_reason():
    book = make_book((Drop.REJECTED, "INFO", "shop"), (Drop.REJECTED, "INFO", "shop", 3))
    book.drop(Drop.SPOOL_FULL, count=500)
    book.drop_lines(Drop.EXIT, [make_line(), make_line(1)])
    assert book.drops().totals == {Drop.REJECTED: 4, Drop.SPOOL_FULL: 500, Drop.EXIT: 2}


def test_no_records_are_no_loss():
    book = Accounting()
    book.drop(Drop.SPOOL_FULL, count=0)
    book.drop_lines(Drop.EXIT, [])
    assert (book.drops().totals, book.take_report()) == ({}, None)


def test_what_was_refused_at_the_door_is_a_full_queue():
    book = make_book((Drop.QUEUE_FULL, "INFO", "shop"))
    book.refuse("INFO", "shop")
    book.refuse("INFO", "shop")
    assert sums_of(book) == ({Drop.QUEUE_FULL: 3}, 2, 0)


@given(ENTRIES, st.integers(0, 30))
def test_the_totals_are_the_sums_whenever_they_are_read(entries, read_at):
    book = Accounting()
    for number, (reason, level, logger, count) in enumerate(entries):
        if number == read_at:
            assert sum(book.drops().totals.values()) == sum(entry[3] for entry in entries[:number])
        book.drop(reason, level, logger, count)
    expected = Counter()
    for reason, _, _, count in entries:
        expected[reason] += count
    assert book.drops().totals == dict(expected)


def test_what_is_returned_is_the_callers():
    book = make_book((Drop.INTERNAL_ERROR, "INFO", "shop"))
    book.stats(QueueCounts(0, 0, 0, 0), DiskCounts()).dropped.clear()
    assert book.drops().totals == {Drop.INTERNAL_ERROR: 1}


def test_the_journal_stays_short_though_nobody_reads():
    book = Accounting()
    for _ in range(5_000):
        book.drop(Drop.QUEUE_FULL, "INFO", "shop")
    assert len(book._journal) < 1_000
    assert book.drops().totals == {Drop.QUEUE_FULL: 5_000}


def test_an_evicted_line_is_counted_with_its_names():
    book = Accounting()
    book.evict(make_line(level=DEBUG, logger="shop.a"))
    assert sums_of(book) == ({Drop.QUEUE_FULL: 1}, 0, 1)
    report = book.take_report()
    assert (report.by_reason, report.by_level, report.by_logger) == (
        {Drop.QUEUE_FULL: 1},
        {"DEBUG": 1},
        {"shop.a": 1},
    )


def test_eight_threads_add_while_others_read_and_report_without_a_loss():
    book, per_thread, reported, is_over = Accounting(), 4_000, [], threading.Event()

    def work(number):
        for _ in range(per_thread):
            if number % 2:
                book.refuse("INFO", "shop")
            else:
                book.drop(Drop.INTERNAL_ERROR)

    def read():
        while not is_over.is_set():
            totals, refused, _ = sums_of(book)
            assert totals.get(Drop.QUEUE_FULL, 0) == refused
            reported.append(book.take_report())

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    readers = [threading.Thread(target=read) for _ in range(2)]
    try:
        for thread in threads + readers:
            thread.start()
        for thread in threads:
            thread.join()
        is_over.set()
        for thread in readers:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert book.drops().totals == {Drop.QUEUE_FULL: 4 * per_thread, Drop.INTERNAL_ERROR: 4 * per_thread}
    reported.append(book.take_report())
    assert sum(report.count for report in reported if report) == 8 * per_thread


# Interruptions


def loaded():
    return make_book(*[(Drop.INTERNAL_ERROR, "INFO", "shop")] * 3)


def test_whoever_interrupts_a_fold_reads_and_adds_as_always():
    seen = []

    def interrupt(book):
        seen.append(sums_of(book))
        book.drop(Drop.REJECTED, "INFO", "shop")
        seen.append(sums_of(book))

    for book in each_interruption(loaded, Accounting.drops, interrupt):
        assert seen.pop() == ({Drop.INTERNAL_ERROR: 3, Drop.REJECTED: 1}, 0, 0)
        assert seen.pop() == ({Drop.INTERNAL_ERROR: 3}, 0, 0)
        assert book.drops().totals == {Drop.INTERNAL_ERROR: 3, Drop.REJECTED: 1}


def test_an_exception_of_a_signal_handler_spoils_nothing():
    for book in each_exception(loaded, Accounting.drops):
        book.refuse("INFO", "shop")
        assert sums_of(book) == ({Drop.INTERNAL_ERROR: 3, Drop.QUEUE_FULL: 1}, 1, 0)
        assert book.take_report().count == 4


def test_a_drop_is_reported_once_whoever_interrupts_the_report():
    counts = []

    def act(book):
        counts.append(book.take_report())

    for _ in each_interruption(loaded, act, act):
        assert sorted(report.count for report in counts if report) == [3]
        counts.clear()


# The report


def test_a_report_says_how_many_why_and_which_ones():
    text = report_of(
        (Drop.QUEUE_FULL, "DEBUG", "shop.orders", 900),
        (Drop.QUEUE_FULL, "INFO", "shop.cart", 300),
        (Drop.REJECTED, "INFO", "shop.mail", 34),
    ).text()
    assert text.startswith(
        "1,234 records were dropped: queue_full 1,200, rejected 34; levels DEBUG 900, INFO 334;"
        " most from shop.orders 900, shop.cart 300, shop.mail 34. Memory was full: raise EVENTHUB_LOG_QUEUE_"
    )


def test_one_record_is_told_in_the_singular():
    assert (
        report_of((Drop.INTERNAL_ERROR, "INFO", "shop"))
        .text()
        .startswith("1 record was dropped: internal_error 1; ")
    )


def test_records_that_nobody_can_see_have_no_level_and_no_logger():
    report = report_of((Drop.SPOOL_FULL, "", "", 500))
    assert report.text().startswith("500 records were dropped: spool_full 500. ")
    assert report.as_extra()["dropped_by_logger"] == {OTHER: 500}


@given(ENTRIES)
def test_a_report_has_all_that_is_not_told_elsewhere_and_the_totals_have_all(entries):
    book = make_book(*entries)
    report = book.take_report()
    told = {reason: count for reason, count in book.drops().totals.items() if reason not in TOLD_ELSEWHERE}
    assert (report.by_reason if report else {}) == told
    assert (report.count if report else 0) == sum(told.values())
    assert book.take_report() is None
    assert sum(book.drops().totals.values()) == sum(count for *_, count in entries)


def test_what_comes_after_a_report_is_in_the_next():
    book = make_book((Drop.INTERNAL_ERROR, "INFO", "shop"))
    book.take_report()
    book.drop(Drop.TOO_LARGE, "DEBUG", "other", 2)
    report = book.take_report()
    assert (report.count, report.by_level, report.by_logger) == (2, {"DEBUG": 2}, {"other": 2})


@pytest.mark.parametrize("reason", sorted(set(Drop) - TOLD_ELSEWHERE))
def test_each_reason_comes_with_advice_that_names_settings_there_are(reason):
    text = report_of((reason, "INFO", "shop")).text()
    advice = text.partition("shop 1. ")[2]
    assert advice.endswith(".")
    assert set(re.findall(r"EVENTHUB_[A-Z_]+", advice)) <= {setting.name for setting in SETTINGS}


def test_the_advice_is_that_of_the_main_reason():
    assert (
        "EVENTHUB_LOG_RECORD_BYTES"
        in report_of((Drop.INTERNAL_ERROR, "", "", 1), (Drop.TOO_LARGE, "", "", 2)).text()
    )


@given(
    st.lists(
        st.tuples(
            st.sampled_from(sorted(set(Drop) - TOLD_ELSEWHERE)),
            st.text(max_size=9) | st.just("9 records were dropped"),
            st.text(max_size=150)
            | st.sampled_from(["7 records were\ndropped", "8 records was dropped: ", "x" * 999]),
            st.integers(1, 10_000),
        ),
        min_size=1,
        max_size=12,
    )
)
def test_a_report_is_one_line_that_is_counted_once_whatever_the_names(entries):
    report = report_of(*entries)
    text = report.text()
    assert [found.replace(",", "") for found in TOLD.findall(text)] == [str(report.count)]
    assert len(text.splitlines()) == 1
    assert text.isprintable()
    assert len(text) < 5 * (NAME_MAX + 20) + len(report.by_level) * 20 + 500
    assert json.loads(json.dumps(report.as_extra())) == report.as_extra()
    text.encode()


class Custom(StrEnum):
    NOTICE = "NOTICE"


@pytest.mark.parametrize(
    ("name", "shown"),
    [(None, {}), (7, {}), ([], {}), ("", {}), (Custom.NOTICE, {"NOTICE": 1}), ("a\tb", {"a?b": 1})],
)
def test_names_that_are_no_names_do_no_harm(name, shown):
    report = report_of((Drop.INTERNAL_ERROR, name, name))
    assert (report.by_level, report.by_logger) == (shown, shown)
    assert [type(key) for key in report.by_level] == [str] * len(shown)


def test_the_memory_for_names_is_bounded():
    book = Accounting()
    for number in range(3 * LOGGERS_MAX):
        book.drop(Drop.INTERNAL_ERROR, f"level {number}", f"logger {number}")
    book.drop(Drop.INTERNAL_ERROR, "level 0", "logger 0")
    report = book.take_report()
    assert report.by_level == {f"level {number}": 1 + (number == 0) for number in range(LEVELS_MAX)} | {
        OTHER: 3 * LOGGERS_MAX - LEVELS_MAX
    }
    assert report.by_logger["logger 0"] == 2
    assert OTHER not in report.by_logger
    assert sum(report.as_extra()["dropped_by_logger"].values()) == report.count == 3 * LOGGERS_MAX + 1


def test_the_extra_is_plain_data_for_a_record():
    extra = report_of(
        *[(Drop.QUEUE_FULL, "INFO", f"shop.{name}", 9 - number) for number, name in enumerate("abcdef")]
    )
    assert extra.as_extra() == {
        "event_name": "hublog.records_dropped",
        "dropped_total": 39,
        "dropped_by_reason": {"queue_full": 39},
        "dropped_by_level": {"INFO": 39},
        "dropped_by_logger": {"shop.a": 9, "shop.b": 8, "shop.c": 7, "shop.d": 6, "shop.e": 5, OTHER: 4},
    }
    assert [type(name) for name in extra.as_extra()["dropped_by_reason"]] == [str]


@given(ENTRIES, ENTRIES)
def test_two_reports_merged_tell_what_one_would(first, second):
    one, two = (
        report_of((Drop.INTERNAL_ERROR, "", ""), *first),
        report_of((Drop.INTERNAL_ERROR, "", ""), *second),
    )
    whole = report_of((Drop.INTERNAL_ERROR, "", "", 2), *first, *second)
    merged = one.merged(two)
    assert (merged.count, merged.by_reason, merged.by_level) == (whole.count, whole.by_reason, whole.by_level)
    assert sum(merged.as_extra()["dropped_by_logger"].values()) == whole.count


def test_a_report_merged_again_and_again_names_as_few_loggers():
    whole = report_of((Drop.INTERNAL_ERROR, "INFO", "first"))
    for number in range(20):
        whole = whole.merged(report_of((Drop.INTERNAL_ERROR, "INFO", f"logger {number}", number + 2)))
    assert list(whole.by_logger) == ["logger 19", "logger 18", "logger 17", "logger 16", "logger 15"]


def test_a_report_is_a_value():
    report = report_of((Drop.INTERNAL_ERROR, "INFO", "shop"))
    assert report == DropReport(
        count=1, by_reason={Drop.INTERNAL_ERROR: 1}, by_level={"INFO": 1}, by_logger={"shop": 1}
    )
    with pytest.raises(AttributeError):
        report.count = 2


def test_lines_are_counted_with_their_level_and_logger():
    book = Accounting()
    book.drop_lines(Drop.EXIT, [make_line(logger="a")])
    book.drop_lines(Drop.REJECTED, [make_line(logger="b"), make_line(level=DEBUG, logger="b"), b"odd"])
    report = book.take_report()
    assert (report.count, report.by_level, report.by_logger) == (3, {"INFO": 1, "DEBUG": 1}, {"b": 2})


def test_the_stats_of_a_process_are_the_sums_over_its_pipelines_and_the_worst_state():
    first = Stats(accepted_total=5, sent_total=3, dropped={Drop.QUEUE_FULL: 2})
    second = Stats(
        accepted_total=4, queued=3, dropped={Drop.QUEUE_FULL: 1}, state=State.OPEN, circuit=Circuit.OPEN
    )

    whole = ProcessStats.of([first, second])

    assert (whole.accepted_total, whole.sent_total, whole.held) == (9, 3, 3)
    assert (whole.dropped, whole.dropped_total) == ({Drop.QUEUE_FULL: 3}, 3)
    assert (whole.state, whole.circuit) == (State.OPEN, Circuit.OPEN)
    assert whole.pipelines == (first, second)


def test_the_stats_of_a_process_without_a_pipeline_are_healthy_and_empty():
    assert ProcessStats.of([]) == ProcessStats(state=State.HEALTHY, circuit=Circuit.CLOSED)


def test_stats_show_state_totals_and_what_is_not_zero():
    stats = Stats(accepted_total=5, sent_total=3, queued=1, dropped={Drop.SAMPLED_OUT: 1})

    assert repr(stats) == (
        "Stats(state=healthy, accepted_total=5, sent_total=3, held=1, dropped_total=1, lost_total=0,"
        " dropped={'sampled_out': 1}, queued=1, circuit=closed)"
    )
