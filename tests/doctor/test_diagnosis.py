import json
import os
import socket
import ssl
import sys
import threading
import time
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import pytest
from azure.eventhub import TransportType
from tests.doctor.conftest import KEY
from tests.kits.spools import leave, reject
from tests.spool.independent import A, envelope, make_lines, make_segment

from hublog.doctor import StepResult, StepStatus
from hublog.doctor.steps import ALL_S, LEAST_S
from hublog.spool.locking import SpoolUnavailableError
from hublog_local import LocalHub

pytestmark = pytest.mark.filterwarnings("ignore:unclosed <:ResourceWarning")
WAY = ["versions", "settings", "destinations", "handlers", "connection", "dns", "tcp", "event hub"]
REAL = f"Endpoint=sb://{{}}/;SharedAccessKeyName=sender;SharedAccessKey={KEY}"


def signature(hub, expires_at):
    token = f"SharedAccessSignature sr=sb%3a%2f%2fx&sig={KEY}&se={expires_at:.0f}&skn=sender"
    return (
        f"Endpoint=sb://127.0.0.1:{hub.port};UseDevelopmentEmulator=true;"
        f"SharedAccessSignature={token.replace(' ', '%20')}"
    )


# All is well.


def test_all_steps_of_a_good_connection_pass_and_nothing_is_sent(hub, doctor):
    found = doctor(hub.connection_string())
    assert found.steps == [(what, "ok") for what in (*WAY, "spool", "log file")]
    assert found.lines.endswith("All 10 steps passed.\n")
    assert "key of the policy 'sender'" in found.one("connection").detail
    assert hub.events() == []


def test_one_record_is_sent_where_that_is_wanted_in_the_packing_of_the_settings(hub, doctor):
    found = doctor(hub.connection_string(), sends_record=True, EVENTHUB_LOG_ROUTE_TABLE="PipelineLogs")
    assert found.one("send").status == "ok"
    assert found.one("send").seconds > 0
    [event] = hub.events()
    row = json.loads(event.body)
    assert (row["event_name"], row["logger_name"], row["level"]) == ("hublog.doctor", "hublog.doctor", "INFO")
    assert event.properties == {"Table": "PipelineLogs"}


def test_over_tls_the_certificate_is_checked(certificate, doctor):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with LocalHub({"logs": 1}, keys={"sender": KEY}, ssl_context=context) as hub:
        options = {
            "custom_endpoint_address": f"sb://127.0.0.1:{hub.port}",
            "transport_type": TransportType.Amqp,
            "connection_verify": str(certificate[0]),
        }
        found = doctor(hub.connection_string(), sends_record=True, options=options)
        assert found.failed == []
        assert "TLSv1.3, certificate valid until" in found.one("tls").detail
        assert len(hub.events()) == 1


def test_a_certificate_that_is_not_trusted_is_reported_before_the_client_tries(certificate, doctor):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    with LocalHub({"logs": 1}, ssl_context=context) as hub:
        found = doctor(REAL.format(f"127.0.0.1:{hub.port}"))
    assert found.failed == ["tls"]
    assert found.one("tls").detail.startswith("TLS certificate verify failed for 127.0.0.1:")
    assert found.one("tls").detail.endswith(": self-signed certificate")
    assert "proxy" in found.one("tls").hint


def test_a_disabled_hub_is_not_checked(doctor):
    found = doctor(EVENTHUB_LOGGING_ENABLED="false")
    assert found.steps == [(what, "ok") for what in (*WAY[:4], "log file")]


# What is wrong on the way; each stops the way there, and nothing else.


def test_no_connection_is_a_failure_since_nothing_arrives(doctor):
    found = doctor()
    assert found.failed == ["connection"]
    assert "EVENTHUB_NAMESPACE_CONNECTION_STRING" in found.one("connection").hint


def test_every_invalid_setting_is_reported_and_the_rest_is_tried(hub, doctor):
    found = doctor(hub.connection_string(), EVENTHUB_LOG_BATCH_SIZE="0", LOG_LEVEL="LOUD")
    assert found.failed == ["settings", "settings"]
    assert "EVENTHUB_LOG_BATCH_SIZE is 0" in found.lines
    assert found.one("event hub").status == "ok"


def test_a_misspelt_name_in_the_environment_is_reported(hub, doctor, monkeypatch):
    monkeypatch.setenv("EVENTHUB_LOGS_NAMES", "logs")
    found = doctor(hub.connection_string())
    printed = [result for result in found.results if result.status == "warn"]
    assert [(result.what, result.hint) for result in printed] == [
        ("settings", "Did you mean EVENTHUB_LOGS_NAME?")
    ]


