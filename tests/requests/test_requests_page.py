"""The page on requests says what the code does: its snippets run, what it names exists."""

import re
from pathlib import Path

import pytest

from hublog.capture.columns import BY_NAME, OPEN_COLUMNS
from hublog.requests.request_fields import ID_HEADERS
from hublog.settings import SETTINGS

PAGE = (Path(__file__).parents[2] / "docs" / "requests.md").read_text()
SNIPPETS = [part.split("```")[0] for part in PAGE.split("```python\n")[1:]]


@pytest.mark.parametrize("source", SNIPPETS)
def test_its_snippets_run(source):
    from hublog.capture import context

    token = context.enter({})
    exec(source, {})
    context.leave(token)


def test_the_settings_it_names_exist():
    named = set(re.findall(r"`(LOG_[A-Z_]+)", PAGE))
    assert named
    assert named <= {setting.name for setting in SETTINGS}


def test_all_settings_of_requests_are_documented():
    left_to_another_page = {"LOG_CONTEXT_IN_THREADS"}
    names = {setting.name for setting in SETTINGS if setting.section == "request"} - left_to_another_page
    assert [name for name in sorted(names) if name not in PAGE] == []


def test_the_columns_of_its_table_are_columns_that_may_be_bound():
    rows = re.findall(r"^\| (`[a-z_`, ]+) \|", PAGE, re.MULTILINE)
    named = {name for row in rows for name in re.findall(r"`([a-z_]+)`", row)}
    assert {"trace_id", "session_id", "http_query"} <= named
    assert named <= OPEN_COLUMNS & set(BY_NAME)


def test_the_headers_of_the_request_id_stand_there_in_their_order():
    assert ", ".join(f"`{name}`" for name in ID_HEADERS) in PAGE
