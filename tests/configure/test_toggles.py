"""Every combination of destinations, by real environment variables in real processes."""

import itertools
import json
import subprocess
import sys

import pytest
from tests.kits.environ import inherited

from hublog.settings import SETTINGS

CHILD = """
import json, logging, sys
from hublog.configure import setup_logging

setup_logging()
names = [handler.name for handler in logging.getLogger().handlers]
modules = [name for name in ("azure", "flask", "django", "hublog.configure.file_log") if name in sys.modules]
logging.getLogger("shop").debug("a debug record")
logging.getLogger("shop").info("an info record")
print(json.dumps({"handlers": names, "modules": modules}), file=sys.stderr)
"""
CONNECTION = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=a;SharedAccessKey=b;UseDevelopmentEmulator=true"
SWITCHES = ("LOG_TO_STDOUT", "FILE_LOGGING_ENABLED", "EVENTHUB_LOGGING_ENABLED")
HANDLERS = ("hublog_console", "hublog_file", "hublog_eventhub")


def run(tmp_path, code=CHILD, **variables):
    environ = inherited(*(setting.name for setting in SETTINGS))
    return subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env={**environ, "EVENTHUB_LOG_EXIT_TIMEOUT": "0.1", **variables},
        check=True,
        capture_output=True,
        text=True,
        timeout=60,
    )


def last_json(text):
    return json.loads(next(line for line in reversed(text.splitlines()) if line.startswith("{")))


@pytest.mark.parametrize(
    "wanted",
    list(itertools.product([True, False], repeat=3)),
    ids=lambda wanted: "+".join(itertools.compress(("console", "file", "hub"), wanted)) or "none",
)
def test_each_destination_is_switched_by_its_variable_alone(wanted, tmp_path):
    result = run(
        tmp_path,
        EVENTHUB_NAMESPACE_CONNECTION_STRING=CONNECTION,
        **{name: str(is_on).lower() for name, is_on in zip(SWITCHES, wanted, strict=True)},
    )
    console, file, hub = wanted
    found = last_json(result.stderr)
    assert found["handlers"] == (list(itertools.compress(HANDLERS, wanted)) or ["hublog_nothing"])
    assert ("INFO     shop an info record" in result.stdout) is console
    assert "a debug record" not in result.stdout
    assert (tmp_path / "logs" / "application.log").exists() is file
    if file:
        lines = (tmp_path / "logs" / "application.log").read_text().splitlines()
        assert {"a debug record", "an info record"} <= {json.loads(line)["message"] for line in lines}
    assert ("hublog.configure.file_log" in found["modules"]) is file
    if not hub:
        assert "azure" not in found["modules"]
    assert not {"flask", "django"} & set(found["modules"])


@pytest.mark.parametrize("switched_off", SWITCHES)
def test_one_variable_alone_switches_one_destination_off(switched_off, tmp_path):
    result = run(tmp_path, EVENTHUB_NAMESPACE_CONNECTION_STRING=CONNECTION, **{switched_off: "no"})
    expected = [handler for handler, switch in zip(HANDLERS, SWITCHES, strict=True) if switch != switched_off]
    assert last_json(result.stderr)["handlers"] == expected


def test_without_a_connection_string_one_warning_is_told_and_the_rest_goes_on(tmp_path):
    result = run(tmp_path)
    assert last_json(result.stderr)["handlers"] == ["hublog_console", "hublog_file"]
    assert (
        result.stdout.count("hublog.internal") == result.stdout.count("WARNING  hublog.internal No conn") == 1
    )
    text = (tmp_path / "logs" / "application.log").read_text()
    assert [text.count(name) for name in ('"hublog.internal"', '"message":"an info record"')] == [1, 1]


def test_invalid_variables_are_told_in_one_error_line(tmp_path):
    result = run(tmp_path, LOG_LEVEL="LOUD", FILE_LOG_MAX_BYTES="much", EVENTHUB_LOGGING_ENABLED="off")
    lines = [line for line in result.stdout.splitlines() if "hublog.internal" in line]
    assert len(lines) == 1
    assert "ERROR    hublog.internal Invalid settings" in lines[0]
    assert "LOG_LEVEL is LOUD;" in lines[0]
    assert "FILE_LOG_MAX_BYTES is much;" in lines[0]
    assert "an info record" in result.stdout


def test_an_empty_variable_is_not_set(tmp_path):
    result = run(tmp_path, LOG_TO_STDOUT="", FILE_LOGGING_ENABLED="", EVENTHUB_LOGGING_ENABLED="off")
    assert last_json(result.stderr)["handlers"] == ["hublog_console", "hublog_file"]
    assert "hublog.internal" not in result.stdout


def test_importing_the_package_loads_neither_framework_nor_azure(tmp_path):
    code = "import sys, hublog, hublog.configure, hublog.settings; print(*sys.modules)"
    loaded = set(run(tmp_path, code).stdout.split())
    assert not {"azure", "flask", "django", "yaml", "expandvars", "hublog.configure.file_log"} & loaded
