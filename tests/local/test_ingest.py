import gzip
import json
import zlib
from dataclasses import dataclass, field
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.capture.columns import COLUMNS, Kind
from hublog_local.ingest import OWN_COLUMNS, Ingester

ENQUEUED_AT = datetime(2026, 11, 23, 14, 0, 0, 500, tzinfo=UTC)
NOW = datetime(2026, 11, 23, 14, 0, 1, tzinfo=UTC)
MIB = 1 << 20


@dataclass
class Arrival:
    body: bytes
    properties: dict = field(default_factory=dict)
    partition_id: str = "1"
    sequence_number: int = 7
    enqueued_at: datetime = ENQUEUED_AT


def make(**options):
    return Ingester(now=lambda: NOW, **options)


def rows(body, ingester=None, **properties):
    lines = (ingester or make()).lines("logs", Arrival(body, properties))
    assert all(line.endswith(b"}\n") and line.count(b"\n") == 1 for line in lines)
    return [json.loads(line) for line in lines]


def own(row):
    return {name: value for name, value in row.items() if name in OWN_COLUMNS}


def mapped(row):
    return {name: value for name, value in row.items() if name not in OWN_COLUMNS}


def test_each_line_becomes_a_row():
    found = rows(b'{"message":"a"}\n{"message":"b"}\n')
    assert [row["message"] for row in found] == ["a", "b"]


def test_a_row_says_when_and_whence_it_came():
    assert own(rows(b'{"message":"a"}')[0]) == {
        "_ingestion_time": "2026-11-23T14:00:01.000000Z",
        "_enqueued_time": "2026-11-23T14:00:00.000500Z",
        "_hub": "logs",
        "_partition_id": "1",
        "_sequence_number": 7,
    }


def test_a_producer_cannot_fill_the_columns_of_the_hub():
    found = rows(b'{"_ingestion_time":"1999-01-01T00:00:00Z","_hub":"other"}')[0]
    assert own(found) == own(rows(b"{}")[0])


def test_a_record_without_a_known_key_is_a_row_of_nulls():
    assert mapped(rows(b'{"nobody":"knows"}')[0]) == {}


@pytest.mark.parametrize(
    "line",
    [
        b"hello",
        b"[1]",
        b'"text"',
        b"null",
        b"7",
        b'{"message":',
        b'{"message":NaN}',
        b"{'message':1}",
        b"\xff\xfe{}",
    ],
)
def test_a_line_that_is_no_json_object_is_skipped_and_counted(line):
    ingester = make()
    found = rows(b'{"message":"a"}\n' + line + b'\n{"message":"b"}', ingester)
    assert [row["message"] for row in found] == ["a", "b"]
    assert (ingester.malformed_total, ingester.rows_total, ingester.refused_total) == (1, 2, 0)


def test_a_record_over_several_lines_is_lost_in_the_format_json():
    ingester = make()
    assert rows(b'{\n"message":\n"a"}', ingester) == []
    assert ingester.malformed_total == 3


def test_empty_lines_carriage_returns_and_a_byte_order_mark_do_no_harm():
    ingester = make()
    assert len(rows(b'\xef\xbb\xbf{"message":"a"}\r\n\r\n  \n{"message":"b"}\r\n', ingester)) == 2
    assert ingester.malformed_total == 0


def test_a_row_over_eight_mebibytes_is_skipped_and_counted():
    ingester = make()
    texts = [column.name for column in COLUMNS if column.kind is Kind.STRING][:9]
    long = json.dumps(dict.fromkeys(texts, "x" * MIB)).encode()
    assert [row["message"] for row in rows(long + b'\n{"message":"b"}', ingester)] == ["b"]
    assert (ingester.malformed_total, ingester.rows_total) == (1, 1)


@pytest.mark.parametrize("name", ["gzip", "GZip", "GZIP"])
def test_gzip_is_understood_in_any_case(name):
    assert rows(gzip.compress(b'{"message":"a"}', mtime=0), Compression=name)[0]["message"] == "a"


def test_a_gzip_body_of_several_members_is_one_body():
    body = gzip.compress(b'{"message":"a"}\n{"mess', mtime=0) + gzip.compress(b'age":"b"}')
    assert [row["message"] for row in rows(body, Compression="gzip")] == ["a", "b"]


def test_the_property_may_come_as_bytes():
    assert len(rows(gzip.compress(b"{}", mtime=0), Compression=b"gzip")) == 1


def test_a_compressed_bomb_is_refused_before_it_goes_off():
    ingester = make(max_body_bytes=MIB)
    assert rows(gzip.compress(b" " * (MIB + 1)), ingester, Compression="gzip") == []
    assert rows(gzip.compress(b"{}" + b" " * (MIB - 2)), ingester, Compression="gzip") != []
    assert ingester.refused_total == 1


