"""Records that are kept aside, counted or refused, in whole pipelines, applications and processes."""

import asyncio
import gc
import json
import logging
import os
import re
import signal
import subprocess
import sys
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from flask import Flask, Response
from tests.adx.kusto import KustoParser
from tests.kits.pipelines import CONNECTED, REPORT, Front, Shop, begin, end, of_views
from werkzeug.test import create_environ

from hublog.delivery.accounting import Drop
from hublog.flask import HubLog
from hublog.runtime import registry
from hublog.runtime.pipeline import Pipeline
from hublog.runtime.shared import runtime
from hublog.runtime.shutdown import exit_sequence
from hublog.sampling import dedup, rate_limit, tail_buffer
from hublog.settings import EventHubSettings, Settings, SpoolMode
from hublog.testing import MemorySender
from hublog_local.kql import run_kql

PAGE = (Path(__file__).parents[2] / "docs" / "volume.md").read_text()


@pytest.fixture
def make_shop():
    made = []

    def make(**known):
        made.append(Shop(len(made), **known))
        return made[-1]

    yield make
    for shop in made:
        shop.close()


def test_with_all_off_there_is_nothing_in_the_way_of_a_record(make_shop):
    shop = make_shop()
    scope = begin()
    shop.logger.info("a")
    end(scope)
    assert (shop.pipeline.process.active_sampler, shop.pipeline.process.sampler) == (None, None)
    assert shop.messages == ["a"]


def test_a_pipeline_that_fails_keeps_no_other_from_being_told(make_shop, monkeypatch):
    first, second = make_shop(tail_sampling=True), make_shop(tail_sampling=True)
    monkeypatch.setattr(first.pipeline, "start", lambda: 1 / 0)
    scope = begin()
    second.logger.info("a")
    end(scope)
    monkeypatch.undo()
    assert second.stats.dropped == {Drop.SAMPLED_OUT: 1}


# The tail


@pytest.mark.parametrize(("status", "messages"), [(200, []), (404, []), (500, ["a", "b"])])
def test_the_very_first_request_is_decided_by_its_end(make_shop, status, messages):
    shop = make_shop(tail_sampling=True)
    scope = begin()
    shop.logger.debug("a")
    shop.logger.info("b")
    assert shop.stats.buffered == 2
    end(scope, status)
    assert shop.messages == messages
    stats = shop.stats
    assert (stats.buffered, stats.sent_total, stats.lost_total) == (0, len(messages), 0)
    assert stats.dropped.get(Drop.SAMPLED_OUT, 0) == 2 - len(messages)


def test_what_was_left_out_is_reported_to_nobody(make_shop, caplog):
    shop = make_shop(tail_sampling=True)
    with caplog.at_level(logging.INFO, "hublog.internal"):
        for _ in range(3):
            scope = begin()
            shop.logger.info("a")
            end(scope)
        shop.logger.info("after")
        assert shop.messages == ["after"]
        shop.pipeline.process.report_drops()
    assert shop.stats.dropped == {Drop.SAMPLED_OUT: 3}
    assert caplog.records == []


def test_a_flush_decides_nothing(make_shop):
    shop = make_shop(tail_sampling=True)
    scope = begin()
    shop.logger.info("a")
    assert shop.messages == []
    end(scope, 500)
    assert shop.messages == ["a"]


def test_an_error_goes_at_once_with_all_before_it(make_shop):
    shop = make_shop(tail_sampling=True, batch_timeout_seconds=3_600.0)
    scope = begin()
    shop.logger.info("before")
    shop.logger.error("urgent")
    assert shop.sender.wait_for(1)
    end(scope)
    assert shop.messages == ["before", "urgent"]


@pytest.mark.parametrize("mode", [SpoolMode.OVERFLOW, SpoolMode.ALWAYS])
def test_what_is_kept_is_on_disk_when_the_process_is_told_to_end(make_shop, tmp_path, mode):
    shop = make_shop(tail_sampling=True, spool=mode, spool_dir=tmp_path, batch_timeout_seconds=3_600.0)
    scope = begin()
    for number in range(5):
        shop.logger.info("%d", number)
    assert (shop.stats.buffered, shop.stats.spooled) == (5, 0)
    process = shop.pipeline.process
    process.write_always()
    assert process.secure() == 0
    shop.logger.info("5")
    assert (shop.stats.buffered, shop.stats.spooled) == (0, 6)
    end(scope)
    assert shop.messages == list("012345")


