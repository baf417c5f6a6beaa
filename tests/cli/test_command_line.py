import argparse
import io
import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path

import pytest
import trustme

from hublog import __version__
from hublog.cli import Caller, add_commands, commands, main
from hublog.cli import run as run_options
from hublog.settings import SETTINGS
from hublog_local.store import Store

LIMIT_S = 60
CONNECTION = "Endpoint=sb://x.servicebus.windows.net/;SharedAccessKeyName=n;SharedAccessKey=c2VjcmV0"
COMMAND = [sys.executable, "-m", "hublog"]


def line(number, **fields):
    row = {
        "timestamp": "2026-11-23T14:00:00.123456Z",
        "level": "INFO",
        "level_number": 20,
        "logger_name": "shop",
        "message": f"message {number}",
        "sequence": number,
        "_ingestion_time": "2026-11-23T14:00:01.000000Z",
    }
    return json.dumps(row | fields).encode() + b"\n"


@pytest.fixture
def data(tmp_path):
    directory = tmp_path / "data"
    with Store(directory) as store:
        store.append(line(1) + line(2, level="ERROR", level_number=40, http_route="/a") + line(3))
    return directory


@pytest.fixture
def environ(monkeypatch):
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    for name in ("OTEL_SERVICE_NAME", "OTEL_RESOURCE_ATTRIBUTES"):
        monkeypatch.delenv(name, raising=False)
    return monkeypatch


@pytest.fixture
def start():
    """Start a command; whatever still runs at the end of the test is killed."""
    running = []

    def start_command(*arguments, **options):
        process = subprocess.Popen(
            [*COMMAND, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
            **options,
        )
        running.append(process)
        return process

    yield start_command
    for process in running:
        process.kill()
        process.communicate()


def stop(process, number):
    """Return status and what has not been read; ``communicate`` would miss what is buffered already."""
    process.send_signal(number)
    return process.wait(LIMIT_S), process.stdout.read(), process.stderr.read()


def run(*arguments, **options):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        timeout=LIMIT_S,
        check=False,
        **options,
    )


def test_the_version_is_printed(capsys):
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"hublog {__version__}\n"


def test_every_command_has_help(capsys):
    assert main(["--help"]) == 0
    overview = capsys.readouterr().out
    for command in commands():
        assert command.name in overview
        assert main([command.name, "--help"]) == 0
        assert command.summary in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "command"),
        (["frobnicate"], "frobnicate"),
        (["query"], "KQL"),
        (["query", "x", "--format", "xml"], "xml"),
        (["tail", "--level", "LOUD"], "'LOUD' is not a log level; it must be DEBUG, INFO"),
        (["tail", "-n", "-1"], "'-1' must be a whole number from 0"),
        (["local", "--port", "70000"], "'70000' must be a whole number from 0 to 65535"),
        (["local", "--port", "²"], "must be a whole number"),
        (["local", "--hub", "logs:0"], "'0' must be a whole number from 1 to 32"),
        (["local", "--hub", "logs:"], "'' must be a whole number"),
        (["local", "--hub", "../etc"], "'../etc'; it must be the name of an event hub"),
        (["local", "--qui"], "--qui"),
    ],
)
def test_wrong_usage_is_status_2_and_says_what_is_allowed(capsys, arguments, said):
    assert main(arguments) == 2
    assert said in capsys.readouterr().err


def test_another_program_can_have_the_commands_in_its_own_parser(data, capsys):
    parser = argparse.ArgumentParser(prog="manage.py hublog")
    add_commands(parser)
    options = parser.parse_args(["query", "PipelineLogs | count", "--data", str(data), "--format", "csv"])
    assert run_options(options) == 0
    assert capsys.readouterr().out == "Count\n3\n"


def test_the_module_is_the_command():
    found = run("--version")
    assert (found.returncode, found.stdout) == (0, f"hublog {__version__}\n")


