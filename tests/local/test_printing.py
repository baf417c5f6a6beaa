import csv
import io
import json
from datetime import UTC, datetime, timedelta

import pytest

from hublog_local.kql import Result
from hublog_local.printing import text_of, write_csv, write_json, write_table

AT = datetime(2026, 11, 23, 14, tzinfo=UTC)
RESULT = Result(
    ["at", "level", "n", "wait", "extra", "flag"],
    [
        (AT, "INFO", 3, timedelta(seconds=1.5), {"a": [1]}, True),
        (None, 'x"y,\n\x1b[31m', None, None, None, False),
    ],
)


def written(write, result=RESULT):
    out = io.StringIO()
    write(result, out)
    return out.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        ("a", "a"),
        (True, "true"),
        (1.5, "1.5"),
        (2**70, str(2**70)),
        (AT, "2026-11-23T14:00:00.000000Z"),
        (timedelta(days=1, hours=2, minutes=3, seconds=4, microseconds=5), "1.02:03:04.0000050"),
        (timedelta(seconds=-61), "-00:01:01"),
        ({"a": None}, '{"a":null}'),
        ([AT], '["2026-11-23T14:00:00+00:00"]'),
    ],
)
def test_a_value_is_written_as_kql_shows_it(value, text):
    assert text_of(value) == text


def test_json_is_one_array_with_a_row_a_line():
    text = written(write_json)
    assert len(text.splitlines()) == 4
    assert json.loads(text) == [
        {
            "at": "2026-11-23T14:00:00.000000Z",
            "level": "INFO",
            "n": 3,
            "wait": "00:00:01.5000000",
            "extra": {"a": [1]},
            "flag": True,
        },
        {"at": None, "level": 'x"y,\n\x1b[31m', "n": None, "wait": None, "extra": None, "flag": False},
    ]


def test_json_of_no_rows_is_an_empty_array():
    assert json.loads(written(write_json, Result(["a"], []))) == []


def test_csv_reads_back():
    rows = list(csv.reader(io.StringIO(written(write_csv), newline="")))
    assert rows == [
        list(RESULT.columns),
        ["2026-11-23T14:00:00.000000Z", "INFO", "3", "00:00:01.5000000", '{"a":[1]}', "true"],
        ["", r'x"y,\n\x1b[31m', "", "", "", "false"],
    ]


def test_a_table_has_a_header_and_a_line_a_row_and_nothing_hostile():
    lines = written(write_table).splitlines()
    assert len(lines) == 3
    assert lines[0].split() == list(RESULT.columns)
    assert 'x"y,\\n\\x1b[31m' in lines[2]


def test_a_table_does_not_fold_where_there_is_no_terminal():
    text = written(write_table, Result(["a", "b"], [("x" * 500, "y" * 500)]))
    assert len(text.splitlines()) == 2
    assert "x" * 500 in text


def test_markup_in_a_value_is_no_markup():
    assert "[bold]x[/bold] :smile:" in written(write_table, Result(["a"], [("[bold]x[/bold] :smile:",)]))


def test_many_columns_become_a_block_for_each_row_of_what_is_there():
    names = [f"c{number}" for number in range(20)]
    text = written(write_table, Result(names, [[None] * 18 + ["", "x\x1b"], ["y"] + [None] * 19]))
    assert text.splitlines() == ["-- row 1", "c19  x\\x1b", "-- row 2", "c0   y"]


@pytest.mark.parametrize(
    ("value", "cell"),
    [
        ("=cmd|' /C calc'!A0", "'=cmd|' /C calc'!A0"),
        ("+1", "'+1"),
        ("-1", "'-1"),
        ("@SUM(A1)", "'@SUM(A1)"),
        ("  =1+1", "'  =1+1"),
        ("\uff1d1", "'\uff1d1"),
        (-1, "-1"),
        (-1.5, "-1.5"),
        (timedelta(seconds=-1), "-00:00:01"),
        ("a=1", "a=1"),
        ("\x1b[8mhidden", "\\x1b[8mhidden"),
        ("two\nlines", "two\\nlines"),
    ],
    ids=repr,
)
def test_a_cell_is_no_formula_and_has_no_control_character(value, cell):
    out = io.StringIO()
    write_csv(Result(("value",), ((value,),)), out)
    assert list(csv.reader(io.StringIO(out.getvalue(), newline="")))[1] == [cell]
