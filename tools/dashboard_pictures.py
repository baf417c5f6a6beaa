"""Draws the dashboards with the answers of the local hub and of a real Prometheus, for their page.

A stand-in for Grafana, which cannot be installed here: places, titles, kinds and units of the panels are
read from the files that Grafana imports, the values from their queries. Run by `make dashboard-pictures`.
"""

from __future__ import annotations

import json
import sys
from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from html import escape
from math import isnan
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

from tests.adx import test_dashboards as rows_of
from tests.kits.prometheus_server import MINUTES, OUTAGE, prometheus_of_a_day
from tests.metrics.test_delivery_dashboard import as_grafana
from tools.dashboards import DELIVERY_FILE, FOLDER, LOGS_FILE, ROOT

PICTURES: Final = ROOT / "docs" / "pictures"
_UNIT_W, _UNIT_H, _GAP, _WIDTH = 50, 24, 8, 24 * 50
_COLORS: Final = ("#3b7dd8", "#e0663b", "#3f9e6e", "#a05cc4", "#c79a1e", "#5aa7b8", "#c04f7d", "#7a8794")
_STATES: Final = {"green": "#3f9e6e", "orange": "#d08a2e", "red": "#c0392b"}
_INK, _MUTED, _GRID = "#1f2933", "#6b7785", "#e3e8ee"
_POINTS_MIN, _BARS_MIN, _LEGEND_MAX, _KILO, _MINUTES_FROM = 2, 30, 8, 1_000, 120

_STEPS_S: Final = {"1m": 60, "5m": 300}

Size = tuple[float, float]
Box = tuple[float, float, float, float]
Series = tuple[str, list[tuple[float, float]]]


def shown(value: float, unit: str) -> str:
    """Return a value with its unit, as Grafana shows it."""
    if unit == "percentunit":
        return f"{100 * value:.0f} %"
    if unit == "currencyUSD":
        return f"${value:,.2f}"
    if unit == "ms" and abs(value) >= _KILO:
        return shown(value / _KILO, "s")
    if unit == "s" and abs(value) >= _MINUTES_FROM:
        return shown(value / 60, "min")
    letter = "k" if abs(value) >= 10 * _KILO else ""
    words = f"{value / (_KILO if letter else 1):.3g}"
    suffix = {"short": "", "percent": "%", "Bps": "B/s"}.get(unit, unit)
    return f"{words} {letter}{suffix}".strip()


def text(x: float, y: float, words: str, *, size: int = 12, color: str = _INK, more: str = "") -> str:
    """Return words at a place."""
    return f'<text x="{x:.0f}" y="{y:.0f}" font-size="{size}" fill="{color}" {more}>{escape(words)}</text>'


def chart(
    series: Sequence[Series], panel: Mapping[str, Any], size: Size, span: tuple[float, float]
) -> list[str]:
    """Return lines, stacked areas or bars, with axes and a legend."""
    custom = panel["fieldConfig"]["defaults"].get("custom", {})
    left, top, bottom, right = 62, 34, size[1] - 52, size[0] - 14
    layers = ends(series, is_stacked="stacking" in custom)
    most = max((high for _, line in layers for _, _, high in line), default=0.0) or 1.0
    moments = {moment for _, line in layers for moment, _, _ in line}

    def place(moment: float, value: float) -> tuple[float, float]:
        x = left + max(moment - span[0], 0.0) / (span[1] - span[0]) * (right - left)
        return x, bottom - value / most * (bottom - top)

    found = axes((left, top, right, bottom), shown_most=(most, panel), span=span)
    for index, (name, line) in enumerate(layers):
        color = _COLORS[index % len(_COLORS)]
        upper = [place(moment, high) for moment, _, high in line]
        lower = [place(moment, low) for moment, low, _ in line]
        if custom.get("drawStyle") == "bars" or len(moments) < _POINTS_MIN:
            width = max((right - left) / max(len(moments), _BARS_MIN) * 0.7, 2)
            found += [
                f'<rect x="{x - width / 2:.1f}" y="{y:.1f}" width="{width:.1f}"'
                f' height="{max(base - y, 0):.1f}" fill="{color}"/>'
                for (x, y), (_, base) in zip(upper, lower, strict=True)
            ]
        else:
            is_area = "stacking" in custom
            outline = " ".join(f"{x:.1f},{y:.1f}" for x, y in [*upper, *(reversed(lower) if is_area else ())])
            shape = "polygon" if is_area else "polyline"
            fill = f'fill="{color}" fill-opacity="0.6"' if is_area else 'fill="none"'
            found.append(f'<{shape} points="{outline}" {fill} stroke="{color}" stroke-width="1.5"/>')
        x, y = left + index % 4 * (right - left) / 4, size[1] - 24 + index // 4 * 12
        if index < _LEGEND_MAX:
            found.append(f'<rect x="{x:.0f}" y="{y:.0f}" width="10" height="3" fill="{color}"/>')
            found.append(text(x + 14, y + 5, name[:22], size=11))
    return found


