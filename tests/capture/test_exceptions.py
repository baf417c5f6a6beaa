import itertools
import json
import logging
import pickle
import random
import sys
import traceback
from collections import UserDict

import pytest

from hublog.capture.exceptions import cut_middle, describe, frames_of, from_record, print_of
from hublog.capture.formatter import LineFormatter
from hublog.capture.stdlib_formatters import ConsoleFormatter, JsonFormatter
from hublog.redaction.redactor import DEFAULT
from hublog.sampling.dedup import equality_key
from hublog.settings import ServiceSettings


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


def made(parts, pool, depth=0):
    """Return an exception of random shape: groups, causes, contexts, notes, some of them met twice."""
    if pool and parts.randrange(8) == 0:
        return parts.choice(pool)
    if depth < 3 and parts.randrange(3) == 0:
        error = ExceptionGroup(
            "several", [made(parts, pool, depth + 1) for _ in range(parts.choice((1, 2, 17)))]
        )
    else:
        error = parts.choice(KINDS)()
    if parts.randrange(3) == 0:
        error.__notes__ = parts.choice(([], ["look\nhere", "there"], [None, 7, b"x"], None))
    for place in ("__cause__", "__context__"):
        if depth < 3 and parts.randrange(3) == 0:
            setattr(error, place, made(parts, pool, depth + 1))
    error.__suppress_context__ = parts.randrange(3) == 0
    if parts.randrange(2):
        context = error.__context__
        try:
            raise error
        except BaseException as raised:  # whatever was made
            raised.__context__ = context
    pool.append(error)
    return error


KINDS = (
    lambda: ValueError("one\ntwo"),
    lambda: KeyError("key"),
    RuntimeError,
    lambda: OSError(2, "none"),
    lambda: SyntaxError("bad", ("shop.py", 3, 5, "  x = 1 = 2\n", 3, 6)),
    lambda: SyntaxError("bad", ("shop.py", None, None, None)),
    SyntaxError,
)


def without_marks(text):
    return [line for line in text.splitlines() if not line.strip(" |") or set(line.strip(" |")) - set("^~")]


@pytest.mark.parametrize("seed", range(100))
def test_whatever_is_in_it_the_text_is_pythons_own(seed):
    error = made(random.Random(seed), [])  # noqa: S311  # a shape, no secret
    text = print_of(error, frames_of(error.__traceback__), DEFAULT)
    if "left out" not in text and "are shown" not in text:
        assert without_marks(text) == without_marks("".join(traceback.format_exception(error)))


def test_members_of_a_group_keep_their_causes_and_contexts():
    text = stack_of(lambda: raise_group([caught(chained), caught(during), caught(suppressed)]))
    assert text.count("    | KeyError: 'first'") == 2
    assert "direct cause" in text
    assert "During handling" in text


def raise_group(members):
    raise ExceptionGroup("several", members)


def recurring(depth):
    if not depth:
        raise ValueError("deep")
    recurring(depth - 1)


def test_frames_that_repeat_are_counted_as_python_does():
    error = caught(lambda: recurring(50))
    expected = "".join(traceback.format_exception(error))
    assert "[Previous line repeated 47 more times]" in expected
    text = print_of(error, frames_of(error.__traceback__), DEFAULT)
    assert without_marks(text) == without_marks(expected)


class OddError(ValueError):
    """An exception whose own names say nothing."""

    __cause__ = "nothing"
    __notes__ = property(lambda self: 1 / 0)


class Endless(list):
    def __iter__(self):
        return itertools.repeat("again")


@pytest.mark.parametrize(
    ("notes", "shown"),
    [
        (None, ""),
        ("text", "'text'\n"),
        (7, "7\n"),
        ([None], "None\n"),
        ([UserDict()], "{}\n"),
        (("a", "b"), "a\nb\n"),
        ([""], "\n"),
    ],
    ids=repr,
)
def test_notes_of_any_kind_cost_only_themselves(notes, shown):
    error = ValueError("x")
    error.__notes__ = notes
    assert describe(error, None).stacktrace == f"ValueError: x\n{shown}"


