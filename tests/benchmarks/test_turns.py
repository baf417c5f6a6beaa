import pytest
from benchmarks.growth import Growth
from benchmarks.parts import destination_figures, request_figures
from benchmarks.requests.__main__ import Row, Shape, as_data, rows
from benchmarks.requests.visits import asgi_scope, environs
from benchmarks.servers.__main__ import cpu_us, percents
from benchmarks.servers.without_hublog import write_package
from benchmarks.turns import Child, difference, interleave, ratio, series

ECHO = """
from benchmarks.turns import serve_turns
def double(turn):
    print("what the application prints")
    return {"value": 2 * turn["value"]}
serve_turns(double)
"""


def turns(*values):
    return [{"cpu_us": value} for value in values]


def test_ratios_and_differences_are_those_of_the_same_turns():
    assert ratio([2.0, 30.0, 9.0], [1.0, 10.0, 4.0]) == 2.25
    assert difference([2.0, 30.0, 9.0], [1.0, 10.0, 4.0]) == 5.0
    assert series({"a": turns(1, 2)}, "cpu_us") == {"a": [1, 2]}


def test_a_slow_turn_does_not_move_the_row_of_a_way_to_log():
    measured = rows(
        {
            "null": turns(100, 100, 900),
            "hub": turns(180, 180, 1_700),
            "structlog": turns(140, 140, 950),
        }
    )
    assert measured["null"] == Row(100, 1.0, 0, 0)
    assert measured["hub"] == Row(180, 1.8, 80, 2.0)


def test_a_child_answers_each_turn_whatever_else_it_prints(tmp_path, monkeypatch):
    (tmp_path / "echo_child.py").write_text(ECHO)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:.")
    start = {name: lambda: Child("echo_child") for name in ("first", "second")}
    samples = interleave(start, {"one": {"value": 1}, "two": {"value": 2}}, rounds=1, turns_a_round=2)
    answers = {"one": [{"value": 2}] * 2, "two": [{"value": 4}] * 2}
    assert samples == {kind: {"first": values, "second": values} for kind, values in answers.items()}


def test_a_child_that_ends_is_reported(tmp_path, monkeypatch):
    (tmp_path / "failing_child.py").write_text("raise SystemExit(3)")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    with (
        Child("failing_child") as child,
        pytest.raises(RuntimeError, match="failing_child ended with status 3"),
    ):
        child.ask({})


def test_no_two_requests_are_alike():
    made = environs(1)
    first = [next(made) for _ in range(50)]
    assert len({environ["HTTP_COOKIE"] for environ in first}) == 50
    assert len({environ["HTTP_USER_AGENT"] for environ in first}) > 10
    assert {"HTTP_X_REQUEST_ID" in environ for environ in first} == {True, False}
    headers = dict(asgi_scope(first[0])["headers"])
    assert headers[b"user-agent"].decode() == first[0]["HTTP_USER_AGENT"]


def test_the_cpu_of_a_server_is_that_between_the_begins_of_its_turns():
    assert cpu_us([1.0, 1.5, 2.5], [500, 1_000]) == [1_000, 1_000]


def test_percents_compare_all_with_bare_and_with_console_and_file():
    samples = {"bare": [100.0], "file_console": [110.0], "all": [121.0]}
    assert percents(samples) == pytest.approx({"all_percent": 21.0, "hub_percent": 10.0})


def test_what_stands_for_hublog_leaves_the_bare_application(tmp_path):
    write_package(tmp_path)
    settings = {
        "INSTALLED_APPS": ["hublog.django", "orders"],
        "MIDDLEWARE": ["hublog.django.middleware.RequestContextMiddleware", "other"],
    }
    names: dict = {}
    exec((tmp_path / "hublog/django/__init__.py").read_text(), names)
    assert names["logging_config"](settings) == {}
    assert settings == {"INSTALLED_APPS": ["orders"], "MIDDLEWARE": ["other"]}


def test_a_further_destination_is_compared_with_what_the_first_adds():
    ways = {
        "null": Row(100, 1.0, 0, 0),
        "off": Row(110, 1.1, 10, 0.2),
        "hub": Row(150, 1.5, 50, 1.0),
        "hub_file": Row(160, 1.6, 60, 1.2),
        "file_console": Row(150, 1.5, 50, 1.0),
        "all": Row(165, 1.65, 65, 1.3),
    }
    found = {name: {Shape(): ways} for name in ("flask", "django", "django_asgi", "asgi")}
    figures = request_figures(found)
    assert figures["second_destination_percent"] == pytest.approx(20)
    assert figures["third_destination_percent"] == pytest.approx(10)
    assert figures["flask_hub_on_top_percent"] == pytest.approx(10)
    assert as_data(found)["asgi"][0]["ways"]["off"]["added_us"] == 10


def test_a_destination_is_compared_by_what_it_adds_to_a_null_handler():
    figures = destination_figures(
        {"null": 5, "file": 20, "file_handler": 15, "console": 11, "stream_handler": 9}
    )
    assert figures["file_x_file_handler"] == 1.5
    assert figures["console_x_stream_handler"] == 1.5
    assert figures["file_call_x_file_handler_call"] == pytest.approx(4 / 3)


def test_growth_is_the_last_step_over_the_first_and_what_one_more_costs():
    grown = Growth(
        call_sites={"1 x 1": 10, "64 x 10000": 11},
        threads={"1": 10, "16": 12},
        processes={"1": 10, "8": 10},
        characters={"0": 10, "4096": 18, "64000": 135},
        fields={"0": 10, "10": 20, "50": 110},
    )
    assert grown.figures() == pytest.approx(
        {"templates_x": 1.1, "threads_x": 1.2, "processes_x": 1.0, "record_size_x": 1.0, "extras_x": 2.0}
    )
