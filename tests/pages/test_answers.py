"""What each page answers, and to whom, through Flask."""

import json
import re
import subprocess
import sys
from dataclasses import replace

import pytest
from flask import Flask
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from tests.kits.overviews import outage, quiet

import hublog.flask
from hublog.cli.process_status import processes_json
from hublog.delivery.accounting import Drop
from hublog.operations.overview import Overview
from hublog.pages.answers import NAMES, Pages
from hublog.pages.status_page import LISTED_MAX, REMEDIES, status_page
from hublog.settings import SETTINGS, EventHubSettings, Settings

TOKEN = "a-token-for-the-tests"
HUB = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0;UseDevelopmentEmulator=true"
PROTECTED = ("status", "status.json", "metrics")
OPEN = ("healthz", "status.css")


@pytest.fixture
def flask_ask(monkeypatch):
    def make(is_trusted=False, **config):
        app = Flask("shop")
        app.config.update({"LOG_TO_STDOUT": False, "FILE_LOGGING_ENABLED": False, "TESTING": True, **config})
        hublog.flask.HubLog(app)
        app.register_blueprint(hublog.flask.status_pages(may_see=lambda: is_trusted), url_prefix="/hublog")

        def ask(name, **headers):
            answer = app.test_client().get(f"/hublog/{name}", headers=headers)
            return answer.status_code, answer.data, dict(answer.headers)

        return ask

    return make


@pytest.mark.parametrize("name", PROTECTED)
@pytest.mark.parametrize(
    ("token", "header"),
    [
        ("", ""),
        ("", "Bearer "),
        ("", "Bearer"),
        (TOKEN, ""),
        (TOKEN, "Bearer "),
        (TOKEN, f"Bearer {TOKEN}x"),
        (TOKEN, f"Bearer {TOKEN[:-1]}"),
        (TOKEN, TOKEN),
        (TOKEN, f"Basic {TOKEN}"),
        (TOKEN, "Bearer \u00fc"),
    ],
)
def test_nobody_else_sees_a_protected_page(flask_ask, name, token, header):
    ask = flask_ask(**({"LOG_STATUS_TOKEN": token} if token else {}))
    headers = {"Authorization": header.encode().decode("latin-1")} if header else {}
    assert ask(name, **headers)[0] == 404


@pytest.mark.parametrize("name", PROTECTED)
def test_the_token_and_who_is_trusted_see_it(flask_ask, name):
    with_token = flask_ask(LOG_STATUS_TOKEN=TOKEN)(name, Authorization=f"bearer {TOKEN}")
    trusted = flask_ask(is_trusted=True)(name)
    for status, body, headers in (with_token, trusted):
        assert (status, bool(body)) == (200, True)
        assert headers["Cache-Control"] == "no-store"
        assert headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in headers["Content-Security-Policy"]
        assert TOKEN.encode() not in body


@pytest.mark.parametrize("name", OPEN)
def test_everybody_sees_health_and_style(flask_ask, name):
    assert flask_ask()(name)[0] == 200


def test_a_page_that_is_none_of_them_does_not_exist(flask_ask):
    assert flask_ask(is_trusted=True)("other")[0] == 404


def settings(**hub):
    return replace(Settings(), status_token=TOKEN, eventhub=EventHubSettings(**hub))


def body_of(pages, name, known=None):
    found = pages.answer(
        name, known or settings(connection_string=HUB), authorization=f"Bearer {TOKEN}", is_trusted=bool
    )
    return found.status, found.body.decode()


def test_the_json_is_that_of_hublog_status():
    found = outage()
    status, body = body_of(Pages(lambda: found), "status.json")
    answer = json.loads(body)
    [problem] = answer.pop("problems")
    assert status == 200
    assert answer == json.loads(json.dumps(processes_json(found)))
    assert re.match(r"1 of 4 processes cannot reach the event hub since \d+ min \(state open\)", problem)


def test_the_metrics_can_be_parsed(flask_ask):
    _, body, headers = flask_ask(is_trusted=True)("metrics")
    names = {family.name for family in text_string_to_metric_families(body.decode())}
    assert "hublog_records_sent" in names
    assert headers["Content-Type"].startswith("text/plain")


@pytest.mark.parametrize(
    ("found", "known", "health"),
    [
        (quiet, {"connection_string": HUB}, "ok"),
        (outage, {"connection_string": HUB}, "degraded"),
        (quiet, {}, "degraded"),
        (quiet, {"enabled": False}, "ok"),
    ],
)
def test_health_says_whether_records_arrive(monkeypatch, found, known, health):
    monkeypatch.setattr("hublog.pages.answers.hublog_handlers", lambda: [object()])
    status, body = body_of(Pages(found), "healthz", settings(**known))
    assert (status, json.loads(body)) == (200, {"status": health})


