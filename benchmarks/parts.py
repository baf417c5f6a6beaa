"""The parts of the benchmark: each runs its child processes, and returns figures by name, and the rest."""

import shutil
from collections.abc import Callable, Iterable
from statistics import median
from typing import Any, Final, NamedTuple

from benchmarks import growth, startup
from benchmarks.requests import __main__ as requests
from benchmarks.requests.__main__ import MANY, Row, Shape
from benchmarks.requests.loggers import PEERS
from benchmarks.servers import __main__ as servers
from benchmarks.servers.examples import BARE
from benchmarks.turns import Child, Figures, Turn, ratio


class Measured(NamedTuple):
    """What a part has measured.

    Attributes:
        figures: by their names in ``figures.FIGURES``.
        details: the rest, for plots and tables.
    """

    figures: Figures
    details: Any


def measure_requests(*, quick: bool) -> Measured:
    """Return what logging costs a request of minimal applications."""
    found: dict[str, dict[Shape, dict[str, Row]]] = {}
    rounds = 1 if quick else 2
    for framework, variants in requests.FRAMEWORKS.items():
        shapes = [Shape()] if quick else None
        found[framework] = requests.measure(framework, variants=variants, shapes=shapes, rounds=rounds)
    if not quick:
        found["flask"] |= requests.measure(
            "flask", variants=("null", "off"), shapes=requests.COUNTED, rounds=rounds
        )
    return Measured(request_figures(found), requests.as_data(found))


def request_figures(found: dict[str, dict[Shape, dict[str, Row]]]) -> Figures:
    """Return the figures of requests, from the rows of each framework and shape."""
    one = {framework: shapes[Shape()] for framework, shapes in found.items()}
    flask = one["flask"]
    hub_us = flask["hub"].added_us
    figures = {
        "flask_off_x_null": flask["off"].x_null,
        "django_off_x_null": one["django"]["off"].x_null,
        "flask_hub_x_structlog": flask["hub"].x_structlog,
        "django_hub_x_structlog": one["django"]["hub"].x_structlog,
        "second_destination_percent": (flask["hub_file"].added_us - hub_us) / hub_us * 100,
        "third_destination_percent": (flask["all"].added_us - flask["hub_file"].added_us) / hub_us * 100,
        "flask_hub_on_top_percent": (flask["all"].x_null / flask["file_console"].x_null - 1) * 100,
        "flask_all_x_null": flask["all"].x_null,
        "django_all_x_null": one["django"]["all"].x_null,
        "django_asgi_off_x_null": one["django_asgi"]["off"].x_null,
        "django_asgi_hub_x_null": one["django_asgi"]["hub"].x_null,
        "asgi_off_x_null": one["asgi"]["off"].x_null,
        "asgi_hub_x_structlog": one["asgi"]["hub"].x_structlog,
    }
    for name, shape in (
        ("flask_threads_hub_x_structlog", Shape(threads=4)),
        ("flask_five_records_x_structlog", Shape(records=5)),
    ):
        if shape in found["flask"]:
            figures[name] = found["flask"][shape]["hub"].x_structlog
    for name, shape in (("query_us", Shape(queries=MANY)), ("streamed_part_us", Shape(parts=MANY))):
        if shape in found["flask"]:
            figures[name] = (found["flask"][shape]["off"].added_us - flask["off"].added_us) / MANY
    return figures


def measure_servers(*, quick: bool) -> Measured:
    """Return what logging costs a request of the examples under gunicorn and uvicorn."""
    if shutil.which("wrk") is None:
        print("wrk is missing: apt-get install -y wrk")
        return Measured({}, {})
    figures: Figures = {}
    details: dict[str, dict[str, Figures]] = {}
    for name, variants in servers.VARIANTS.items():
        rounds = 1 if quick or name == "uvicorn" else 2
        samples = servers.measure(name, variants=variants, rounds=rounds, turns=2 if quick else 4, seconds=1)
        figures |= {f"{name}_server_{end}": value for end, value in servers.percents(samples).items()}
        details[name] = {
            variant: {"cpu_us": median(values), "x_bare": ratio(values, samples[BARE])}
            for variant, values in samples.items()
        }
    return Measured(figures, details)


