"""What hublog does at Celery's signals, in this process: messages that are sent, tasks that run at once."""

import json
import logging
import os
import subprocess
import sys
from contextlib import suppress

import pytest
from tests.kits.seen import watching

pytest.importorskip("celery")

from celery import Celery, beat, schedules, signals
from celery.exceptions import Ignore, Retry

import hublog.celery  # it connects itself
from hublog.capture import context

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
FIELDS = {"trace_id": TRACE, "span_id": SPAN, "request_id": "req-1", "user_id": 7, "http_path": "/"}
SENT = {"trace_id": TRACE, "parent_span_id": SPAN, "request_id": "req-1", "user_id": "7"}
HEADER = f"00-{TRACE}-{SPAN}-01"


@pytest.fixture(autouse=True)
def clean():
    token = context.enter({})
    yield
    context.leave(token)


@pytest.fixture
def seen():
    with watching(logging.INFO) as handler:
        yield handler


@pytest.fixture
def app():
    app = Celery("shop", broker="memory://", set_as_current=False)
    app.conf.task_always_eager = True
    yield app
    app.close()


@pytest.fixture
def published():
    """The headers of each message, as they are sent."""
    found = []

    def note(headers=None, **_):
        found.append(headers)

    signals.before_task_publish.connect(note)
    yield found
    signals.before_task_publish.disconnect(note)


def send(app, **options):
    app.conf.task_always_eager = False
    app.send_task("shop.pay", **options)


def ends(seen):
    return [fields["event_name"] for _, fields in seen.of("hublog.task")]


def test_a_message_carries_what_is_bound(app, published):
    context.enter(FIELDS)
    send(app)
    [headers] = published
    assert (headers["hublog"], headers["traceparent"]) == (SENT, HEADER)
    assert json.loads(json.dumps(headers["hublog"])) == SENT


def test_a_message_is_as_ever_when_nothing_is_bound(app, published):
    send(app, headers={"theirs": 1})
    [headers] = published
    assert "hublog" not in headers
    assert "traceparent" not in headers
    assert headers["theirs"] == 1


def test_a_message_of_protocol_1_is_as_ever(app, published):
    app.conf.task_protocol = 1
    context.enter(FIELDS)
    send(app, headers={"theirs": 1})
    assert published == [{"theirs": 1}]


@pytest.mark.parametrize("theirs", [f"00-{'1' * 32}-{'2' * 16}-00", "anything", 7])
def test_a_traceparent_that_the_caller_set_stays(app, published, theirs):
    context.enter(FIELDS)
    send(app, headers={"traceparent": theirs})
    assert published[0]["traceparent"] == theirs
    assert published[0]["hublog"] == SENT


def test_a_traceparent_of_our_own_is_renewed(app, published):
    context.enter(FIELDS)
    former = {**SENT, "parent_span_id": "3" * 16}
    send(app, headers={"hublog": former, "traceparent": f"00-{TRACE}-{'3' * 16}-01"})
    assert published[0]["traceparent"] == HEADER
    assert published[0]["hublog"] == SENT


def test_a_request_without_a_trace_sends_no_traceparent(app, published):
    context.enter({"request_id": "req-1"})
    send(app)
    assert published[0]["hublog"] == {"request_id": "req-1"}
    assert "traceparent" not in published[0]


def test_a_task_that_runs_at_once_belongs_to_the_request_and_gives_its_fields_back(app, seen):
    @app.task(name="shop.pay", shared=False)
    def pay():
        logging.getLogger("shop").info("paying")

    context.enter(FIELDS)
    pay.delay()
    fields = seen.one("shop")
    assert (fields["request_id"], fields["trace_id"], fields["parent_span_id"]) == ("req-1", TRACE, SPAN)
    assert "http_path" not in fields
    assert fields["task_name"] == "shop.pay"
    assert "task_queue" not in fields
    assert context.bound() == FIELDS
    assert ends(seen) == ["task.succeeded"]


@pytest.mark.parametrize("propagates", [True, False])
@pytest.mark.parametrize(
    ("error", "event"),
    [(LookupError, "failed"), (Ignore, "ignored"), (Retry, "retried"), (SystemExit, "failed")],
)
def test_the_requests_fields_come_back_however_a_task_ends(app, seen, error, event, propagates):
    @app.task(name="shop.pay", shared=False)
    def pay():
        context.bind(step=1)
        raise error

    app.conf.task_eager_propagates = propagates
    context.enter(FIELDS)
    with suppress(error):
        pay.delay()
    assert context.bound() == FIELDS
    assert ends(seen) == [f"task.{event}"]