def test_without_a_hub_what_was_kept_is_counted_as_all_is(caplog):
    pipeline = Pipeline(Settings(eventhub=EventHubSettings(tail_sampling=True)))
    logger = logging.Logger("test.unconfigured")
    logger.addHandler(Front(pipeline))
    scope = begin()
    with caplog.at_level(logging.WARNING, "hublog.internal"):
        logger.info("a")
        logger.warning("b")
        assert pipeline.flush(10)
        logger.info("c")
    end(scope, 500)
    assert pipeline.stats().dropped == {Drop.NOT_CONFIGURED: 3}
    assert pipeline.stats().held == 0
    pipeline.retire()
    assert pipeline.process.worker.wait_until_ended(5.0)


def test_what_the_queue_has_no_room_for_at_the_release_is_counted(make_shop):
    gate = threading.Event()
    shop = make_shop(tail_sampling=True, max_queue_size=20)
    send = shop.sender.send
    shop.sender.send = lambda bodies, properties: gate.wait(20) and send(bodies, properties)
    scope = begin()
    for number in range(50):
        shop.logger.info("%d", number)
    end(scope, 500)
    stats = shop.stats
    assert (stats.accepted_total, stats.dropped) == (50, {Drop.QUEUE_FULL: 32})
    gate.set()
    assert shop.messages == list(map(str, range(18)))


def test_switching_at_run_time_applies_to_later_requests(monkeypatch):
    values = {"EVENTHUB_NAMESPACE_CONNECTION_STRING": CONNECTED, "EVENTHUB_LOG_SPOOL": "memory"}
    monkeypatch.setattr(runtime, "pipelines", {})
    shop = Shop(0)
    shop.pipeline.configuration.fixed = None
    runtime.pipelines["default"] = shop.pipeline
    registry.use_lookup(values.get, framework="flask")
    for switch in ("false", "true", "false"):
        values["EVENTHUB_LOG_TAIL_SAMPLING"] = switch
        shop.pipeline.read_again()
        scope = begin()
        shop.logger.info(switch)
        end(scope)
    assert shop.messages == ["false", "false"]
    assert shop.stats.dropped == {Drop.SAMPLED_OUT: 1}
    shop.close()


# Deduplicator


def test_the_worker_writes_the_summary_when_the_window_ends(make_shop):
    shop = make_shop(dedup_seconds=0.3)
    for _ in range(5):
        shop.logger.info("again")
    assert shop.sender.wait_for(2)
    [first, summary] = [json.loads(line) for body in shop.sender.bodies for line in body.splitlines()]
    assert "extra" not in first
    assert (summary["message"], summary["extra"]["repeat_count"]) == ("again", 4)
    assert [first["sequence"], summary["sequence"]] == [1, 2]
    assert (shop.stats.dropped, shop.stats.lost_total) == ({Drop.DEDUPLICATED: 4}, 0)


def test_a_sleeping_worker_is_woken_for_the_end_of_the_window(make_shop):
    shop = make_shop(dedup_seconds=0.5)
    shop.logger.info("again")
    assert shop.sender.wait_for(1)
    assert shop.pipeline.flush(10)  # now it sleeps without an end
    shop.logger.info("again")
    assert shop.sender.wait_for(2)


def test_a_flush_writes_what_was_counted(make_shop):
    shop = make_shop(dedup_seconds=3_600.0)
    for _ in range(5):
        shop.logger.info("again")
    assert [row.get("extra", {}).get("repeat_count") for row in shop.rows] == [None, 4]


@pytest.fixture
def switched_on(monkeypatch):
    monkeypatch.setenv("EVENTHUB_LOG_DEDUP_SECONDS", "3600")
    monkeypatch.setenv("EVENTHUB_LOG_TAIL_SAMPLING", "true")


def test_the_fixture_for_tests_of_applications_sees_repeats_and_tails(switched_on, hublog_records):
    logger = logging.getLogger("shop")
    logger.warning("first")
    for status in (200, 500):
        scope = begin()
        logger.info("status %d", status)
        end(scope, status)
    for _ in range(3):
        logger.warning("again")
    assert hublog_records.messages == ["first", "status 500", "again", "again"]


