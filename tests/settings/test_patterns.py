import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.settings import read_settings
from hublog.settings.patterns import problem_of

FIT = (
    r"EMP-\d{6}",
    r"\b[A-Z]{2}\d{2}[A-Z0-9]{10,30}\b",
    r"(?i)iban[: ]+[A-Z0-9 ]{15,34}",
    r"[\w.]+@[\w.]+\.com",
    r"\d{1,3}(?:\.\d{1,3}){3}",
    r"(?:foo|bar)+x",
    r"(?:\w+-){2,5}x",
    r"(?>a+)b",
    r"(?:a++)+b",
    r"(?<=key=)\S+",
    r"(?P<first>\d+)-(\d+)",
)
UNFIT = {
    r"(a+)+b": "endless repeat inside",
    r"(\w+\s?)*x": "endless repeat inside",
    r"(x+x+)+y": "endless repeat inside",
    r"(?:(?:ab)+c?)+": "endless repeat inside",
    r"(?:a{1,100}){1,100}b": "endless repeat inside",
    r"\w*\w*x": "share",
    r".*a.*b": "share",
    r"(.*?,){11}P": "share",
    "(a?){30}" + "a" * 30: "share",
    "a?" * 30 + "a" * 30: "share",
    r"(?:\d|\w)+(?:[a-z]|x)+!": "share",
    r"(?:a.|.b)+c": "begin alike",
    r"(a)\1": "refers back",
    r"a*": "empty",
    r"": "empty",
    r"(": "no regular expression",
    "a" * 1_001: "longer",
    "(" * 90 + "a" + "){2}" * 90: "complex",
}


@pytest.mark.parametrize("pattern", FIT)
def test_a_pattern_of_bounded_time_is_taken(pattern):
    assert problem_of(pattern) == ""


@pytest.mark.parametrize(("pattern", "problem"), UNFIT.items(), ids=[text[:20] for text in UNFIT])
def test_a_pattern_whose_ways_multiply_is_refused(pattern, problem):
    assert problem in problem_of(pattern)


@given(st.text("a(|)[]*+?{}1,\\w.^$-:<=!P", max_size=30))
def test_any_text_is_judged_without_an_error(text):
    problem = problem_of(text)
    if not problem:
        re.compile(text)


def test_an_unfit_pattern_is_told_with_its_name_and_left_out():
    reading = read_settings({"redaction": {"patterns": ["(a+)+b", r"EMP-\d+"]}}, environ={})
    assert reading.settings.redaction.patterns == (r"EMP-\d+",)
    assert reading.problems == (
        (
            "The argument redaction.patterns has '(a+)+b', which has an endless repeat inside an endless"
            " repeat; it is left out."
        ),
    )
    assert reading.invalid == {"redaction.patterns"}
