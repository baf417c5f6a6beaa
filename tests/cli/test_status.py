"""``hublog status``: the effective configuration and the state of this machine."""

import argparse
import json
import re
import shutil
import subprocess
import sys
import time

import pytest
from tests.kits.spools import LIVING, kill, leave, reject
from tests.spool.independent import A, envelope, make_lines, make_segment

from hublog.cli import Caller
from hublog.cli.commands import check_processes
from hublog.cli.spool_report import RECHECK_S
from hublog.cli.status import add_status, run_status
from hublog.delivery.accounting import Circuit, State
from hublog.operations.publishing import FOLDER, Publisher
from hublog.operations.snapshot import COUNTERS, GAUGES, PipelineSnapshot, ProcessSnapshot
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

    options = argparse.Namespace(config=None, json=False, watch=False)
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
    assert (
        f"problem       {tmp_path / 'spool'} cannot be used: Not a directory. It must be a directory" in text
    )
    assert text.count("Not a directory") == 1


def test_a_log_file_that_cannot_be_written_is_a_problem_in_the_words_of_the_doctor(status, tmp_path):
    (tmp_path / "logs").write_text("")
    code, text = status()
    assert code == 1
    assert (
        f"problem       {tmp_path}/logs/application.log cannot be written: Not a directory. Make its" in text
    )


def test_a_spool_that_everybody_may_write_is_a_problem_as_it_is_for_the_doctor(status, tmp_path):
    (tmp_path / "spool").mkdir()
    (tmp_path / "spool").chmod(0o777)
    code, text = status()
    assert code == 1
    assert "cannot be used: its mode is 0777, so every user may rename what is in it" in text


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


# The processes


@pytest.fixture
def publish(tmp_path):
    """Let a process with this spool publish something."""
    publishers = []

    def publish_snapshot(pid, *, is_alive=True, **known):
        part = PipelineSnapshot(
            destination="event hub x",
            counters=dict.fromkeys(COUNTERS, 0) | {"accepted_total": 1_200, "sent_total": 1_000},
            gauges=dict.fromkeys(GAUGES, 0) | {"queued": 195, "queue_records_max": 1_000},
            **known,
        )
        (tmp_path / "spool").mkdir(mode=0o700, exist_ok=True)
        publishers.append(Publisher(tmp_path / "spool"))
        publishers[-1].publish(
            lambda: ProcessSnapshot(pid=pid, host="web-04", service="shop", pipelines=(part,))
        )
        if not is_alive:
            publishers.pop()._close()

    yield publish_snapshot
    for each in publishers:
        each._close()


def test_status_shows_all_processes_and_their_sum(status, publish):
    now = time.time()
    publish(4_711, dropped={"queue_full": 3, "exit": 2}, oldest_s=now - 10_800, state_since_s=now - 7_200)
    publish(4_712, state_since_s=now - 600, last_failure_s=now - 30, last_error="connection refused")
    publish(4_713, is_alive=False)
    code, text = status()
    assert code == 0
    lines = [line.strip() for line in text.splitlines()]
    assert (
        "processes     2 running; 3,600 records accepted, 3,000 records sent, 5 dropped, 390 waiting" in lines
    )
    assert "dropped: exit 2, queue_full 3" in lines
    assert re.search(r"last failure \d\d s ago: connection refused", text)
    rows = [line.split() for line in lines if "web-04" in line]
    assert [" ".join(row) for row in sorted(rows, key=lambda row: row[-6])] == [
        "web-04 healthy 2 h 3 h 4711 1,200 1,000 5 195 20%",
        "web-04 healthy 10 min - 4712 1,200 1,000 0 195 20%",
    ]


def test_an_open_circuit_and_a_file_that_cannot_be_used_are_problems(status, publish, tmp_path):
    publish(
        4_711, state=State.OPEN, circuit=Circuit.OPEN, state_since_s=time.time() - 600, last_error="refused"
    )
    (tmp_path / "spool" / FOLDER / "garbage").write_bytes(b"garbage")
    code, text = status()
    assert code == 1
    assert "No records reach the event hub since 10 min (state open): run hublog doctor." in text
    assert "Last failure: refused" in text
    assert "garbage is not shown: it does not begin like a snapshot." in text


def test_the_doctor_says_how_many_processes_deliver(publish, tmp_path):
    assert "none of this application runs" in check_processes(tmp_path / "spool").detail
    publish(4_711)
    publish(4_712)
    found = check_processes(tmp_path / "spool")
    assert (str(found.status), found.detail) == ("ok", "2 processes of this application run, 2 deliver")
    publish(4_713, state=State.OPEN, circuit=Circuit.OPEN, state_since_s=time.time() - 600)
    found = check_processes(tmp_path / "spool")
    assert (str(found.status), found.detail) == ("warn", "3 processes of this application run, 2 deliver")
    assert found.hint.endswith("See hublog status.")


def test_the_processes_are_in_the_json(status, publish):
    publish(4_711, dropped={"queue_full": 3, "sampled_out": 2}, oldest_s=1e300, last_failure_s=-5.0)
    publish(4_712, is_alive=False)
    _, found = status("--json")
    processes = {each["pid"]: each for each in found["processes"]["processes"]}
    assert {pid: each["alive"] for pid, each in processes.items()} == {4_711: True, 4_712: False}
    total = found["processes"]["total"]
    assert (total["accepted_total"], total["dropped_total"], total["lost_total"]) == (2_400, 5, 3)
    assert (total["state"], total["circuit"], total["oldest_at"]) == (
        "healthy",
        "closed",
        "9999-12-31T23:59:59Z",
    )
    assert processes[4_711]["pipelines"][0]["queue_share"] == 0.195


def test_status_can_be_watched(environ, publish, capsys, tmp_path):
    environ.setenv("EVENTHUB_LOG_SPOOL_DIR", str(tmp_path / "spool"))
    environ.setenv("EVENTHUB_NAMESPACE_CONNECTION_STRING", CONNECTED)
    parser = argparse.ArgumentParser()
    add_status(parser)
    waited = []

    def pause(seconds):
        waited.append(seconds)
        if len(waited) == 3:
            raise KeyboardInterrupt
        publish(4_711 + len(waited))

    with pytest.raises(KeyboardInterrupt):
        run_status(parser.parse_args(["--watch"]), Caller(), pause=pause)
    shown = re.findall(r"(\d) running", capsys.readouterr().out)
    assert (shown, len(set(waited))) == (["1", "2"], 1)
