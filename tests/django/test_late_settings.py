"""Names below ``LOGGING = logging_config(globals())`` are in effect, and reported."""

import json
import os
import re
import subprocess
import sys

import pytest

PROGRAM = """
import json, logging, django
django.setup()
from django.core.checks import run_checks
root = logging.getLogger()
found = {
    "handlers": {handler.name: logging.getLevelName(handler.level) for handler in root.handlers},
    "root": logging.getLevelName(root.level),
    "checks": [message.id for message in run_checks() if message.id.startswith("hublog.W017")],
}
logging.getLogger("shop").error("a record")
print("FOUND" + json.dumps(found))
"""
CONNECTION = "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k;UseDevelopmentEmulator=true"
ALL = {"hublog_console": "INFO", "hublog_file": "DEBUG", "hublog_eventhub": "INFO"}


def run(tmp_path, below, *, above="", call="globals()", arguments=()):
    project = tmp_path / "project"
    project.mkdir()
    (project / "conf.py").write_text(
        "import hublog.django\nSECRET_KEY = 'x'\nUSE_TZ = True\nINSTALLED_APPS = ['hublog.django']\n"
        f"MIDDLEWARE = ['hublog.django.middleware.RequestContextMiddleware']\n{above}\n"
        f"LOGGING = hublog.django.logging_config({call})\n{below}\n"
    )
    variables = {
        "DJANGO_SETTINGS_MODULE": "conf",
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(project),
        "EVENTHUB_NAMESPACE_CONNECTION_STRING": CONNECTION,
        "EVENTHUB_LOG_EXIT_TIMEOUT": "0.1",
    }
    command = [sys.executable, *(["-m", *arguments] if arguments else ["-c", PROGRAM])]
    done = subprocess.run(
        command, cwd=project, env=variables, capture_output=True, text=True, timeout=60, check=False
    )
    assert "Traceback" not in done.stderr
    if arguments:
        return done
    return json.loads(next(line for line in done.stdout.splitlines() if line.startswith("FOUND"))[5:]), done


@pytest.mark.parametrize("call", ["globals()", ""])
@pytest.mark.parametrize(
    ("below", "changed", "root"),
    [
        ("", {}, "DEBUG"),
        ("FILE_LOGGING_ENABLED = False", {"hublog_file": None}, "INFO"),
        ("LOG_LEVEL = 'ERROR'", {"hublog_console": "ERROR"}, "DEBUG"),
        ("LOG_TO_STDOUT = False", {"hublog_console": None}, "DEBUG"),
        ("FILE_LOG_LEVEL = 'WARNING'", {"hublog_file": "WARNING"}, "INFO"),
        ("EVENTHUB_LOG_LEVEL = 5", {"hublog_eventhub": "Level 5"}, "Level 5"),
        ("EVENTHUB_LOGGING_ENABLED = False", {"hublog_eventhub": None}, "DEBUG"),
        (
            "LOG_LEVEL = 'ERROR'\nFILE_LOGGING_ENABLED = EVENTHUB_LOGGING_ENABLED = False",
            {"hublog_console": "ERROR", "hublog_file": None, "hublog_eventhub": None},
            "ERROR",
        ),
        (
            "LOG_TO_STDOUT = FILE_LOGGING_ENABLED = EVENTHUB_LOGGING_ENABLED = False",
            {**dict.fromkeys(ALL), "hublog_nothing": "NOTSET"},
            "INFO",
        ),
    ],
)
def test_a_name_below_the_call_has_its_effect(below, changed, root, call, tmp_path):
    found, _ = run(tmp_path, below, call=call)
    expected = {name: level for name, level in {**ALL, **changed}.items() if level is not None}
    assert (found["handlers"], found["root"], found["checks"]) == (expected, root, [])
    assert (tmp_path / "project" / "logs" / "application.log").exists() is ("hublog_file" in expected)


def test_what_was_switched_off_above_and_on_below_is_on(tmp_path):
    found, _ = run(
        tmp_path,
        "LOG_TO_STDOUT = FILE_LOGGING_ENABLED = EVENTHUB_LOGGING_ENABLED = True",
        above="LOG_TO_STDOUT = FILE_LOGGING_ENABLED = EVENTHUB_LOGGING_ENABLED = False",
    )
    assert (found["handlers"], found["root"]) == (ALL, "DEBUG")


def test_the_service_name_below_the_call_is_in_the_file(tmp_path):
    run(tmp_path, "LOG_SERVICE_NAME = 'shop'\nLOG_DIR = 'elsewhere'")
    lines = (tmp_path / "project" / "elsewhere" / "application.log").read_text().splitlines()
    assert {json.loads(line)["service_name"] for line in lines} == {"shop"}
    assert not (tmp_path / "project" / "logs" / "application.log").exists()


def test_what_a_project_changes_in_the_dictionary_stays(tmp_path):
    found, _ = run(
        tmp_path,
        "LOGGING['handlers']['hublog_console']['level'] = 'CRITICAL'\nLOGGING['root']['level'] = 'ERROR'\n"
        "LOGGING['root']['handlers'].remove('hublog_file')\nFILE_LOG_LEVEL = 'WARNING'",
    )
    assert (found["handlers"], found["root"]) == (
        {"hublog_console": "CRITICAL", "hublog_eventhub": "INFO"},
        "ERROR",
    )


@pytest.mark.parametrize("command", ["doctor", "status"])
def test_what_is_reported_is_what_is_attached(command, tmp_path):
    below = (
        "LOGGING = {'version': 1, 'disable_existing_loggers': False, 'handlers': {\n"
        "  'hub': {'class': 'hublog.EventHubHandler'},\n"
        "  'err': {'class': 'logging.StreamHandler', 'level': 30}},\n"
        " 'loggers': {'tickets': {'handlers': ['hub'], 'level': 'INFO'}}, 'root': {'handlers': ['err']}}\n"
        "FILE_LOG_LEVEL = 'ERROR'"
    )
    done = run(tmp_path, below, arguments=("django", "hublog", command))
    shown = " ".join(done.stdout.split())
    assert re.search("console WARNING, .*file off, Event Hub INFO on tickets", shown)
    assert "No logger has a file handler of hublog, so FILE_LOG_LEVEL has no effect." in shown
    if command == "doctor":
        assert "request records (logger hublog.request) reach no EventHubHandler" in shown