def test_hashes_without_a_key_are_a_failure(hub, doctor):
    assert doctor(hub.connection_string(), LOG_REDACTION_MODE="hash").failed == ["settings"]
    assert doctor(hub.connection_string(), LOG_REDACTION_MODE="hash", LOG_REDACTION_HASH_KEY="k").failed == []


def test_a_malformed_connection_string_is_reported_without_its_key(doctor):
    found = doctor(f"Endpoint=nonsense;SharedAccessKeyName=n;SharedAccessKey={KEY}")
    assert found.failed == ["settings", "connection"]


def test_a_name_that_does_not_resolve_skips_the_steps_after_it(doctor):
    found = doctor(REAL.format("no-such-namespace.invalid"))
    assert found.failed == ["dns"]
    assert found.one("dns").detail.startswith("host name not found: no-such-namespace.invalid (")
    assert [what for what, _ in found.steps] == [*WAY[:6], "spool", "log file"]


def test_a_name_server_that_says_nothing_times_out(doctor, monkeypatch):
    answer = threading.Event()
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: answer.wait(60))
    begun = time.monotonic()
    found = doctor(REAL.format("slow.servicebus.windows.net"), budget={"step_s": 0.2})
    assert time.monotonic() - begun < 5
    answer.set()
    assert found.failed == ["dns"]
    assert "not resolved within" in found.one("dns").detail


def test_a_port_where_nobody_listens_is_reported_with_the_port(hub, doctor):
    hub.stop_listening()
    found = doctor(hub.connection_string())
    assert found.failed == ["tcp"]
    assert found.one("tcp").detail == f"connection refused by 127.0.0.1:{hub.port}"
    assert "hublog local" in found.one("tcp").hint


def test_of_a_real_namespace_the_firewall_is_suspected(doctor):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = doctor(REAL.format(f"127.0.0.1:{taken.getsockname()[1]}"))
    assert found.failed == ["tcp"]
    assert "firewall" in found.one("tcp").hint


def test_a_peer_that_says_nothing_to_tls_times_out(doctor):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        found = doctor(REAL.format(f"127.0.0.1:{silent.getsockname()[1]}"), budget={"step_s": 0.3})
    assert found.failed[0] == "tls"  # what comes later may take longer than this budget on a busy machine
    assert "no answer within" in found.one("tls").detail


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ({"kind": "refuse"}, "could not be opened for sending"),
        ({"kind": "close-open", "condition": "amqp:connection:forced"}, "could not be opened for sending"),
        ({"kind": "refuse-token"}, "the namespace refused the token (401"),
        ({"kind": "refuse-attach", "condition": "amqp:unauthorized-access"}, "unauthorized"),
        ({"kind": "refuse-attach", "condition": "com.microsoft:entity-disabled"}, "entity-disabled"),
    ],
    ids=["refused", "closed", "token refused", "unauthorized", "disabled"],
)
def test_what_the_hub_rejects_is_reported_with_what_to_check(hub, doctor, fault, said):
    fired = hub.faults.add(**fault, times=None)
    found = doctor(hub.connection_string())
    assert fired.fired_total
    assert found.failed == ["event hub"]
    assert said in found.one("event hub").detail
    assert found.one("event hub").hint.endswith(".")


@pytest.mark.parametrize("kind", ["silent", "silent-open", "withhold-token", "silent-attach"])
def test_a_hub_that_falls_silent_times_out(hub, doctor, kind):
    hub.faults.add(kind, times=None)
    begun = time.monotonic()
    found = doctor(hub.connection_string(), budget={"open_s": 0.7})
    assert time.monotonic() - begun < 10
    assert found.failed == ["event hub"]
    assert "could not be opened for sending within" in found.one("event hub").detail


def test_a_record_that_is_not_confirmed_times_out(hub, doctor):
    hub.faults.add("withhold", times=None)
    found = doctor(hub.connection_string(), sends_record=True, budget={"step_s": 0.5})
    assert found.failed == ["send"]


def test_a_busy_hub_is_reported_as_such(hub, doctor):
    hub.faults.add("reject", times=None)
    found = doctor(hub.connection_string(), sends_record=True)
    assert found.failed == ["send"]
    assert "throttles" in found.one("send").hint


