import os
import re
import sys
from functools import cache
from itertools import product

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from hublog.redaction.redactor import Redactor
from hublog.settings import RedactionSettings, read_settings, user_patterns
from hublog.settings.user_patterns import (
    STEPS_MAX,
    Branches,
    Characters,
    Edge,
    NotLinearError,
    Parser,
    Repeat,
    finder_of,
    guard_of,
    problem_of,
    steps_of,
)

PROVEN = (
    r"EMP-\d{6}",
    r"EMP-\d+",
    r"\b[A-Z]{2}\d{2}[A-Z0-9]{10,30}\b",
    r"(?i)iban[: ]+[A-Z0-9 ]{15,34}",
    r"[\w.]+@[\w.]+\.com",
    r"\d{1,3}(?:\.\d{1,3}){3}",
    r"\w+-KD",
    r"secret: .*",
    r'"[^"]*"',
    r"<[^<>]+>",
    r"(?>a+)b",
    r"(?<=key=)\S+",
    r"(?P<first>\d+)-(\d+)",
    r"foo\d+|bar\d+x",
    r"(?:\d+-){3}x",
    r"Müller: \w+ ß",
)
#: RE2 knows them, and Python's engine might take long.
NEED_RE2 = (
    r"(?:\d\d|\d\d\d)+-KD",
    r"(?:aa|aaa)+b",
    r"(a|a)*b",
    r"(?:--|---)+>",
    r"(?:ID|IDID)+;",
    r"(?:[A-Z]{2}|[A-Z]{3}){2,40}#",
    r"(?:a|b|ab){0,63}c",
    r"(a+)+b",
    r"(\w+\s?)*x",
    r"(x+x+)+y",
    r"\w*\w*x",
    r".*a.*b",
    r"(.*?,){11}P",
    "(a?){30}" + "a" * 30,
    "a?" * 30 + "a" * 30,
    r"(?:a.|.b)+c",
    r"<[^>]+>",
    r"(?:foo|bar)+x",
    r"(?s)BEGIN.*?END",
    r"[^é]+x",
    r"é\w+x",
)
UNFIT = {
    r"(a)\1": "refers back",
    r"(?:a++)+b": "RE2 does not know it",
    r"(?<=a)(?:b|bb)+c": "RE2 does not know it",
    r"a*": "empty",
    r"": "empty",
    r"(": "no regular expression",
    "a" * 1_001: "longer",
    "(" * 90 + "a" + "){2}" * 90: "RE2 does not know it",
}


def spans(pattern, text):
    return [one.span() for one in re.finditer(pattern, text) if one.group()]


@pytest.fixture
def without_re2(monkeypatch):
    """Have the extra not installed, as an import sees it."""
    monkeypatch.setitem(sys.modules, "re2", None)
    user_patterns._judged.cache_clear()
    yield
    user_patterns._judged.cache_clear()


@pytest.mark.parametrize("pattern", PROVEN)
def test_what_is_proven_is_taken_without_the_extra(pattern, without_re2):
    assert problem_of(pattern) == ""
    assert steps_of(pattern) <= STEPS_MAX


@pytest.mark.parametrize("pattern", NEED_RE2)
def test_what_is_not_proven_needs_the_extra(pattern, without_re2):
    assert problem_of(pattern).endswith("install hublog[re2], which runs every expression in linear time")
    assert finder_of(pattern) is None


@pytest.mark.parametrize("pattern", NEED_RE2)
def test_with_the_extra_it_runs_on_a_hostile_text(pattern):
    assert problem_of(pattern) == ""
    for part in ("1", "a", "-", "ID", "ABC", "ab", "x", "<", "BEGIN", ","):
        few, many = part * 3, part * 20_000
        assert list(finder_of(pattern)(few)) == spans(pattern, few)
        assert all(start < end <= len(many) for start, end in finder_of(pattern)(many))


@pytest.mark.parametrize(("pattern", "problem"), UNFIT.items(), ids=[text[:20] for text in UNFIT])
def test_a_pattern_that_nothing_can_run_is_refused(pattern, problem):
    assert problem in problem_of(pattern)


