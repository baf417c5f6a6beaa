"""``manage.py hublog``: the same commands, with the project's settings."""

import io
import json
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command
from django.test import override_settings

from hublog.cli import commands
from hublog_local import LocalHub

KEY = "c2VjcmV0LWtleS1vZi10aGUtaHVi"
NOBODY = f"Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey={KEY};UseDevelopmentEmulator=true"
pytestmark = [
    pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning"),
    pytest.mark.usefixtures("leaky_client"),
]


def call(*arguments, **options):
    out, err = io.StringIO(), io.StringIO()
    try:
        call_command("hublog", *arguments, stdout=out, stderr=err, **options)
    except CommandError as error:
        return error.returncode, out.getvalue(), err.getvalue(), str(error)
    return 0, out.getvalue(), err.getvalue(), ""


@pytest.fixture
def connected(tmp_path):
    with (
        LocalHub({"shop-logs": 1}) as hub,
        override_settings(
            EVENTHUB_LOGGING_ENABLED=True,
            EVENTHUB_NAMESPACE_CONNECTION_STRING=hub.connection_string(),
            EVENTHUB_LOGS_NAME="shop-logs",
            EVENTHUB_LOG_SPOOL_DIR=str(tmp_path / "spool"),
            LOG_DIR=str(tmp_path / "logs"),
            LOGGING={
                "version": 1,
                "disable_existing_loggers": False,
                "handlers": {"hub": {"class": "hublog.EventHubHandler"}},
                "root": {"handlers": ["hub"], "level": "INFO"},
            },
        ),
    ):
        yield hub


def test_without_a_command_the_help_is_printed():
    status, out, err, _ = call()
    assert (status, err) == (0, "")
    for command in commands():
        assert command.summary in " ".join(out.split())


def test_the_doctor_reads_the_projects_settings_and_sends_as_django(connected):
    status, out, err, _ = call("doctor", "--send")
    assert (status, err) == (0, "")
    assert "event hub 'shop-logs'" in out
    assert "Django" in out.splitlines()[0]
    [event] = connected.events()
    assert json.loads(event.body)["framework"] == "django"


def test_the_doctor_tells_what_the_system_checks_find(connected):
    with override_settings(MIDDLEWARE=[]):
        status, out, _, _ = call("doctor")
    assert status == 0
    assert "warn  django        hublog.W001: No record has the fields of its request.\n" in out
    with override_settings(LOG_REDACTION=False):
        assert "warn  django        hublog.W013: " in call("doctor")[1]


def test_a_mistake_in_the_settings_is_told_once(connected):
    with override_settings(LOG_REDACTION_MODE="hash", EVENTHUB_LOG_BACH_SIZE=5):
        status, out, _, _ = call("doctor")
    assert status == 1
    assert out.count("LOG_REDACTION_MODE") == 1
    assert out.count("EVENTHUB_LOG_BACH_SIZE in the configuration has no effect") == 1
    assert "system checks of hublog report nothing else" in out


def test_a_silenced_check_is_silent_in_the_doctor_too(connected):
    with override_settings(MIDDLEWARE=[], SILENCED_SYSTEM_CHECKS=["hublog.W001"]):
        assert "W001" not in call("doctor")[1]


def test_the_doctor_looks_at_the_log_files_of_the_project(connected, tmp_path):
    assert "log file" not in call("doctor")[1]
    (tmp_path / "taken").write_text("")
    handlers = {"f": {"class": "logging.FileHandler", "filename": str(tmp_path / "taken" / "a.log")}}
    with override_settings(LOGGING={"version": 1, "disable_existing_loggers": False, "handlers": handlers}):
        status, out, _, _ = call("doctor")
    assert status == 1
    assert "fail  log file" in out


def test_what_logging_gives_the_handler_wins_as_it_does_for_the_handler(tmp_path):
    with LocalHub({"audit": 1}) as hub:
        given = {"connection_string": hub.connection_string(), "eventhub_name": "audit", "level": "INFO"}
        handlers = {"hub": {"class": "hublog.EventHubHandler", **given}}
        changed = {
            "EVENTHUB_LOGGING_ENABLED": True,
            "EVENTHUB_NAMESPACE_CONNECTION_STRING": NOBODY,
            "EVENTHUB_LOG_SPOOL_DIR": str(tmp_path / "spool"),
            "LOGGING": {"version": 1, "disable_existing_loggers": False, "handlers": handlers},
        }
        with override_settings(**changed):
            status, out, _, _ = call("doctor", "--send")
        assert (status, len(hub.events())) == (0, 1)
        assert "event hub 'audit'" in out
        handlers["other"] = {**handlers["hub"], "eventhub_name": "other"}
        with override_settings(**changed):
            assert call("doctor")[0] == 1  # there are two: what the settings say is tried


def test_a_failure_is_a_command_error_with_the_status():
    with override_settings(EVENTHUB_LOGGING_ENABLED=True, EVENTHUB_NAMESPACE_CONNECTION_STRING=NOBODY):
        status, out, _, text = call("doctor", json=True)
    assert status == 1
    assert text == "hublog doctor ended with status 1."
    assert json.loads(out)["ok"] is False
    assert KEY not in out