def test_a_pipeline_that_retires_writes_what_was_counted(make_shop):
    shop = make_shop(dedup_seconds=3_600.0)
    for _ in range(5):
        shop.logger.info("again")
    process = shop.pipeline.process
    shop.pipeline.retire()
    assert process.worker.wait_until_ended(5.0)
    assert [row.get("extra", {}).get("repeat_count") for row in shop.rows] == [None, 4]


def test_a_report_of_drops_is_never_counted_or_refused(make_shop, caplog):
    shop = make_shop(dedup_seconds=3_600.0, rate_limit=1, rate_burst=1)
    for number in range(5):
        shop.logger.info("%d", number)
    with caplog.at_level(logging.WARNING, "hublog.internal"):
        assert shop.messages == ["0"]
        assert shop.pipeline.flush(10)
    found = [json.loads(line) for body in shop.sender.bodies for line in body.splitlines()]
    [report] = [row for row in found if row.get("event_name") == REPORT]
    assert report["extra"]["dropped_by_reason"] == {"rate_limited": 4}
    assert report["extra"]["dropped_by_logger"] == {"shop.0": 4}
    assert "EVENTHUB_LOG_RATE_LIMIT" in report["message"]
    assert "4 records were dropped: rate_limited 4; levels INFO 4" in caplog.text
    assert shop.stats.lost_total == 4


# The rate


def test_errors_are_above_the_rate_and_a_refused_record_takes_no_number(make_shop):
    shop = make_shop(rate_limit=1, rate_burst=2)
    for number in range(5):
        shop.logger.info("info %d", number)
        shop.logger.error("error %d", number)
    assert shop.messages == ["info 0", "error 0", "info 1", *(f"error {number}" for number in range(1, 5))]
    assert [row["sequence"] for row in shop.rows] == list(range(1, 8))
    assert shop.stats.dropped == {Drop.RATE_LIMITED: 3}


def test_a_refused_record_is_not_even_formatted(make_shop):
    shop, shown = make_shop(rate_limit=1, rate_burst=1), []

    class Shown:
        def __str__(self):
            shown.append(1)
            return "shown"

    for _ in range(5):
        shop.logger.info("%s", Shown())
    assert len(shown) == 1


# Threads, tasks, processes


def test_tasks_of_one_loop_keep_apart_what_they_log(make_shop):
    shop = make_shop(tail_sampling=True)

    async def serve(number):
        scope = begin()
        for _ in range(3):
            shop.logger.info("%d", number)
            await asyncio.sleep(0)
        end(scope, 500 if number == 3 else 200)

    async def main():
        await asyncio.gather(*map(serve, range(5)))

    asyncio.run(main())
    assert shop.messages == ["3"] * 3
    assert shop.stats.dropped == {Drop.SAMPLED_OUT: 12}


