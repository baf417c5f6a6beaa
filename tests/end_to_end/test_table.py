"""What an application logs is what the table of Azure Data Explorer holds, in every column, in each packing.

The proof shares no code with the package: the reader is ``adx_reader``, what must be there is told by
``table_rules``, what was logged by the ledger of ``table_app``, which ``table_ledger`` reads.
"""

import ast
import gzip
import json
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.end_to_end.adx_reader import Event, ingest, load, microseconds, read_events, read_mapping
from tests.end_to_end.table_ledger import OPEN, read_ledger
from tests.end_to_end.table_rules import RULES, all_differences, differences

HUB = "application-logs"
HERE = Path(__file__).parent
PROGRAM = (HERE / "table_app.py").read_text(encoding="utf-8")
PREAMBLE = "import logging, hublog\nhublog.setup_logging()\nlog = logging.getLogger('shop')\n"

#: Where the names of the service come from: our settings, OpenTelemetry's, the platform's.
ENVIRONMENTS = {
    "single": {
        "LOG_SERVICE_NAME": "shop é",
        "LOG_SERVICE_NAMESPACE": "sales",
        "LOG_SERVICE_VERSION": "1.2.3-rc.1+build",
        "LOG_SERVICE_INSTANCE_ID": "copy 1",
        "LOG_ENVIRONMENT": "staging",
        "K8S_NAMESPACE": "shops",
        "K8S_POD_NAME": "shop-7d9f-x2",
        "K8S_NODE_NAME": "node-3",
        "REGION_NAME": "West Europe",
    },
    "lines": {
        "OTEL_SERVICE_NAME": "shop-otel",
        "OTEL_RESOURCE_ATTRIBUTES": "service.namespace=sales,service.version=2,deployment.environment=test",
        "POD_NAMESPACE": "shops",
        "POD_NAME": "shop-0",
        "NODE_NAME": "node-4",
        "AZURE_REGION": "westeurope",
    },
    "gzip": {
        "WEBSITE_SITE_NAME": "shop-site",
        "CONTAINER_APP_REVISION": "shop--r7",
        "CLOUD_REGION": "northeurope",
    },
}
SERVICE_COLUMNS = {
    "single": {
        "service_name": "shop é",
        "service_namespace": "sales",
        "service_version": "1.2.3-rc.1+build",
        "service_instance_id": "copy 1",
        "environment": "staging",
        "k8s_namespace": "shops",
        "k8s_pod_name": "shop-7d9f-x2",
        "k8s_node_name": "node-3",
        "cloud_region": "West Europe",
    },
    "lines": {
        "service_name": "shop-otel",
        "service_namespace": "sales",
        "service_version": "2",
        "service_instance_id": "shop-0",
        "environment": "test",
        "k8s_namespace": "shops",
        "k8s_pod_name": "shop-0",
        "k8s_node_name": "node-4",
        "cloud_region": "westeurope",
    },
    "gzip": {
        "service_name": "shop-site",
        "service_namespace": "",
        "service_version": "shop--r7",
        "service_instance_id": "",
        "environment": "",
        "k8s_namespace": "",
        "k8s_pod_name": "",
        "k8s_node_name": "",
        "cloud_region": "northeurope",
    },
}
LIMITS = {"single": 64 * 1024, "lines": 64 * 1024, "gzip": 1_000_000}
#: What the surroundings of the test may have set does not count.
UNSET = dict.fromkeys((name for environment in ENVIRONMENTS.values() for name in environment), "")


@pytest.fixture
def publish(hub, run, tmp_path):
    """Run a program with a ledger to its end; returns the events that it left at the hub."""

    shutil.copy(HERE / "table_keeper.py", tmp_path)

    def publish_with(source, packing="lines", **environment):
        program = run(
            source,
            connection=hub.connection_string(),
            EVENTHUB_LOG_PACKING=packing,
            EVENTHUB_LOG_LEVEL="1",
            EVENTHUB_LOG_EXIT_TIMEOUT="30",
            FILE_LOGGING_ENABLED="false",
            TABLE_LEDGER=str(tmp_path / "ledger.jsonl"),
            **environment,
        )
        assert (program.process.returncode, program.errors) == (0, "")
        return read_events(hub.connection_string(), HUB, len(hub.events(HUB)))

    return publish_with


