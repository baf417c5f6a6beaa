import json
import math
import random
import threading
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest

from hublog.capture.columns import COLUMNS
from hublog_local.errors import LocalHubError
from hublog_local.ingest import OWN_COLUMNS, Ingester
from hublog_local.kql import run_kql
from hublog_local.store import Store, active_file

START = datetime(2026, 11, 23, 13, 0, tzinfo=UTC)
INGESTED_AT = datetime(2026, 11, 23, 14, 30, tzinfo=UTC)
ROUTES = ("/orders/<int:pk>/", "/orders/", "/cart/", "/health/")
LEVELS = {"DEBUG": 10, "INFO": 20, "WARNING": 30, "ERROR": 40}
MINUTE = timedelta(minutes=1)


@dataclass
class Arrival:
    body: bytes
    properties: dict = field(default_factory=dict)
    partition_id: str = "0"
    sequence_number: int = 0
    enqueued_at: datetime = INGESTED_AT


def iso(moment):
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def make_record(number, chance):
    level = chance.choices(list(LEVELS), weights=(10, 70, 15, 5))[0]
    at = START + timedelta(microseconds=chance.randrange(3_600_000_000))
    record = {
        "timestamp": iso(at),
        "sent_at": iso(at + timedelta(milliseconds=chance.randrange(1, 1200))),
        "level": level,
        "level_number": LEVELS[level],
        "logger_name": chance.choice(("shop.orders", "shop.cart", "django.request")),
        "message": f"order {number} of user-{number % 17} {chance.choice(('paid', 'failed', 'shipped'))}",
        "message_template": "order %d of %s",
        "record_type": "log",
        "record_id": f"id-{number % 950:04d}",
        "sequence": number,
        "service_name": chance.choice(("shop-flask", "shop-django")),
        "request_id": f"r{number // 5}",
        "extra": {
            "cart": {"items": chance.randrange(9), "total": round(chance.random() * 100, 2)},
            "n": number,
        },
    }
    if chance.random() < 0.6:
        status = chance.choices((200, 404, 500), weights=(90, 6, 4))[0]
        record |= {
            "record_type": "request",
            "http_route": chance.choice(ROUTES),
            "http_method": chance.choice(("GET", "POST")),
            "http_status_code": status,
            "duration_ms": round(chance.expovariate(1 / 80), 3),
            "user_authenticated": chance.random() < 0.5,
            "extra": record["extra"] | {"tags": chance.sample(("a", "b", "c", "d"), 2)},
        }
    if level == "ERROR":
        record |= {"exception_type": chance.choice(("builtins.KeyError", "shop.PaymentError"))}
    return record


RECORDS = [make_record(number, random.Random(number)) for number in range(1000)]  # noqa: S311  # no secret


def store_records(directory, records, **options):
    ingester = Ingester(now=lambda: INGESTED_AT)
    with Store(directory, **options) as store:
        for start in range(0, len(records), 50):
            body = b"\n".join(json.dumps(record).encode() for record in records[start : start + 50])
            store.append(b"".join(ingester.lines("logs", Arrival(body))))
    assert ingester.rows_total == len(records)
    assert ingester.nulls_total == 0


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    # A name with all that a path may have, in several files.
    directory = tmp_path_factory.mktemp("it's [a] *data*") / "hub"
    store_records(directory, RECORDS, max_file_bytes=200_000)
    return directory


def moment(record, name="timestamp"):
    return datetime.fromisoformat(record[name])