def test_what_the_operator_is_told_is_in_the_error_and_on_the_error_stream(tmp_path):
    status, _, err, text = call("spool", "list", "--dir", str(tmp_path / "none"))
    assert status == 1
    assert err == f"hublog: {text}\n"
    assert "is not a directory" in text


def test_wrong_usage_is_a_command_error_too():
    status, _, _, text = call("frobnicate")
    assert status
    assert "frobnicate" in text


def test_settings_shows_the_projects_values_and_no_secret():
    with override_settings(EVENTHUB_LOG_BATCH_SIZE=77, EVENTHUB_NAMESPACE_CONNECTION_STRING=NOBODY):
        status, out, _, _ = call("settings")
    assert status == 0
    found = {row.split()[0]: row.split()[1] for row in out.splitlines()}
    assert found["EVENTHUB_LOG_BATCH_SIZE"] == "77"
    assert KEY not in out


def test_spool_and_status_take_the_projects_directory(tmp_path):
    (tmp_path / "spool").mkdir(0o700)
    with override_settings(EVENTHUB_LOG_SPOOL_DIR=str(tmp_path / "spool")):
        assert json.loads(call("spool", "list", "--json")[1])["directory"] == str(tmp_path / "spool")
        assert json.loads(call("status", "--json")[1])["spool"]["directory"] == str(tmp_path / "spool")


def test_drain_sends_to_the_hub_of_the_project(connected, tmp_path):
    from tests.kits.spools import leave
    from tests.spool.independent import make_lines, make_segment

    (tmp_path / "spool").mkdir(0o700)
    leave(tmp_path / "spool", "000001a208b4db00-0000000a", make_segment(make_lines(3)))
    status, out, _, _ = call("spool", "drain")
    assert (status, out.splitlines()[0]) == (0, "3 records sent.")
    assert len(connected.events()) == 1


def test_schema_tail_and_query_are_as_in_the_shell(tmp_path):
    from hublog.adx import PARTS, KqlNames
    from hublog_local.store import Store

    assert call("schema", "table")[1] == PARTS["table"](KqlNames())
    with Store(tmp_path / "data") as store:
        store.append(
            b'{"timestamp":"2026-11-23T14:00:00Z","level":"INFO","message":"hello","sequence":1,'
            b'"_ingestion_time":"2026-11-23T14:00:01.000000Z"}\n'
        )
    where = ("--data", str(tmp_path / "data"))
    assert call("query", "PipelineLogs | count", "--format", "csv", *where)[1] == "Count\n1\n"
    assert "hello" in call("tail", "--no-follow", *where)[1]


# In a project of its own.

SETTINGS = """
SECRET_KEY = "x"
DEBUG = True
INSTALLED_APPS = ["hublog.django"]
MIDDLEWARE = ["hublog.django.middleware.RequestContextMiddleware"]
EVENTHUB_LOGGING_ENABLED = False
LOGGING_CONFIG = None
"""


@pytest.fixture
def manage(tmp_path):
    project = tmp_path / "project"
    project.mkdir()

    def run(*arguments, settings=SETTINGS):
        (project / "project_settings.py").write_text(settings)
        return subprocess.run(
            [sys.executable, "-m", "django", "hublog", *arguments],
            cwd=project,
            env={
                "DJANGO_SETTINGS_MODULE": "project_settings",
                "PYTHONPATH": str(project),
                "PATH": "/usr/bin",
            },
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )

    return run


def test_exit_status_and_streams_are_those_of_the_shell(manage, tmp_path):
    fine = manage("doctor")
    assert (fine.returncode, fine.stderr) == (0, "")
    failed = manage("spool", "list", "--dir", "none")
    assert (failed.returncode, failed.stdout) == (1, "")
    assert failed.stderr.startswith("hublog: 'none' is not a directory")
    assert "CommandError" not in failed.stderr
    assert manage("doctor", "--frobnicate").returncode == 2
    assert "hublog doctor [-h] [--send] [--json]" in manage("doctor", "--help").stdout


def test_a_project_that_no_check_lets_through_can_be_diagnosed(manage):
    broken = SETTINGS + 'EVENTHUB_LOG_BATCH_SIZE = 0\nROOT_URLCONF = "nowhere"\n'
    found = manage("doctor", settings=broken)
    assert found.returncode == 1
    assert (
        "fail  settings      EVENTHUB_LOG_BATCH_SIZE in the application's configuration is 0" in found.stdout
    )


def test_the_help_lists_the_commands(manage):
    found = manage()
    assert (found.returncode, found.stderr) == (0, "")
    said = " ".join(found.stdout.split())
    assert all(command.summary in said for command in commands())


def test_the_command_leaves_the_project_as_it_was(manage, tmp_path):
    manage("doctor")
    manage("status")
    assert sorted(path.name for path in Path(tmp_path / "project").iterdir() if path.name[0] != "_") == [
        "project_settings.py"
    ]