@pytest.mark.parametrize("fields", [FIELDS, {}], ids=["in a request", "without one"])
def test_a_retry_that_runs_at_once_continues_the_trace(app, seen, fields):
    @app.task(name="shop.pay", shared=False, bind=True, max_retries=2)
    def pay(self):
        logging.getLogger("shop").info("paying")
        if self.request.retries < 2:
            raise self.retry(countdown=0)

    context.enter(fields)
    pay.delay()
    tries = [found for _, found in seen.of("shop")]
    assert [found["task_retries"] for found in tries] == [0, 1, 2]
    assert len({found["trace_id"] for found in tries}) == 1
    assert [found.get("parent_span_id") for found in tries[1:]] == [found["span_id"] for found in tries[:2]]
    assert {found.get("request_id") for found in tries} == {fields.get("request_id")}
    assert ends(seen) == ["task.retried", "task.retried", "task.succeeded"]
    assert context.bound() == fields


@pytest.mark.parametrize("throws", [LookupError, (LookupError,)], ids=["a class", "a tuple"])
def test_an_error_that_a_task_says_it_throws_is_no_error(app, seen, throws):
    @app.task(name="shop.pay", shared=False, throws=throws)
    def pay():
        raise LookupError

    pay.delay()
    assert [fields["levelname"] for _, fields in seen.of("hublog.task")] == ["INFO"]


def test_a_task_called_as_a_function_is_a_part_of_the_request(app, seen):
    @app.task(name="shop.pay", shared=False)
    def pay():
        logging.getLogger("shop").info("paying")

    context.enter(FIELDS)
    pay()
    assert seen.one("shop")["http_path"] == "/"
    assert ends(seen) == []


def test_a_process_of_the_pool_begins_with_no_field_of_its_parent():
    context.bind(request_id="of the parent")
    signals.worker_process_init.send(sender="worker")
    assert context.bound() == {}


def test_a_handler_that_fails_leaves_no_fields_behind(app):
    class Failing(logging.Handler):
        def emit(self, record):
            raise LookupError

    @app.task(name="shop.pay", shared=False)
    def pay():
        pass

    logger, handler = logging.getLogger("hublog.task"), Failing()
    logger.addHandler(handler)
    logger.setLevel(logging.INFO)
    try:
        context.enter(FIELDS)
        assert pay.delay().successful()
    finally:
        logger.removeHandler(handler)
        logger.setLevel(logging.NOTSET)
    assert context.bound() == FIELDS


def test_what_beat_sends_belongs_to_no_request(app, published):
    app.conf.task_always_eager = False
    entry = beat.ScheduleEntry(name="each night", task="shop.pay", schedule=schedules.crontab(), app=app)
    beat.Scheduler(app).apply_async(entry, advance=False)
    [headers] = published
    assert headers["task"] == "shop.pay"
    assert not {"hublog", "traceparent"} & set(headers)


LOGGING = """
import logging, sys
from celery import Celery
{before}
app = Celery("shop", broker="memory://")
import hublog.celery
{after}
app.loader.init_worker()
root = logging.getLogger()
before = list(root.handlers)
app.log.setup(loglevel="INFO", redirect_stdouts=False)
print([type(handler).__name__ for handler in root.handlers], root.handlers == before)
"""
SET_UP = """
import hublog
hublog.setup_logging(enable_file_logging=False, enable_eventhub_logging=False)
"""
HANDLER = """
import hublog
logging.getLogger().addHandler(hublog.EventHubHandler())
"""


@pytest.mark.parametrize(
    ("steps", "expected"),
    [
        ({}, "['StreamHandler'] False"),
        ({"before": SET_UP}, "['ConsoleHandler'] True"),
        ({"after": SET_UP}, "['ConsoleHandler'] True"),
        ({"before": HANDLER}, "['EventHubHandler'] True"),
        ({"before": "logging.basicConfig()"}, "['StreamHandler'] False"),
    ],
    ids=["nobody", "setup_logging before", "setup_logging after", "a handler", "another configuration"],
)
def test_celery_configures_logging_unless_our_handlers_are_there(steps, expected):
    code = LOGGING.format(**{"before": "", "after": "", **steps})
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stdout.splitlines()[-1] == expected


PROJECT = """
SECRET_KEY = "test"
INSTALLED_APPS = ["hublog.django"]
LOG_TO_STDOUT, FILE_LOGGING_ENABLED, EVENTHUB_LOGGING_ENABLED = True, False, False
import hublog.django
LOGGING = hublog.django.logging_config(globals())
"""


