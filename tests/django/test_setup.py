import json
import subprocess
import sys

import pytest
from django.core.checks import run_checks
from django.test import override_settings

import hublog.django

CONNECTED = (
    "Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=verysecret;UseDevelopmentEmulator=true"
)


def ids():
    return [message.id for message in run_checks() if message.id.startswith("hublog")]


def test_a_good_setup_passes_the_checks():
    assert ids() == []


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"EVENTHUB_LOG_BATCH_SIZE": 0}, ["hublog.E001"]),
        ({"MIDDLEWARE": []}, ["hublog.W001"]),
        (
            {
                "MIDDLEWARE": [
                    "django.contrib.sessions.middleware.SessionMiddleware",
                    "hublog.django.middleware.RequestContextMiddleware",
                ]
            },
            ["hublog.W002"],
        ),
        (
            {
                "EVENTHUB_LOGGING_ENABLED": True,
                "EVENTHUB_NAMESPACE_CONNECTION_STRING": CONNECTED,
                "LOGGING": {"version": 1, "handlers": {"c": {"class": "logging.StreamHandler"}}},
            },
            ["hublog.W003"],
        ),
        (
            {
                "EVENTHUB_LOGGING_ENABLED": True,
                "EVENTHUB_NAMESPACE_CONNECTION_STRING": CONNECTED,
                "LOGGING": {"version": 1, "handlers": {"e": {"class": "hublog.EventHubHandler"}}},
            },
            [],
        ),
    ],
    ids=["invalid setting", "no middleware", "middleware not first", "no handler", "a handler"],
)
def test_each_mis_setup_has_its_check(changed, found):
    with override_settings(**changed):
        assert ids() == found


def test_the_logging_config_is_plain_data_without_a_secret():
    config = hublog.django.logging_config(
        {"EVENTHUB_NAMESPACE_CONNECTION_STRING": CONNECTED, "LOG_LEVEL": "ERROR"}
    )
    assert "verysecret" not in json.dumps(config)
    assert json.loads(json.dumps(config)) == config


def test_a_project_logs_to_console_and_file_before_and_after_it_is_ready(tmp_path):
    project = tmp_path / "project"
    project.mkdir()
    (project / "project_settings.py").write_text(
        "import hublog.django\n"
        "SECRET_KEY = 'x'\n"
        "INSTALLED_APPS = ['hublog.django']\n"
        f"LOG_DIR = {str(tmp_path / 'logs')!r}\n"
        "LOG_SERVICE_NAME = 'shop'\n"
        "LOGGING = hublog.django.logging_config(globals())\n"
    )
    program = (
        "import django, logging\n"
        "django.setup()\n"
        "logging.getLogger('shop').info('ready')\n"
        "logging.getLogger('shop').debug('for the file only')\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", program],
        cwd=project,
        env={"DJANGO_SETTINGS_MODULE": "project_settings", "PATH": "/usr/bin"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "ready" in result.stdout
    assert "for the file only" not in result.stdout
    rows = [json.loads(line) for line in (tmp_path / "logs" / "application.log").read_text().splitlines()]
    assert {"ready", "for the file only"} <= {row["message"] for row in rows}
    assert {(row["service_name"], row["framework"]) for row in rows} == {("shop", "django")}
    assert [row["message"][:13] for row in rows if row["logger_name"] == "hublog.internal"] == [
        "No connection"
    ]


DEBUGGED = """
import json, logging, django
django.setup()
logging.getLogger("django.request").error("once")
logging.getLogger("django.server").info("of the server")
logger = logging.getLogger("django")
print("FOUND" + json.dumps([logging.getLevelName(logger.level), [type(h).__name__ for h in logger.handlers]]))
"""


@pytest.mark.parametrize("debug", [True, False])
def test_a_record_of_django_is_on_the_console_once_and_still_goes_to_the_admins(debug, tmp_path):
    (tmp_path / "conf.py").write_text(
        "import hublog.django\n"
        f"DEBUG = {debug}\nSECRET_KEY = 'x'\nINSTALLED_APPS = ['hublog.django']\n"
        "MIDDLEWARE = ['hublog.django.middleware.RequestContextMiddleware']\n"
        "EVENTHUB_LOGGING_ENABLED = False\nLOGGING = hublog.django.logging_config(globals())\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", DEBUGGED],
        env={"DJANGO_SETTINGS_MODULE": "conf", "PYTHONPATH": str(tmp_path)},
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (done.stdout + done.stderr).count("once") == 1
    assert (done.stdout + done.stderr).count("of the server") == 1
    found = json.loads(next(line for line in done.stdout.splitlines() if line.startswith("FOUND"))[5:])
    assert found == ["INFO", ["AdminEmailHandler"]]


def test_a_setting_that_a_test_overrides_applies_until_it_ends(monkeypatch):
    from hublog.django.project import lookup
    from hublog.runtime.registry import use_lookup
    from hublog.runtime.shared import runtime
    from hublog.runtime.shutdown import pipelines

    monkeypatch.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", CONNECTED)
    monkeypatch.setattr(runtime, "lookup", None)
    handler = hublog.EventHubHandler(eventhub_name="overridden")
    use_lookup(lookup, framework="django")
    try:
        assert handler.pipeline in pipelines()
        with override_settings(EVENTHUB_LOGGING_ENABLED=True, EVENTHUB_LOG_LEVEL="ERROR"):
            assert (handler.pipeline.is_enabled, handler.pipeline.level) == (True, 40)
            with override_settings(EVENTHUB_LOGGING_ENABLED=False):
                assert handler.pipeline.is_enabled is False
            assert handler.pipeline.is_enabled is True
        assert handler.pipeline.is_enabled is False
    finally:
        handler.close()