def minute(record, minutes=1):
    at = moment(record)
    return at.replace(minute=at.minute // minutes * minutes, second=0, microsecond=0)


def percentile(values, percent):
    return sorted(values)[max(math.ceil(len(values) * percent / 100), 1) - 1]


def grouped(records, key):
    groups = defaultdict(list)
    for record in records:
        groups[key(record)].append(record)
    return groups


REQUESTS = [record for record in RECORDS if record["record_type"] == "request"]


def newest_by_id():
    newest = {}
    for record in RECORDS:
        known = newest.get(record["record_id"])
        if known is None or record["sent_at"] > known["sent_at"]:
            newest[record["record_id"]] = record
    return newest


#: A query, and what plain Python says about the same records; compared as sets of rows unless it orders.
CASES = {
    "count": ("PipelineLogs | count", [(1000,)]),
    "where equals": (
        'PipelineLogs | where level == "ERROR" | count',
        [(sum(record["level"] == "ERROR" for record in RECORDS),)],
    ),
    "equality minds case": ('PipelineLogs | where level == "error" | count', [(0,)]),
    "equality in any case": (
        'PipelineLogs | where level =~ "error" | count',
        [(sum(record["level"] == "ERROR" for record in RECORDS),)],
    ),
    "count by": (
        "PipelineLogs | summarize count() by level",
        list(Counter(record["level"] for record in RECORDS).items()),
    ),
    "errors by route, those without a route under the empty one": (
        'PipelineLogs | where level == "ERROR" | summarize count() by http_route',
        list(Counter(r.get("http_route", "") for r in RECORDS if r["level"] == "ERROR").items()),
    ),
    "text that is not there is empty and not null": (
        "PipelineLogs | where http_route == '' and isempty(http_route) and not(isnull(http_route)) | count",
        [(len(RECORDS) - len(REQUESTS),)],
    ),
    "unequal to a text holds for the empty one": (
        'PipelineLogs | where http_route != "/cart/" | count',
        [(sum(record.get("http_route") != "/cart/" for record in RECORDS),)],
    ),
    "numbers that are not there are null": (
        "PipelineLogs | where isnull(duration_ms) | count",
        [(len(RECORDS) - len(REQUESTS),)],
    ),
    "has": (
        'PipelineLogs | where message has "failed" | count',
        [(sum("failed" in record["message"].split() for record in RECORDS),)],
    ),
    "has finds whole words": ('PipelineLogs | where message has "fail" | count', [(0,)]),
    "contains": (
        'PipelineLogs | where message contains "USER-1" | count',
        [(sum("user-1" in record["message"] for record in RECORDS),)],
    ),
    "startswith": (
        'PipelineLogs | where logger_name startswith "shop." | count',
        [(sum(record["logger_name"].startswith("shop.") for record in RECORDS),)],
    ),
    "in": (
        "PipelineLogs | where http_status_code in (404, 500) | count",
        [(sum(record["http_status_code"] in {404, 500} for record in REQUESTS),)],
    ),
    "per minute": (
        "PipelineLogs | summarize n = count() by bin(timestamp, 1m)",
        list(Counter(minute(record) for record in RECORDS).items()),
    ),
    "error rate in five minutes": (
        """
        PipelineLogs | where record_type == "request"
        | summarize requests = count(), errors = countif(http_status_code >= 500) by bin(timestamp, 5m)
        | extend error_pct = round(100.0 * errors / requests, 2)
        """,
        [
            (
                at,
                len(group),
                (errors := sum(r["http_status_code"] >= 500 for r in group)),
                pytest.approx(round(100.0 * errors / len(group), 2)),
            )
            for at, group in grouped(REQUESTS, lambda record: minute(record, 5)).items()
        ],
    ),
    "percentiles of routes": (
        """
        PipelineLogs | where record_type == "request"
        | summarize p50 = percentile(duration_ms, 50), p95 = percentile(duration_ms, 95),
            worst = max(duration_ms) by http_route
        """,
        [
            (route, percentile(values, 50), percentile(values, 95), max(values))
            for route, values in (
                (route, [record["duration_ms"] for record in group])
                for route, group in grouped(REQUESTS, lambda record: record["http_route"]).items()
            )
        ],
    ),
    "averages": (
        'PipelineLogs | where record_type == "request" | summarize avg(duration_ms), sum(http_status_code)',
        [
            (
                pytest.approx(sum(record["duration_ms"] for record in REQUESTS) / len(REQUESTS)),
                sum(record["http_status_code"] for record in REQUESTS),
            )
        ],
    ),
    "slowest": (
        "PipelineLogs | top 5 by duration_ms desc | project duration_ms, http_route",
        [
            (record["duration_ms"], record["http_route"])
            for record in sorted(REQUESTS, key=lambda record: -record["duration_ms"])[:5]
        ],
    ),
    "trail of a request in order": (
        """
        PipelineLogs | where request_id == "r7" | order by timestamp asc | project timestamp, level, sequence
        """,
        [
            (moment(record), record["level"], record["sequence"])
            for record in sorted(RECORDS[35:40], key=lambda record: record["timestamp"])
        ],
    ),
    "dynamic values": (
        """
        PipelineLogs | where toint(extra.cart.items) > 6
        | summarize n = count(), total = sum(todouble(extra.cart.total))
        """,
        [
            (
                sum(record["extra"]["cart"]["items"] > 6 for record in RECORDS),
                pytest.approx(
                    sum(r["extra"]["cart"]["total"] for r in RECORDS if r["extra"]["cart"]["items"] > 6)
                ),
            )
        ],
    ),
    "dynamic as text": (
        "PipelineLogs | where sequence < 3 | project tostring(extra.n), x = tostring(extra.cart.items)",
        [(str(r["extra"]["n"]), str(r["extra"]["cart"]["items"])) for r in RECORDS[:3]],
    ),
    "a dynamic value comes as what it is": (
        "PipelineLogs | where sequence < 5 | project sequence, extra",
        [(record["sequence"], record["extra"]) for record in RECORDS[:5]],
    ),
    "members of an array": (
        """
        PipelineLogs | mv-expand tag = extra.tags to typeof(string) | where isnotempty(tag)
        | summarize count() by tag
        """,
        list(Counter(tag for record in REQUESTS for tag in record["extra"]["tags"]).items()),
    ),
    "distinct": (
        "PipelineLogs | distinct service_name, level",
        list({(record["service_name"], record["level"]) for record in RECORDS}),
    ),
    "exact distinct count": (
        "PipelineLogs | summarize dcount(record_id)",
        [(len({record["record_id"] for record in RECORDS}),)],
    ),
    "duplicates left out": (
        """
        PipelineLogs | summarize arg_max(sent_at, level, sequence) by record_id
        | project record_id, sent_at, level, sequence
        """,
        [
            (key, moment(record, "sent_at"), record["level"], record["sequence"])
            for key, record in newest_by_id().items()
        ],
    ),
    "case and extend": (
        """
        PipelineLogs | where record_type == "request"
        | extend answer = case(http_status_code >= 500, "bad", http_status_code >= 400, "odd", "good")
        | summarize count() by answer
        """,
        list(
            Counter(
                "bad" if r["http_status_code"] >= 500 else "odd" if r["http_status_code"] >= 400 else "good"
                for r in REQUESTS
            ).items()
        ),
    ),
    "iff and strcat": (
        """
        PipelineLogs | where sequence < 2
        | project s = strcat(level, "/", service_name), big = iff(sequence > 0, 1, 0)
        """,
        [(f"{r['level']}/{r['service_name']}", int(r["sequence"] > 0)) for r in RECORDS[:2]],
    ),
    "parse": (
        """
        PipelineLogs | parse message with "order " number:long " of " user " " *
        | summarize n = sum(number) by user
        """,
        [
            (user, sum(record["sequence"] for record in group))
            for user, group in grouped(RECORDS, lambda record: f"user-{record['sequence'] % 17}").items()
        ],
    ),
    "between": (
        """
        PipelineLogs
        | where timestamp between (datetime(2026-11-23 13:10:00) .. datetime(2026-11-23 13:20:00)) | count
        """,
        [(sum(START + 10 * MINUTE <= moment(record) <= START + 20 * MINUTE for record in RECORDS),)],
    ),
    "join": (
        """
        PipelineLogs | where level == "ERROR" | project request_id, failed = sequence
        | join kind=inner (PipelineLogs | where record_type == "request" | project request_id, sequence)
            on request_id
        | project failed, sequence
        """,
        [
            (error["sequence"], request["sequence"])
            for error in RECORDS
            if error["level"] == "ERROR"
            for request in REQUESTS
            if request["request_id"] == error["request_id"]
        ],
    ),
    "let": (
        'let bad = PipelineLogs | where level == "ERROR"; bad | summarize count() by exception_type',
        list(Counter(r["exception_type"] for r in RECORDS if r["level"] == "ERROR").items()),
    ),
    "bool": (
        "PipelineLogs | where user_authenticated == true | count",
        [(sum(record["user_authenticated"] for record in REQUESTS),)],
    ),
    "a timespan is a timedelta": (
        "PipelineLogs | where sequence < 20 | project wait = sent_at - timestamp",
        [(moment(record, "sent_at") - moment(record),) for record in RECORDS[:20]],
    ),
    "lag in seconds": (
        "PipelineLogs | extend s = (sent_at - timestamp) / 1s | summarize p95 = percentile(s, 95)",
        [
            (
                pytest.approx(
                    percentile([(moment(r, "sent_at") - moment(r)).total_seconds() for r in RECORDS], 95)
                ),
            )
        ],
    ),
    "ingestion_time is when it arrived": (
        """
        PipelineLogs
        | where ingestion_time( ) == datetime(2026-11-23 14:30:00) and message != "ingestion_time()" | count
        """,
        [(1000,)],
    ),
    "lag to the hub": (
        "PipelineLogs | where sequence < 9 | project lag = ingestion_time() - sent_at",
        [(INGESTED_AT - moment(record, "sent_at"),) for record in RECORDS[:9]],
    ),
    "a comment and a line break": (
        "PipelineLogs // ingestion_time() and 'an open quote\n| count // the end",
        [(1000,)],
    ),
}
ORDERED = {"slowest", "trail of a request in order"}


@pytest.mark.parametrize("name", CASES)
def test_a_query_answers_what_plain_python_says(data, name):
    query, expected = CASES[name]
    rows = list(run_kql(query, data).rows)
    assert (rows == expected) if name in ORDERED else (len(rows) == len(expected))
    if name not in ORDERED:
        remaining = list(expected)
        for row in rows:
            assert row in remaining
            remaining.remove(row)


def test_the_columns_are_those_of_the_mapping_and_the_hubs_own(data):
    result = run_kql("PipelineLogs | take 1", data)
    assert list(result.columns) == [column.name for column in COLUMNS] + list(OWN_COLUMNS)


def test_the_schema_has_the_types_of_the_mapping(data):
    result = run_kql("PipelineLogs | getschema | project ColumnName, ColumnType", data)
    assert list(result.rows)[: len(COLUMNS)] == [(column.name, column.kind.value) for column in COLUMNS]


def test_columns_that_a_query_makes_are_named(data):
    result = run_kql("PipelineLogs | summarize n = count(), max(duration_ms) by level", data)
    assert list(result.columns) == ["level", "n", "max_duration_ms"]
    assert all(record["n"] > 0 for record in result.records())


@pytest.mark.parametrize(
    ("query", "said"),
    [
        (
            "PipelineLogs | summarize percentiles(duration_ms, 50, 95)",
            r"'percentiles'.*percentile\(x, 50\), percentile\(x, 95\)",
        ),
        (
            "PipelineLogs | make-series count() on timestamp step 1m",
            r"'make-series'.*summarize \.\.\. by bin\(timestamp, 1m\)",
        ),
        ("PipelineLogs | summarize take_any(*) by record_id", r"'take_any'.*arg_max\(sent_at, \*\)"),
        ("PipelineLogs | extend p = prev(level)", r"'prev'.*join"),
        ("PipelineLogs | serialize | extend n = row_number()", "'serialize'.*row_number"),
        ("PipelineLogs | evaluate bag_unpack(extra)", r"'evaluate'.*toint\(extra.cart.items\)"),
        ("PipelineLogs | project-keep level", "'project-keep'.*use project"),
        ("PipelineLogs | sample 5", "'sample'.*use take"),
        ("PipelineLogs | as T | count", "'as'.*let"),
        ("PipelineLogs | top-nested 2 of level by count()", "'top-nested'.*summarize"),
        ("search 'x'", r"'search'.*where message has"),
        ("PipelineLogs | where * has 'x'", r"'\*'.*name the column"),
        ("PipelineLogs | parse message with a:string ' ' b", "'parse'.*begin with a text"),
        ("let n = 5; PipelineLogs | top n by timestamp", "'top'.*the number itself"),
        ("PipelineLogs | summarize make_bag(extra)", "'make_bag'.*make_list"),
        ("externaldata(a:string)['/etc/passwd']", "'externaldata'.*its own table only"),
        ("PipelineLogs | sumarize count() by level", "'sumarize'; did you mean 'summarize'"),
        ("PipelineLogs | frobnicate", "'frobnicate'; check how it is written"),
        ("PipelineLogs | extend x = frobnicate(level)", "function 'frobnicate'"),
        ("Nowhere | count", "no table 'Nowhere'; there is PipelineLogs"),
        ("['/etc/passwd'] | take 1", "no table '/etc/passwd'"),
        ("text | count", "no table 'text'"),
        ("pipelinelogs | count", "no 'pipelinelogs'.*write 'PipelineLogs'"),
        ("PipelineLogs | where Level == 'ERROR'", "no 'Level'.*write 'level'"),
        ("PipelineLogs | where mesage has 'x'", "no column 'mesage'.*did you mean 'message'"),
        ("PipelineLogs | project zzz", "no column 'zzz'.*getschema"),
        (
            "PipelineLogs | summarize count() by level | where message has 'x'",
            "no column 'message' at that place",
        ),
        (
            "PipelineLogs | summarize count() by level | extend ingestion_time()",
            r"ingestion_time\(\).*before",
        ),
        ("PipelineLogs | summarize sum(extra)", r"types do not fit.*todouble\(\)"),
        ("PipelineLogs | where level ==", "cannot be read"),
        ("PipelineLogs | where", "cannot be read from 'where' on"),
        ("PipelineLogs |", "cannot be read"),
        ("PipelineLogs | where level == 'a", r"cannot be read at .*line 1, column 31"),
        ("PipelineLogs\n| where (level == 'a'", "cannot be read"),
        ("| count", "cannot be read"),
        ("", "query is empty"),
        ("PipelineLogs | take 1; PipelineLogs | take 2", "one query at a time"),
        ("PipelineLogs | summarize make_list(bin(level_number, 10), 5)", r"make_list\(\) with a limit"),
        ("PipelineLogs | extend x = split(message, ' ', 1)", r"'split' in this form: split\(\) takes"),
        (".drop table PipelineLogs", "is a command; the local hub answers queries only"),
        (".set-or-append PipelineLogs <| PipelineLogs", "is a command; the local hub answers queries only"),
    ],
)
def test_what_cannot_be_answered_is_said_with_what_to_write_instead(data, query, said):
    with pytest.raises(LocalHubError, match=said) as caught:
        run_kql(query, data)
    assert len(str(caught.value)) < 400


def test_a_column_may_be_made_with_the_name_of_a_key(data):
    assert run_kql("PipelineLogs | summarize Timestamp = max(timestamp) | project Timestamp", data).rows
    assert run_kql('PipelineLogs | project x = extra.Level, y = "Level" | take 1', data).rows


def test_commas_inside_an_argument_are_no_limit(data):
    query = 'PipelineLogs | summarize make_set(strcat(level, ",", bin(level_number, 10))), count()'
    assert len(run_kql(query, data).rows[0][0]) == len(LEVELS)


def test_a_query_nested_too_deeply_is_an_error_and_no_crash(data):
    with pytest.raises(LocalHubError):
        run_kql("PipelineLogs | where " + "(" * 1000 + "true" + ")" * 1000, data)


def test_no_query_reads_other_files(data, tmp_path):
    secret = tmp_path / "secret.csv"
    secret.write_text("a\n1\n")
    for query in (
        f"['{secret}'] | take 1",
        f"print x = read_text('{secret}')",
        f"read_csv('{secret}') | take 1",
    ):
        with pytest.raises(LocalHubError):
            run_kql(query, data)


def test_a_hub_that_has_nothing_yet_has_an_empty_table(tmp_path):
    assert run_kql("PipelineLogs | count", tmp_path).rows == [(0,)]
    Store(tmp_path).close()
    assert run_kql("PipelineLogs | count", tmp_path).rows == [(0,)]
    assert run_kql("PipelineLogs | getschema | count", tmp_path).rows == [(len(COLUMNS) + len(OWN_COLUMNS),)]


def test_a_directory_that_is_not_there_is_an_error(tmp_path):
    with pytest.raises(LocalHubError, match=r"no directory .*start hublog local"):
        run_kql("PipelineLogs | count", tmp_path / "missing")


def test_a_line_that_is_being_written_does_not_count(tmp_path):
    store_records(tmp_path, RECORDS[:3])
    with active_file(tmp_path).open("ab") as file:
        file.write(active_file(tmp_path).read_bytes().splitlines()[0][:-1])
    assert run_kql("PipelineLogs | count", tmp_path).rows == [(3,)]


def test_strange_texts_come_back_as_they_are(tmp_path):
    texts = ["", "a\0b", "\x1b[31m", "ü€😀", 'quote " and \\ and \n', "x" * 100_000, "\u2028"]
    store_records(tmp_path, [{"message": text, "sequence": n} for n, text in enumerate(texts)])
    rows = run_kql("PipelineLogs | order by sequence asc | project message", tmp_path).rows
    assert [row[0] for row in rows] == texts


def test_extremes_of_each_type_come_back_as_they_are(tmp_path):
    record = {
        "timestamp": "0001-01-01T00:00:00.000000Z",
        "sent_at": "9999-12-31T23:59:59.999999Z",
        "level_number": -(2**31),
        "sequence": 2**63 - 1,
        "duration_ms": 1.7976931348623157e308,
        "db_duration_ms": 5e-324,
        "truncated": False,
        "extra": [1, "2", None, {"ü": [2.5, True]}],
        "metrics": "text",
    }
    store_records(tmp_path, [record])
    row = run_kql("PipelineLogs | project " + ", ".join(record), tmp_path).records()[0]
    times = {name: datetime.fromisoformat(record[name]) for name in ("timestamp", "sent_at")}
    assert row == record | times


def test_queries_answer_while_rows_are_written_and_files_renamed(tmp_path):
    stop = threading.Event()
    body = b"\n".join(json.dumps(record).encode() for record in RECORDS[:100])
    written = []

    def write():
        ingester = Ingester()
        with Store(tmp_path, max_file_bytes=4 << 20, max_files=1_000) as store:
            while not stop.is_set():
                store.append(b"".join(ingester.lines("logs", Arrival(body))))
                written.append(100)
                stop.wait(0.02)

    writer = threading.Thread(target=write)
    writer.start()
    counts = []
    try:
        while len(counts) < 15 or len(written) < 100:
            before = sum(written)
            counts.append(run_kql("PipelineLogs | count", tmp_path).rows[0][0])
            assert counts[-1] >= before
    finally:
        stop.set()
        writer.join()
    assert counts == sorted(counts)
    assert run_kql("PipelineLogs | count", tmp_path).rows == [(sum(written),)]


def test_a_query_leaves_nothing_in_the_directory_and_needs_no_right_to_write_there(tmp_path, monkeypatch):
    with Store(tmp_path) as store:
        store.append(b"".join(Ingester().lines("logs", Arrival(json.dumps(RECORDS[0]).encode()))))
    assert run_kql("PipelineLogs | count", tmp_path).rows == [(1,)]
    assert not list(tmp_path.glob(".query-*"))
    monkeypatch.setattr("os.link", refuse_links)
    assert run_kql("PipelineLogs | count", tmp_path).rows == [(1,)]


def refuse_links(*_, **__):
    raise PermissionError(1, "Operation not permitted")