def test_eight_threads_with_all_three_on_account_for_every_record(make_shop):
    shop = make_shop(
        tail_sampling=True, dedup_seconds=0.05, rate_limit=2_000, rate_burst=100, max_queue_size=100_000
    )

    def work(number):
        for turn in range(20):
            scope = begin()
            for _ in range(20):
                shop.logger.info("small %d", number)
                shop.logger.warning("large %d", turn)
            end(scope, 500 if turn % 3 == 0 else 200)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    rows = shop.rows
    counted = sum(row.get("extra", {}).get("repeat_count", 1) for row in rows)
    dropped = shop.stats.dropped
    assert counted + dropped[Drop.SAMPLED_OUT] + dropped.get(Drop.RATE_LIMITED, 0) == 8 * 20 * 40
    assert len({row["record_id"] for row in rows}) == len(rows)
    numbers = sorted(row["sequence"] for row in rows)
    assert len(set(numbers)) == len(rows)


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")  # the subject
def test_a_forked_child_ships_nothing_of_what_its_parent_keeps_or_counts(make_shop):
    shop = make_shop(tail_sampling=True, dedup_seconds=3_600.0)
    shop.logger.warning("again")
    shop.logger.warning("again")
    scope = begin()
    shop.logger.info("parent")
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            own = MemorySender()
            shop.pipeline._make_sender = lambda settings: own
            shop.logger.info("child")
            shop.logger.warning("again")
            end(scope, 500)
            del scope
            runtime.pipelines["here"] = shop.pipeline
            exit_sequence.drain()
            found = [json.loads(line)["message"] for body in own.bodies for line in body.splitlines()]
            os.write(writing, json.dumps(found).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    assert json.loads(os.read(reading, 65_536)) == ["child", "again"]
    os.close(reading)
    os.close(writing)
    end(scope, 500)
    assert Counter(shop.messages) == {"again": 2, "parent": 1}


PROGRAM = """
import logging, sys
from tests.kits.pipelines import make_settings, begin
from hublog.runtime import registry
from hublog.handler import EventHubHandler
from hublog.testing import MemorySender

class Loud(MemorySender):
    def send(self, bodies, properties):
        for body in bodies:
            sys.stdout.write(body.decode())
        sys.stdout.flush()
        return super().send(bodies, properties)

settings = make_settings(tail_sampling=True, dedup_seconds=3600.0)
registry.get_pipeline(settings, make_sender=lambda settings: Loud())
logger = logging.getLogger("shop")
logger.setLevel(logging.INFO)
logger.addHandler(EventHubHandler(settings=settings))
scope = begin()
logger.info("kept")
for _ in range(3):
    logger.warning("again")
"""


def run(program, folder):
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=folder,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout.splitlines()


def test_the_exit_of_a_process_ships_what_is_kept_and_counted(tmp_path):
    found = [json.loads(line) for line in run(PROGRAM, tmp_path)]
    assert [(row["message"], row.get("extra", {}).get("repeat_count")) for row in found] == [
        ("again", None),
        ("kept", None),
        ("again", 2),
    ]


KILLED = """
import logging, os, signal, sys
from pathlib import Path
from tests.kits.pipelines import begin, make_settings
from hublog.runtime import registry
from hublog.handler import EventHubHandler
from hublog.settings import SpoolMode
from hublog.testing import MemorySender

settings = make_settings(
    tail_sampling=True, dedup_seconds=3600.0, batch_timeout_seconds=3600.0, spool=SpoolMode.ALWAYS,
    spool_dir=Path("spool").absolute(),
)
registry.get_pipeline(settings, make_sender=lambda settings: MemorySender())
logger = logging.getLogger("shop")
logger.setLevel(logging.INFO)
logger.addHandler(EventHubHandler(settings=settings))
scope = begin()
logger.info("kept aside")
for number in range(3):
    logger.warning("sent at once")
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_a_process_that_is_killed_loses_what_it_kept_and_counted_and_nothing_else(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", KILLED],
        timeout=60,
        check=False,
        cwd=tmp_path,
        env={"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.returncode == -signal.SIGKILL
    written = b"".join(path.read_bytes() for path in (tmp_path / "spool").rglob("*") if path.is_file())
    assert written.count(b'"message":"sent at once"') == 1
    assert b"kept aside" not in written
    assert b"repeat_count" not in written


GREENLETS = """
from gevent import monkey
monkey.patch_all()
import gevent, json, logging
from tests.kits.pipelines import Shop, begin, end

shop = Shop(0, tail_sampling=True, dedup_seconds=0.2)

def serve(number):
    scope = begin()
    for turn in range(5):
        shop.logger.info("small %d", number)
        shop.logger.warning("large")
        gevent.sleep(0)
    end(scope, 500 if number == 7 else 200)

gevent.joinall([gevent.spawn(serve, number) for number in range(50)], raise_error=True)
assert shop.sender.wait_for(2)
rows = shop.rows
print(json.dumps([row["message"] for row in rows if row["message"] != "large"]))
print(sum(row.get("extra", {}).get("repeat_count", 1) for row in rows if row["message"] == "large"))
print(json.dumps({str(reason): number for reason, number in shop.stats.dropped.items()}))
"""


def test_greenlets_keep_apart_what_they_log(tmp_path):
    messages, large, dropped = map(json.loads, run(GREENLETS, tmp_path))
    assert messages == ["small 7"] * 5
    assert large == 250
    assert dropped["sampled_out"] == 49 * 5


# Applications


@pytest.fixture
def flask_shop(tmp_path, make_shop):
    shop = make_shop(tail_sampling=True, slow_seconds=0.2)
    app = Flask("shop")
    app.config.update(
        EVENTHUB_LOGGING_ENABLED=False, FILE_LOGGING_ENABLED=False, LOG_TO_STDOUT=False, LOG_DIR=str(tmp_path)
    )
    HubLog(app)
    handler = Front(shop.pipeline)
    root = logging.getLogger()
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    logger = logging.getLogger("shop.views")

    @app.get("/well")
    def well():
        logger.info("well")
        return "ok"

    @app.get("/fail")
    def fail():
        logger.info("before it failed")
        raise LookupError("broken")

    @app.get("/refused")
    def refused():
        logger.info("refused")
        return "busy", 503

    @app.get("/slow")
    def slow():
        logger.info("slow")
        threading.Event().wait(0.25)
        return "ok"

    @app.get("/pool")
    def pool():
        with ThreadPoolExecutor() as executor:
            executor.submit(logger.info, "in the pool").result()
        return "ok"

    @app.get("/stream")
    def stream():
        def parts():
            logger.info("part")
            yield b"x"
            yield b"y"

        logger.info("view")
        return Response(parts())

    yield app, shop
    root.removeHandler(handler)


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("/well", []),
        ("/fail", ["before it failed"]),
        ("/refused", ["refused"]),
        ("/slow", ["slow"]),
        ("/pool", []),
        ("/stream", []),
    ],
)
def test_a_flask_request_is_decided_by_how_it_ends(flask_shop, path, expected):
    app, shop = flask_shop
    app.test_client().get(path, buffered=True)
    assert of_views(shop) == expected
    assert [row["logger_name"] for row in shop.rows if row["record_type"] == "request"] == ["hublog.request"]


def test_a_flask_stream_that_is_thrown_away_ships_what_it_has_logged(flask_shop):
    app, shop = flask_shop
    body = app.wsgi_app(create_environ("/stream"), lambda status, headers, exc_info=None: None)
    next(iter(body))
    del body
    gc.collect()
    assert app.test_client().get("/well").status_code == 200  # the thread has let go of the former
    gc.collect()
    assert of_views(shop) == ["view", "part"]
    assert shop.stats.dropped == {Drop.SAMPLED_OUT: 1}


# The page


QUERIES = re.findall(r"```kusto\n(.*?)```", PAGE, re.DOTALL)


def ask(folder, part):
    [query] = [query for query in QUERIES if part in query]
    return run_kql(query, folder).records()


def test_the_questions_of_the_page_pass_microsofts_parser():
    checked = KustoParser().check(dict(zip("123", QUERIES, strict=True)))
    assert [found.problems for found in checked.values()] == [[], [], []]


def test_the_questions_of_the_page_are_answered(make_shop, tmp_path, caplog):
    shop = make_shop(dedup_seconds=3_600.0, rate_limit=1, rate_burst=3)
    with caplog.at_level(logging.WARNING, "hublog.internal"):
        for _ in range(7):
            shop.logger.warning("again")
        for number in range(5):
            shop.logger.info("order %d", number)
        assert shop.pipeline.flush(10)
        assert shop.pipeline.flush(10)  # the report comes after the first send
    found = [json.loads(line) for line in b"".join(shop.sender.bodies).splitlines()]
    table = [json.dumps({**row, "_ingestion_time": row["sent_at"]}) for row in found]
    (tmp_path / "PipelineLogs.jsonl").write_text("\n".join(table) + "\n")
    often = {row["message_template"]: row["times"] for row in ask(tmp_path, "sum(times)")}
    assert (often["again"], often["order %d"]) == (7, 2)
    [folded] = ask(tmp_path, "todatetime")
    assert (folded["times"], folded["message"], folded["first_at"] <= folded["last_at"]) == (6, "again", True)
    [refused] = ask(tmp_path, "rate_limited")
    assert refused["refused"] == 3


def test_every_setting_of_the_page_exists():
    from hublog.settings import SETTINGS

    named = set(re.findall(r"`((?:LOG|EVENTHUB)_[A-Z_]+)[=`]", PAGE))
    assert {"EVENTHUB_LOG_TAIL_SAMPLING", "EVENTHUB_LOG_RATE_BURST"} <= named
    assert named <= {setting.name for setting in SETTINGS}


def test_the_bounds_of_the_page_are_those_of_the_code():
    for bound in (
        f"({EventHubSettings().tail_max_records:,}) or {tail_buffer.REQUEST_MAX_BYTES >> 20} MiB",
        f"Beyond {tail_buffer.PROCESS_MAX_BYTES >> 20} MiB in all",
        f"last {dedup.KEYS_MAX:,} different records",
        f"below {dedup.LINES_MAX_BYTES >> 20} MiB",
        f"{rate_limit.LOGGERS_MAX:,} loggers",
        f"`EVENTHUB_LOG_RATE_BURST` ({EventHubSettings().rate_burst})",
    ):
        assert bound in PAGE
