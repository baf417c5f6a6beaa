"""The figures that are promised: names, what they mean, what must be reached, and whether it is."""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final, NamedTuple


class Verdict(StrEnum):
    """How a figure compares with what is asked of it."""

    AIM = "aim reached"
    MUST = "must reached"
    MISSED = "MISSED"
    SHOWN = ""


class Figure(NamedTuple):
    """A figure of the benchmark.

    Attributes:
        name: in ``results.json``; its end names the unit.
        part: of the table that it stands in.
        text: what it is, for a reader.
        must: what has to be reached; None where a figure is shown only.
        aim: what is better still.
        is_least: whether must and aim are the least rather than the most.
    """

    name: str
    part: str
    text: str
    must: float | None = None
    aim: float | None = None
    is_least: bool = False

    def verdict(self, value: float) -> Verdict:
        """Judge a value."""
        if self.must is None:
            return Verdict.SHOWN
        sign = -1 if self.is_least else 1
        if not sign * value <= sign * self.must:
            return Verdict.MISSED
        return Verdict.AIM if self.aim is not None and sign * value <= sign * self.aim else Verdict.MUST

    def bound(self, number: float | None) -> str:
        """Return must or aim as a table shows it."""
        return "" if number is None else f"{'≥' if self.is_least else '≤'} {shown(number)}"


#: Written before a ratio.
TIMES: Final = "\N{MULTIPLICATION SIGN}"


def shown(value: float) -> str:
    """Return a number with three digits that mean something; large ones with commas."""
    if value != value:  # noqa: PLR0124  # not a number
        return "?"
    if abs(value) >= 100 or value == int(value):
        return f"{value:,.0f}"
    return f"{value:.3g}"


REQUEST: Final = "A request, in process"
SERVER: Final = "A request, under a real server"
CALL: Final = "A log call"
DESTINATION: Final = "Console and file"
PROCESS: Final = "A process"
GROWTH: Final = "Growth"