def test_a_bomb_of_many_members_is_refused():
    ingester = make()
    assert rows(gzip.compress(b"", mtime=0) * 10_000, ingester, Compression="gzip") == []
    assert ingester.refused_total == 1


@pytest.mark.parametrize(
    ("body", "properties", "reason"),
    [
        (b"{}", {"Compression": "gzip"}, "the body is not"),
        (gzip.compress(b"{}", mtime=0)[:-3], {"Compression": "gzip"}, "cut off"),
        (zlib.compress(b"{}"), {"Compression": "gzip"}, "the body is not"),
        (b"{}", {"Compression": "snappy"}, "'snappy'; it must be gzip or None"),
        (gzip.compress(b"{}", mtime=0), {}, "no property Compression"),
        (b"{}", {"Format": "csv"}, "'csv'; the local hub reads json and multijson"),
        (b"{}", {"Table": "Other"}, "'Other'; the local hub has the table PipelineLogs"),
        (b"{}", {"Table": "pipelinelogs"}, "'pipelinelogs'"),
        (b"{}", {"IngestionMappingReference": "Other"}, "the local hub has PipelineLogsMapping"),
    ],
)
def test_what_adx_would_not_ingest_is_refused_with_the_reason(body, properties, reason):
    reports = []
    ingester = make(on_refused=reports.append)
    assert rows(body, ingester, **properties) == []
    assert ingester.refused_total == len(reports) == 1
    assert reason in reports[0]
    assert "'logs'" in reports[0]


def test_what_a_reason_quotes_of_the_event_is_short_and_harmless():
    reports = []
    rows(b"{}", make(on_refused=reports.append), Table="\x1b[31m" + "x" * 100_000)
    assert len(reports[0]) < 400
    assert "\x1b" not in reports[0]


def test_routing_to_the_one_table_is_accepted():
    routing = {
        "Table": "PipelineLogs",
        "Format": "JSON",
        "IngestionMappingReference": "PipelineLogsMapping",
        "Database": "Logs",
        "Compression": "None",
        "Encoding": "UTF-8",
    }
    assert len(rows(b"{}", **routing)) == 1


def test_names_of_properties_are_case_sensitive_as_in_adx():
    assert len(rows(b"{}", table="Other", compression="gzip", format="csv")) == 1


@pytest.mark.parametrize(
    "body",
    [
        b'[{"message":"a"},{"message":"b"}]',
        b'{"message":"a"}{"message":"b"}',
        b'{\n "message": "a"\n}\n\n{"message":\n"b"}\n',
        b'\xef\xbb\xbf [{"message":"a"}] {"message":"b"}',
    ],
)
def test_multijson_takes_arrays_and_records_over_several_lines(body):
    assert [row["message"] for row in rows(body, Format="multijson")] == ["a", "b"]


@pytest.mark.parametrize(
    "body",
    [b'{"message":"a"} x', b'[{"message":"a"},1]', b'{"a":NaN}', b"[" * 100_000, b'{"a":"\\ud800"}', b"\xff"],
)
def test_one_malformed_record_spoils_the_whole_multijson_event(body):
    ingester = make()
    assert rows(body, ingester, Format="multijson") == []
    assert (ingester.refused_total, ingester.rows_total) == (1, 0)


