"""The dashboards: as generated, accepted by Microsoft's parser, and answered with rows at the local hub."""

import json
import re
import uuid
from collections import Counter
from pathlib import Path

import orjson
import pytest
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.plugins import register_default_plugins
from grafana_foundation_sdk.models.dashboard import Dashboard
from tests.adx import kusto
from tests.adx import test_answers as answers
from tools import dashboards

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "dashboards.md").read_text(encoding="utf-8")
#: The local hub has no such function, nor does it take steps that are not written out.
LINE = "strlen(tostring(pack_all(true)))"


PANELS = {panel.title: panel for panels in dashboards.PAGES.values() for panel in panels}


def content(name):
    return json.loads((dashboards.FOLDER / name).read_text(encoding="utf-8"))


def adx_queries():
    """Return the queries of the tiles of the dashboard of Azure Data Explorer, by title."""
    found = content(dashboards.ADX_FILE)
    queries = {query["id"]: query for query in found["queries"]}
    return {tile["title"]: queries[tile["queryRef"]["queryId"]]["text"] for tile in found["tiles"]}


def grafana_panels(name=dashboards.LOGS_FILE):
    return {panel["title"]: panel for panel in content(name)["panels"] if panel["type"] != "row"}


def grafana_queries():
    return {title: panel["targets"][0]["query"] for title, panel in grafana_panels().items()}


def as_adx(text, start, end, services="", number=""):
    """Return a query as the web interface sends it: its parameters are constants before it."""
    chosen = f'dynamic(["{services}"])' if services else "dynamic(null)"
    values = {"_startTime": start, "_endTime": end, "_service": chosen, "_id": f'"{number}"'}
    return "".join(f"let {name} = {value};\n" for name, value in values.items() if name in text) + text


def as_grafana(text, start, end, services="", number=""):
    """Return a query as the plugin sends it: macros and variables replaced, as its documentation says."""
    for macro, value in {
        "$__timeFrom": start,
        "$__timeTo": end,
        "$__timeInterval": "60000ms",
        "$__contains(service_name, $service)": f"service_name in ('{services}')" if services else "1 == 1",
        "$id": number,
    }.items():
        text = text.replace(macro, value)
    return text


PRODUCTS = {"adx": (adx_queries, as_adx), "grafana": (grafana_queries, as_grafana)}


@pytest.fixture(scope="module")
def checked():
    """What Microsoft's parser says of each query, with all services and with one."""
    times = "datetime(2026-09-01)", "datetime(2026-09-02)"
    texts = {
        f"{product} {services} {title}": write(text, *times, services, "x")
        for product, (queries, write) in PRODUCTS.items()
        for services in ("", "shop")
        for title, text in queries().items()
    }
    return kusto.KustoParser().check(texts)


class Rows(answers.Rows):
    """The same of two services, with slow requests, and exceptions on and on."""

    def __init__(self, folder):
        super().__init__(folder)
        for number, row in enumerate(self.all):
            if number % 3 == 0:
                row["service_name"] = "billing"
            if row["record_type"] == "request" and number % 50 == 0:
                row["duration_ms"] = 1_500.0 + number
        self.all += [self._heartbeat(self.all[number], number) for number in (-1, -2, -3)]
        lines = [orjson.dumps(row) + b"\n" for row in self.all]
        (folder / answers.TABLE).write_bytes(b"".join(lines))

    @staticmethod
    def _heartbeat(row, number):
        kept = "timestamp", "sent_at", "_ingestion_time", "service_name", "host_name", "level", "level_number"
        state = "open" if number == -3 else "healthy"
        return {name: row[name] for name in kept} | {
            "record_type": "heartbeat",
            "event_name": "handler.heartbeat",
            "process_id": 100 - number,
            "metrics": {
                "destination": "application-logs at shop-logs",
                "state": state,
                "circuit": "closed" if state == "healthy" else "open",
                "queue_share": -0.12 * number,
                "spool_share": 0.02,
                "oldest_age_s": 0.5,
                "accepted_total": 3_000,
                "sent_total": 2_950,
                "lost_total": 0,
                "last_error": "",
            },
        }


