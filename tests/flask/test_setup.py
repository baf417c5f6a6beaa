import logging
import threading

import pytest
from flask import Blueprint, Flask, Response, abort, current_app, g

from hublog.capture import context
from hublog.errors import SettingsError
from hublog.flask import HubLog

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
LOGGER = logging.getLogger("shop.views")


@pytest.fixture
def app(tmp_path, seen):
    app = Flask("shop")
    app.config.update(
        EVENTHUB_LOGGING_ENABLED=False, FILE_LOGGING_ENABLED=False, LOG_TO_STDOUT=False, LOG_DIR=str(tmp_path)
    )
    HubLog(app)
    logging.getLogger().setLevel(logging.INFO)

    @app.get("/orders/<int:number>")
    def order(number):
        LOGGER.info("order %d", number)
        return {"number": number}

    @app.get("/fail")
    def fail():
        raise LookupError("broken")

    @app.get("/missing")
    def missing():
        abort(404)

    @app.get("/stream")
    def stream():
        def parts():
            for number in range(3):
                LOGGER.info("part %d", number)
                yield b"x"

        return Response(parts(), headers={"Access-Control-Expose-Headers": "X-Total"})

    @app.get("/nested")
    def nested():
        with current_app.test_client() as inner:
            inner.get("/orders/1")
        LOGGER.info("after")
        return "ok"

    @app.teardown_request
    def down(error):
        LOGGER.info("teardown")

    bills = Blueprint("bills", __name__, url_prefix="/bills")

    @bills.get("/")
    def index():
        LOGGER.info("bills")
        return "ok"

    app.register_blueprint(bills)
    return app


def test_every_record_of_a_request_has_its_fields(app, seen):
    response = app.test_client().get(
        "/orders/7?secret=1",
        headers={"traceparent": f"00-{TRACE}-{SPAN}-01", "X-Request-ID": "abc", "User-Agent": "tester"},
    )
    assert response.headers["X-Request-ID"] == "abc"
    [(_, fields)] = [row for row in seen.of("shop.views") if row[0] == "order 7"]
    expected = {
        "trace_id": TRACE,
        "parent_span_id": SPAN,
        "request_id": "abc",
        "http_method": "GET",
        "http_path": "/orders/7",
        "http_route": "/orders/<int:number>",
        "view_name": "order",
        "http_user_agent": "tester",
        "client_ip": "127.0.0.1",
    }
    assert {name: fields[name] for name in expected} == expected
    [(_, fields)] = seen.of("hublog.request")
    assert (fields["http_status_code"], fields["record_type"], fields["http_route"]) == (
        200,
        "request",
        "/orders/<int:number>",
    )
    assert fields["duration_ms"] >= 0
    assert [fields["request_id"] for message, fields in seen.of("shop.views") if message == "teardown"] == [
        "abc"
    ]
    assert context.bound() == {}


def test_a_blueprints_view_has_its_prefix(app, seen):
    app.test_client().get("/bills/")
    [(_, fields)] = [row for row in seen.of("shop.views") if row[0] == "bills"]
    assert (fields["http_route"], fields["view_name"]) == ("/bills/", "bills.index")


def test_an_exception_is_logged_with_the_fields_and_the_500_carries_the_id(app, seen):
    response = app.test_client().get("/fail", headers={"X-Request-ID": "abc"})
    assert (response.status_code, response.headers["X-Request-ID"]) == (500, "abc")
    [(_, fields)] = seen.of("shop")
    assert (fields["request_id"], fields["http_route"]) == ("abc", "/fail")
    assert fields["exc_info"][0] is LookupError
    [(_, fields)] = seen.of("hublog.request")
    assert (fields["http_status_code"], fields["levelname"]) == (500, "ERROR")
    assert context.bound() == {}


def test_an_exception_that_leaves_the_app_leaves_no_fields_behind(app, seen):
    app.config["PROPAGATE_EXCEPTIONS"] = True
    with pytest.raises(LookupError):
        app.test_client().get("/fail")
    assert context.bound() == {}
    assert [fields["http_status_code"] for _, fields in seen.of("hublog.request")] == [500]