def ends(series: Sequence[Series], *, is_stacked: bool) -> list[tuple[str, list[tuple[float, float, float]]]]:
    """Return the low and the high end of each point; stacked, each series upon those before it."""
    sums: dict[float, float] = defaultdict(float)
    layers = []
    for name, line in series:
        points = []
        for moment, value in line:
            points.append((moment, sums[moment], sums[moment] + value))
            sums[moment] += value if is_stacked else 0.0
        layers.append((name, points))
    return layers


def axes(box: Box, shown_most: tuple[float, Mapping[str, Any]], span: Size) -> list[str]:
    """Return the lines of three values, and three times."""
    (left, top, right, bottom), (most, panel) = box, shown_most
    unit, found = panel["fieldConfig"]["defaults"].get("unit", "short"), []
    layout = "%H:%M" if span[1] - span[0] <= 2 * 86_400 else "%d %b"
    for part, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        y, x = bottom - part * (bottom - top), left + part * (right - left)
        found.append(f'<line x1="{left}" x2="{right}" y1="{y:.0f}" y2="{y:.0f}" stroke="{_GRID}"/>')
        value = shown(part * most, unit)
        found.append(text(left - 6, y + 4, value, size=11, color=_MUTED, more='text-anchor="end"'))
        words = datetime.fromtimestamp(span[0] + part * (span[1] - span[0]), UTC).strftime(layout)
        found.append(text(x, bottom + 15, words, size=11, color=_MUTED, more=f'text-anchor="{anchor}"'))
    return found


def table(columns: Sequence[str], rows: Sequence[Sequence[str]], w: float, h: float) -> list[str]:
    """Return the first rows of a table; wide cells are cut."""
    if not rows:
        return [text(w / 2, h / 2, "No data", color=_MUTED, more='text-anchor="middle"')]
    fitting = rows[: int((h - 60) // 18)]
    lengths = [min(max(map(len, cells)), 34) + 2 for cells in zip(columns, *fitting, strict=True)]
    scale = (w - 24) / sum(lengths)
    found, x = [], 12.0
    for index, column in enumerate(columns):
        most = max(int(lengths[index] * scale / 7), 2)
        for line, cell in enumerate([column, *(row[index] for row in fitting)]):
            cut = cell if len(cell) <= most else cell[: most - 1] + "…"
            found.append(text(x, 46 + 18 * line, cut, size=11, color=_INK if line else _MUTED))
        x += lengths[index] * scale
    found.append(f'<line x1="12" x2="{w - 12}" y1="52" y2="52" stroke="{_GRID}"/>')
    if len(rows) > len(fitting):
        found.append(text(w - 12, 20, f"{len(rows)} rows", size=11, color=_MUTED, more='text-anchor="end"'))
    return found


def number(value: float | str, panel: Mapping[str, Any], w: float, h: float) -> list[str]:
    """Return a value or a name in the colour of its level."""
    defaults = panel["fieldConfig"]["defaults"]
    color = next(
        (
            one["properties"][0]["value"]["fixedColor"]
            for one in panel["fieldConfig"]["overrides"]
            if one["matcher"]["options"] == value
        ),
        "green",
    )
    words = str(value)
    if isinstance(value, float):
        for step in defaults["thresholds"]["steps"]:
            color = step["color"] if step["value"] is None or value >= step["value"] else color
        states = defaults["mappings"][0]["options"] if defaults.get("mappings") else {}
        words = states.get(f"{value:.0f}", {}).get("text") or shown(value, defaults.get("unit", "short"))
    return [text(w / 2, h / 2 + 18, words, size=30, color=_STATES[color], more='text-anchor="middle"')]


def picture(content: Mapping[str, Any], drawn: Mapping[str, list[str]]) -> str:
    """Return a dashboard as SVG, each panel at its place."""
    panels = content["panels"]
    height = max(panel["gridPos"]["y"] + panel["gridPos"]["h"] for panel in panels) * _UNIT_H + _GAP
    found = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}"',
        f' height="{height}"',
        ' font-family="-apple-system, Segoe UI, Helvetica, Arial, sans-serif">',
        f'<title>{escape(content["title"])}</title><rect width="100%" height="100%" fill="#f4f6f8"/>',
    ]
    for panel in panels:
        x, y, w, h = (panel["gridPos"][key] for key in "xywh")
        at = f'<g transform="translate({x * _UNIT_W + _GAP / 2},{y * _UNIT_H + _GAP / 2})">'
        if panel["type"] == "row":
            found += [at, text(6, 16, panel["title"], size=14, more='font-weight="600"'), "</g>"]
            continue
        wide, high = w * _UNIT_W - _GAP, h * _UNIT_H - _GAP
        found.append(f'{at}<rect width="{wide}" height="{high}" rx="4" fill="#fff" stroke="{_GRID}"/>')
        found.append(text(12, 20, panel["title"], size=13, more='font-weight="600"'))
        found += [*drawn[panel["title"]], "</g>"]
    return "\n".join([*found, "</svg>", ""])


