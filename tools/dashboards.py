"""Writes the dashboards of `observability` anew: Azure Data Explorer's own, and two for Grafana.

The queries are those that hublog ships, see `hublog.adx`: a dashboard gives them its time range, the width
of a step and the chosen services in place of theirs. Run by `make dashboards`.
"""

from __future__ import annotations

import json
import re
import sys
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any, Final

from grafana_foundation_sdk.builders import common, dashboard, prometheus, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import common as looks
from grafana_foundation_sdk.models.dashboard import (
    DashboardCursorSync,
    DataSourceRef,
    DynamicConfigValue,
    Threshold,
    ThresholdsMode,
    ValueMap,
    ValueMappingResult,
    VariableHide,
    VariableOption,
    VariableRefresh,
)

from hublog.adx import QUERIES, KqlNames
from hublog.capture.columns import TABLE
from hublog.cli.prices import BILLED_BYTES, MILLION_EVENTS, TIERS, UNIT_BYTES
from hublog.delivery.accounting import State

ROOT: Final = Path(__file__).resolve().parent.parent
FOLDER: Final = ROOT / "observability"
ADX_FILE: Final = "adx/dashboard.json"
LOGS_FILE: Final = "grafana/logs.json"
DELIVERY_FILE: Final = "grafana/delivery.json"
#: The form of the file that the web interface of Azure Data Explorer exports and takes.
ADX_SCHEMA: Final = "60"
ADX_PLUGIN: Final = "grafana-azure-data-explorer-datasource"
ROWS_MAX: Final = 200
#: Of the grid, in both products.
COLUMNS: Final = 24
#: In a shipped query, and what a dashboard has instead.
_TIMES: Final = (
    ("timestamp > ago(1h)", "timestamp between ($start .. $end)"),
    ("timestamp > ago(1d)", "timestamp between ($start .. $end)"),
    ("timestamp between (ago(7d) .. ago(1h))", "timestamp between (($start - 7d) .. $start)"),
    ("bin(timestamp, 1m)", "bin(timestamp, $step)"),
)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One panel, for both dashboards.

    Attributes:
        title: above it.
        text: what it shows, where the title does not say it all.
        kind: `lines`, `areas` (stacked), `bars`, `table` or `number`.
        query: KQL with `$start`, `$end`, `$step`, `$services` and `$id`, or PromQL, by the name of its line.
        unit: of the values, as Grafana names it; of the columns that `units` does not name.
        units: of columns.
        width: of 24.
        range: back from now, in place of the dashboard's.
        step: the least width of one.
        states: a text for each value.
        colors: of series.
        levels: from which value it is coloured how.
    """

    title: str
    text: str = ""
    kind: str = "lines"
    query: str = ""
    queries: Mapping[str, str] = field(default_factory=dict)
    unit: str = "short"
    units: Mapping[str, str] = field(default_factory=dict)
    width: int = 12
    height: int = 8
    range: str = ""
    step: str = "1m"
    states: Mapping[str, str] = field(default_factory=dict)
    colors: Mapping[str, str] = field(default_factory=dict)
    levels: Sequence[tuple[float | None, str]] = ()


def shipped(name: str, *more: str) -> str:
    """Return a query that hublog ships, over the time range and the services of a dashboard.

    Args:
        name: of its file in `observability/adx/queries`.
        more: operators that follow it.
    """
    body = as_it_is(name)
    for old, new in _TIMES:
        body = body.replace(old, new)
    body = body.replace(f"{TABLE}\n", f"{TABLE}\n| where $services\n")
    return "\n".join([body, *more])


def as_it_is(name: str, *more: str) -> str:
    """Return a query that hublog ships, over its own time range and all services."""
    [body] = [query.body for query in QUERIES if query.name == name]
    return "\n".join([body, *more])


def called(function: str, arguments: str, *more: str) -> str:
    """Return the call of a stored function, and operators that follow it."""
    return "\n".join([f"{TABLE}{function}({arguments})", *more])


_MS: Final = {"p50": "ms", "p95": "ms", "p99": "ms", "slowest": "ms", "duration_ms": "ms", "db_ms": "ms"}
_FIRST: Final = f"| take {ROWS_MAX}"
_SPAN: Final = "$start, $end"
#: Pages of the dashboard of Azure Data Explorer, rows of the one of Grafana.
PAGES: Final[Mapping[str, Sequence[Panel]]] = {
    "Traffic": (
        Panel(
            title="Requests and server errors",
            query=shipped("requests_and_errors", "| project timestamp, requests, errors"),
        ),
        Panel(
            title="Server errors in percent",
            query=shipped("requests_and_errors", "| project timestamp, error_percent"),
            unit="percent",
        ),
        Panel(
            title="Requests by route",
            text="The ten busiest, and all others.",
            kind="bars",
            query=shipped("requests_by_route"),
        ),
        Panel(title="Latency", text="Of all requests.", query=shipped("latency"), unit="ms"),
        Panel(title="Routes", kind="table", query=shipped("latency_by_route", _FIRST), units=_MS, width=24),
        Panel(
            title="Slow requests",
            text="Those that took more than a second, the slowest first.",
            kind="table",
            query=called("SlowRequests", f"{_SPAN}, 1000.0", "| where $services", _FIRST),
            units=_MS,
            width=24,
        ),
        Panel(
            title="Views with the most database queries",
            kind="table",
            query=shipped("database_by_view", _FIRST),
            units=_MS,
            width=24,
        ),
    ),
    "Errors": (
        Panel(
            title="Errors and failed requests",
            text="One row per error: by fingerprint, else by message template. First seen in the time range.",
            kind="table",
            query=called("Errors", _SPAN, "| where $services", _FIRST),
            width=24,
            height=10,
        ),
        Panel(
            title="New exceptions",
            text="Those that did not occur in the seven days before the time range.",
            kind="table",
            query=shipped("new_errors", _FIRST),
            width=24,
        ),
    ),
    "Logs": (
        Panel(title="Records by level", kind="bars", query=shipped("records_by_level"), width=24),
        Panel(
            title="Services",
            kind="table",
            query=shipped("records_by_service", _FIRST),
            width=24,
            height=6,
        ),
        Panel(
            title="Truncated records",
            text="Loggers whose records are truncated.",
            kind="table",
            query=shipped("truncated", _FIRST),
            width=24,
        ),
    ),
    "Trace": (
        Panel(
            title="Records of one id",
            text="Of a trace, request, correlation, task or record id, in order; since the time range began.",
            kind="table",
            query=called(
                "Trace",
                "$id, now() - $start",
                "| where isnotempty($id)",
                "| project timestamp, level, service_name, logger_name, message, record_type, http_route,",
                "    http_status_code, duration_ms, exception_type, exception_stacktrace, span_id",
                _FIRST,
            ),
            units=_MS,
            width=24,
            height=14,
        ),
    ),
    "Delivery": (
        Panel(
            title="Delivery of each process",
            text="The newest heartbeat of each process.",
            kind="table",
            query=shipped("processes", _FIRST),
            units={"queue_share": "percentunit", "spool_share": "percentunit", "oldest_age_s": "s"},
            width=24,
        ),
        Panel(
            title="Ingestion lag",
            text="Seconds from the log call to the table, 95th percentile: in all, in the application until"
            " it was sent, and in Azure after that. Of all services.",
            query=called(
                "Lag",
                f"{_SPAN}, $step",
                "| project timestamp, total_p95, application_p95, azure_p95",
            ),
            unit="s",
        ),
        Panel(
            title="Duplicates in percent",
            kind="bars",
            query=shipped("duplicates", "| project timestamp, duplicate_percent"),
            unit="percent",
        ),
        Panel(
            title="Missing records",
            text="Processes with gaps in the numbers of their records: what was dropped or is on its way.",
            kind="table",
            query=called("Gaps", _SPAN, "| where $services", _FIRST),
            width=24,
            height=6,
        ),
        Panel(
            title="Cost per day at Event Hubs, US dollars",
            text="The last 30 days of all services, from the length of the lines: for"
            " EVENTHUB_LOG_PACKING=lines, tier Standard, US list prices. The metrics have what was sent.",
            kind="bars",
            query=as_it_is("cost_by_day", "| project timestamp, usd"),
            unit="currencyUSD",
            range="30d",
        ),
        Panel(
            title="Volume per day",
            text="The last 30 days of all services. Units: throughput units for the busiest minute.",
            kind="table",
            query=as_it_is("cost_by_day", "| order by timestamp desc"),
            units={"usd": "currencyUSD"},
            range="30d",
        ),
    ),
}


# --- Grafana with Prometheus ---------------------------------------------------------------------

_JOB: Final = '{job=~"$job"}'
_LOSSES: Final = '{job=~"$job", reason!~"sampled_out|deduplicated"}'
_RATE: Final = "[$__rate_interval]"


def _quantiles(metric: str) -> dict[str, str]:
    return {
        f"p{part * 100:.0f}": f"histogram_quantile({part}, sum by (le) (rate({metric}_bucket{_JOB}{_RATE})))"
        for part in (0.5, 0.95, 0.99)
    }


def _sums(metrics: Mapping[str, str]) -> dict[str, str]:
    return {name: f"sum({metric}{_JOB})" for name, metric in metrics.items()}


def _rates(metrics: Mapping[str, str]) -> dict[str, str]:
    return {name: f"sum(rate({metric}_total{_JOB}{_RATE}))" for name, metric in metrics.items()}


_GREEN_THEN: Final = ((None, "green"),)
#: An event is billed once for each piece of 64 KiB that it begins, so for its share of the bytes at least.
_BILLED: Final = (
    f"(sum(increase(hublog_events_sent_total{_JOB}[1d]))"
    f" + sum(increase(hublog_sent_bytes_total{_JOB}[1d])) / {BILLED_BYTES})"
)
_BUSIEST: Final = f"max_over_time(sum(rate(hublog_sent_bytes_total{_JOB}[5m]))[1d:5m])"
_UNITS: Final = f"ceil({_BUSIEST} / {UNIT_BYTES})"
DELIVERY_ROWS: Final[Mapping[str, Sequence[Panel]]] = {
    "Now": (
        Panel(
            title="Circuit",
            text="The worst of all processes.",
            kind="number",
            queries={"circuit": f"max(hublog_circuit_state{_JOB})"},
            states={"0": "closed", "1": "half open", "2": "open"},
            levels=(*_GREEN_THEN, (1, "orange"), (2, "red")),
            width=4,
            height=5,
        ),
        Panel(
            title="Delivery",
            text="The worst of all processes.",
            kind="number",
            queries={"{{state}}": f"max by (state) (hublog_delivery_state{_JOB}) == 1"},
            colors={
                State.HEALTHY: "green",
                State.DEGRADED: "orange",
                State.PROBING: "orange",
                State.DRAINING: "orange",
                State.OPEN: "red",
                State.DISK_ONLY: "red",
            },
            levels=_GREEN_THEN,
            width=4,
            height=5,
        ),
        Panel(
            title="Lost in the last hour",
            text="Sampled out and deduplicated records are no losses.",
            kind="number",
            queries={"lost": f"sum(increase(hublog_records_dropped_total{_LOSSES}[1h]))"},
            levels=(*_GREEN_THEN, (1, "red")),
            width=4,
            height=5,
        ),
        Panel(
            title="Oldest record",
            text="Age of the oldest record that waits.",
            kind="number",
            queries={"age": f"max(hublog_oldest_record_age_seconds{_JOB})"},
            unit="s",
            levels=(*_GREEN_THEN, (60, "orange"), (300, "red")),
            width=4,
            height=5,
        ),
        Panel(
            title="Processes",
            kind="number",
            queries=_sums({"processes": "hublog_processes"}),
            levels=_GREEN_THEN,
            width=4,
            height=5,
        ),
        Panel(
            title="Cost of the last day",
            text="At Event Hubs: throughput units of the busiest five minutes, and events; tier Standard, US"
            " list prices, at most: an event of less than 64 KB counts its bytes as well.",
            kind="number",
            queries={
                "cost": f"{_UNITS} * 24 * {TIERS['standard'].unit_hour} + {_BILLED} / 1e6 * {MILLION_EVENTS}"
            },
            unit="currencyUSD",
            levels=_GREEN_THEN,
            width=4,
            height=5,
        ),
    ),
    "Records": (
        Panel(
            title="Records a second",
            queries=_rates({"accepted": "hublog_records_accepted", "sent": "hublog_records_sent"}),
        ),
        Panel(
            title="Lost records, by reason",
            kind="bars",
            # The rate's interval is wider than a step, so bars would count a loss more than once.
            queries={
                "{{reason}}": "sum by (reason)"
                f" (increase(hublog_records_dropped_total{_LOSSES}[$__interval])) > 0"
            },
            step="5m",
        ),
        Panel(
            title="Records that wait",
            kind="areas",
            queries=_sums(
                {
                    "memory": "hublog_queue_records",
                    "being sent": "hublog_in_flight_records",
                    "disk": "hublog_spool_records",
                    "open requests": "hublog_buffered_records",
                }
            ),
        ),
        Panel(
            title="Queue and spool in use",
            text="The queue of the process where it is fullest.",
            queries={
                "queue": f"max(hublog_queue_fill_ratio{_JOB})",
                "spool": f"max(hublog_spool_fill_ratio{_JOB})",
            },
            unit="percentunit",
        ),
    ),
    "Sending": (
        Panel(
            title="From the log call to the hub's answer",
            queries=_quantiles("hublog_delivery_latency_seconds"),
            unit="s",
        ),
        Panel(
            title="Duration of sends",
            text="Also of those that failed.",
            queries=_quantiles("hublog_send_duration_seconds"),
            unit="s",
        ),
        Panel(
            title="Circuit and failed sends",
            text="Circuit: 0 closed, 1 half open, 2 open. Failed sends a second.",
            queries={
                "circuit": f"max(hublog_circuit_state{_JOB})",
                **_rates({"failed sends": "hublog_send_failures"}),
            },
        ),
        Panel(
            title="Sent",
            text="Bytes of the events' bodies.",
            queries=_rates({"bytes a second": "hublog_sent_bytes"}),
            unit="Bps",
        ),
    ),
}


def _adx_target(name: str, text: str, result: str) -> dict[str, object]:
    """Return a query of the plugin for Azure Data Explorer, for which the SDK has no model."""
    # What its query builder would show; the plugin expects it to be there.
    nothing = {"type": "and", "expressions": []}
    return {
        "refId": name,
        "datasource": {"type": ADX_PLUGIN, "uid": "${adx}"},
        "clusterUri": "",
        "database": "$database",
        "query": text,
        "queryType": "KQL",
        "querySource": "raw",
        "rawMode": True,
        "resultFormat": result,
        "expression": dict.fromkeys(("where", "reduce", "groupBy"), nothing),
        "pluginVersion": "5.0.0",
    }


class _AdxQuery(Dataquery):
    """The same as the SDK takes it."""

    def __init__(self, text: str, *, as_series: bool) -> None:
        self._target = _adx_target("A", text, "time_series" if as_series else "table")

    def build(self) -> _AdxQuery:
        return self

    def to_json(self) -> dict[str, object]:
        return self._target


#: How Grafana's plugin for Azure Data Explorer writes what a dashboard gives a query.
GRAFANA_KQL: Final = {
    "start": "$__timeFrom",
    "end": "$__timeTo",
    "step": "$__timeInterval",
    "services": "$__contains(service_name, $service)",
    "id": '"$id"',
}


def _look(panel: Panel) -> Any:  # noqa: ANN401  # the builders have no common type
    """Return the builder of a panel without queries and place."""
    legend = common.VizLegendOptions().show_legend(True).display_mode(looks.LegendDisplayMode.LIST)
    if panel.kind == "table":
        built = table.Panel().show_header(True)
    elif panel.kind == "number":
        built = (
            stat.Panel()
            .color_mode(looks.BigValueColorMode.VALUE)
            .graph_mode(looks.BigValueGraphMode.NONE)
            .text_mode(
                looks.BigValueTextMode.NAME if panel.title == "Delivery" else looks.BigValueTextMode.VALUE
            )
            .reduce_options(common.ReduceDataOptions().calcs(["lastNotNull"]))
        )
    else:
        built = timeseries.Panel().legend(legend.placement(looks.LegendPlacement.BOTTOM)).min(0)
        built = built.show_points(looks.VisibilityMode.AUTO).line_width(1)
        if panel.kind != "lines":
            built = built.fill_opacity(60).stacking(
                common.StackingConfig().mode(looks.StackingMode.NORMAL).group("A")
            )
        if panel.kind == "bars":
            built = built.draw_style(looks.GraphDrawStyle.BARS)
    return built


def _grafana_panel(panel: Panel, source: DataSourceRef) -> Any:  # noqa: ANN401  # as above
    built = _look(panel).title(panel.title).description(panel.text).datasource(source)
    if panel.kind != "table":
        built = built.unit(panel.unit)
    for column, unit in panel.units.items():
        built = built.override_by_name(column, [DynamicConfigValue(id_val="unit", value=unit)])
    for series, color in panel.colors.items():
        fixed = DynamicConfigValue(id_val="color", value={"mode": "fixed", "fixedColor": color})
        built = built.override_by_name(str(series), [fixed])
    if panel.kind != "number":
        built = built.interval(panel.step)
    if panel.range:
        built = built.time_from(panel.range)
    if panel.levels:
        steps = [Threshold(value=value, color=color) for value, color in panel.levels]
        built = built.thresholds(dashboard.ThresholdsConfig().mode(ThresholdsMode.ABSOLUTE).steps(steps))
    if panel.states:
        shown = {value: ValueMappingResult(text=text) for value, text in panel.states.items()}
        built = built.mappings([ValueMap(options=shown)])
    if panel.query:
        built = built.with_target(
            _AdxQuery(Template(panel.query).substitute(GRAFANA_KQL), as_series=panel.kind != "table")
        )
    for letter, (name, expression) in zip("ABCDEFG", panel.queries.items(), strict=False):
        query = prometheus.Dataquery().expr(expression).legend_format(name).ref_id(letter)
        built = built.with_target(query.instant() if panel.kind == "number" else query.range())
    return built.span(panel.width).height(panel.height)


def _grafana(
    title: str, uid: str, rows: Mapping[str, Sequence[Panel]], source: DataSourceRef, variables: Sequence[Any]
) -> str:
    built = (
        dashboard.Dashboard(title)
        .uid(uid)
        .tags(["hublog"])
        .timezone("browser")
        .tooltip(DashboardCursorSync.CROSSHAIR)
        .time("now-6h", "now")
        .refresh("1m")
    )
    for variable in variables:
        built = built.with_variable(variable)
    for name, panels in rows.items():
        built = built.with_row(dashboard.Row(name))
        for panel in panels:
            built = built.with_panel(_grafana_panel(panel, source))
    content = json.loads(json.dumps(built.build(), cls=JSONEncoder))
    for number, panel in enumerate(content["panels"], 1):
        panel["id"] = number
    return written(content)


def grafana_logs() -> str:
    """Return the dashboard of the rows in Azure Data Explorer."""
    source = DataSourceRef(type_val=ADX_PLUGIN, uid="${adx}")
    everything = VariableOption(selected=True, text=["All"], value=["$__all"])
    services = _adx_target("services", _services_query("$__timeFrom", "$__timeTo"), "table")
    variables = [
        dashboard.DatasourceVariable("adx").label("Azure Data Explorer").type(ADX_PLUGIN),
        dashboard.TextBoxVariable("database").label("Database").default_value(KqlNames().database),
        dashboard.QueryVariable("service")
        .label("Service")
        .datasource(source)
        .query(services)
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value("all")  # the macro then asks for no service at all
        .current(everything),
        dashboard.TextBoxVariable("id").label("Trace, request, task or record id").default_value(""),
    ]
    return _grafana("hublog: logs", "hublog-logs", PAGES, source, variables)


def grafana_delivery() -> str:
    """Return the dashboard of the metrics in Prometheus."""
    source = DataSourceRef(type_val="prometheus", uid="${prometheus}")
    everything = VariableOption(selected=True, text=["All"], value=["$__all"])
    variables = [
        dashboard.DatasourceVariable("prometheus").label("Prometheus").type("prometheus"),
        dashboard.QueryVariable("job")
        .label("Job")
        .hide(VariableHide.DONT_HIDE)
        .datasource(source)
        .query({"query": "label_values(hublog_info, job)", "refId": "jobs"})
        .refresh(VariableRefresh.ON_TIME_RANGE_CHANGED)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything),
    ]
    return _grafana("hublog: delivery", "hublog-delivery", DELIVERY_ROWS, source, variables)


# --- Azure Data Explorer's own ---------------------------------------------------------------------

#: How a dashboard of Azure Data Explorer gives them: as parameters, whose names begin so.
ADX_KQL: Final = {
    "start": "_startTime",
    "end": "_endTime",
    # A whole number of minutes, about 120 in the time range.
    "step": "bin((_endTime - _startTime) / 120, 1m) + 1m",
    "services": "(isempty(_service) or service_name in (_service))",
    "id": "_id",
}
ADX_VARIABLES: Final = ("_startTime", "_endTime", "_service", "_id")
_VISUALS: Final = {"lines": "timechart", "areas": "stackedarea", "bars": "stackedcolumn", "table": "table"}


def _services_query(start: str, end: str) -> str:
    return (
        f"{TABLE}\n| where timestamp between ({start} .. {end})\n| distinct service_name"
        "\n| order by service_name asc"
    )


def _id(*names: str) -> str:
    """Return the same id for the same names, so that a file that is written anew differs where it must."""
    return str(uuid.uuid5(uuid.NAMESPACE_URL, "/".join(("hublog", *names))))


def _adx_query(text: str, *names: str) -> dict[str, object]:
    return {
        "dataSource": {"kind": "inline", "dataSourceId": _id("source")},
        "text": text,
        "id": _id("query", *names),
        "usedVariables": [name for name in ADX_VARIABLES if re.search(rf"\b{name}\b", text)],
    }


def _adx_options(panel: Panel) -> dict[str, object]:
    shared = {
        "crossFilterDisabled": False,
        "drillthroughDisabled": False,
        "crossFilter": [],
        "drillthrough": [],
    }
    if panel.kind == "table":
        looks_of_table = {"table__enableRenderLinks": True, "table__renderLinks": []}
        return {
            **looks_of_table,
            "colorRulesDisabled": True,
            "colorStyle": "light",
            "colorRules": [],
            **shared,
        }
    base = {
        "id": "-1",
        "label": panel.unit if panel.unit in {"ms", "s"} else "",
        "columns": [],
        "yAxisMaximumValue": None,
        "yAxisMinimumValue": 0,
        "yAxisScale": "linear",
        "horizontalLines": [],
    }
    return {
        "multipleYAxes": {"base": base, "additional": [], "showMultiplePanels": False},
        "hideLegend": False,
        "legendLocation": "bottom",
        "xColumnTitle": "",
        "xColumn": "timestamp",
        "yColumns": None,
        "seriesColumns": None,
        "xAxisScale": "linear",
        "verticalLine": "",
        **shared,
    }


def adx_dashboard() -> str:
    """Return the dashboard that the web interface of Azure Data Explorer imports."""
    tiles, queries = [], []
    for page, panels in PAGES.items():
        x = y = height = 0
        for panel in panels:
            if x + panel.width > COLUMNS:
                x, y, height = 0, y + height, 0
            queries.append(_adx_query(Template(panel.query).substitute(ADX_KQL), page, panel.title))
            tiles.append(
                {
                    "id": _id("tile", page, panel.title),
                    "title": panel.title,
                    "visualType": _VISUALS[panel.kind],
                    "pageId": _id("page", page),
                    "layout": {"x": x, "y": y, "width": panel.width, "height": panel.height},
                    "queryRef": {"kind": "query", "queryId": _id("query", page, panel.title)},
                    "visualOptions": _adx_options(panel),
                }
            )
            x, height = x + panel.width, max(height, panel.height)
    services = _adx_query(_services_query("_startTime", "_endTime"), "services")
    content = {
        "$schema": f"https://dataexplorer.azure.com/static/d/schema/{ADX_SCHEMA}/dashboard.json",
        "id": _id("dashboard"),
        "eTag": _id("eTag"),
        "title": "hublog",
        "schema_version": ADX_SCHEMA,
        "autoRefresh": {"enabled": True, "defaultInterval": "5m", "minInterval": "1m"},
        "tiles": tiles,
        "baseQueries": [],
        "parameters": _adx_parameters(services),
        "dataSources": [
            {
                "id": _id("source"),
                "kind": "manual-kusto",
                "scopeId": "kusto",
                "name": KqlNames().database,
                "clusterUri": "https://CLUSTER.REGION.kusto.windows.net",
                "database": KqlNames().database,
            }
        ],
        "pages": [{"name": page, "id": _id("page", page)} for page in PAGES],
        "queries": [*queries, services],
    }
    return written(content)


def _adx_parameters(services: Mapping[str, object]) -> list[dict[str, object]]:
    return [
        {
            "kind": "duration",
            "id": _id("parameter", "time"),
            "displayName": "Time range",
            "description": "",
            "beginVariableName": "_startTime",
            "endVariableName": "_endTime",
            "defaultValue": {"kind": "dynamic", "count": 6, "unit": "hours"},
            "showOnPages": {"kind": "all"},
        },
        {
            "kind": "string",
            "id": _id("parameter", "service"),
            "displayName": "Service",
            "description": "",
            "variableName": "_service",
            "selectionType": "array",
            "includeAllOption": True,
            "allIsNull": True,
            "defaultValue": {"kind": "all"},
            "dataSource": {
                "kind": "query",
                "columns": {"value": "service_name"},
                "queryRef": {"kind": "query", "queryId": services["id"]},
            },
            "showOnPages": {"kind": "all"},
        },
        {
            "kind": "string",
            "id": _id("parameter", "id"),
            "displayName": "Trace, request, task or record id",
            "description": "",
            "variableName": "_id",
            "selectionType": "freetext",
            "defaultValue": {"kind": "value", "value": ""},
            "showOnPages": {"kind": "selection", "pageIds": [_id("page", "Trace")]},
        },
    ]


def written(content: Mapping[str, object]) -> str:
    """Return a dashboard as its file has it."""
    return json.dumps(content, indent=2, ensure_ascii=False) + "\n"


#: What is written, by its path in `observability`.
FILES: Final[Mapping[str, Callable[[], str]]] = {
    ADX_FILE: adx_dashboard,
    LOGS_FILE: grafana_logs,
    DELIVERY_FILE: grafana_delivery,
}


def main() -> int:
    """Write all files."""
    for name, content in FILES.items():
        path = FOLDER / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(content(), encoding="utf-8")
        print(path.relative_to(ROOT))
    return 0


if __name__ == "__main__":
    sys.exit(main())