@given(st.text("a(|)[]*+?{}1,\\w.^$-:<=!P", max_size=30))
@example("1+[[]")  # Python warns of the bracket, and a program may make errors of warnings
def test_any_text_is_judged_without_an_error(text):
    problem = problem_of(text)
    if not problem:
        re.compile(text)


@cache
def _is_one(pattern, character):
    return re.match(pattern, character) is not None


class Steps:
    """Matches as Python's engine does, one way after the other, and counts the characters it tests."""

    def __init__(self, pattern):
        parser = Parser(pattern)
        self.tree, self.flags = parser.alternatives(), parser.flags
        self.count = 0

    def ways(self, items, text, at):
        """Yield each place where a sequence may end, the engine's first choice first."""
        if not items:
            yield at
            return
        for end in self.one(items[0], text, at):
            yield from self.ways(items[1:], text, end)

    def one(self, item, text, at):
        self.count += 1
        match item:
            case Characters():
                if at < len(text) and re.match(self.flags + item.text, text[at]):
                    yield at + 1
            case Branches(looks_around=True):
                yield from [at] if self.looks_around(item, text, at) else []
            case Branches():
                for one in item.alternatives:
                    yield from self.ways(one, text, at)
            case Repeat():
                yield from self.repeat(item, text, at, 0)
            case Edge():
                yield from [at] if re.compile(self.flags + item.text).match(text, at) else []

    def looks_around(self, item, text, at):
        count = self.count
        is_behind = "<" in item.opening
        starts = range(at + 1) if is_behind else [at]
        ends = {end for one in item.alternatives for start in starts for end in self.ways(one, text, start)}
        self.count = count
        return (at in ends if is_behind else bool(ends)) is ("=" in item.opening)

    def repeat(self, item, text, at, number):
        if item.most is None or number < item.most:
            for end in self.one(item.item, text, at):
                if end > at or number < item.least:
                    yield from self.repeat(item, text, end, number + 1)
        if number >= item.least:
            yield at

    def search(self, text, guard):
        """Yield the matches as ``patterns`` searches them, with Python's own engine for the guard only."""
        at, is_behind = 0, False
        while at <= len(text):
            start = at
            at += 1
            if guard and start and not is_behind and re.match(self.flags + guard, text[start - 1]):
                is_behind = False
                continue
            is_behind = False
            for one in self.tree:
                end = next(self.ways(one, text, start), None)
                if end is not None:
                    break
            if end is not None and end > start:
                yield start, end
                at, is_behind = end, True


ATOMS = ["a", "b", "-", r"\d", "[ab]", "[^a]", "[^-b]", ".", r"\w", "1", r"\.", "[a-b1]", r"[^\W1]", r"\S"]
REPEATS = ["", "", "", "+", "*", "?", "{2}", "{1,3}", "{0,2}", "+?", "{2,}", "++", "*+"]
PIECES = st.builds(str.__add__, st.sampled_from(ATOMS), st.sampled_from(REPEATS))
SEQUENCES = st.lists(st.one_of(PIECES, st.sampled_from([r"\b", "^", "$"])), min_size=1, max_size=4).map(
    "".join
)
GROUPS = st.builds(
    lambda ways, kind, repeat: f"({kind}{'|'.join(ways)}){repeat}",
    st.lists(SEQUENCES, min_size=1, max_size=3),
    st.sampled_from(["", "?:", "?>"]),
    st.sampled_from(["", "?", "{2}", "{1,2}", "+"]),
)
EXPRESSIONS = st.builds(
    str.__add__,
    st.sampled_from(["", "", "(?i)", "(?s)"]),
    st.lists(st.one_of(SEQUENCES, GROUPS), min_size=1, max_size=4).map("".join),
)
TEXTS = st.one_of(
    st.text("ab-1. A\n", max_size=30),
    st.builds(
        lambda start, part, number, end: start + part * number + end,
        st.text("ab-1", max_size=2),
        st.text("ab-1.A", min_size=1, max_size=3),
        st.integers(1, 40),
        st.text("ab-1!", max_size=2),
    ),
)