def test_an_unknown_path_has_an_id_and_no_route(app, seen):
    response = app.test_client().get("/nowhere")
    assert len(response.headers["X-Request-ID"]) == 32
    [(_, fields)] = seen.of("hublog.request")
    assert (fields["http_status_code"], fields["levelname"]) == (404, "WARNING")
    assert "http_route" not in fields


def test_a_streamed_body_has_the_fields_and_ends_the_request(app, seen):
    response = app.test_client().get("/stream", buffered=False, headers={"X-Request-ID": "abc"})
    assert seen.of("hublog.request") == []
    assert response.data == b"xxx"
    response.close()
    parts = [fields["request_id"] for message, fields in seen.of("shop.views") if message.startswith("part")]
    assert parts == ["abc"] * 3
    assert len(seen.of("hublog.request")) == 1
    assert response.headers["Access-Control-Expose-Headers"] == "X-Total, X-Request-ID"
    assert context.bound() == {}


def test_a_stream_whose_client_disconnects_leaves_no_fields_behind(app, seen):
    response = app.test_client().get("/stream", buffered=False)
    next(response.iter_encoded())
    response.close()
    assert context.bound() == {}
    assert len(seen.of("hublog.request")) == 1


def test_a_request_inside_a_request_keeps_both_apart(app, seen):
    app.test_client().get("/nested", headers={"X-Request-ID": "outer"})
    [(_, fields)] = [row for row in seen.of("shop.views") if row[0] == "after"]
    assert (fields["request_id"], fields["http_path"]) == ("outer", "/nested")
    [(_, fields)] = [row for row in seen.of("shop.views") if row[0] == "order 1"]
    assert fields["request_id"] != "outer"


def test_threads_that_serve_many_requests_mix_nothing_up(app, seen):
    def work(name):
        for number in range(20):
            app.test_client().get(f"/orders/{number}", headers={"X-Request-ID": f"{name}-{number}"})
        assert context.bound() == {}

    threads = [threading.Thread(target=work, args=(name,)) for name in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    orders = [(message, fields) for message, fields in seen.of("shop.views") if message.startswith("order")]
    assert len(orders) == 80
    assert all(fields["request_id"].endswith(f"-{message.split()[1]}") for message, fields in orders)


@pytest.mark.parametrize("value", ["a b", "x" * 200, "é"])
def test_a_hostile_id_is_neither_logged_nor_echoed(app, seen, value):
    response = app.test_client().get("/orders/1", headers={"X-Request-ID": value})
    assert response.headers["X-Request-ID"] != value
    assert value not in str([fields.get("request_id") for _, fields in seen.of("shop.views")])


def test_state_stands_on_the_app_and_a_second_init_is_refused(app):
    assert app.extensions["hublog"].settings.eventhub.enabled is False
    with pytest.raises(RuntimeError, match="init_app"):
        HubLog(app)


def test_one_extension_serves_two_apps(tmp_path):
    extension = HubLog()
    apps = [Flask(name) for name in ("a", "b")]
    for app in apps:
        app.config.update(EVENTHUB_LOGGING_ENABLED=False, FILE_LOGGING_ENABLED=False, LOG_TO_STDOUT=False)
        extension.init_app(app)
    assert all("hublog" in app.extensions for app in apps)


def test_strict_refuses_an_invalid_setting_and_names_it():
    app = Flask("shop")
    app.config["EVENTHUB_LOG_BATCH_SIZE"] = 0
    with pytest.raises(SettingsError, match="EVENTHUB_LOG_BATCH_SIZE"):
        HubLog(app, strict=True)


def test_the_user_of_flask_login_is_noted_only_when_it_was_loaded(app, seen, monkeypatch):
    import sys
    import types

    monkeypatch.setitem(sys.modules, "flask_login", types.ModuleType("flask_login"))

    @app.get("/me")
    def me():
        g._login_user = types.SimpleNamespace(is_authenticated=True, get_id=lambda: 42)
        return "ok"

    app.test_client().get("/me")
    app.test_client().get("/orders/1")
    with_user, without = (fields for _, fields in seen.of("hublog.request"))
    assert (with_user["user_id"], with_user["user_authenticated"]) == ("42", True)
    assert "user_id" not in without