def test_a_wrong_key_is_reported_as_such(hub, doctor):
    wrong = "d3Jvbmcta2V5LW9mLXRoZS1odWI"
    found = doctor(hub.connection_string().replace(KEY, wrong), secret=wrong)
    assert found.failed == ["event hub"]
    assert (
        found.one("event hub").hint
        == "Check the connection string: policy and key must be current ones of this namespace."
    )


def test_a_hub_that_does_not_exist_is_reported_as_such(hub, doctor):
    found = doctor(hub.connection_string(), EVENTHUB_LOGS_NAME="other")
    assert found.failed == ["event hub"]
    assert "'other' could not be opened for sending" in found.one("event hub").detail
    assert "EVENTHUB_LOGS_NAME" in found.one("event hub").hint


def test_an_expired_signature_is_reported_and_tried_all_the_same(hub, doctor):
    found = doctor(signature(hub, 1_000))
    assert found.failed == ["connection", "event hub"]
    assert "until 1970-01-01 00:16:40 UTC" in found.one("connection").detail


def test_the_expiry_of_a_good_signature_is_reported(hub, doctor):
    end = datetime.now(UTC).replace(microsecond=0) + timedelta(days=1)
    found = doctor(signature(hub, end.timestamp()))
    assert f"until {end:%Y-%m-%d %H:%M:%S} UTC" in found.one("connection").detail
    assert found.failed == ["event hub"]  # nobody has signed it


def test_a_namespace_without_a_key_says_who_signs_in(doctor):
    found = doctor(EVENTHUB_FULLY_QUALIFIED_NAMESPACE="no-such-namespace.invalid")
    assert found.failed == ["dns"]
    assert "without a key, by azure-identity" in found.one("connection").detail


def test_all_steps_together_are_over_in_half_a_minute():
    assert ALL_S + 6 * LEAST_S < 30


def test_a_budget_that_is_used_up_lets_no_step_wait(hub, doctor):
    begun = time.monotonic()
    hub.faults.add("silent", times=None)
    found = doctor(hub.connection_string(), budget={"all_s": 0.0})
    assert time.monotonic() - begun < 8
    assert found.failed == ["event hub"]  # all the others take less than what each step has in any case


# The disk.


def test_records_waiting_in_the_spool_are_reported(hub, doctor, tmp_path):
    root = tmp_path / "spool"
    root.mkdir(0o700)
    leave(root, "000001a208b4db00-0000000a", _segment())
    reject(root, b"{}\n")
    found = doctor(hub.connection_string(), EVENTHUB_LOG_SPOOL_DIR=str(root))
    spool = found.one("spool")
    assert spool.status == "warn"
    assert "2 records" in spool.detail
    assert "hublog spool drain" in spool.hint
    assert "rejected 1 record" in spool.hint
    assert found.failed == []


def test_records_waiting_for_another_event_hub_are_reported(hub, doctor, tmp_path):
    root = tmp_path / "spool"
    root.mkdir(0o700)
    audit = envelope("audit")
    leave(root, A, make_segment(make_lines(3), envelope=audit), envelope=audit)
    spool = doctor(hub.connection_string(), EVENTHUB_LOG_SPOOL_DIR=str(root)).one("spool")
    assert spool.status == "warn"
    assert "3 orphaned records waiting for event hub audit of shop.servicebus" in spool.hint


def test_a_spool_that_everybody_may_write_fails(hub, doctor, tmp_path):
    root = tmp_path / "spool"
    root.mkdir()
    root.chmod(0o777)
    found = doctor(hub.connection_string(), EVENTHUB_LOG_SPOOL_DIR=str(root))
    assert found.failed == ["spool"]
    assert "its mode is 0777, so every user may rename what is in it" in found.one("spool").detail


def test_the_checks_leave_no_file_behind(hub, doctor, tmp_path):
    doctor(hub.connection_string())
    assert list(tmp_path.iterdir()) == []


def test_a_spool_that_is_a_file_and_a_log_directory_that_is_one_fail(hub, doctor, tmp_path):
    (tmp_path / "logs").write_text("")
    (tmp_path / "spool").write_text("")
    found = doctor(hub.connection_string(), EVENTHUB_LOG_SPOOL_DIR=str(tmp_path / "spool"))
    assert found.failed == ["spool", "log file"]
    assert "Not a directory" in found.one("spool").detail
    assert "Not a directory" in found.one("log file").detail


