"""The page about production names commands, settings, pages and functions that exist."""

import argparse
import re
import shlex
from pathlib import Path

import pytest

from hublog.cli.command_line import add_commands
from hublog.settings import SETTINGS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "production.md").read_text()
COMMANDS = sorted(set(re.findall(r"`(?:python manage\.py |flask )?(hublog [a-z][^`]*)`", PAGE)))


def test_there_are_commands():
    assert len(COMMANDS) > 10


@pytest.mark.parametrize("command", COMMANDS)
def test_each_command_is_taken_by_the_command_line(command):
    parser = argparse.ArgumentParser(exit_on_error=False)
    add_commands(parser)
    assert parser.parse_args(shlex.split(command)[1:]).command == command.split()[1]


def test_every_setting_exists():
    named = set(re.findall(r"\b((?:LOG|FILE|EVENTHUB)_[A-Z_]+[A-Z])\b", PAGE))
    assert named - {setting.name for setting in SETTINGS} == set()
    assert len(named) > 10


def anchor_of(heading):
    return re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-")


def test_every_link_leads_to_a_heading():
    for link in re.findall(r"\]\(([^)]+)\)", PAGE):
        page, _, anchor = link.partition("#")
        path = ROOT / "docs" / page if page else ROOT / "docs" / "production.md"
        assert path.exists(), link
        if anchor:
            headings = re.findall(r"(?m)^#+ (.*)$", path.read_text())
            assert anchor in set(map(anchor_of, headings)), link


def test_every_stored_function_exists():
    text = "".join(path.read_text() for path in (ROOT / "observability" / "adx").glob("*.kql"))
    named = set(re.findall(r"\b(PipelineLogs[A-Z]\w+)", PAGE))
    assert named
    assert [name for name in named if name not in text] == []


def test_every_metric_and_alarm_exists():
    metrics = (ROOT / "docs" / "metrics.md").read_text()
    assert [name for name in re.findall(r"\bhublog_\w+", PAGE) if name not in metrics] == []
    observability = ROOT / "observability"
    alarms = (observability / "prometheus" / "alarms.yaml").read_text()
    alarms += " ".join(path.stem for path in (observability / "adx" / "alarms").iterdir())
    assert [name for name in re.findall(r"\bHublog[A-Z]\w+", PAGE) if name not in alarms] == []
