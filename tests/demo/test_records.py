import gzip
import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from demo.arrivals import ALL_RECORDS, Arrivals, count_arrivals, wait_for_arrivals
from demo.records import Record, read_complaints, read_log_files

LOGGED_AT = datetime(2026, 11, 23, 14, 0, 0, 123456, tzinfo=UTC)


def line(**fields):
    row = {
        "timestamp": "2026-11-23T14:00:00.123456Z",
        "level": "INFO",
        "level_number": 20,
        "logger_name": "shop.orders",
        "message": "Order placed",
        "source_line": 40,
        "process_id": 7,
        "thread_id": 8,
        "service_name": "shop-flask",
    }
    return json.dumps(row | fields) + "\n"


def arrived(record_id="a", after_ms=250.0, **fields):
    """Return a row as the table gives it: a time without a zone."""
    logged_at = LOGGED_AT.replace(tzinfo=None)
    row = json.loads(line(**fields)) | {"timestamp": logged_at, "record_id": record_id}
    return row | {"_ingestion_time": logged_at + timedelta(milliseconds=after_ms)}


def test_the_line_of_a_file_and_the_row_of_the_table_are_the_same_record():
    assert Record.of(json.loads(line())) == Record.of(arrived())


def test_archives_of_the_log_file_count_too(tmp_path):
    folder = tmp_path / "shop-flask"
    folder.mkdir()
    (folder / "application.log").write_text(line(message="new"))
    with gzip.open(folder / "application.log.1.gz", "wt") as archive:
        archive.write(line(message="old"))

    assert {record.message for record in read_log_files(tmp_path)} == {"new", "old"}


def test_a_line_that_is_being_written_is_left_for_the_next_look(tmp_path):
    (tmp_path / "application.log").write_text(line() + line()[:20])
    assert read_log_files(tmp_path).total() == 1


@pytest.mark.parametrize(
    "fields",
    [
        {"logger_name": "hublog.internal"},
        {"logger_name": "azure.eventhub._pyamqp"},
        {"level": "DEBUG", "level_number": 10},
    ],
    ids=["our own trouble", "the SDK", "below INFO"],
)
def test_what_is_never_shipped_does_not_count_as_accepted(tmp_path, fields):
    (tmp_path / "application.log").write_text(line(**fields))
    assert not read_log_files(tmp_path)


def test_a_logger_that_only_begins_like_one_of_the_sdk_counts(tmp_path):
    (tmp_path / "application.log").write_text(line(logger_name="azurea"))
    assert read_log_files(tmp_path).total() == 1


def test_what_hublog_tells_about_itself_is_found(tmp_path):
    trouble = line(logger_name="hublog.internal", level="ERROR", level_number=40, message="away")
    (tmp_path / "application.log").write_text(line() + trouble)
    assert read_complaints(tmp_path) == ["ERROR away"]


def test_latency_is_the_time_from_log_call_to_hub():
    assert count_arrivals([arrived(after_ms=250)]).latencies_ms == [250.0]


def test_a_record_that_came_twice_counts_once_with_its_first_arrival():
    found = count_arrivals([arrived(after_ms=900), arrived(after_ms=300)])
    assert found == Arrivals(Counter([Record.of(arrived())]), [300.0], 1)


def test_equal_records_with_their_own_ids_are_two():
    assert count_arrivals([arrived("a"), arrived("b")]).records.total() == 2


def test_waiting_ends_with_the_last_record():
    answers = [[], [arrived("a")], [arrived("a"), arrived("b", message="last")]]
    accepted = Counter([Record.of(arrived()), Record.of(arrived(message="last"))])

    def query(kql):
        assert kql == ALL_RECORDS
        return answers.pop(0)

    last_accepted, arrivals = wait_for_arrivals(lambda: accepted, query, limit_s=60)

    assert (last_accepted, arrivals.records) == (accepted, accepted)
    assert answers == []


def test_waiting_ends_at_the_limit():
    accepted = Counter([Record.of(arrived())])
    _, arrivals = wait_for_arrivals(lambda: accepted, lambda _kql: [], limit_s=0)
    assert not arrivals.records
