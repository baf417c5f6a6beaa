"""Real workers of each pool: what tasks log, and what is gone afterwards."""

import json
import re
import signal
from collections import Counter
from pathlib import Path

import pytest
from tests.kits.file_hub import Program

pytest.importorskip("celery")

HERE = Path(__file__).parent
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
CALLER = {
    "trace_id": TRACE,
    "request_id": "req-1",
    "correlation_id": "corr-1",
    "tenant_id": "acme",
    "user_id": "7",
    "user_authenticated": True,
}
TASK = ("task_id", "task_name", "task_queue", "task_retries", "span_id", "parent_span_id")


class Rows(list):
    """What a worker has logged."""

    def of(self, message):
        return [row for row in self if row["message"] == message]

    def one(self, message):
        [row] = self.of(message)
        return row

    def ends(self, name):
        return [row for row in self if row["logger_name"] == "hublog.task" and row["task_name"] == name]


@pytest.fixture(scope="module", params=["prefork", "threads", "solo", "gevent", "eventlet"])
def rows(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param)
    (folder / "shop.py").write_text((HERE / "shop.py").read_text())
    command = ["-W", "ignore", "-m", "celery", "--app", "shop", "--quiet", "worker", "--pool", request.param]
    command += ["--without-gossip", "--without-mingle", "--without-heartbeat", "--concurrency", "2"]
    environ = {"POOL": request.param, "EVENTHUB_LOG_SPOOL_DIR": str(folder / "spool")}
    with Program(folder, *command, **environ) as worker:
        worker.wait_for("all done")
        worker.end(signal.SIGTERM)
        text = worker.text()
    found = Rows(json.loads(line) for line in (folder / "arrived").read_text().splitlines())
    found.pool, found.text = request.param, text
    return found


def test_a_task_has_the_fields_of_the_request_that_sent_it_and_its_own(rows):
    row = rows.one("inner")
    assert {name: row[name] for name in CALLER} == CALLER
    assert (row["task_name"], row["task_queue"], row["task_retries"]) == ("shop.inner", "celery", 0)
    assert len(row["task_id"]) == 36
    assert "http_path" not in row
    assert "basket" not in row.get("extra", {})


def test_the_trace_goes_on_from_span_to_span(rows):
    outer, inner, eager = rows.one("outer"), rows.one("inner"), rows.one("work eager")
    assert outer["parent_span_id"] == SPAN
    assert inner["parent_span_id"] == eager["parent_span_id"] == outer["span_id"]
    assert len({SPAN, outer["span_id"], inner["span_id"], eager["span_id"]}) == 4


def test_a_task_that_runs_another_one_at_once_has_its_own_fields_again(rows):
    before, after = rows.one("outer"), rows.one("outer again")
    assert [before[name] for name in TASK] == [after[name] for name in TASK]
    assert rows.one("work eager")["task_id"] != before["task_id"]
    assert "left_behind" not in after.get("extra", {})


@pytest.mark.parametrize(
    ("name", "outcome", "level"),
    [
        ("shop.inner", "succeeded", "INFO"),
        ("shop.fail", "failed", "ERROR"),
        ("shop.expected", "failed", "INFO"),
        ("shop.ignored", "ignored", "INFO"),
        ("shop.rejected", "rejected", "INFO"),
    ],
)
def test_one_record_says_how_a_task_ended(rows, name, outcome, level):
    [row] = rows.ends(name)
    assert (row["record_type"], row["event_name"], row["level"]) == ("task", f"task.{outcome}", level)
    assert re.fullmatch(rf"{name} {outcome} \d+\.\d ms", row["message"])
    assert float(row["message"].split()[2]) == pytest.approx(row["duration_ms"], abs=0.051)
    assert 0 <= row["duration_ms"] < 30_000
    assert {key: row[key] for key in CALLER} == CALLER
    assert "exception_stacktrace" not in row


def test_celerys_own_tasks_that_poll_are_no_warnings(rows):
    levels = {row["level"] for row in rows.ends("celery.chord_unlock")}
    assert "WARNING" not in levels


