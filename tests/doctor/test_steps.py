import io
import json
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.doctor.steps import StepResult, StepStatus, fail, ok, warn, write_json, write_lines

RESULTS = [
    replace(ok("dns", "shop.servicebus.windows.net is 10.0.0.4"), seconds=0.0123),
    warn("spool", "something " * 20, "do this " * 20),
    replace(fail("tcp", "no answer", "let it out"), seconds=5.0),
]


def lines(results, *, width=None, encoding="utf-8"):
    raw = io.BytesIO()
    out = io.TextIOWrapper(raw, encoding=encoding)
    write_lines(results, out, width=width)
    out.flush()
    return raw.getvalue().decode(encoding)


def test_without_a_terminal_each_result_is_one_line_and_its_hint_another():
    found = lines(RESULTS).splitlines()
    assert found[0] == "ok    dns           shop.servicebus.windows.net is 10.0.0.4 (12 ms)"
    assert found[1].startswith("warn  spool         something something")
    assert found[2].startswith("                    > do this do this")
    assert found[3:] == [
        "fail  tcp           no answer (5.0 s)",
        "                    > let it out",
        "1 failed, 1 warning, 1 passed.",
    ]


@pytest.mark.parametrize("width", [80, 120])
def test_on_a_terminal_nothing_is_wider_than_it(width):
    found = lines(RESULTS, width=width).splitlines()
    assert max(map(len, found)) <= width
    assert len(found) > 6


def test_no_colour_and_no_character_beyond_ascii_is_added():
    assert lines(RESULTS, width=80).isascii()
    assert "\x1b" not in lines(RESULTS, width=80)


@given(st.text(max_size=60), st.text(max_size=60), st.sampled_from(["ascii", "utf-8", "latin-1"]))
def test_whatever_was_seen_is_written_on_its_line_in_any_encoding(detail, hint, encoding):
    results = [StepResult(status=StepStatus.FAIL, what="dns", detail=detail, hint=hint)]
    found = lines(results, encoding=encoding).split("\n")
    assert len(found) == (4 if hint else 3)
    assert all(line.isprintable() for line in found)


def test_programs_get_one_object():
    out = io.StringIO()
    assert write_json(iter(RESULTS), out) == RESULTS
    found = json.loads(out.getvalue())
    assert found["ok"] is False
    assert found["steps"][0] == {
        "status": "ok",
        "what": "dns",
        "detail": "shop.servicebus.windows.net is 10.0.0.4",
        "hint": "",
        "seconds": 0.012,
    }
