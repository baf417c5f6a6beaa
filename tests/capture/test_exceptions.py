import sys
import traceback

import pytest

from hublog.capture.exceptions import cut_middle, describe, from_exc_info


def caught(raiser):
    try:
        raiser()
    except BaseException as error:  # whatever the test raises
        return error
    raise AssertionError("nothing was raised")


def stack_of(raiser):
    error = caught(raiser)
    return describe(error, error.__traceback__).stacktrace


def chained():
    try:
        raise KeyError("first")
    except KeyError as error:
        raise ValueError("second") from error


def during():
    try:
        raise KeyError("first")
    except KeyError:
        raise ValueError("second")  # noqa: B904  # the implicit context is the subject


def suppressed():
    try:
        raise KeyError("first")
    except KeyError:
        raise ValueError("second") from None


def group():
    raise ExceptionGroup("several", [ValueError("one"), TypeError("two")])


def noted():
    error = ValueError("x")
    error.add_note("look here")
    raise error


@pytest.mark.parametrize("raiser", [chained, during, suppressed, noted], ids=lambda raiser: raiser.__name__)
def test_the_text_is_pythons_own_without_its_marks(raiser):
    error = caught(raiser)
    expected = "".join(traceback.format_exception(error))
    lines = [line for line in expected.splitlines() if not set(line.strip()) <= set("^~") or not line.strip()]
    assert describe(error, error.__traceback__).stacktrace.splitlines() == lines


def test_a_group_shows_what_is_in_it():
    text = stack_of(group)
    assert "  | ValueError: one" in text
    assert "  | TypeError: two" in text


def test_a_chain_without_end_ends():
    error = ValueError("a")
    other = KeyError("b")
    error.__cause__, other.__cause__ = other, error
    assert describe(error, None).stacktrace.count("direct cause") == 1


def test_the_fingerprint_groups_by_place_and_type():
    def fail(message):
        raise ValueError(message)

    def other(message):
        raise ValueError(message)

    def print_of(raiser, message):
        error = caught(lambda: raiser(message))
        return describe(error, error.__traceback__).fingerprint

    assert print_of(fail, "a") == print_of(fail, "b")
    assert print_of(fail, "a") != print_of(other, "a")


@pytest.mark.parametrize("exc_info", [None, False, (None, None, None), "text", (1, 2), 0])
def test_what_is_no_exception_gives_nothing(exc_info):
    assert from_exc_info(exc_info) is None


def test_an_exception_may_stand_in_any_form():
    error = caught(chained)
    assert from_exc_info(error) == from_exc_info((type(error), error, error.__traceback__))
    try:
        raise error
    except ValueError:
        assert from_exc_info(True).type == "ValueError"
    assert from_exc_info(sys.exc_info()) is None


def test_cutting_keeps_both_ends_and_the_limit():
    text = cut_middle("a" * 500 + "z" * 500, 200)
    assert (len(text) <= 200, text[0], text[-1]) == (True, "a", "z")
    assert cut_middle("short", 200) == "short"