@pytest.fixture(scope="module")
def rows(tmp_path_factory):
    return Rows(tmp_path_factory.mktemp("rows"))


def asking(rows):
    """Return what asks a query of a dashboard over the rows, with their most frequent trace."""
    start, end = (f"datetime({answers.write(moment)})" for moment in (rows.start, rows.end))
    trace = Counter(row["trace_id"] for row in rows.all if row.get("trace_id")).most_common(1)[0][0]

    def ask_query(product, title, services=""):
        queries, write = PRODUCTS[product]
        text = queries()[title].replace(LINE, "1000").replace(dashboards.ADX_KQL["step"], "1m")
        return rows.ask(write(text, start, end, services, trace))

    return ask_query


@pytest.fixture(scope="module")
def ask(rows):
    return asking(rows)


@pytest.mark.parametrize("name", dashboards.FILES)
def test_the_files_are_as_they_are_generated(name):
    written = (dashboards.FOLDER / name).read_text(encoding="utf-8")
    assert written == dashboards.FILES[name](), "make dashboards"


def test_microsofts_parser_accepts_each_query(checked):
    assert {name: one.problems for name, one in checked.items() if one.problems} == {}
    assert {one.kind for one in checked.values()} == {"Query"}
    assert len(checked) == 4 * len(PANELS)


def test_each_product_has_all_panels():
    assert list(adx_queries()) == list(grafana_queries()) == list(PANELS)


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("title", [title for title, panel in PANELS.items() if panel.kind != "table"])
def test_a_chart_has_a_time_first_and_numbers_and_at_most_one_name(checked, product, title):
    [first, *others] = [column.partition(":")[::2] for column in checked[f"{product}  {title}"].columns]
    assert first == ("timestamp", "datetime")
    kinds = Counter(kind for _, kind in others)
    assert kinds["string"] <= 1
    assert kinds["long"] + kinds["real"] + kinds["int"] == len(others) - kinds["string"] > 0


@pytest.mark.parametrize("title", PANELS)
def test_units_are_of_columns_that_there_are(checked, title):
    panel = PANELS[title]
    columns = {column.partition(":")[0] for column in checked[f"grafana  {title}"].columns}
    if panel.units is not dashboards._MS:  # those are of several tables
        assert panel.units.keys() <= columns
    elif panel.kind == "table":
        assert panel.units.keys() & columns


@pytest.mark.parametrize("product", PRODUCTS)
@pytest.mark.parametrize("title", PANELS)
def test_each_query_answers_with_rows(ask, product, title):
    assert ask(product, title)


@pytest.mark.parametrize("product", PRODUCTS)
def test_new_exceptions_are_those_that_were_not_there_before(rows, product):
    queries, write = PRODUCTS[product]
    middle = rows.start + (rows.end - rows.start) / 2
    times = [f"datetime({answers.write(moment)})" for moment in (middle, rows.end)]
    seen = {True: set(), False: set()}
    for row in rows.all:
        if row.get("exception_fingerprint"):
            seen[row["timestamp"] >= answers.write(middle)].add(row["exception_fingerprint"])
    found = rows.ask(write(queries()["New exceptions"], *times))
    assert len(found) == len(seen[True] - seen[False])


@pytest.mark.parametrize("product", PRODUCTS)
def test_a_chosen_service_is_the_only_one(ask, rows, product):
    services = {row["service_name"] for row in rows.all}
    assert len(services) > 1
    for service in services:
        assert {row["service_name"] for row in ask(product, "Services", service)} == {service}
        assert {row["service_name"] for row in ask(product, "Routes", service)} <= {service}
    assert {row["service_name"] for row in ask(product, "Services")} == services


@pytest.mark.parametrize("product", PRODUCTS)
def test_each_process_is_shown_with_its_state(ask, product):
    found = ask(product, "Delivery of each process")
    assert {row["process_id"]: row["state"] for row in found} == {101: "healthy", 102: "healthy", 103: "open"}


