"""Heartbeat rows of real processes, at a local hub."""

import time
from collections import defaultdict

LIMIT_S = 30
#: A process and its forked child log one record each, and live until a line comes.
PAIR = """
import logging, os, sys, hublog
hublog.setup_logging()
log = logging.getLogger("shop")
log.info("parent")
read, write = os.pipe()
child = os.fork()
if child == 0:
    os.close(write)
    log.info("child")
    os.read(read, 1)
    sys.exit()
print(os.getpid(), child, flush=True)
sys.stdin.readline()
os.close(write)
os.waitpid(child, 0)
stats = hublog.stats()
assert stats.accepted_total == stats.sent_total + stats.held and not stats.dropped, stats
"""


def of_processes(rows):
    """Return the heartbeat rows of each process, oldest first."""
    found = defaultdict(list)
    for row in sorted(rows, key=lambda row: row["timestamp"]):
        if row["record_type"] == "heartbeat":
            found[row["process_id"]].append(row)
    return found


def test_each_process_sends_its_own_until_a_last_one_at_its_end(hub, start, rows, log_file):
    program = start(
        PAIR, connection=hub.connection_string(), EVENTHUB_LOG_HEARTBEAT_SECONDS="1", LOG_LEVEL="ERROR"
    )
    processes = [int(number) for number in program.read_line().split()]
    end = time.monotonic() + LIMIT_S
    while [len(of_processes(rows(hub))[number]) >= 2 for number in processes] != [True, True]:
        assert time.monotonic() < end, rows(hub)
        hub.wait_for(len(hub.events("application-logs")) + 1, hub="application-logs", timeout_s=1)
    program.write_line()
    assert program.end() == 0, program.errors
    found = of_processes(rows(hub))
    assert sorted(found) == sorted(processes)
    for beats in found.values():
        assert [row["event_name"] for row in beats[:-1]] == ["handler.heartbeat"] * (len(beats) - 1)
        assert beats[-1]["event_name"] == "handler.ended"
        sums = [row["metrics"]["accepted_total"] for row in beats]
        assert sums[:-1] == list(range(1, len(beats)))  # its one record, and the heartbeats before
        assert sums[-1] in (len(beats) - 1, len(beats))  # the last one shows what was known a second ago
        assert {row["level"] for row in beats} == {"INFO"}
        assert all(row["metrics"]["state"] == "healthy" for row in beats)
    assert {row["record_type"] for row in log_file()} == {"log"}
    assert "heartbeat" not in program.output


def test_a_program_that_ends_before_the_first_one_sends_none(hub, run, rows):
    source = "import logging, hublog\nhublog.setup_logging()\nlogging.getLogger('shop').info('alone')\n"
    program = run(source, connection=hub.connection_string(), EVENTHUB_LOG_HEARTBEAT_SECONDS="60")
    assert (program.process.returncode, program.errors) == (0, "")
    assert [row["message"] for row in rows(hub)] == ["alone"]