def measure_calls(*, quick: bool) -> Measured:
    """Return the figures of a log call, by packing and mode of the spool."""
    number = 5_000 if quick else 100_000
    caller: Turn = {"measure": "caller", "blocks": 5 if quick else 20}
    burst: Turn = {"measure": "burst", "number": number}
    all_ways: list[Turn] = [
        {"measure": "waiting", "number": 9_000},
        caller,
        {"measure": "single", "number": 2_000 if quick else 20_000},
        {"measure": "paced", "seconds": 1 if quick else 2},
        burst,
    ]
    rounds = 1 if quick else 3
    gzip = _medians(("gzip", "overflow"), all_ways, rounds)
    lines = _medians(("lines", "overflow"), [burst], rounds)
    single = _medians(("single", "overflow"), [burst], 1)
    always = _medians(("gzip", "always"), [caller, burst], 1 if quick else 2)
    figures = {
        **gzip,
        "burst_lost": max(gzip["burst_lost"], lines["burst_lost"]),
        "burst_per_s": min(gzip["burst_per_s"], lines["burst_per_s"]),
        "always_x_floor": always["caller_x_floor"],
        "burst_single_lost": single["burst_lost"],
        "burst_single_per_s": single["burst_per_s"],
        "burst_always_lost": always["burst_lost"],
    }
    return Measured(figures, {"gzip": gzip, "lines": lines, "single": single, "always": always})


def _medians(arguments: tuple[str, str], turns: Iterable[Turn], rounds: int) -> Figures:
    """Return the median of each figure over new processes; of lost records the most."""
    answers: list[Figures] = []
    for _ in range(rounds):
        with Child("benchmarks.log_calls", *arguments) as child:
            answers.append({name: value for turn in turns for name, value in child.ask(turn).items()})
    return {
        name: (max if name.endswith("_lost") else median)(answer[name] for answer in answers)
        for name in answers[0]
    }


def measure_destinations(*, quick: bool) -> Measured:
    """Return what console and file cost over the handlers of the standard library."""
    answers = []
    for _ in range(1 if quick else 3):
        with Child("benchmarks.destinations") as child:
            answers.append(child.ask({"measure": "compare", "blocks": 4 if quick else 12}))
    cpu_us = {name: median(answer[name] for answer in answers) for name in answers[0]}
    return Measured(destination_figures(cpu_us), cpu_us)


def destination_figures(cpu_us: Figures) -> Figures:
    """Return the figures of the destinations from the CPU of a log call with each of them."""
    null = cpu_us["null"]
    return {
        "file_x_file_handler": (cpu_us["file"] - null) / (cpu_us["file_handler"] - null),
        "console_x_stream_handler": (cpu_us["console"] - null) / (cpu_us["stream_handler"] - null),
        "file_call_x_file_handler_call": cpu_us["file"] / cpu_us["file_handler"],
        "console_call_x_stream_handler_call": cpu_us["console"] / cpu_us["stream_handler"],
    }


def measure_process(*, quick: bool) -> Measured:
    """Return what a process costs that has next to nothing to log."""
    with Child("benchmarks.quiet_process") as quiet:
        quiet.begin({"idle_s": 1 if quick else 8, "busy_s": 1 if quick else 8})
        figures = {
            "import_ms": median(startup.import_ms() for _ in range(3 if quick else 9)),
            "first_byte_s": median(startup.first_byte_s() for _ in range(1 if quick else 5)),
        }
        return Measured({**figures, **quiet.answer()}, {})


def measure_growth(*, quick: bool) -> Measured:
    """Return how the cost of a record grows."""
    grown = growth.measure(rounds=1 if quick else 2)
    return Measured(grown.figures(), grown._asdict())


def measure_peers(*, quick: bool) -> Measured:
    """Return what the peers cost a request, with hublog and structlog in the same run."""
    variants = ("null", "off", "hub", "structlog", *PEERS)
    rows = requests.measure("flask", variants=variants, shapes=[Shape()], rounds=1 if quick else 3)
    requests.show("flask", rows)
    return Measured({}, requests.as_data({"flask": rows}))


#: In the order in which they run; the peers, whose packages are optional, only when they are asked for.
PARTS: Final[dict[str, Callable[..., Measured]]] = {
    "requests": measure_requests,
    "servers": measure_servers,
    "calls": measure_calls,
    "destinations": measure_destinations,
    "process": measure_process,
    "growth": measure_growth,
}