def test_health_fails_where_records_reach_nothing(monkeypatch):
    monkeypatch.setattr("hublog.pages.answers.has_handlers", bool)
    assert body_of(Pages(quiet), "healthz")[0] == 503


def test_what_cannot_be_read_is_said():
    def fail():
        raise OSError(5, "Input/output error")

    assert "Input/output error" in body_of(Pages(fail), "status")[1]
    status, body = body_of(Pages(fail), "status.json")
    assert (status, "Input/output error" in body) == (500, True)
    assert json.loads(body_of(Pages(fail), "healthz")[1])["status"] in ("degraded", "failed")


def test_a_hundred_requests_a_second_read_once():
    reads, clock = [], [0.0]
    pages = Pages(lambda: reads.append(1) or outage(), now=lambda: clock[0])
    for _ in range(200):
        clock[0] += 0.01
        body_of(pages, "status")
    assert 2 <= len(reads) <= 3


def test_metrics_that_cannot_be_read_are_no_traceback(monkeypatch):
    def fail():
        raise OSError(5, "Input/output error")

    monkeypatch.setattr("hublog.metrics.prometheus.overview", lambda *_: fail())
    status, body = body_of(Pages(quiet), "metrics")
    assert (status, "Input/output error" in body) == (500, True)


@pytest.mark.parametrize("name", NAMES)
def test_a_page_is_made_once_a_second_and_anew_for_other_settings(name):
    clock, known = [0.0], settings(connection_string=HUB)
    pages = Pages(outage, now=lambda: clock[0])

    def ask(known):
        return pages.answer(name, known, authorization=f"Bearer {TOKEN}", is_trusted=bool)

    first = ask(known)
    clock[0] = 0.9
    assert ask(known) is first
    assert ask(settings(connection_string=HUB)) is not first
    second = ask(known)
    clock[0] = 2.0
    assert ask(known) is not second


def test_what_is_kept_is_not_shown_to_others():
    pages, known = Pages(outage), settings(connection_string=HUB)
    assert pages.answer("status", known, authorization=f"Bearer {TOKEN}", is_trusted=bool) is not None
    assert pages.answer("status", known, authorization="", is_trusted=bool) is None


def test_an_application_without_the_pages_needs_no_locks_of_files():
    program = "import sys; sys.modules['fcntl'] = None; import hublog.flask"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (result.returncode, result.stderr) == (0, "")


def test_the_worst_of_two_hundred_processes_are_listed_first():
    many = [replace(each, pid=number) for number in range(50) for each in quiet().processes]
    [bad] = [each for each in outage().processes if each.total.dropped_total]
    page = status_page(Overview(processes=(*many, bad), read_s=1.0), [])
    assert page.count("<tr>") < LISTED_MAX + 10
    assert "and 101 more" in page
    assert page.index(f">{bad.pid}<") < page.index(">0<")


@given(text=st.text(max_size=80))
def test_what_processes_say_of_themselves_is_text_and_never_markup(text):
    hostile = f"<script>alert(1)</script>{text}\"'&"
    found = outage()
    bad = found.processes[-1]
    part = replace(bad.pipelines[0], last_error=hostile, destination=hostile, dropped={hostile: 3})
    page = status_page(
        Overview(processes=(replace(bad, host=hostile, pipelines=(part,)),), read_s=1.0), [hostile]
    )
    assert "<script" not in page
    assert "style=" not in page.replace("rel=", "")
    assert page.count("<table>") == 2


def test_a_request_for_a_page_makes_no_request_record(flask_ask, caplog):
    ask = flask_ask(is_trusted=True)
    for name in NAMES:
        ask(name)
    ask("other")
    records = [each for each in caplog.records if each.name == "hublog.request"]
    assert [each.getMessage().split()[1] for each in records] == ["/hublog/other"]


def test_each_reason_has_a_remedy_that_names_only_what_there_is():
    names = {setting.name for setting in SETTINGS}
    for reason in Drop:
        assert set(re.findall(r"\b(?:EVENTHUB|LOG|FILE)_[A-Z_]+", REMEDIES[reason])) <= names


def test_pages_without_the_extension_say_what_is_missing():
    app = Flask("shop")
    app.testing = True
    app.register_blueprint(hublog.flask.status_pages())
    with pytest.raises(RuntimeError, match=r"HubLog\(app\)"):
        app.test_client().get("/healthz")