@pytest.mark.parametrize("product", PRODUCTS)
def test_without_an_id_there_is_no_trace(rows, product):
    queries, write = PRODUCTS[product]
    assert rows.ask(write(queries()["Records of one id"], "ago(1d)", "now()")) == []


def test_both_products_answer_the_same(ask):
    for title in ("Routes", "Errors and failed requests", "Slow requests", "Services"):
        assert ask("adx", title) == ask("grafana", title)


@pytest.mark.parametrize("name", [dashboards.LOGS_FILE, dashboards.DELIVERY_FILE])
def test_the_models_of_grafana_read_the_file_and_lose_nothing_of_it(name):
    register_default_plugins()
    found = Dashboard.from_json(content(name))
    assert json.loads(json.dumps(found, cls=JSONEncoder)) == content(name)


def overlaps(places):
    taken = Counter(
        (x, y) for left, top, w, h in places for x in range(left, left + w) for y in range(top, top + h)
    )
    return [place for place, number in taken.items() if number > 1 or place[0] >= dashboards.COLUMNS]


def test_no_panel_of_grafana_lies_on_another():
    for name in (dashboards.LOGS_FILE, dashboards.DELIVERY_FILE):
        places = [[panel["gridPos"][key] for key in "xywh"] for panel in content(name)["panels"]]
        assert overlaps(places) == []
        numbers = [panel["id"] for panel in content(name)["panels"]]
        assert len(numbers) == len(set(numbers))


def test_no_tile_lies_on_another_of_its_page():
    found = content(dashboards.ADX_FILE)
    pages = [page["id"] for page in found["pages"]]
    for page in pages:
        tiles = [tile["layout"] for tile in found["tiles"] if tile["pageId"] == page]
        assert tiles
        assert overlaps([[layout[key] for key in ("x", "y", "width", "height")] for layout in tiles]) == []
    assert {tile["pageId"] for tile in found["tiles"]} == set(pages)


def test_the_wiring_is_what_the_web_interface_asks_for():
    found = content(dashboards.ADX_FILE)
    assert found["$schema"].endswith(f"/{found['schema_version']}/dashboard.json")
    lists = ("tiles", "pages", "queries", "parameters", "dataSources")
    ids = [one["id"] for name in lists for one in found[name]]
    assert len(ids) == len(set(ids))
    assert all(str(uuid.UUID(one)) == one for one in ids)
    used = [tile["queryRef"]["queryId"] for tile in found["tiles"]]
    used += [one["dataSource"]["queryRef"]["queryId"] for one in found["parameters"] if "dataSource" in one]
    assert Counter(used) == Counter(query["id"] for query in found["queries"]), "each query is asked once"
    [source] = found["dataSources"]
    for query in found["queries"]:
        assert query["dataSource"]["dataSourceId"] == source["id"]
        assert set(query["usedVariables"]) == set(re.findall(r"\b_[a-z]\w+", query["text"]))
    offered = {
        one.get(name)
        for one in found["parameters"]
        for name in ("variableName", "beginVariableName", "endVariableName")
    }
    assert offered - {None} == set(dashboards.ADX_VARIABLES)


def test_a_panel_of_grafana_asks_the_source_that_is_chosen():
    for name in (dashboards.LOGS_FILE, dashboards.DELIVERY_FILE):
        found = content(name)
        [source] = [one["name"] for one in found["templating"]["list"] if one["type"] == "datasource"]
        variables = {one["name"] for one in found["templating"]["list"]}
        for panel in grafana_panels(name).values():
            assert panel["datasource"]["uid"] == f"${{{source}}}"
            text = json.dumps(panel["targets"])
            named = set(re.findall(r"\$\{?([a-z]\w*)", text))
            assert named <= variables


def test_the_page_names_each_panel():
    delivery = grafana_panels(dashboards.DELIVERY_FILE)
    titles = [line.split("|")[1].strip() for line in PAGE.splitlines() if re.match(r"\| [A-Z]", line)]
    assert titles == [*PANELS, *delivery]