def table_of(events):
    """The rows as the table holds them; nothing may be lost on the way."""
    mapping = read_mapping()
    reading = ingest(events, mapping)
    assert reading.faults == []
    enqueued = [{"_enqueued": microseconds(moment)} for moment in reading.enqueued]
    return [row | more for row, more in zip(load(reading, mapping), enqueued, strict=True)]


@pytest.mark.parametrize("packing", ["single", "lines", "gzip"])
def test_every_column_of_every_record_holds_what_was_logged(publish, tmp_path, packing):
    limit = LIMITS[packing]
    environment = UNSET | ENVIRONMENTS[packing] | {"EVENTHUB_LOG_RECORD_BYTES": str(limit)}
    events = publish(PROGRAM, packing, **environment)
    entries = read_ledger(tmp_path / "ledger.jsonl", service=SERVICE_COLUMNS[packing], max_bytes=limit)
    rows = table_of(events)
    found = all_differences(entries, rows)
    assert not found, "\n".join(found)
    assert len(rows) == len(entries) > 120
    held = {name for row in rows for name in row if row[name] not in (None, "")}
    unknown = {name for name, value in SERVICE_COLUMNS[packing].items() if not value} | {"container_id"}
    assert set(RULES) - held - unknown == ({"async_task_name"} if sys.version_info < (3, 12) else set())
    if packing == "single":
        assert len(events) == len(rows)
    else:
        assert len(events) < len(rows) / 10


def test_there_is_a_rule_for_each_of_the_seventy_columns_of_the_committed_mapping():
    mapping = read_mapping()
    assert list(RULES) == [column.name for column in mapping]
    assert len(mapping) == 70
    types = {column.name: column.datatype for column in mapping}
    assert {name: types[name] for name in OPEN} == OPEN


@pytest.mark.parametrize("packing", ["single", "lines", "gzip"])
def test_an_event_tells_its_compression_and_nothing_else(publish, packing):
    events = publish(PREAMBLE + "for number in range(3): log.info('record %d', number)\n", packing)
    expected = {"Compression": "gzip"} if packing == "gzip" else {}
    assert {(str(event.properties), event.partition_key) for event in events} == {(str(expected), None)}
    assert sorted(row["message"] for row in table_of(events)) == ["record 0", "record 1", "record 2"]


@pytest.mark.parametrize("packing", ["lines", "gzip"])
def test_an_event_is_routed_by_what_is_set(publish, packing):
    events = publish(
        PREAMBLE + "log.info('routed')\n",
        packing,
        EVENTHUB_LOG_ROUTE_TABLE="PipelineLogs",
        EVENTHUB_LOG_ROUTE_FORMAT="json",
        EVENTHUB_LOG_ROUTE_MAPPING="PipelineLogsMapping",
        EVENTHUB_LOG_ROUTE_DATABASE="Logs",
    )
    routing = {
        "Table": "PipelineLogs",
        "Format": "json",
        "IngestionMappingReference": "PipelineLogsMapping",
        "Database": "Logs",
    }
    compression = {"Compression": "gzip"} if packing == "gzip" else {}
    assert [event.properties for event in events] == [routing | compression]


