"""Draws the plots of the page as SVG, from the results."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from math import log10
from typing import Any, Final

from benchmarks.figures import FIGURES, TIMES, Figure, Verdict, shown

WIDTH: Final = 860
_FONT: Final = "-apple-system, 'Segoe UI', Helvetica, Arial, sans-serif"
_INK, _MUTED, _GRID, _PAPER = "#1f2933", "#6b7785", "#e3e8ee", "#ffffff"
_BASE, _OURS, _PEER, _GOOD, _BAD = "#c3ccd6", "#2f6fb3", "#d08a2e", "#2e8b57", "#c0392b"
#: How a way to log is named in a plot, in this order.
WAYS: Final = {
    "none": "no log call",
    "null": "NullHandler",
    "off": "middleware alone",
    "hub": "Event Hub",
    "file": "file",
    "console": "console",
    "hub_file": "Event Hub, file",
    "file_console": "file, console",
    "all": "all three",
    "structlog": "structlog, orjson",
    "opentelemetry": "OpenTelemetry",
    "sentry": "sentry-sdk",
    "bare": "without hublog",
}
_PEERS: Final = ("structlog", "opentelemetry", "sentry")
FRAMEWORKS: Final = {
    "flask": "Flask",
    "django": "Django",
    "django_asgi": "Django behind ASGI",
    "asgi": "plain ASGI",
}
SERVERS: Final = {
    "flask": "example_flask, gunicorn",
    "django": "example_django, gunicorn",
    "uvicorn": "example_django, uvicorn",
}


@dataclass
class Drawing:
    """Shapes on a sheet, from top to bottom.

    Attributes:
        title: said to who cannot see it.
        height: of what is drawn so far, pixels.
        shapes: SVG elements.
    """

    title: str
    height: float = 12
    shapes: list[str] = field(default_factory=list)

    def text(
        self,
        x: float,
        y: float,
        text: str,
        *,
        anchor: str = "start",
        size: int = 13,
        ink: str = _INK,
        bold: bool = False,
    ) -> None:
        """Write at a place."""
        weight = ' font-weight="600"' if bold else ""
        self.shapes.append(
            f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" font-size="{size}" fill="{ink}"{weight}>'
            f"{escape(text)}</text>"
        )

    def bar(self, x: float, y: float, width: float, height: float, ink: str) -> None:
        """Draw a filled rectangle."""
        self.shapes.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(width, 0):.1f}" height="{height:.1f}" fill="{ink}"/>'
        )

    def line(
        self, points: Sequence[tuple[float, float]], ink: str, *, width: float = 1, dash: str = ""
    ) -> None:
        """Draw a line through points."""
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        dashed = f' stroke-dasharray="{dash}"' if dash else ""
        self.shapes.append(
            f'<polyline points="{path}" fill="none" stroke="{ink}" stroke-width="{width}"{dashed}/>'
        )

    def dot(self, x: float, y: float, ink: str, radius: float = 4.5) -> None:
        """Draw a filled circle."""
        self.shapes.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{radius}" fill="{ink}"/>')

    def svg(self) -> str:
        """Return the document."""
        height = round(self.height + 12)
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{height}" '
            f'viewBox="0 0 {WIDTH} {height}" font-family="{_FONT}" role="img">\n'
            f"<title>{escape(self.title)}</title>\n"
            f'<rect width="{WIDTH}" height="{height}" fill="{_PAPER}"/>\n'
            + "\n".join(self.shapes)
            + "\n</svg>\n"
        )


def requests_plot(results: Mapping[str, Any]) -> str:
    """Draw the CPU of a request with each way to log: Flask and Django."""
    drawing = Drawing("CPU of a request with each way to log, one log call in the view")
    details = results["parts"]["requests"]["details"]
    for framework in ("flask", "django"):
        ways = details[framework][0]["ways"]  # one log call, one thread
        _request_bars(drawing, f"{FRAMEWORKS[framework]}, in process: CPU of a request, µs", ways)
    return drawing.svg()


def peers_plot(results: Mapping[str, Any]) -> str:
    """Draw the CPU of a request with hublog and with its peers."""
    drawing = Drawing("CPU of a request with hublog, structlog, OpenTelemetry and sentry-sdk")
    ways = results["parts"]["peers"]["details"]["flask"][0]["ways"]
    _request_bars(drawing, "Flask, in process, with the optional peers: CPU of a request, µs", ways)
    return drawing.svg()


def _request_bars(drawing: Drawing, title: str, ways: Mapping[str, Mapping[str, float]]) -> None:
    left, right, step = 170, 150, 24
    most = max(way["cpu_us"] for way in ways.values())
    scale = (WIDTH - left - right) / most
    base = ways["null"]["cpu_us"]
    drawing.text(16, drawing.height + 18, title, size=15, bold=True)
    top = drawing.height + 32
    for number, (name, label) in enumerate((name, label) for name, label in WAYS.items() if name in ways):
        way, y = ways[name], top + number * step
        used = way["cpu_us"]
        ink = _PEER if name in _PEERS else _OURS
        drawing.text(left - 10, y + 14, label, anchor="end")
        drawing.bar(left, y + 2, min(used, base) * scale, step - 7, _BASE)
        drawing.bar(left + base * scale, y + 2, (used - base) * scale, step - 7, ink)
        added = "" if name in ("none", "null") else f" ({way['added_us']:+.0f}, {TIMES} {way['x_null']:.2f})"
        drawing.text(left + used * scale + 8, y + 14, f"{used:.0f}{added}", ink=_MUTED)
    drawing.height = top + len(ways) * step + 10


def servers_plot(results: Mapping[str, Any]) -> str:
    """Draw what hublog adds to the CPU of a request of the examples."""
    drawing = Drawing("CPU of a worker per request of the example applications, over the bare application")
    left, right, step = 170, 150, 24
    details = results["parts"]["servers"]["details"]
    most = max(100 * (way["x_bare"] - 1) for ways in details.values() for way in ways.values())
    most = max(most, 25)
    scale = (WIDTH - left - right) / most
    must = 20
    for name, ways in details.items():
        bare = ways["bare"]["cpu_us"]
        title = f"{SERVERS[name]}: CPU added to the {bare:,.0f} µs of the bare application"
        drawing.text(16, drawing.height + 18, title, size=15, bold=True)
        top = drawing.height + 32
        shown_ways = [way for way in WAYS if way in ways and way != "bare"]
        bottom = top + len(shown_ways) * step
        drawing.line([(left + must * scale, top - 4), (left + must * scale, bottom)], _BAD, dash="4 3")
        for number, way in enumerate(shown_ways):
            y, added = top + number * step, 100 * (ways[way]["x_bare"] - 1)
            drawing.text(left - 10, y + 14, WAYS[way], anchor="end")
            drawing.bar(left, y + 2, added * scale, step - 7, _OURS)
            drawing.text(
                left + max(added, 0) * scale + 8,
                y + 14,
                f"{added:+.0f} %  ({ways[way]['cpu_us']:,.0f} µs)",
                ink=_MUTED,
            )
        drawing.line([(left, top - 4), (left, bottom)], _MUTED)
        drawing.height = bottom + 10
    drawing.text(
        left + must * scale,
        drawing.height + 8,
        "all three must stay below + 20 %",
        anchor="middle",
        size=12,
        ink=_BAD,
    )
    drawing.height += 14
    return drawing.svg()


def growth_plot(results: Mapping[str, Any]) -> str:
    """Draw how the cost of a record grows, a panel for each thing that grows."""
    drawing = Drawing("CPU of a record, as call sites, threads, processes, size and fields grow")
    details = results["parts"]["growth"]["details"]
    width, height, columns = (WIDTH - 20) / 3, 210, 3
    for number, (key, label) in enumerate(_GROWTH.items()):
        left = (number % columns) * width + 54
        top = drawing.height + (number // columns) * (height + 20) + 30
        box = left, top, width - 84, height - 60.0
        _panel(drawing, details[key], label, box, is_linear=key in _LINEAR)
    drawing.height += 2 * (height + 20) + 4
    drawing.text(
        16, drawing.height, "CPU a record, µs; dashed: a fifth more than flat or linear", size=12, ink=_MUTED
    )
    return drawing.svg()


_GROWTH: Final = {
    "threads": "threads that log",
    "processes": "processes that log",
    "call_sites": f"loggers {TIMES} templates",
    "characters": "characters of the message",
    "fields": "extra fields",
}
_LINEAR: Final = ("characters", "fields")


def _panel(
    drawing: Drawing,
    steps: Mapping[str, float],
    label: str,
    box: tuple[float, float, float, float],
    *,
    is_linear: bool,
) -> None:
    left, top, width, height = box
    values = list(steps.values())
    positions = [float(step) if is_linear else float(place) for place, step in enumerate(steps)]
    slope = 1.2 * (values[1] - values[0]) / positions[1] if is_linear else 0.0
    begin, last = values[0] * (1 if is_linear else 1.2), positions[-1]
    most = 1.1 * max(*values, begin)
    end = min(last, (most - begin) / slope) if slope > 0 else last

    def place(position: float, value: float) -> tuple[float, float]:
        return left + width * position / last, top + height * (1 - value / most)

    drawing.text(left - 38, top - 14, label, size=14, bold=True)
    for value in (0.0, most / 2, most):
        drawing.line([place(0, value), place(last, value)], _GRID)
        drawing.text(left - 8, place(0, value)[1] + 4, f"{value:,.0f}", anchor="end", size=11, ink=_MUTED)
    drawing.line([place(0, begin), place(end, begin + slope * end)], _BAD, dash="4 3")
    drawing.line([place(*point) for point in zip(positions, values, strict=True)], _OURS, width=2)
    written_to = 0.0
    for position, value, step in zip(positions, values, steps, strict=True):
        x, y = place(position, value)
        drawing.dot(x, y, _OURS, 3.5)
        name = f" {TIMES} ".join(f"{int(part):,}" for part in step.split(" x "))
        if x - 4 * len(name) > written_to:  # else it would touch the one before
            drawing.text(x, top + height + 18, name, anchor="middle", size=11, ink=_MUTED)
            written_to = x + 4 * len(name)


def musts_plot(results: Mapping[str, Any]) -> str:
    """Draw each figure that is judged as a share of its must, on a logarithmic scale."""
    drawing = Drawing("Each figure as a share of what must be reached")
    left, right, step = 440, 130, 22
    least, most = -1.5, 1.0
    drawing.text(
        16, drawing.height + 16, "Share of the must: it is reached left of the line", size=15, bold=True
    )
    top = drawing.height + 44

    def place(share: float) -> float:
        exponent = min(max(log10(share), least), most) if share > 0 else least
        return left + (WIDTH - left - right) * (exponent - least) / (most - least)

    judged = [figure for figure in FIGURES if figure.must is not None and figure.name in results["figures"]]
    parts = list(dict.fromkeys(figure.part for figure in judged))
    bottom = top + (len(judged) + len(parts)) * step
    for share in (0.1, 0.3, 1, 3, 10):
        drawing.line([(place(share), top), (place(share), bottom)], _BAD if share == 1 else _GRID)
        drawing.text(place(share), top - 6, f"{TIMES} {share:g}", anchor="middle", size=11, ink=_MUTED)
    y = top
    for part in parts:
        drawing.text(16, y + 16, part, bold=True)
        y += step
        for figure in (figure for figure in judged if figure.part == part):
            value = results["figures"][figure.name]["value"]
            ink = _BAD if figure.verdict(value) is Verdict.MISSED else _GOOD
            drawing.text(left - 14, y + 15, figure.text, anchor="end", size=12)
            drawing.line([(left, y + 11), (WIDTH - right, y + 11)], _GRID)
            drawing.dot(place(share_of_must(figure, value)), y + 11, ink)
            text = f"{shown(value)} ({figure.bound(figure.must)})"
            drawing.text(WIDTH - right + 12, y + 15, text, size=12, ink=_BAD if ink is _BAD else _MUTED)
            y += step
    drawing.height = bottom
    return drawing.svg()


def share_of_must(figure: Figure, value: float) -> float:
    """Return how much of its must a value uses up: at most 1 if it is reached; of nothing, all or nothing."""
    over, under = (figure.must or 0, value) if figure.is_least else (value, figure.must or 0)
    return over / under if under else float("inf" if over > 0 else 0)


#: What is drawn, if the part was measured.
PLOTS: Final[dict[str, tuple[str, Callable[[Mapping[str, Any]], str]]]] = {
    "performance_musts": ("calls", musts_plot),
    "performance_requests": ("requests", requests_plot),
    "performance_peers": ("peers", peers_plot),
    "performance_servers": ("servers", servers_plot),
    "performance_growth": ("growth", growth_plot),
}