def test_an_exception_with_names_of_its_own_keeps_its_columns():
    shown = from_record(OddError("x"), None)
    assert shown.message == "x"
    assert shown.stacktrace.endswith("OddError: x\nIgnored error getting __notes__: <ZeroDivisionError>\n")


def test_notes_without_end_end():
    error = ValueError("x")
    error.__notes__ = Endless()
    assert len(describe(error, None).stacktrace) < 1_000


def test_secrets_in_every_part_are_taken_out():
    group = ExceptionGroup("password=hunter2", [ValueError("password=hunter2"), caught(chained)])
    group.add_note("password=hunter2")
    group.exceptions[1].__cause__.__cause__ = SyntaxError(
        "password=hunter2", ("f", 1, 1, "x = 'password=hunter2'")
    )
    assert "hunter2" not in describe(group, None).stacktrace


def fields_by_text(raiser):
    error = caught(raiser)
    shown = describe(error, error.__traceback__)
    return shown, from_record(None, "".join(traceback.format_exception(error)))


@pytest.mark.parametrize("raiser", [chained, during, suppressed, group], ids=lambda raiser: raiser.__name__)
def test_a_text_without_its_exception_gives_the_same_columns(raiser):
    shown, by_text = fields_by_text(raiser)
    assert by_text._replace(stacktrace="") == shown._replace(stacktrace="")
    assert without_marks(by_text.stacktrace) == without_marks(shown.stacktrace)


def test_a_text_that_is_no_traceback_is_kept_and_redacted():
    by_text = from_record((None, None, None), "it failed, password=hunter2")
    assert by_text.stacktrace == "it failed, password=[redacted]\n"
    assert by_text.type == ""


@pytest.mark.parametrize("text", [None, "", "\n", 7])
def test_a_record_without_exception_has_none(text):
    assert from_record(None, text) is None


def queued(record):
    """Return a record as it comes out of another process, where it was pickled without its exception."""
    record.exc_text = logging.Formatter().formatException(record.exc_info)
    record.exc_info = None
    return logging.makeLogRecord(pickle.loads(pickle.dumps(record.__dict__)))  # noqa: S301  # made here


def failed():
    error = caught(lambda: raise_secret("password=hunter2"))
    return logging.LogRecord(
        "shop", logging.ERROR, __file__, 1, "it failed", None, (type(error), error, error.__traceback__)
    )


def raise_secret(text):
    raise LookupError(text)


def columns_of(line):
    row = json.loads(line)
    return {
        name: row.get(name)
        for name in ("exception_type", "exception_message", "exception_fingerprint", "record_type")
    }


@pytest.mark.parametrize("stack_info", [None, "Stack (most recent call last):"], ids=["fast", "slow"])
def test_a_record_from_another_process_keeps_its_exception_in_file_and_hub(stack_info):
    whole, record = failed(), queued(failed())
    record.stack_info = stack_info
    for encode in (JsonFormatter(redaction={}).format, LineFormatter(ServiceSettings()).encode):
        line = encode(record)
        assert columns_of(line) == columns_of(encode(whole))
        assert json.loads(line)["exception_message"] == "password=[redacted]"
    assert "LookupError: password=[redacted]" in ConsoleFormatter(redaction={}).format(record)


def test_records_from_another_process_with_other_exceptions_are_not_equal():
    one, other = queued(failed()), queued(failed())
    assert equality_key(one) == equality_key(other)
    other.exc_text = other.exc_text.replace("LookupError", "KeyError")
    assert equality_key(one) != equality_key(other)


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
    assert from_record(exc_info, None) is None


def test_an_exception_may_stand_in_any_form():
    error = caught(chained)
    assert from_record(error, None) == from_record((type(error), error, error.__traceback__), None)
    try:
        raise error
    except ValueError:
        assert from_record(True, None).type == "ValueError"
    assert from_record(sys.exc_info(), None) is None


def test_cutting_keeps_both_ends_and_the_limit():
    text = cut_middle("a" * 500 + "z" * 500, 200)
    assert (len(text) <= 200, text[0], text[-1]) == (True, "a", "z")
    assert cut_middle("short", 200) == "short"
