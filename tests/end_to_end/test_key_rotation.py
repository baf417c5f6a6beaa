"""The hub revokes the key: what is logged waits, and is sent once the new key is there."""

from pathlib import Path

import pytest
from tests.end_to_end.conftest import HUB

from hublog_local import LocalHub

POLICY, OLD, NEW = "sender", "b2xkLWtleS1vZi10aGUtaHVi", "bmV3LWtleS1vZi10aGUtaHVi"
#: Logs ten records for each line that it reads, and says what became of them.
PROGRAM = """
import logging, sys, hublog
hublog.setup_logging()
log = logging.getLogger("shop")
for batch, _ in enumerate(sys.stdin):
    for number in range(10):
        log.info("record %d", 10 * batch + number)
    print(hublog.flush(20 if batch != 1 else 3), hublog.stats().dropped_total, flush=True)
"""


@pytest.fixture
def hub():
    with LocalHub({HUB: 2}, keys={POLICY: OLD}) as found:
        yield found


def put(path, text):
    """Replace a file at once, as Kubernetes does with a secret."""
    made = Path(f"{path}.new")
    made.write_text(text)
    made.replace(path)


@pytest.fixture
def secret(tmp_path, hub):
    path = tmp_path / "connection-string"
    put(path, hub.connection_string() + "\n")
    return path


def expected(number):
    return sorted(f"record {each}" for each in range(number))


@pytest.mark.parametrize("mode", ["memory", "overflow", "always"])
def test_a_new_key_in_the_file_is_used_without_a_restart_and_each_record_arrives_once(  # noqa: PLR0917  # fixtures
    hub, secret, start, arrived, tmp_path, mode
):
    program = start(
        PROGRAM,
        EVENTHUB_NAMESPACE_CONNECTION_STRING_FILE=str(secret),
        EVENTHUB_LOG_SPOOL=mode,
        EVENTHUB_LOG_SPOOL_DIR=str(tmp_path / "spool"),
        EVENTHUB_LOG_CIRCUIT_COOLDOWN="0.5",
    )
    program.write_line()
    assert program.read_line() == "True 0"

    hub.set_key(POLICY, NEW)
    program.write_line()
    assert program.read_line() == "False 0"  # they wait
    assert sorted(arrived(hub, 10)) == expected(10)

    put(secret, hub.connection_string())
    program.write_line()
    assert program.read_line() == "True 0"
    assert program.end() == 0
    assert sorted(arrived(hub, 30)) == expected(30)
    log = (tmp_path / "logs" / "application.log").read_text()
    assert "The connection string was read again from" in log
    assert OLD not in log + program.errors
    assert NEW not in log + program.errors


def test_a_key_that_is_in_the_file_before_the_old_one_is_revoked_costs_no_failure(
    hub, secret, start, arrived, tmp_path
):
    program = start(PROGRAM, EVENTHUB_NAMESPACE_CONNECTION_STRING_FILE=str(secret))
    program.write_line()
    assert program.read_line() == "True 0"
    put(secret, hub.connection_string().replace(OLD, NEW))
    hub.set_key(POLICY, NEW)
    program.write_line()
    assert program.read_line() == "True 0"
    assert program.end() == 0
    assert sorted(arrived(hub, 20)) == expected(20)
    assert "failed" not in (tmp_path / "logs" / "application.log").read_text()


def test_what_waits_on_disk_is_sent_by_the_process_that_is_started_with_the_new_key(
    hub, start, arrived, tmp_path
):
    spool = str(tmp_path / "spool")
    program = start(
        PROGRAM,
        connection=hub.connection_string(),
        EVENTHUB_LOG_SPOOL_DIR=spool,
        EVENTHUB_LOG_EXIT_TIMEOUT="1",
    )
    program.write_line()
    assert program.read_line() == "True 0"
    hub.set_key(POLICY, NEW)
    program.write_line()
    assert program.read_line() == "False 0"
    assert program.end() == 0

    follower = start(
        "import logging, sys, hublog\nhublog.setup_logging()\nlogging.getLogger('shop').info('after')\n"
        "sys.stdin.readline()\n",
        connection=hub.connection_string(),
        EVENTHUB_LOG_SPOOL_DIR=spool,
    )
    assert sorted(arrived(hub, 21)) == sorted([*expected(20), "after"])
    follower.write_line()
    assert follower.end() == 0
