"""The alarms for Prometheus: by promtool, against the metrics that there are, with a page for each."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from hublog.delivery.accounting import Drop
from hublog.metrics.prometheus import _metrics
from hublog.operations.overview import Overview

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "observability" / "prometheus"
PAGE = (ROOT / "docs" / "alarms.md").read_text(encoding="utf-8")
RULES = yaml.safe_load((FOLDER / "alarms.yaml").read_text(encoding="utf-8"))["groups"][0]["rules"]
TESTS = yaml.safe_load((FOLDER / "alarms_test.yaml").read_text(encoding="utf-8"))["tests"]
NAMES = [rule["alert"] for rule in RULES]


def promtool(*arguments, folder=FOLDER):
    path = shutil.which("promtool")
    assert path, "promtool is missing: apt-get install prometheus"
    return subprocess.run([path, *arguments], cwd=folder, capture_output=True, text=True, check=False)


def test_the_rules_are_valid_and_do_what_their_tests_say():
    checked = promtool("check", "rules", "alarms.yaml")
    assert checked.returncode == 0, checked.stdout + checked.stderr
    assert f"{len(RULES)} rules found" in checked.stdout
    tested = promtool("test", "rules", "alarms_test.yaml")
    assert tested.returncode == 0, tested.stdout + tested.stderr


@pytest.mark.parametrize("name", NAMES)
def test_each_alarm_is_shown_to_fire_and_to_stay_silent(name):
    expected = [
        bool(case["exp_alerts"])
        for test in TESTS
        for case in test["alert_rule_test"]
        if case["alertname"] == name
    ]
    assert set(expected) == {True, False}


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("change", ["never", "always", "at once"])
def test_the_tests_notice_an_alarm_that_fires_never_always_or_too_early(tmp_path, name, change):
    rules = yaml.safe_load((FOLDER / "alarms.yaml").read_text(encoding="utf-8"))
    rule = next(each for each in rules["groups"][0]["rules"] if each["alert"] == name)
    if change == "at once":
        if "for" not in rule:
            rule["expr"] = re.sub(r"> .*?$", "> -1", rule["expr"])
        rule.pop("for", None)
    else:
        rule["expr"] = 'label_replace(vector(1), "job", "shop", "", "")' + (
            " > 2" if change == "never" else ""
        )
    (tmp_path / "alarms.yaml").write_text(yaml.safe_dump(rules), encoding="utf-8")
    shutil.copy(FOLDER / "alarms_test.yaml", tmp_path)
    assert promtool("test", "rules", "alarms_test.yaml", folder=tmp_path).returncode != 0


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_an_alarm_asks_for_metrics_that_there_are(rule):
    families = list(_metrics(Overview()))
    there = {sample.name for family in families for sample in family.samples} | {
        f"{family.name}_total" for family in families if family.type == "counter"
    }
    asked = set(re.findall(r"\bhublog_\w+", rule["expr"]))
    assert asked
    assert asked <= there
    reasons = set(re.findall(r'"([a-z_|]+)"', rule["expr"]))
    assert {each for text in reasons for each in text.split("|")} <= set(map(str, Drop))


@pytest.mark.parametrize("rule", RULES, ids=NAMES)
def test_an_alarm_names_its_section_of_the_page(rule):
    assert rule["annotations"]["runbook"] == f"docs/alarms.md#{rule['alert'].lower()}"
    assert f"\n## {rule['alert']}\n" in PAGE


def test_the_page_has_what_to_do_for_each_reason():
    named = set(re.findall(r"^\| `([a-z_]+)` \|", PAGE, re.MULTILINE)) - {"reason"}
    assert named == set(map(str, Drop)) - {"exit", "sampled_out", "deduplicated"}