#: Lazy and possessive repeats and groups, which the counter takes for greedy: as many steps at least.
NOT_GREEDY = re.compile(r"[+*?}][?+]|\(\?>")


def proven(pattern):
    """Return the steps that are proven; None where nothing is."""
    try:
        if re.compile(pattern).match("") is not None:
            return None
        return steps_of(pattern)
    except (re.error, NotLinearError):
        return None


def test_what_follows_an_empty_match_is_found():
    assert list(finder_of(r"(\b|\d)")("1 2")) == [(0, 1), (2, 3)]


@settings(max_examples=500, deadline=None)
@given(EXPRESSIONS, st.lists(TEXTS, min_size=1, max_size=4))
def test_no_text_takes_more_steps_than_are_proven(pattern, texts):
    steps = proven(pattern)
    if steps is None or steps > STEPS_MAX:
        return
    for text in texts:
        counter = Steps(pattern)
        found = list(counter.search(text, guard_of(pattern)[0]))
        assert counter.count <= steps * (len(text) + 2), (pattern, text, counter.count, steps)
        assert list(finder_of(pattern)(text)) == spans(pattern, text), (pattern, text)
        if not NOT_GREEDY.search(pattern) and all(one.group() for one in re.finditer(pattern, text)):
            assert found == spans(pattern, text), (pattern, text)


@pytest.mark.parametrize("pattern", PROVEN)
def test_proven_patterns_take_their_steps_on_hostile_texts(pattern):
    parts = (
        "EMP-",
        "A1",
        "iban: ",
        "a.",
        "a@",
        "1.",
        "-K",
        "secret: ",
        '"',
        "<",
        "a",
        "key=",
        "1-",
        "foo1",
        "bar",
    )
    for part, other in product(parts, parts):
        text = part * 40 + other
        counter = Steps(pattern)
        found = list(counter.search(text, guard_of(pattern)[0]))
        assert counter.count <= steps_of(pattern) * (len(text) + 2)
        assert NOT_GREEDY.search(pattern) or found == spans(pattern, text)


def test_re2_finds_what_python_finds_beyond_ascii():
    for pattern in (r"(?:\w\w|\w\w\w)+-é", r"(?:\d\d)+№", r"(?:[\w.]\s)+x"):
        for text in ("жжж5-é", "٣٤12№", "é a. x", "\ud800 ab-é", "😀aé-é b"):
            assert list(finder_of(pattern)(text)) == spans(pattern, text)


def test_a_forked_child_searches_with_an_engine_of_its_own():
    find = finder_of(NEED_RE2[0])
    assert list(find("x 1234-KD")) == [(2, 9)]
    pid = os.fork()
    if not pid:
        os._exit(0 if find._expression is None and list(find("x 1234-KD")) == [(2, 9)] else 1)
    assert os.waitpid(pid, 0)[1] == 0


@pytest.mark.parametrize("pattern", [r"EMP-\d+", r"\w+-KD", NEED_RE2[0]])
def test_matches_of_any_length_are_masked(pattern):
    redactor = Redactor(RedactionSettings(patterns=(pattern,)))
    secret = "EMP-" + "1" * 6_000 if "EMP" in pattern else "1" * 6_000 + "-KD"
    assert redactor.text(f"id {secret}; and {secret}") == "id [redacted]; and [redacted]"


def test_an_unfit_pattern_is_reported_with_its_name_and_left_out():
    reading = read_settings({"redaction": {"patterns": ["(a)\\1", r"EMP-\d+"]}}, environ={})
    assert reading.settings.redaction.patterns == (r"EMP-\d+",)
    (problem,) = reading.problems
    assert problem.startswith("The argument redaction.patterns has '(a)\\\\1', which refers back to a group")
    assert problem.endswith("; it is left out.")
    assert reading.invalid == {"redaction.patterns"}