def _size(panel: Mapping[str, Any]) -> tuple[float, float]:
    return panel["gridPos"]["w"] * _UNIT_W - _GAP, panel["gridPos"]["h"] * _UNIT_H - _GAP


def _cell(value: object, unit: str) -> str:
    if value is None:
        return ""
    if isinstance(value, datetime):
        return value.strftime("%d %b %H:%M:%S")
    if isinstance(value, float):
        return shown(value, unit)
    return " ".join(str(value).split())


def _series(found: Sequence[Mapping[str, Any]]) -> list[Series]:
    """Return one line for each number column and name, as Grafana's plugin does."""
    lines: dict[str, list[tuple[float, float]]] = defaultdict(list)
    for row in found:
        names = [value or "(none)" for value in row.values() if isinstance(value, str)]
        for column, value in row.items():
            if isinstance(value, int | float):
                lines[names[0] if names else column].append((row["timestamp"].timestamp(), float(value)))
    return sorted(lines.items(), key=lambda line: -sum(value for _, value in line[1]))


def draw_logs(folder: Path) -> str:
    """Return the picture of the logs, answered by the local hub."""
    content = json.loads((FOLDER / LOGS_FILE).read_text(encoding="utf-8"))
    rows, drawn = rows_of.Rows(folder), {}
    ask = rows_of.asking(rows)
    for panel in (panel for panel in content["panels"] if panel["type"] != "row"):
        found = ask("grafana", panel["title"])
        if panel["type"] == "table":
            units = {
                one["matcher"]["options"]: one["properties"][0]["value"]
                for one in panel["fieldConfig"]["overrides"]
            }
            columns = list(found[0]) if found else []
            cells = [[_cell(row[name], units.get(name, "short")) for name in columns] for row in found]
            drawn[panel["title"]] = table(columns, cells, *_size(panel))
        else:
            days = float(panel["timeFrom"].rstrip("d")) if "timeFrom" in panel else 0
            begin_s = rows.end.timestamp() - days * 86_400 if days else rows.start.timestamp()
            span = begin_s, rows.end.timestamp()
            drawn[panel["title"]] = chart(_series(found), panel, _size(panel), span)
    return picture(content, drawn)


def draw_delivery(folder: Path) -> str:
    """Return the picture of delivery, answered by Prometheus; the numbers are those amid the outage."""
    content = json.loads((FOLDER / DELIVERY_FILE).read_text(encoding="utf-8"))
    drawn = {}
    with prometheus_of_a_day(folder) as prometheus:
        for panel in (panel for panel in content["panels"] if panel["type"] != "row"):
            series: list[Series] = []
            for target in panel["targets"]:
                query, legend = as_grafana(target["expr"]), target["legendFormat"]
                label = legend.strip("{}") if legend.startswith("{{") else None
                if panel["type"] == "stat":
                    [(labels, value)] = prometheus.values(query, OUTAGE.stop - 5)
                    shown_value = labels[label] if label else value
                    drawn[panel["title"]] = number(shown_value, panel, *_size(panel))
                else:
                    for labels, points in prometheus.series(query, _STEPS_S[panel["interval"]]):
                        values = [point for point in points if not isnan(point[1])]
                        series.append((labels[label] if label else legend, values))
            if panel["type"] != "stat":
                span = prometheus.end_s - 60.0 * MINUTES, float(prometheus.end_s)
                drawn[panel["title"]] = chart(series, panel, _size(panel), span)
    return picture(content, drawn)


def main() -> int:
    """Draw both."""
    for name, draw in (("dashboard_logs", draw_logs), ("dashboard_delivery", draw_delivery)):
        with TemporaryDirectory() as folder:
            path = PICTURES / f"{name}.svg"
            path.write_text(draw(Path(folder)), encoding="utf-8")
            print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
