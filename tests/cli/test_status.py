"""``hublog status``: the effective configuration and the state of this machine."""

import argparse
import json
import re
import shutil
import subprocess
import sys

import pytest
from tests.kits.spools import LIVING, kill, leave, reject
from tests.spool.independent import A, envelope, make_lines, make_segment

from hublog.cli import Caller
from hublog.cli.status import RECHECK_S, add_status, run_status
from hublog.settings import SETTINGS

KEY = "c2VjcmV0LWtleQ"
CONNECTED = (
    f"Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey={KEY};UseDevelopmentEmulator=true"
)
NAME = "000001a208b4db00-0000000a"  # of a process that began on 2026-11-23 at 14:00


@pytest.fixture
def environ(monkeypatch):
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)
    return monkeypatch


@pytest.fixture
def status(environ, capsys, tmp_path):
    """The status of a set-up, as text or as JSON."""
    environ.setenv("LOG_DIR", str(tmp_path / "logs"))
    environ.setenv("EVENTHUB_LOG_SPOOL_DIR", str(tmp_path / "spool"))
    environ.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", CONNECTED)

    def run(*arguments):
        parser = argparse.ArgumentParser()
        add_status(parser)
        code = run_status(parser.parse_args(arguments), Caller(), pause=lambda _: None)
        printed = capsys.readouterr()
        assert KEY not in printed.out + printed.err
        assert printed.err == ""
        return code, json.loads(printed.out) if "--json" in arguments else printed.out

    return run


def test_status_of_an_unused_machine_has_no_problem(status, tmp_path):
    code, text = status()
    assert code == 0
    assert "event hub     event hub 'application-logs' at 127.0.0.1, port 1" in text
    assert f"spool         {tmp_path / 'spool'}, no records waiting" in text
    assert "does not exist yet" in text
    assert text.endswith("No problems found.\n")
    assert list(tmp_path.iterdir()) == []


def test_status_shows_the_log_file_and_its_archives(status, tmp_path):
    logs = tmp_path / "logs"
    logs.mkdir()
    (logs / "application.log").write_bytes(b"x" * 1_234)
    (logs / "application.log.1.gz").write_bytes(b"x" * 100)
    (logs / "application.log.notes").write_bytes(b"x")
    code, text = status()
    assert code == 0
    assert re.search(r"application\.log, 1,234 bytes, written \d+ s ago, 1 archive of 100 bytes\n", text)
    [found] = status("--json")[1]["log_files"]
    assert (found["bytes"], found["archives"], found["archives_bytes"]) == (1_234, 1, 100)


def leave_records(tmp_path, name=NAME, records=2):
    (tmp_path / "spool").mkdir(0o700, exist_ok=True)
    leave(tmp_path / "spool", name, make_segment(make_lines(records)))


def test_orphaned_records_are_a_problem(status, tmp_path):
    leave_records(tmp_path)
    code, text = status()
    assert code == 1
    assert "2 orphaned records waiting, and no running process sends them: start the application" in text
    code, found = status("--json")
    assert (code, found["ok"], found["spool"]["orphaned"], found["spool"]["oldest"]) == (
        1, False, 2, "2026-11-23T14:00:00Z",
    )  # fmt: skip


def test_records_for_another_destination_are_a_problem_and_listed(status, tmp_path):
    leave_records(tmp_path)
    audit = envelope("audit")
    leave(tmp_path / "spool", A, make_segment(make_lines(3), envelope=audit), envelope=audit)
    code, text = status()
    assert code == 1
    assert "2 orphaned records waiting, and no running process sends them" in text
    assert (
        "3 orphaned records waiting for event hub audit of shop.servicebus.windows.net, which is not the"
        " configured destination" in text
    )
    found = status("--json")[1]["spool"]
    assert found["for_others"] == [
        {"namespace": "shop.servicebus.windows.net", "eventhub": "audit", "records": 3}
    ]
    assert [owner["destination"] for owner in found["owners"]] == [
        {"namespace": "shop.servicebus.windows.net", "eventhub": "audit"},
        None,
    ]


def test_orphaned_records_are_no_problem_while_a_running_process_recovers_them(status, tmp_path):
    leave_records(tmp_path)
    command = [sys.executable, "-c", LIVING, str(tmp_path / "spool"), "1048576", "3"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    try:
        process.stdout.readline()
        code, text = status()
        assert (code, "5 records" in text, "1 alive" in text) == (0, True, True)
        owners = status("--json")[1]["spool"]["owners"]
        assert [(owner["owner"], owner["pid"], owner["records"]) for owner in owners] == [
            ("dead", None, 2),
            ("alive", process.pid, 3),
        ]
    finally:
        kill(process)


def test_records_recovered_while_status_waits_are_no_problem(environ, status, tmp_path):
    leave_records(tmp_path)
    waited = []

    def pause(seconds):
        waited.append(seconds)
        shutil.rmtree(tmp_path / "spool" / NAME)

    options = argparse.Namespace(config=None, json=False)
    assert run_status(options, Caller(), pause=pause) == 0
    assert waited == [RECHECK_S]


def test_rejected_records_are_a_problem(status, tmp_path):
    (tmp_path / "spool").mkdir()
    reject(tmp_path / "spool", b"{}\n")
    code, text = status()
    assert code == 1
    assert "rejected      1 record (3 bytes)" in text
    assert "The event hub rejected 1 record" in text


def test_a_spool_that_is_not_a_directory_is_a_problem(status, tmp_path):
    (tmp_path / "spool").write_text("")
    code, text = status()
    assert code == 1
    assert "is not a directory" in text


def test_status_reports_that_no_connection_is_configured(environ, status):
    environ.delenv("EVENTHUB_NAMESPACE_CONNECTION_STRING")
    code, text = status()
    assert code == 1
    assert "event hub     no connection is configured" in text
    environ.setenv("EVENTHUB_LOGGING_ENABLED", "false")
    code, text = status()
    assert code == 0
    assert "event hub  " not in text


def test_status_reports_invalid_settings(environ, status):
    environ.setenv("LOG_LEVEL", "LOUD")
    code, text = status()
    assert code == 1
    assert "problem       LOG_LEVEL is LOUD" in text