@pytest.mark.parametrize(
    ("column", "written", "kept"),
    [
        ("level_number", "20", 20),
        ("level_number", "12.5", None),
        ("level_number", "12.0", None),
        ("level_number", "2147483647", 2147483647),
        ("level_number", "2147483648", None),
        ("level_number", "-2147483649", None),
        ("level_number", '"42"', 42),
        ("level_number", '" 42 "', 42),
        ("level_number", '"4_2"', None),
        ("level_number", '"forty"', None),
        ("level_number", '""', None),
        ("level_number", "true", None),
        ("level_number", "[1]", None),
        ("sequence", "9223372036854775807", 9223372036854775807),
        ("sequence", "9223372036854775808", None),
        ("sequence", "-9223372036854775808", -9223372036854775808),
        ("sequence", "1e400", "malformed"),
        ("sequence", "100000000000000000000000", None),
        ("duration_ms", "1.5", 1.5),
        ("duration_ms", "2", 2.0),
        ("duration_ms", '"1.5e3"', 1500.0),
        ("duration_ms", '"NaN"', None),
        ("duration_ms", '"1e999"', None),
        ("duration_ms", "false", None),
        ("user_authenticated", "true", True),
        ("user_authenticated", "false", False),
        ("user_authenticated", '"True"', True),
        ("user_authenticated", "1", True),
        ("user_authenticated", "2", None),
        ("user_authenticated", '"yes"', None),
        ("user_authenticated", "0.0", None),
        ("message", '"text"', "text"),
        ("message", "12.5", "12.5"),
        ("message", "true", "true"),
        ("message", '{"a": [1]}', '{"a":[1]}'),
        ("message", '"\\u0000\\n"', "\0\n"),
        ("extra", '{"cart": {"items": [1, 2.5, null]}}', {"cart": {"items": [1, 2.5, None]}}),
        ("extra", '"text"', "text"),
        ("extra", "7", 7),
        ("extra", "[" * 300 + "]" * 300, None),
        ("message", "[" * 300 + "]" * 300, None),
        ("timestamp", '"2026-11-23T14:00:00.123456Z"', "2026-11-23T14:00:00.123456Z"),
        ("timestamp", '"2026-11-23T14:00:00.1234567Z"', "2026-11-23T14:00:00.123456Z"),
        ("timestamp", '"2026-11-23T16:00:00+02:00"', "2026-11-23T14:00:00.000000Z"),
        ("timestamp", '"2026-11-23 14:00"', "2026-11-23T14:00:00.000000Z"),
        ("timestamp", '"2026-11-23"', "2026-11-23T00:00:00.000000Z"),
        ("timestamp", '"Mon, 23 Nov 2026 14:00:00 GMT"', "2026-11-23T14:00:00.000000Z"),
        ("timestamp", '"2026-13-23T14:00:00Z"', None),
        ("timestamp", '"2026-11-23T14:00:00.123456z"', None),
        ("timestamp", '"0001-01-01T00:00:00+02:00"', None),
        ("timestamp", '"yesterday"', None),
        ("timestamp", "1700000000", None),
    ],
)
def test_a_value_that_does_not_fit_its_column_is_null(column, written, kept):
    ingester = make()
    found = rows(f'{{"{column}": {written}}}'.encode(), ingester)
    if kept == "malformed":
        assert ingester.malformed_total == 1
        return
    assert mapped(found[0]) == ({} if kept is None else {column: kept})
    assert type(found[0].get(column)) is type(kept)
    assert ingester.nulls_total == (kept is None)


def test_a_null_is_no_misfit():
    ingester = make()
    assert mapped(rows(b'{"level_number": null, "message": null}', ingester)[0]) == {}
    assert ingester.nulls_total == 0


def test_a_text_over_one_mebibyte_is_cut_at_a_character():
    text = "x" + "ü" * MIB
    kept = rows(json.dumps({"message": text}, ensure_ascii=False).encode())[0]["message"]
    assert text.startswith(kept)
    assert MIB - 2 < len(kept.encode()) <= MIB


def test_a_dynamic_value_over_one_mebibyte_is_null():
    assert "extra" not in rows(json.dumps({"extra": {"a": "x" * MIB}}).encode())[0]
    assert "extra" in rows(json.dumps({"extra": {"a": "x" * (MIB - 10)}}).encode())[0]


def test_a_mapping_of_other_paths_fills_other_columns():
    mapping = [{"column": "message", "datatype": "string", "Properties": {"Path": "$.msg"}}]
    assert mapped(rows(b'{"msg":"a","message":"b"}', make(mapping=mapping))[0]) == {"message": "a"}


_CHECKS = {
    Kind.STRING: lambda value: type(value) is str,
    Kind.DATETIME: lambda value: value.endswith("Z") and datetime.fromisoformat(value),
    Kind.INT: lambda value: type(value) is int and -(2**31) <= value < 2**31,
    Kind.LONG: lambda value: type(value) is int and -(2**63) <= value < 2**63,
    Kind.REAL: lambda value: type(value) is float,
    Kind.BOOL: lambda value: type(value) is bool,
    Kind.DYNAMIC: lambda value: value is not None,
}
_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)


@given(st.dictionaries(st.sampled_from([column.name for column in COLUMNS]), _JSON, max_size=8))
def test_whatever_comes_every_value_in_a_row_fits_its_column(record):
    found = make().lines("logs", Arrival(json.dumps(record).encode(), {}))
    kinds = {column.name: column.kind for column in COLUMNS}
    for line in found:
        row = mapped(json.loads(line))
        assert all(_CHECKS[kinds[name]](value) is not False for name, value in row.items())


@given(st.binary(max_size=200), st.sampled_from(["", "gzip"]), st.sampled_from(["json", "multijson"]))
def test_no_body_makes_it_fail(body, compression, format_name):
    make().lines("logs", Arrival(body, {"Compression": compression, "Format": format_name}))
