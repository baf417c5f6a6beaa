import io

from demo.report import Count, Latency, Report
from demo.screen import Screen, last_frames, trail_cells
from demo.traffic import Exchange
from rich.console import Console


def screen(width=200):
    output = io.StringIO()
    return Screen(Console(file=output, width=width, highlight=False)), output


def row(time, message, **more):
    return {
        "timestamp": f"2026-11-23T14:00:00.{time}Z",
        "level": "INFO",
        "logger_name": "shop.orders",
        "message": message,
    } | more


FAILED = Exchange(
    application="shop-flask",
    trace_id="ab" * 16,
    method="POST",
    path="/orders/7/pay",
    status=500,
    expected=500,
    duration_ms=12.0,
)


def test_the_trail_tells_the_time_since_its_first_record():
    cells = trail_cells([row("100000", "Charging"), row("112500", "Failed")])
    assert [cell[0] for cell in cells] == ["0.0", "12.5"]


def test_the_end_of_the_traceback_begins_with_a_frame():
    frames = [line for number in range(20) for line in (f"  File {number}", f"    call_{number}()")]
    trace = "\n".join(["Traceback", *frames, "GatewayError: away"])
    lines = last_frames([row("100000", "Charging"), row("110000", "Failed", exception_stacktrace=trace)])
    assert lines[0] == "  File 17"
    assert lines[-1] == "GatewayError: away"


def test_a_trail_without_exception_has_no_frames():
    assert last_frames([row("100000", "Charging")]) == []


def test_an_empty_trail_has_no_cells():
    assert trail_cells([]) == []


def test_nothing_is_wider_than_a_hundred_columns_except_a_command():
    shown, output = screen()
    counts = {"shop-django-asgi": {"INFO": Count(accepted=1_234, arrived=1_234)}}
    shown.headline("Starting")
    shown.done("Flask under gunicorn", "2 workers")
    shown.counts(Report(counts=counts, latency=Latency(p50=1, p95=1, p99=1)))
    trace = f"  File {'x' * 200}"
    shown.traffic([FAILED])
    shown.trail(FAILED, "PipelineLogs", [row("100000", "long " * 90, exception_stacktrace=trace)])
    assert max(map(len, output.getvalue().splitlines())) <= 100


def test_text_in_brackets_is_no_markup():
    shown, output = screen()
    shown.trail(FAILED, "PipelineLogs", [row("100000", "[/nonsense] [bold]")])
    assert "[/nonsense] [bold]" in output.getvalue()


def test_lost_records_are_shown_for_their_level():
    shown, output = screen()
    counts = {"shop-flask": {"ERROR": Count(accepted=5, arrived=3)}}
    shown.counts(Report(counts=counts, latency=Latency(p50=1, p95=1, p99=1)))
    assert ["shop-flask", "ERROR", "5", "3", "2"] in [line.split() for line in output.getvalue().splitlines()]
