import re
from pathlib import Path

import pytest
from benchmarks.__main__ import judged, rounded
from benchmarks.figures import BY_NAME, FIGURES, Figure, Verdict, missed, shown, table
from benchmarks.parts import Measured

ROOT = Path(__file__).parents[2]
MOST = Figure("cost_x", "part", "text", 1.5, 1.0)
LEAST = Figure("rate_per_s", "part", "text", 70_000, 100_000, is_least=True)


@pytest.mark.parametrize(
    ("figure", "value", "verdict"),
    [
        (MOST, 1.0, Verdict.AIM),
        (MOST, 1.01, Verdict.MUST),
        (MOST, 1.5, Verdict.MUST),
        (MOST, 1.51, Verdict.MISSED),
        (MOST, float("nan"), Verdict.MISSED),
        (LEAST, 100_000, Verdict.AIM),
        (LEAST, 70_000, Verdict.MUST),
        (LEAST, 69_999, Verdict.MISSED),
        (Figure("zero", "part", "text", 0), 0, Verdict.MUST),
        (Figure("shown", "part", "text"), 1e9, Verdict.SHOWN),
    ],
)
def test_a_value_is_judged_by_must_and_aim(figure, value, verdict):
    assert figure.verdict(value) is verdict


def test_a_figure_that_was_not_measured_is_not_missed():
    assert missed({}) == []
    assert missed({"flask_off_x_null": 9.0, "django_off_x_null": 1.0}) == [BY_NAME["flask_off_x_null"]]


def test_the_table_has_a_row_for_each_measured_figure():
    rows = table({"flask_off_x_null": 1.234, "burst_per_s": 70_000.0}).splitlines()
    assert [row.split()[:1] for row in rows] == [["name"], ["flask_off_x_null"], ["burst_per_s"]]
    assert rows[1].split()[1:] == ["1.23", "≤", "1.3", "≤", "1.15", "must", "reached"]
    assert "≥ 70,000" in rows[2]


@pytest.mark.parametrize(
    ("value", "text"),
    [(0.0, "0"), (0.0123, "0.0123"), (1.0, "1"), (12.34, "12.3"), (1234.5, "1,234"), (float("nan"), "?")],
)
def test_a_number_is_shown_with_three_digits(value, text):
    assert shown(value) == text


def test_names_are_unique_and_say_their_unit():
    assert len(BY_NAME) == len(FIGURES)
    unit = re.compile(r".*(_x|_x_\w+|_percent|_lost|_per_s|_us|_ms|_s|_per_1000|_per_record|_record)")
    assert [figure.name for figure in FIGURES if not unit.fullmatch(figure.name)] == []


def test_an_aim_is_better_than_its_must():
    judged = [figure for figure in FIGURES if figure.aim is not None]
    assert {figure.verdict(figure.aim) for figure in judged} == {Verdict.AIM}
    assert {figure.verdict(figure.must) for figure in judged} == {Verdict.MUST}


def test_only_figures_that_have_a_name_are_judged_and_written():
    assert judged(Measured({"flask_off_x_null": 1.23456, "floor_us": 5.0}, {})) == {
        "flask_off_x_null": {"value": 1.235, "must": 1.3, "aim": 1.15, "verdict": Verdict.MUST}
    }


def test_details_are_written_with_four_digits():
    assert rounded({"a": [1.23456, 7, "x"], "b": float("nan")}) == {"a": [1.235, 7, "x"], "b": None}