def test_a_task_that_takes_too_long_is_logged_as_failed(rows):
    expected = ["task.failed"] if rows.pool == "prefork" else []  # the others have no such limit
    assert [row["event_name"] for row in rows.ends("shop.slow")] == expected


def test_the_traceback_of_a_failed_task_is_logged_once_with_its_fields(rows):
    [row] = [row for row in rows if row.get("exception_type") == "LookupError"]
    assert (row["task_name"], row["request_id"]) == ("shop.fail", "req-1")
    assert "raise LookupError" in row["exception_stacktrace"]


def test_retries_keep_the_id_of_the_request_and_the_trace(rows):
    tries = [rows.one(f"try {number}") for number in range(3)]
    assert [row["task_retries"] for row in tries] == [0, 1, 2]
    assert {row["request_id"] for row in tries} == {"req-1"}
    assert {row["trace_id"] for row in tries} == {TRACE}
    assert len({row["task_id"] for row in tries}) == 1
    assert [row["parent_span_id"] for row in tries] == [SPAN, *(row["span_id"] for row in tries[:2])]
    ends = sorted(rows.ends("shop.flaky"), key=lambda row: row["task_retries"])
    assert [row["event_name"] for row in ends] == ["task.retried", "task.retried", "task.succeeded"]
    assert [row["level"] for row in ends] == ["WARNING", "WARNING", "INFO"]


@pytest.mark.parametrize(
    "name", ["chain 1", "chain 2", "group 1", "group 2", "chord 1", "chord 2", "chord end"]
)
def test_chains_groups_and_chords_belong_to_the_request(rows, name):
    row = rows.one(f"work {name}")
    assert {key: row[key] for key in CALLER} == CALLER


def test_headers_of_others_stay(rows):
    assert len(rows.of("theirs kept")) == 1
    assert rows.one("work headers")["parent_span_id"] == SPAN


def test_a_task_without_a_request_begins_a_trace(rows):
    row = rows.one("work unbound")
    assert "request_id" not in row
    assert "user_id" not in row
    assert "parent_span_id" not in row
    assert len(row["trace_id"]) == 32
    assert row["trace_id"] != TRACE


def test_hostile_headers_are_left_out(rows):
    found = [row for row in rows if row["message"].startswith("work hostile")]
    assert len(found) == 6
    for row in found:
        assert not {*CALLER, "parent_span_id"} - {"trace_id"} & set(row)
        assert row["level"] == "INFO"
        assert len(row["trace_id"]) == 32
    assert len({row["trace_id"] for row in found}) == 6


def test_fields_are_gone_after_each_task(rows):
    after = [
        row for row in rows if row["message"].startswith("after shop.") and "eager" not in row["message"]
    ]
    assert after
    # The eager task's end is inside the outer one.
    inside = [row for row in after if "task_id" in row]
    assert [row["task_name"] for row in inside] == ["shop.outer"]
    assert not [row for row in after if row not in inside and {"request_id", "trace_id"} & set(row)]


def test_a_task_finds_nothing_that_another_one_has_bound(rows):
    for row in rows:
        if row["message"].startswith("work "):
            assert "left_behind" not in row.get("extra", {})


def test_a_child_of_the_pool_has_no_field_of_its_parent(rows):
    assert rows.one("parent")["extra"] == {"of_parent": True}
    children = [row for row in rows if row["process_name"] != "MainProcess"]
    assert bool(children) is (rows.pool == "prefork")
    assert not [row for row in children if "of_parent" in row.get("extra", {})]


def test_our_handlers_are_not_replaced(rows):
    assert [row["task_name"] for row in rows if row["logger_name"] == "celery.app.trace"]
    assert "Traceback" not in rows.text.replace("Traceback (most recent call last):\\n", "")


def test_each_run_has_one_record(rows):
    ends = [row["task_name"] for row in rows if row["logger_name"] == "hublog.task"]
    runs = Counter(name for name in ends if name.startswith("shop."))
    others = {"outer": 1, "inner": 1, "fail": 1, "expected": 1, "flaky": 3, "ignored": 1, "rejected": 1}
    others |= {"slow": 1} if rows.pool == "prefork" else {}
    assert runs == {"shop.work": 16, **{f"shop.{name}": count for name, count in others.items()}}