def test_the_logging_of_a_django_project_stays(tmp_path):
    pytest.importorskip("django")
    (tmp_path / "project.py").write_text(PROJECT)
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", LOGGING.format(before="", after="")],
        cwd=tmp_path,
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "project", "PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "['ConsoleHandler'] True"


@pytest.mark.parametrize("propagates", [False, True])
def test_a_task_that_fails_at_once_shows_its_exception_in_one_record(app, seen, propagates):
    app.conf.task_eager_propagates = propagates

    @app.task(name="shop.fail")
    def fail():
        raise LookupError("gone")

    with suppress(LookupError):
        fail.delay()
    [(message, end)] = seen.of("hublog.task")
    assert message.startswith("shop.fail failed ")
    assert (end["event_name"], end["levelname"]) == ("task.failed", "ERROR")
    shown = [fields["exc_info"][1] for _, _, fields in seen.records if fields["exc_info"]]
    assert [str(error) for error in shown] == ["gone"]


@pytest.mark.parametrize("error", [Ignore(), Retry("later")])
def test_what_is_no_failure_shows_no_exception(app, seen, error):
    app.conf.task_eager_propagates = True

    @app.task(name="shop.end")
    def end():
        raise error

    with suppress(Ignore, Retry):
        end.delay()
    [(_, fields)] = seen.of("hublog.task")
    assert fields["event_name"] in ("task.ignored", "task.retried")
    assert not fields["exc_info"]


@pytest.mark.parametrize(
    ("given", "event", "level"),
    [
        ({}, "revoked", "INFO"),
        ({"expired": True}, "expired", "WARNING"),
        ({"terminated": True, "signum": 15}, "terminated", "WARNING"),
    ],
    ids=["revoked", "expired", "terminated"],
)
def test_a_task_that_is_revoked_is_one_record_with_the_fields_of_its_request(app, seen, given, event, level):
    from celery.app.task import Context

    @app.task(name="shop.never")
    def never():
        raise AssertionError

    request = Context(
        {
            "id": "task-7",
            "hublog": SENT,
            "headers": None,
            "delivery_info": {"routing_key": "orders"},
            "retries": 1,
        }
    )
    signals.task_revoked.send(
        sender=never, request=request, **{"terminated": False, "signum": None, "expired": False, **given}
    )
    [(message, fields)] = seen.of("hublog.task")
    assert message == f"shop.never {event}"
    assert (fields["event_name"], fields["levelname"]) == (f"task.{event}", level)
    assert (fields["task_id"], fields["task_queue"], fields["task_retries"]) == ("task-7", "orders", 1)
    assert (fields["request_id"], fields["trace_id"]) == ("req-1", TRACE)
    assert "duration_ms" not in fields
    assert dict(context.bound()) == {}


@pytest.fixture
def root(monkeypatch):
    """The root logger without a handler; the logger of Celery as it was afterwards."""
    logger = logging.getLogger("celery")
    before, level = list(logger.handlers), logger.level
    monkeypatch.setattr(logging.root, "handlers", [])
    yield logging.root
    logger.handlers[:] = before
    logger.setLevel(level)


def begin_worker():
    from hublog.celery import _leave_logging

    _leave_logging(loglevel=logging.INFO, logfile=None, format="%(message)s", colorize=False)


def test_a_worker_without_a_console_handler_says_so_at_its_start(root, caplog):
    root.addHandler(hublog.EventHubHandler())
    root.setLevel(logging.WARNING)
    begin_worker()
    [(name, level, message)] = caplog.record_tuples
    assert (name, level) == ("hublog.internal", logging.WARNING)
    assert message.startswith("Celery leaves the root logger to hublog's handlers: --logfile has no effect")
    assert "the worker shows nothing there" in message
    assert root.level == logging.WARNING
    assert logging.getLogger("celery").level == logging.INFO


def test_a_worker_with_a_console_of_hublogs_writes_its_lines_once(root, capsys):
    shown = hublog.ConsoleHandler()
    shown.setFormatter(hublog.ConsoleFormatter())
    root.addHandler(shown)
    root.setLevel(logging.INFO)
    begin_worker()
    logging.getLogger("celery.worker").info("ready")
    output = capsys.readouterr()
    assert (output.out + output.err).count("ready") == 1
    assert "--logfile has no effect" in output.out
    assert "shows nothing" not in output.out