def test_a_spool_of_another_user_fails(hub, doctor, tmp_path, monkeypatch):
    root, uid = tmp_path / "spool", os.geteuid()
    root.mkdir()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    found = doctor(hub.connection_string(), EVENTHUB_LOG_SPOOL_DIR=str(root))
    assert found.failed == ["spool"]
    assert f"belongs to uid {uid}, and this process runs as uid {uid + 1}" in found.one("spool").detail


def test_a_disk_that_does_not_answer_times_out(hub, doctor, tmp_path):
    release = threading.Event()
    found = doctor(
        hub.connection_string(),
        EVENTHUB_LOG_SPOOL_DIR=str(tmp_path),
        parts={"check_spool_content": lambda *_: release.wait(60)},
        budget={"open_s": 0.2},  # the link to the hub may need longer on a busy machine: it is not asked for
    )
    release.set()
    assert found.one("spool").status == "warn"
    assert "could not be read in time" in found.one("spool").detail


def test_in_the_mode_memory_the_spool_is_not_checked(hub, doctor):
    assert "spool" not in dict(doctor(hub.connection_string(), EVENTHUB_LOG_SPOOL="memory").steps)


# What surrounds it.


def test_losses_by_the_server_are_reported(hub, doctor, monkeypatch):
    monkeypatch.setitem(sys.modules, "uwsgi", SimpleNamespace(has_threads=1, opt={"skip-atexit": True}))
    found = doctor(hub.connection_string())
    assert found.one("server").status == "warn"
    assert found.one("server").hint == "Set EVENTHUB_LOG_SPOOL=always."


def test_what_the_framework_finds_comes_last(hub, doctor):
    own = StepResult(status=StepStatus.WARN, what="shop", detail="something", hint="do it")
    found = doctor(hub.connection_string(), parts={"find_results": lambda: [own], "framework": "django"})
    assert found.results[-1] == own
    assert "Django" in found.one("versions").detail


def broken_by_hublog():
    raise SpoolUnavailableError("The spool is away.")


def broken():
    raise LookupError(KEY)


@pytest.mark.parametrize(
    ("find", "said"),
    [(broken_by_hublog, "The spool is away."), (broken, "an unexpected LookupError ended this check")],
)
def test_a_step_that_breaks_is_a_failure_of_its_own(hub, doctor, find, said):
    parts = {"find_results": find, "framework": "django", "find_log_files": lambda _: find()}
    found = doctor(hub.connection_string(), parts=parts)
    assert [
        (what, detail) for what, detail in ((r.what, r.detail) for r in found.results) if detail == said
    ] == [
        ("disk", said),
        ("django", said),
    ]


def test_checks_that_do_not_end_time_out(doctor):
    release = threading.Event()
    parts = {"find_results": lambda: release.wait(60), "framework": "django"}
    found = doctor(EVENTHUB_LOGGING_ENABLED="false", parts=parts, budget={"open_s": 0.2})
    release.set()
    assert found.failed == ["django"]


@pytest.mark.parametrize("missing", ["azure.eventhub", "azure.identity"])
def test_a_client_that_is_missing_is_reported(hub, doctor, monkeypatch, missing):
    monkeypatch.setitem(sys.modules, missing, None)
    if missing == "azure.eventhub":
        found = doctor(hub.connection_string())
        assert "azure.eventhub" in found.one("event hub").detail
    else:
        found = doctor(hub.connection_string())
        assert found.failed == []


@pytest.mark.parametrize(
    "endpoint", ["127.0.0.1:99999", "127.0.0.1:0", "[::1]:1", "a..b", "x" * 64 + ".invalid", "1.2.3.4.5"]
)
def test_an_odd_endpoint_is_a_failure_like_any_other(doctor, endpoint):
    assert len(doctor(REAL.format(endpoint), budget={"step_s": 1.0}).failed) == 1


def _segment():
    return make_segment(make_lines(2))


def test_a_service_that_nobody_has_named_is_a_line_with_the_name_that_it_gets(doctor, monkeypatch):
    monkeypatch.delenv("WEBSITE_SITE_NAME", raising=False)
    monkeypatch.delenv("CONTAINER_APP_NAME", raising=False)
    unnamed = doctor(EVENTHUB_LOGGING_ENABLED="false").one("settings")
    assert unnamed.detail == (
        "all are valid; LOG_SERVICE_NAME is not set, so service_name is 'unknown_service'"
    )
    named = doctor(EVENTHUB_LOGGING_ENABLED="false", LOG_SERVICE_NAME="shop").one("settings")
    assert named.detail == "all are valid"