FIGURES: Final = (
    Figure("flask_off_x_null", REQUEST, "minimal Flask, middleware alone, over a NullHandler", 1.30, 1.15),
    Figure("django_off_x_null", REQUEST, "minimal Django, middleware alone, over a NullHandler", 1.25, 1.15),
    Figure(
        "flask_hub_x_structlog",
        REQUEST,
        "Flask, Event Hub, two records: added CPU, over structlog's",
        1.5,
        1.0,
    ),
    Figure(
        "django_hub_x_structlog",
        REQUEST,
        "Django, Event Hub, two records: added CPU, over structlog's",
        1.5,
        1.0,
    ),
    Figure(
        "second_destination_percent", REQUEST, "file on top of the Event Hub, of what the Event Hub adds", 15
    ),
    Figure("third_destination_percent", REQUEST, "console on top of both, of what the Event Hub adds", 15),
    Figure(
        "flask_hub_on_top_percent", REQUEST, "Flask, Event Hub on top of file and console, of the request"
    ),
    Figure("flask_threads_hub_x_structlog", REQUEST, "Flask with four threads, Event Hub, over structlog's"),
    Figure("flask_five_records_x_structlog", REQUEST, "Flask, Event Hub, six records, over structlog's"),
    Figure("flask_all_x_null", REQUEST, "Flask, all three destinations, over a NullHandler"),
    Figure("django_all_x_null", REQUEST, "Django, all three destinations, over a NullHandler"),
    Figure("django_asgi_off_x_null", REQUEST, "Django behind ASGI, middleware alone, over a NullHandler"),
    Figure("django_asgi_hub_x_null", REQUEST, "Django behind ASGI, Event Hub, over a NullHandler"),
    Figure("asgi_off_x_null", REQUEST, "plain ASGI, middleware alone, over a NullHandler"),
    Figure(
        "asgi_hub_x_structlog", REQUEST, "plain ASGI, Event Hub, two records: added CPU, over structlog's"
    ),
    Figure("query_us", REQUEST, "a query through SQLAlchemy, counted by the middleware, microseconds"),
    Figure("streamed_part_us", REQUEST, "a part of a streamed response, microseconds"),
    Figure("flask_server_hub_percent", SERVER, "example_flask, Event Hub on top of file and console", 5, 3),
    Figure("flask_server_all_percent", SERVER, "example_flask, all three over the bare application", 20, 10),
    Figure("django_server_hub_percent", SERVER, "example_django, Event Hub on top of file and console", 5, 3),
    Figure(
        "django_server_all_percent", SERVER, "example_django, all three over the bare application", 20, 10
    ),
    Figure("uvicorn_server_hub_percent", SERVER, "example_django under uvicorn, Event Hub on top of both"),
    Figure("uvicorn_server_all_percent", SERVER, "example_django under uvicorn, all three over bare"),
    Figure("caller_x_floor", CALL, "five extras, block of 1,000, over a NullHandler", 2.0, 1.6),
    Figure("always_x_floor", CALL, "the same with EVENTHUB_LOG_SPOOL=always, over it", 3.5, 2.5),
    Figure("single_p99_x_floor", CALL, "one call alone, 99th percentile, over a NullHandler's mean", 5),
    Figure("single_max_ms", CALL, "one call alone, the longest of 20,000, milliseconds", 5),
    Figure("total_x_paced_floor", CALL, "CPU of the process at 5,000 a second, over the floor's", 2.5, 1.9),
    Figure("burst_lost", CALL, "burst of 100,000, lines and gzip: records lost", 0),
    Figure(
        "burst_per_s",
        CALL,
        "burst of 100,000, the slower of lines and gzip, records a second",
        70_000,
        100_000,
        is_least=True,
    ),
    Figure("burst_single_lost", CALL, "burst of 100,000, packing single: records lost", 0),
    Figure("burst_single_per_s", CALL, "burst of 100,000, packing single, records a second"),
    Figure("burst_always_lost", CALL, "burst of 100,000, spool always: records lost", 0),
    Figure("events_per_1000", CALL, "events for 1,000 records, gzip", 2),
    Figure("wire_bytes_per_record", CALL, "bytes on the wire for a record, gzip", 200, 120),
    Figure("memory_bytes_per_queued_record", CALL, "memory for a record that waits, bytes", 1_000, 700),
    Figure("close_with_9000_queued_s", CALL, "delivery of 9,000 records that wait, seconds", 0.3, 0.05),
    Figure("file_x_file_handler", DESTINATION, "a record in the file, over logging.FileHandler", 1.5, 1.1),
    Figure("console_x_stream_handler", DESTINATION, "a record on the console, over StreamHandler", 1.5, 1.1),
    Figure("file_call_x_file_handler_call", DESTINATION, "the whole log call, file"),
    Figure("console_call_x_stream_handler_call", DESTINATION, "the whole log call, console"),
    Figure("import_ms", PROCESS, "import hublog, milliseconds of CPU", 25, 15),
    Figure("first_byte_s", PROCESS, "first record to first byte on the wire, seconds", 0.6),
    Figure("threads_at_one_request_percent", PROCESS, "our threads at a request a second, of a core", 0.1),
    Figure("idle_cpu_us_per_s", PROCESS, "idle, CPU a second, microseconds", 200, 60),
    Figure("idle_wakeups_per_s", PROCESS, "idle, wake-ups a second", 1, 0),
    Figure("templates_x", GROWTH, "64 loggers with 10,000 templates, over one logger", 1.2),
    Figure("threads_x", GROWTH, "16 threads that log, over one", 1.2),
    Figure("processes_x", GROWTH, "8 processes that log, over one", 1.2),
    Figure("record_size_x", GROWTH, "a byte of a record of 64 KiB, over one of 4 KiB", 1.2),
    Figure("extras_x", GROWTH, "a field of 50, over one of ten", 1.2),
)
BY_NAME: Final = {figure.name: figure for figure in FIGURES}


def missed(values: Mapping[str, float]) -> list[Figure]:
    """Return the figures whose must is not reached; those that were not measured are not among them."""
    return [
        figure
        for figure in FIGURES
        if figure.name in values and figure.verdict(values[figure.name]) is Verdict.MISSED
    ]


def table(values: Mapping[str, float]) -> str:
    """Return the table of what was measured."""
    head = ("name", "value", "must", "aim", "verdict")
    lines = [head] + [
        (
            figure.name,
            shown(values[figure.name]),
            figure.bound(figure.must),
            figure.bound(figure.aim),
            figure.verdict(values[figure.name]),
        )
        for figure in FIGURES
        if figure.name in values
    ]
    return "\n".join(
        f"{name:36}{value:>10}{must:>12}{aim:>12}  {verdict}" for name, value, must, aim, verdict in lines
    )