def test_a_query_answers_as_table_json_and_csv(data, capsys):
    query = 'PipelineLogs | where level == "ERROR" | summarize count() by http_route'
    assert main(["query", query, "--data", str(data)]) == 0
    assert [row.split() for row in capsys.readouterr().out.splitlines()] == [
        ["http_route", "count_"],
        ["/a", "1"],
    ]
    assert main(["query", query, "--data", str(data), "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == [{"http_route": "/a", "count_": 1}]
    assert main(["query", "--data-dir", str(data), "--format", "csv", query]) == 0
    assert capsys.readouterr().out == "http_route,count_\n/a,1\n"


def test_a_query_can_come_from_the_input(data):
    found = run("query", "-", "--data", data, "--format", "csv", input="PipelineLogs\n| count\n")
    assert (found.returncode, found.stdout) == (0, "Count\n3\n")


def test_a_query_that_cannot_be_answered_is_one_line_and_status_1(data, capsys):
    assert main(["query", "PipelineLogs | sample 1", "--data", str(data)]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert re.fullmatch(r"hublog: .*'sample'; use take.*\n", printed.err)


def test_the_default_directory_is_below_the_current_one(data, capsys, monkeypatch):
    monkeypatch.chdir(data.parent)
    data.rename(".hublog")
    assert main(["query", "PipelineLogs | count", "--format", "csv"]) == 0
    assert capsys.readouterr().out == "Count\n3\n"


def test_tail_prints_the_last_records_and_ends(data, capsys):
    assert main(["tail", "--data", str(data), "-n", "2", "--no-follow"]) == 0
    assert [row.split()[-1] for row in capsys.readouterr().out.splitlines()] == ["2", "3"]
    assert main(["tail", "--data", str(data), "--level", "warning", "--json", "--no-follow"]) == 0
    assert json.loads(capsys.readouterr().out)["message"] == "message 2"


def test_tail_without_a_hub_says_what_to_start(tmp_path, capsys):
    assert main(["tail", "--data", str(tmp_path / "none"), "--no-follow"]) == 1
    assert "start hublog local" in capsys.readouterr().err


def test_tail_follows_through_a_pipe_until_ctrl_c(data, start):
    process = start("tail", "--data", data, "-n", "1")
    assert "message 3" in process.stdout.readline()
    with Store(data) as store:
        store.append(line(4))
    assert "message 4" in process.stdout.readline()
    assert stop(process, signal.SIGINT) == (0, "", "")


def test_a_reader_that_has_seen_enough_is_no_failure(tmp_path):
    with Store(tmp_path) as store:
        store.append(b"".join(line(number) for number in range(5_000)))  # more than a pipe holds
    for arguments in (
        ("tail", "-n", "5000", "--no-follow"),
        ("query", "PipelineLogs | project message, level"),
    ):
        command = " ".join(
            [*COMMAND, arguments[0], "--data", str(tmp_path), *(f"'{each}'" for each in arguments[1:])]
        )
        script = f"set -o pipefail; {command} | head -n 1"
        found = subprocess.run(
            ["bash", "-c", script], capture_output=True, text=True, timeout=LIMIT_S, check=False
        )
        assert (found.returncode, found.stderr) == (0, "")


def test_settings_shows_every_setting_with_its_effective_value(environ, capsys):
    environ.setenv("EVENTHUB_LOG_BATCH_SIZE", "77")
    environ.setenv("LOG_LEVEL", "warning")
    assert main(["settings"]) == 0
    found = {row.split()[0]: row.split()[1] for row in capsys.readouterr().out.splitlines()}
    assert set(found) == {setting.name for setting in SETTINGS}
    assert found["EVENTHUB_LOG_BATCH_SIZE"] == "77"
    assert found["LOG_LEVEL"] == "WARNING"
    assert found["EVENTHUB_LOG_SPOOL_DIR"] == str(Path("logs/spool"))
    assert found["LOG_SERVICE_NAME"] == "-"


def test_settings_never_shows_a_secret(environ, capsys):
    environ.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", CONNECTION)
    assert main(["settings"]) == 0
    printed = capsys.readouterr()
    assert "c2VjcmV0" not in printed.out + printed.err
    assert re.search(r"EVENTHUB_NAMESPACE_CONNECTION_STRING +\(set, hidden\)", printed.out)


def test_settings_shows_what_some_source_sets_alone(environ, capsys, tmp_path):
    environ.setenv("EVENTHUB_LOG_BATCH_SIZE", "77")
    environ.setenv("LOG_LEVEL", "LOUD")
    (tmp_path / "config.yaml").write_text("logging:\n  log_dir: here\n")
    assert main(["settings", "--changed", "--config", str(tmp_path / "config.yaml")]) == 1
    rows = [re.split("  +", row)[:3] for row in capsys.readouterr().out.splitlines()]
    assert sorted(rows) == [
        ["EVENTHUB_LOG_BATCH_SIZE", "77", "the environment"],
        ["LOG_DIR", "here", "the YAML file"],
        ["LOG_LEVEL", "INFO", "default"],  # its value is invalid
    ]


def test_settings_for_programs_are_those_for_people(environ, capsys):
    environ.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", CONNECTION)
    assert main(["settings", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["ok"], found["problems"], found["notes"]) == (True, [], [])
    assert [row["name"] for row in found["settings"]] == [setting.name for setting in SETTINGS]
    by_name = {row["name"]: (row["value"], row["origin"]) for row in found["settings"]}
    assert by_name["EVENTHUB_NAMESPACE_CONNECTION_STRING"] == ("(set, hidden)", "the environment")
    assert by_name["LOG_SERVICE_NAME"] == (None, "default")
    environ.setenv("LOG_LEVEL", "LOUD")
    assert main(["settings", "--json"]) == 1
    printed = capsys.readouterr()
    assert not json.loads(printed.out)["ok"]
    assert "LOG_LEVEL is LOUD" in json.loads(printed.out)["problems"][0]


@pytest.mark.parametrize("command", ["settings", "doctor", "status"])
def test_a_terminal_that_knows_ascii_only_is_no_failure(command, tmp_path):
    environ = {"LOG_DIR": str(tmp_path / "prot\u00e9g\u00e9"), "EVENTHUB_LOGGING_ENABLED": "false"}
    found = run(command, env=os.environ | environ | {"PYTHONIOENCODING": "ascii", "PYTHONUTF8": "1"})
    assert (found.returncode, found.stderr) == (0, "")
    assert "prot\\xe9g\\xe9" in found.stdout


def test_settings_reads_a_yaml_file(environ, capsys, tmp_path):
    (tmp_path / "config.yaml").write_text("logging:\n  eventhub_logging:\n    batch_size: 5\n")
    assert main(["settings", "--config", str(tmp_path / "config.yaml")]) == 0
    assert re.search(r"EVENTHUB_LOG_BATCH_SIZE +5 ", capsys.readouterr().out)


def test_settings_fails_on_invalid_values_and_reports_all_of_them(environ, capsys):
    environ.setenv("EVENTHUB_LOG_BATCH_SIZE", "0")
    environ.setenv("LOG_LEVEL", "LOUD")
    assert main(["settings"]) == 1
    printed = capsys.readouterr()
    assert "EVENTHUB_LOG_BATCH_SIZE is 0" in printed.err
    assert "LOG_LEVEL is LOUD" in printed.err
    assert len(printed.out.splitlines()) == len(SETTINGS)


@pytest.mark.parametrize(
    "arguments",
    [["--version"], ["settings"], ["status"], ["query", "--help"], ["tail", "--help"], ["schema", "all"]],
)
def test_nothing_heavy_is_imported_for_what_does_not_need_it(arguments, environ):
    environ.setenv("EVENTHUB_LOGGING_ENABLED", "false")  # else status says that no connection is configured
    script = (
        "import sys\nfrom hublog.cli import main\n"
        f"assert main({arguments!r}) == 0\n"
        "found = {name.partition('.')[0] for name in sys.modules}\n"
        "heavy = {'duckdb', 'duckdb_kql', 'rich', 'azure', 'flask', 'django', 'asyncio'}\n"
        "print(*(found & heavy), file=sys.stderr)"
    )
    found = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert (found.returncode, found.stderr) == (0, "\n")


class Hub:
    """``hublog local`` as a process."""

    def __init__(self, process, directory):
        self.process, self.directory = process, directory
        self.first_line = process.stdout.readline().rstrip("\n")
        self.connection = self.first_line.partition("=")[2].strip("'")

    def send(self, bodies, properties=None, hub="application-logs"):
        from azure.eventhub import EventData, EventHubProducerClient

        with EventHubProducerClient.from_connection_string(self.connection, eventhub_name=hub) as producer:
            batch = producer.create_batch()
            for body in bodies:
                event = EventData(body)
                event.properties = dict(properties or {})
                batch.add(event)
            producer.send_batch(batch)

    def query(self, text):
        # In this process: starting another one takes a second, and other tests do that.
        out, err = io.StringIO(), io.StringIO()
        arguments = ["query", text, "--data", str(self.directory), "--format", "json"]
        assert (main(arguments, caller=Caller(out=out, err=err)), err.getvalue()) == (0, "")
        return json.loads(out.getvalue())

    def wait_for(self, text, wanted):
        end = time.monotonic() + LIMIT_S
        while (rows := self.query(text)) != wanted:
            assert time.monotonic() < end, rows
        return rows

    def stop(self, number=signal.SIGTERM):
        return stop(self.process, number)


@pytest.fixture
def start_hub(start, tmp_path):
    def start_local(*arguments):
        directory = tmp_path / "hub"
        return Hub(start("local", "--port", "0", "--data", directory, *arguments), directory)

    return start_local


def test_what_the_official_sdk_sends_comes_back_out_of_a_query(start_hub):
    import gzip

    hub = start_hub()
    now = datetime.now(UTC).isoformat()
    rows = [
        {"timestamp": now, "level": "INFO", "message": f"m{number}", "sequence": number}
        for number in range(500)
    ]
    body = gzip.compress("\n".join(map(json.dumps, rows)).encode())
    hub.send([body], {"Table": "PipelineLogs", "Format": "json", "Compression": "gzip"})
    hub.wait_for(
        "PipelineLogs | summarize n = count(), s = sum(sequence)", [{"n": 500, "s": sum(range(500))}]
    )
    assert hub.query("PipelineLogs | distinct _hub") == [{"_hub": "application-logs"}]
    assert hub.query("PipelineLogs | where ingestion_time() between (ago(5m) .. now()) | count") == [
        {"Count": 500}
    ]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_hub_stops_cleanly_and_keeps_all_that_it_took(start_hub, number):
    hub = start_hub()
    hub.send([json.dumps({"message": "x"}).encode() for _ in range(200)] + [b"no json"])
    code, out, err = hub.stop(number)
    assert (code, err) == (0, "")
    assert "Stopped: 200 rows from 201 events; 1 lines were not JSON" in out
    assert hub.query("PipelineLogs | count") == [{"Count": 200}]


def test_rows_survive_the_next_hub_in_the_same_place(start_hub):
    for _ in range(2):
        hub = start_hub()
        hub.send([b'{"message":"x"}'])
        assert hub.stop()[0] == 0
    assert hub.query("PipelineLogs | count") == [{"Count": 2}]


def test_the_first_line_can_be_copied_into_a_shell(start_hub):
    hub = start_hub()
    script = f'{hub.first_line}\nprintf "%s" "$EVENTHUB_NAMESPACE_CONNECTION_STRING"'
    found = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=True)
    assert found.stdout == hub.connection
    assert re.match(r"Endpoint=sb://127\.0\.0\.1:[1-9]\d*;.*UseDevelopmentEmulator=true", hub.connection)


def test_the_user_reads_the_hubs_the_data_and_what_to_try_next(start_hub):
    hub = start_hub("--hub", "logs:4", "--hub", "audit")
    hub.send([b"{}"], hub="audit")
    code, out, _ = hub.stop()
    assert code == 0
    for said in (
        "logs (4 partitions)",
        "audit (2 partitions)",
        str(hub.directory),
        "hublog tail",
        "hublog query",
    ):
        assert said in out


def test_quiet_prints_the_connection_string_only(start_hub):
    hub = start_hub("--quiet")
    assert "Endpoint=" in hub.first_line
    assert hub.stop() == (0, "", "")


def test_the_ready_file_holds_the_connection_string_while_the_hub_is_there(start_hub, tmp_path):
    ready = tmp_path / "new" / "ready"
    hub = start_hub("--ready-file", ready)
    assert hub.process.stdout.readline() == "\n"
    end = time.monotonic() + LIMIT_S
    while not ready.exists():
        assert time.monotonic() < end
    assert ready.read_text() == f"{hub.connection}\n"
    hub.stop()
    assert not ready.exists()
    assert list(ready.parent.iterdir()) == []


@pytest.mark.parametrize("transport", ["amqp", "websocket"])
def test_a_hub_with_tls_takes_what_an_application_sends_over_either_transport(start_hub, tmp_path, transport):
    authority = trustme.CA()
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(tmp_path / "hub.pem")
    hub = start_hub("--tls-cert", tmp_path / "hub.pem")
    assert "UseDevelopmentEmulator" not in hub.connection
    names = {
        "EVENTHUB_NAMESPACE_CONNECTION_STRING": hub.connection,
        "EVENTHUB_LOG_TRANSPORT": transport,
        "EVENTHUB_LOG_CA_FILE": str(tmp_path / "ca.pem"),
    }
    names |= {"LOG_DIR": str(tmp_path / "logs")}
    found = run("doctor", "--send", env=os.environ | names)
    assert found.returncode == 0, found.stdout + found.stderr
    assert "hublog.doctor" in found.stdout
    hub.wait_for("PipelineLogs | count", [{"Count": 1}])
    assert "EVENTHUB_LOG_CA_FILE" in hub.stop()[1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--tls-cert", "/nowhere/hub.pem"], "TLS cannot be served with /nowhere/hub.pem: No such file"),
        (["--tls-cert", __file__], "no certificate with its key"),
        (["--tls-key", "hub.key"], "--tls-key is given without --tls-cert"),
    ],
)
def test_a_certificate_that_cannot_be_used_is_one_line_and_status_1(tmp_path, arguments, said):
    found = run("local", "--port", "0", "--data", tmp_path / "hub", *arguments)
    assert (found.returncode, found.stdout) == (1, "")
    assert said in found.stderr
    assert found.stderr.count("\n") == 1


def test_a_port_that_is_taken_is_one_line_and_status_1(start_hub, tmp_path):
    hub = start_hub()
    port = re.search(r":(\d+);", hub.connection)[1]
    found = run("local", "--port", port, "--data", tmp_path / "other")
    assert (found.returncode, found.stdout) == (1, "")
    assert re.fullmatch(rf"hublog: .*{port}.* is taken .*\n", found.stderr)


def test_a_directory_in_use_is_one_line_and_status_1(start_hub):
    hub = start_hub()
    found = run("local", "--port", "0", "--data", hub.directory)
    assert (found.returncode, found.stdout) == (1, "")
    assert f"Process {hub.process.pid} writes" in found.stderr


def test_tests_can_ask_the_hub_for_faults(start_hub, tmp_path):
    from hublog_local import ControlClient

    path = tmp_path / "control"
    hub = start_hub("--control", path)
    with ControlClient(path) as control:
        assert control.connection_string() == hub.connection
    assert hub.stop()[0] == 0


def test_an_event_that_is_refused_is_reported(start_hub):
    hub = start_hub("--quiet")
    hub.send([b"{}"] * 5, {"Table": "Other"})
    code, _, err = hub.stop()
    assert code == 0
    assert err.count("Table is 'Other'") == 3
    assert "Not reported again" in err


# doctor and status.


def test_doctor_fails_while_the_hub_is_unavailable_and_passes_when_it_is_back(environ, capsys, tmp_path):
    from hublog_local import LocalHub

    environ.setenv("LOG_DIR", str(tmp_path))
    with LocalHub({"application-logs": 1}) as hub:
        environ.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", hub.connection_string())
        assert main(["doctor", "--send"]) == 0
        assert len(hub.events()) == 1
    assert "the event hub accepted one record" in capsys.readouterr().out
    assert main(["doctor"]) == 1
    printed = capsys.readouterr()
    assert re.search(r"^fail  tcp .*\n +> Start the emulator", printed.out, re.MULTILINE)
    assert printed.err == ""
    assert main(["doctor", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["ok"] is False


def test_doctor_reads_a_yaml_file(environ, capsys, tmp_path):
    (tmp_path / "config.yaml").write_text("logging:\n  eventhub_logging:\n    enabled: false\n")
    environ.setenv("LOG_DIR", str(tmp_path))
    assert main(["doctor", "--config", str(tmp_path / "config.yaml")]) == 0
    assert "Event Hub off" in capsys.readouterr().out


@pytest.mark.parametrize(
    "sample",
    [
        ("7", None, "the environment"),
        (None, "5", "the YAML file"),
        (None, None, "default"),
        ("0", None, "default"),
    ],
)
def test_settings_shows_where_each_value_comes_from(environ, capsys, tmp_path, sample):
    environment, document, origin = sample
    path = tmp_path / "config.yaml"
    path.write_text(f"logging:\n  eventhub_logging:\n    batch_size: {document or ''}\n")
    if environment:
        environ.setenv("EVENTHUB_LOG_BATCH_SIZE", environment)
    main(["settings", "--config", str(path)])
    row = next(
        row for row in capsys.readouterr().out.splitlines() if row.startswith("EVENTHUB_LOG_BATCH_SIZE")
    )
    assert f"  {origin}  " in row


def overridden(name):
    return {"EVENTHUB_LOGGING_ENABLED": True, "LOG_LEVEL": "ERROR"}.get(name)


@pytest.mark.parametrize(
    "command", [["settings"], ["status"], ["status", "--json"], ["doctor"], ["doctor", "--json"]]
)
def test_each_command_shows_what_is_overridden_and_unquoted(environ, capsys, tmp_path, command):
    environ.chdir(tmp_path)
    environ.setenv("EVENTHUB_LOGGING_ENABLED", '"false"')
    environ.setenv("LOG_LEVEL", "DEBUG")
    main(command, caller=Caller(lookup=overridden, framework="flask"))
    shown = " ".join(capsys.readouterr().out.split())
    assert (
        "EVENTHUB_LOGGING_ENABLED: false in the environment overrides True in the application's configuration"
        in shown
    )
    assert "LOG_LEVEL: ERROR in the application's configuration overrides DEBUG in the environment" in shown
    assert "Quotation marks around the value of EVENTHUB_LOGGING_ENABLED were removed" in shown
