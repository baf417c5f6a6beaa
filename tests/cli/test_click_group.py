"""``flask hublog``: the same commands, with the app's config."""

import gc
import json
import re
import subprocess
import sys
import warnings

import click
import pytest
from flask import Flask, current_app

from hublog.cli import commands
from hublog.flask import HubLog
from hublog_local import LocalHub

KEY = "c2VjcmV0LWtleS1vZi10aGUtaHVi"
pytestmark = pytest.mark.filterwarnings("ignore:unclosed <s:ResourceWarning")


@pytest.fixture(autouse=True)
def leaky_client():
    """The official package forgets to close the socket of a connection that broke."""
    yield
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "unclosed <s", ResourceWarning)
        gc.collect()


def make_app(tmp_path, name="shop", **config):
    app = Flask(name)
    app.config.update(EVENTHUB_LOGGING_ENABLED=False, LOG_TO_STDOUT=False, LOG_DIR=str(tmp_path / name))
    app.config.update(config)
    HubLog(app)
    return app


def invoke(app, *arguments):
    return app.test_cli_runner().invoke(args=["hublog", *map(str, arguments)])


def test_the_group_lists_the_commands_of_the_table(tmp_path):
    app = make_app(tmp_path)
    for arguments in ((), ("--help",)):
        found = invoke(app, *arguments)
        assert found.exit_code == 0
        for command in commands():
            assert f"  {command.name}" in found.stdout
            assert command.summary in found.stdout


def test_each_command_has_its_own_help(tmp_path):
    app = make_app(tmp_path)
    for command in commands():
        found = invoke(app, command.name, "--help")
        assert found.exit_code == 0
        assert found.stdout.startswith(f"usage: shop hublog {command.name}")


def test_the_doctor_reads_the_apps_config_and_sends_as_flask(tmp_path):
    with LocalHub({"shop-logs": 1}) as hub:
        app = make_app(
            tmp_path,
            EVENTHUB_LOGGING_ENABLED=True,
            EVENTHUB_NAMESPACE_CONNECTION_STRING=hub.connection_string(),
            EVENTHUB_LOGS_NAME="shop-logs",
        )
        found = invoke(app, "doctor", "--send")
        assert found.exit_code == 0
        assert "event hub 'shop-logs'" in found.stdout
        assert "Flask" in found.stdout.splitlines()[0]
        rows = [json.loads(line) for event in hub.events() for line in event.body.splitlines()]
    [row] = [row for row in rows if row.get("event_name") == "hublog.doctor"]
    assert row["framework"] == "flask"


def test_a_misspelt_name_in_the_config_is_reported(tmp_path):
    found = invoke(make_app(tmp_path, EVENTHUB_LOG_BACH_SIZE=5, LOG_LEVELS={"shop": "INFO"}), "doctor")
    assert found.exit_code == 0
    assert "warn  settings      EVENTHUB_LOG_BACH_SIZE in the configuration has no effect\n" in found.stdout
    assert "LOG_LEVELS" not in found.stdout


def test_a_failure_is_the_exit_status_and_shows_no_secret(tmp_path):
    text = (
        f"Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey={KEY};UseDevelopmentEmulator=true"
    )
    app = make_app(tmp_path, EVENTHUB_LOGGING_ENABLED=True, EVENTHUB_NAMESPACE_CONNECTION_STRING=text)
    found = invoke(app, "doctor", "--json")
    assert found.exit_code == 1
    assert json.loads(found.stdout)["ok"] is False
    assert KEY not in found.output


def test_messages_to_the_operator_go_to_the_error_stream(tmp_path):
    found = invoke(make_app(tmp_path), "spool", "list", "--dir", tmp_path / "none")
    assert (found.exit_code, found.stdout) == (1, "")
    assert found.stderr.startswith("hublog: ")


def test_wrong_usage_is_status_2(tmp_path):
    app = make_app(tmp_path)
    assert invoke(app, "frobnicate").exit_code == 2
    assert invoke(app, "doctor", "--frobnicate").exit_code == 2
    assert invoke(app, "query").exit_code == 2


def test_arguments_go_on_as_they_are(tmp_path):
    from hublog_local.store import Store

    with Store(tmp_path / "data") as store:
        store.append(
            b'{"timestamp":"2026-11-23T14:00:00Z","level":"INFO","message":"hello","sequence":1,'
            b'"_ingestion_time":"2026-11-23T14:00:01.000000Z"}\n'
        )
    app = make_app(tmp_path)
    found = invoke(app, "query", "--data", tmp_path / "data", "--format", "csv", "--", "PipelineLogs | count")
    assert (found.exit_code, found.stdout) == (0, "Count\n1\n")
    assert "hello" in invoke(app, "tail", "--no-follow", "-n", "1", "--data", tmp_path / "data").stdout


def test_each_app_has_its_own_settings(tmp_path):
    first = make_app(tmp_path, "first", EVENTHUB_LOG_BATCH_SIZE=11)
    second = make_app(tmp_path, "second", EVENTHUB_LOG_BATCH_SIZE=22)
    for app, value in ((first, "11"), (second, "22"), (first, "11")):
        lines = invoke(app, "settings", "--changed").stdout.splitlines()
        rows = {name: rest for name, *rest, _ in (re.split("  +", line) for line in lines)}
        assert rows["EVENTHUB_LOG_BATCH_SIZE"] == [value, "the Flask configuration"]
        assert rows["LOG_DIR"] == [str(tmp_path / app.name), "the Flask configuration"]


def test_a_command_runs_in_the_context_of_the_app(tmp_path, monkeypatch):
    app = make_app(tmp_path)

    class Config(type(app.config)):
        def get(self, key, default=None):
            assert current_app.name == "shop"
            return super().get(key, default)

    app.config = Config(app.root_path, app.config)
    assert invoke(app, "settings").exit_code == 0


def test_a_command_of_the_application_is_not_replaced(tmp_path):
    app = Flask("shop")
    app.config.update(EVENTHUB_LOGGING_ENABLED=False, LOG_TO_STDOUT=False, LOG_DIR=str(tmp_path))

    @app.cli.command("hublog")
    def ours():
        click.echo("ours")

    HubLog(app)
    assert invoke(app).stdout == "ours\n"


APP = """
from flask import Flask
from hublog.flask import HubLog

def create_app():
    app = Flask("shop")
    app.config.update(EVENTHUB_LOGGING_ENABLED=False, LOG_TO_STDOUT=False, LOG_DIR="logs")
    HubLog(app)
    return app
"""


def flask(tmp_path, *arguments):
    (tmp_path / "shop.py").write_text(APP)
    return subprocess.run(
        [sys.executable, "-m", "flask", "--app", "shop", "hublog", *arguments],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_the_program_ends_with_the_status_of_the_command(tmp_path):
    found = flask(tmp_path, "doctor")
    assert (found.returncode, found.stderr) == (0, "")
    assert found.stdout.splitlines()[-1] == "All 5 steps passed."
    assert flask(tmp_path, "spool", "list", "--dir", "none").returncode == 1
    assert flask(tmp_path, "doctor", "--no-such").returncode == 2


def test_an_app_that_starts_loads_none_of_the_commands(tmp_path):
    program = (
        "import sys\n" + APP + "create_app()\n"
        "print(*sorted(name for name in sys.modules if name in"
        " ('hublog.adx', 'hublog.doctor.diagnosis', 'hublog.cli.spool_inspection')))"
    )
    found = subprocess.run(
        [sys.executable, "-c", program], cwd=tmp_path, capture_output=True, text=True, timeout=60, check=True
    )
    assert found.stdout == "\n"