@pytest.mark.parametrize("name", ["adx_reader", "table_ledger", "table_rules"])
def test_the_proof_uses_nothing_of_the_package(name):
    tree = ast.parse((HERE / f"{name}.py").read_text(encoding="utf-8"))
    modules = [node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
    modules += [alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names]
    assert [module for module in modules if module.startswith("hublog")] == []


# --- the proof can fail


ANOTHER = {
    "datetime": 10**15,
    "string": "x",
    "int": 77,
    "long": 77,
    "real": 7.5,
    "bool": False,
    "dynamic": {"x": 1},
}


def test_another_value_or_type_in_any_column_is_reported(publish, tmp_path):
    events = publish(PROGRAM, **UNSET, TABLE_PARTS="levels tasks")
    service = {**dict.fromkeys(SERVICE_COLUMNS["lines"], ""), "service_name": "shop"}  # the Flask app's
    entries = read_ledger(tmp_path / "ledger.jsonl", service=service, max_bytes=LIMITS["lines"])
    rows = table_of(events)
    assert all_differences(entries, rows) == []
    row, entry = rows[0], next(iter(entries.values()))
    for column in read_mapping():
        value = row[column.name]
        others = [ANOTHER[column.datatype], *([float(value)] if type(value) is int else [])]
        for other in others:
            found = differences(entry, row | {column.name: other})
            assert any(text.startswith(f"{column.name} is ") for text in found), (column.name, other)
        lacking = {name: held for name, held in row.items() if name != column.name}
        assert differences(entry, lacking) == [f"{column.name} is missing"]
    assert "is in the table 0 times" in str(all_differences(entries, rows[1:]))
    assert "is in the table 2 times" in str(all_differences(entries, [*rows, row]))
    assert "record_id is not unique" in all_differences(entries, [*rows, row])
    assert "was not logged" in str(all_differences(entries, [*rows, row | {"sequence": 10_000}]))


NOW = datetime(2026, 11, 23, 13, 10, 31, 5, UTC)
MISFITS = {
    "a fraction in an int": {"level_number": 12.5},
    "a whole float in an int": {"level_number": 20.0},
    "an int of 33 bits": {"level_number": 2**31},
    "a long of 65 bits": {"sequence": 2**63},
    "a bool in an int": {"level_number": True},
    "a text in an int": {"level_number": "20"},
    "a text in a real": {"duration_ms": "1.5"},
    "a real without end": {"duration_ms": 10**400},
    "a number in a bool": {"truncated": 1},
    "a text in a bool": {"truncated": "true"},
    "a time without a zone": {"timestamp": "2026-11-23T13:10:31.000005"},
    "a time with an offset": {"timestamp": "2026-11-23T13:10:31.000005+00:00"},
    "a time without microseconds": {"timestamp": "2026-11-23T13:10:31Z"},
    "a time that never was": {"timestamp": "2026-02-30T13:10:31.000005Z"},
    "a number as a time": {"timestamp": 1785000000},
    "a text of more than a megabyte": {"message": "é" * 600_000},
    "a bag of more than a megabyte": {"extra": {"text": "x" * 1_100_000}},
}


def ingested(body, **properties):
    return ingest([Event(body, properties, NOW)], read_mapping())


@pytest.mark.parametrize("name", MISFITS)
def test_a_value_that_the_service_would_lose_is_a_fault(name):
    [(column, value)] = MISFITS[name].items()
    reading = ingested(json.dumps({"level": "INFO", column: value}).encode())
    assert [fault.split()[:3] for fault in reading.faults] == [[column, "cannot", "hold"]]
    assert reading.rows[0]["level"] == "INFO"
    held = reading.rows[0][column]
    assert held == "é" * 524_288 if column == "message" else held is None


@pytest.mark.parametrize(
    ("body", "fault"),
    [
        (b'{"level": "INFO"', "a line was skipped"),
        (b"[1]", "it is no object"),
        (b'{"duration_ms": NaN}', "NaN is no JSON"),
        (b'{"level": "\xff"}', "a line was skipped"),
        (b'{"level": "\\ud800"}', "a line was skipped"),
        (b'{"level": "a\nb"}', "a line was skipped"),
        (b'{"level": "a", "level": "b"}', "a key stands twice"),
        (b'{"levle": "INFO"}', "levle has no column"),
    ],
)
def test_a_line_that_the_service_would_not_read_is_a_fault(body, fault):
    assert fault in str(ingested(body).faults)


def test_every_column_takes_what_fits_it():
    fitting = {
        "timestamp": "2026-11-23T13:10:31.000005Z",
        "level_number": -(2**31),
        "sequence": 2**63 - 1,
        "duration_ms": 5,
        "truncated": False,
        "message": "a\0b\u2028\r\n😀",
        "user_id": 5,
        "extra": {"a": [1, None, "\0", 0.1, 2**63 - 1]},
    }
    reading = ingested(json.dumps(fitting).encode() + b"\n")
    assert reading.faults == []
    [row] = load(reading, read_mapping())
    expected = fitting | {"timestamp": microseconds(NOW), "duration_ms": 5.0, "user_id": "5"}
    assert {name: row[name] for name in fitting} == expected
    assert type(row["duration_ms"]) is float
    assert (row["level"], row["task_retries"], row["metrics"]) == ("", None, None)


def test_only_the_property_named_and_valued_exactly_so_unpacks():
    body = gzip.compress(b'{"level": "INFO"}\n{"level": "ERROR"}\n')
    assert [row["level"] for row in ingested(body, Compression="gzip").rows] == ["INFO", "ERROR"]
    assert ingested(body, compression="gzip").rows == []
    assert ingested(body, compression="gzip").faults != []
