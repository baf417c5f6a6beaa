import socket

import pytest

PREAMBLE = """
import logging, os, sys, hublog
hublog.setup_logging()
log = logging.getLogger("shop")
"""
BURST = PREAMBLE + "for number in range(500): log.info('record %d', number)\n"
EXPECTED = [f"record {number}" for number in range(500)]


@pytest.mark.parametrize("packing", ["single", "lines", "gzip"])
def test_every_record_arrives_once_in_each_packing(hub, run, arrived, packing):
    program = run(BURST, connection=hub.connection_string(), EVENTHUB_LOG_PACKING=packing)
    assert (program.process.returncode, program.errors) == (0, "")
    assert sorted(arrived(hub, 500)) == sorted(EXPECTED)


@pytest.mark.parametrize(
    "end",
    [
        "",
        "sys.exit(3)",
        "raise LookupError('x')",
        "import signal; signal.raise_signal(signal.SIGINT)",
        "import signal; signal.signal(15, lambda *_: sys.exit(4)); signal.raise_signal(15)",
    ],
    ids=["normal", "sys.exit", "exception", "SIGINT", "SIGTERM turned into sys.exit"],
)
def test_what_waits_is_delivered_however_the_program_ends(hub, run, arrived, end):
    control = run(f"import sys\n{end}\n")
    program = run(BURST + end, connection=hub.connection_string(), EVENTHUB_LOG_BATCH_TIMEOUT="60")
    # After SIGINT Python ends itself by the signal, or with 1 where an exit hook has used eval, as any
    # import of a namedtuple does: it then forgets that it was interrupted.
    allowed = {control.process.returncode, *([1] if "SIGINT" in end else [])}
    assert program.process.returncode in allowed, program.errors
    own = ["Uncaught LookupError ends the process"] if "LookupError" in end else []
    expected = [*EXPECTED, *own]
    assert sorted(arrived(hub, len(expected))) == sorted(expected)


def test_the_only_record_of_a_short_program_is_delivered(hub, run, arrived):
    program = run(
        PREAMBLE + "log.info('alone')\n", connection=hub.connection_string(), EVENTHUB_LOG_BATCH_TIMEOUT="60"
    )
    assert (program.process.returncode, program.errors) == (0, "")
    assert arrived(hub, 1) == ["alone"]


def test_a_record_logged_by_a_later_exit_hook_is_delivered(hub, run, arrived):
    program = run(
        "import atexit, logging\n"
        "def late(): logging.getLogger('shop').warning('from the exit hook')\n"
        "atexit.register(late)\n" + PREAMBLE + "log.info('before')\n",
        connection=hub.connection_string(),
        EVENTHUB_LOG_BATCH_TIMEOUT="60",
    )
    assert program.process.returncode == 0
    assert sorted(arrived(hub, 2)) == ["before", "from the exit hook"]


def test_a_shutdown_in_mid_program_loses_nothing(hub, run, arrived):
    run(
        PREAMBLE + "log.info('one')\nlogging.shutdown()\nlog.info('two')\n",
        connection=hub.connection_string(),
        EVENTHUB_LOG_BATCH_TIMEOUT="60",
    )
    assert sorted(arrived(hub, 2)) == ["one", "two"]


@pytest.mark.parametrize("silence", ["silent", "silent-open", "silent-attach", "withhold-token", "swallow"])
def test_a_hub_that_falls_silent_does_not_hold_the_exit_up(hub, run, silence, log_file):
    hub.faults.add(silence, times=None)
    program = run(BURST, connection=hub.connection_string(), EVENTHUB_LOG_EXIT_TIMEOUT="2")
    assert program.process.returncode == 0
    assert program.seconds < 20, "the exit budget is 2 s; the rest is for starting an interpreter"
    assert "leaves 500 records on disk" in program.errors + str(log_file())
    assert sum(row["message"].startswith("record ") for row in log_file()) == 500


def test_a_hub_that_refuses_is_one_line_and_the_rest_goes_on(run, log_file):
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        connection = (
            f"Endpoint=sb://127.0.0.1:{unused.getsockname()[1]};SharedAccessKeyName=n;SharedAccessKey=a2V5;"
            "UseDevelopmentEmulator=true"
        )
        program = run(BURST, connection=connection, LOG_TO_STDOUT="true")
    assert program.process.returncode == 0
    assert program.output.count("record ") >= 500
    own = [row for row in log_file() if row["logger_name"] == "hublog.internal"]
    assert [row["level"] for row in own] == ["WARNING", "INFO"]
    assert "does not take records" in own[0]["message"]
    assert "leaves 500 records on disk" in own[1]["message"]
    assert "a2V5" not in program.output + program.errors + str(log_file())


def test_a_wrong_key_is_one_error_line_that_says_what_to_check(run, log_file):
    from hublog_local import LocalHub

    with LocalHub({"application-logs": 1}, keys={"n": "cmlnaHQ="}) as hub:
        connection = hub.connection_string().partition("SharedAccessKeyName")[0]
        connection += "SharedAccessKeyName=n;SharedAccessKey=d3Jvbmc=;UseDevelopmentEmulator=true"
        run(BURST, connection=connection)
    errors = [row["message"] for row in log_file() if row["level"] == "ERROR"]
    assert len(errors) == 1
    assert "connection string" in errors[0]


def test_an_unknown_event_hub_is_one_error_line_that_names_the_setting(hub, run, log_file):
    run(BURST, connection=hub.connection_string(), EVENTHUB_LOGS_NAME="nowhere")
    errors = [row["message"] for row in log_file() if row["level"] == "ERROR"]
    assert len(errors) == 1
    assert "EVENTHUB_LOGS_NAME" in errors[0]


def test_records_wait_for_a_hub_that_comes_back(hub, start, arrived):
    program = start(
        PREAMBLE
        + "log.info('before')\nassert hublog.flush(20)\nprint('up', flush=True)\nsys.stdin.readline()\n"
        "for number in range(100): log.info('while away %d', number)\n"
        "print(hublog.flush(1), hublog.stats().held, flush=True)\nsys.stdin.readline()\n"
        "log.info('after')\nprint(hublog.flush(40), hublog.stats().sent_total, flush=True)\n",
        connection=hub.connection_string(),
        EVENTHUB_LOG_CIRCUIT_COOLDOWN="1",
    )
    assert program.read_line() == "up"
    hub.stop_listening()
    hub.drop_connections()
    program.write_line()
    assert program.read_line() == "False 100"
    hub.start_listening()
    program.write_line()
    assert program.read_line() == "True 102"
    assert len(set(arrived(hub, 102))) == 102
    assert program.end() == 0


@pytest.mark.parametrize("method", ["fork", "spawn", "forkserver"])
def test_children_of_multiprocessing_deliver_their_own_records_once(hub, run, arrived, method):
    program = run(
        "import logging, multiprocessing, hublog\n"
        "def work(name):\n"
        "    hublog.setup_logging()\n"
        "    for number in range(50): logging.getLogger('shop').info('child %s %d', name, number)\n"
        "if __name__ == '__main__':\n"
        "    hublog.setup_logging()\n"
        "    logging.getLogger('shop').info('parent')\n"
        f"    context = multiprocessing.get_context({method!r})\n"
        "    children = [context.Process(target=work, args=(name,)) for name in 'ab']\n"
        "    [child.start() for child in children]\n"
        "    [child.join() for child in children]\n",
        connection=hub.connection_string(),
        EVENTHUB_LOG_BATCH_TIMEOUT="30",
    )
    assert (program.process.returncode, program.errors) == (0, "")
    wanted = ["parent"] + [f"child {name} {number}" for name in "ab" for number in range(50)]
    assert sorted(arrived(hub, 101)) == sorted(wanted)


def test_thirty_forks_amid_logging_threads_neither_hang_nor_lose_a_record(hub, run, arrived):
    program = run(
        PREAMBLE + "import threading\n"
        "stop = threading.Event()\n"
        "counts = [0] * 3\n"
        "def flat_out(name):\n"
        "    while not stop.is_set() and counts[name] < 1500:\n"
        "        log.info('parent %d %d', name, counts[name]); counts[name] += 1\n"
        "threads = [threading.Thread(target=flat_out, args=(name,)) for name in range(3)]\n"
        "[thread.start() for thread in threads]\n"
        "children = []\n"
        "for child in range(30):\n"
        "    pid = os.fork()\n"
        "    if pid == 0:\n"
        "        for number in range(20): log.info('child %d %d', child, number)\n"
        "        done = hublog.flush(30)\n"
        "        os._exit(0 if done else 1)\n"
        "    children.append(pid)\n"
        "codes = [os.waitpid(pid, 0)[1] for pid in children]\n"
        "stop.set(); [thread.join() for thread in threads]\n"
        "print(sum(counts), codes == [0] * 30)\n",
        connection=hub.connection_string(),
        EVENTHUB_LOG_QUEUE_SIZE="1000000",
        FILE_LOGGING_ENABLED="false",
    )
    number, children = program.output.split()
    assert (program.process.returncode, children) == (0, "True")
    found = arrived(hub, int(number) + 600)
    assert sum(message.startswith("child") for message in found) == 600
    assert len(found) == len(set(found)) == int(number) + 600


@pytest.mark.parametrize("mode", ["memory", "overflow", "always"])
@pytest.mark.parametrize("packing", ["single", "gzip"])
def test_what_a_log_call_and_our_threads_import_no_fork_can_tear(hub, run, mode, packing):
    # A child inherits the lock of an import under way, and waits for ever when it needs that module itself.
    program = run(
        PREAMBLE + "import pathlib, threading, time\n"
        "from hublog.process_hooks import loading\n"
        "torn = []\n"
        "def watch(event, args):\n"
        "    if event == 'import' and loading._holder != threading.get_ident():\n"
        "        torn.append((threading.current_thread().name, args[0]))\n"
        "sys.addaudithook(watch)\n"
        "log.info('first', extra={'order': 7, 'who': object()})\n"
        "try: os.stat('missing')\n"
        "except OSError: log.exception('failed')\n"
        "hublog.bind(tenant='a'); log.warning('bound %s', [1])\n"
        "assert hublog.flush(30)\n"
        "status = pathlib.Path(os.environ['LOG_DIR'], 'spool', 'status')\n"
        "while not list(status.glob('*-*')): time.sleep(0.05)\n"
        "log.critical('second'); assert hublog.flush(30)\n"
        "print(torn)\n",
        connection=hub.connection_string(),
        EVENTHUB_LOG_SPOOL=mode,
        EVENTHUB_LOG_PACKING=packing,
    )
    assert (program.errors, program.output) == ("", "[]\n")


def test_switched_off_nothing_of_azure_is_imported(run):
    program = run(
        BURST + "print([name for name in sys.modules if name.split('.')[0] == 'azure'])",
        connection="Endpoint=sb://127.0.0.1:1;SharedAccessKeyName=n;SharedAccessKey=k",
        EVENTHUB_LOGGING_ENABLED="false",
    )
    assert program.output == "[]\n"


def test_import_loads_no_framework_and_nothing_of_azure(run):
    program = run(
        "import sys, hublog\n"
        "foreign = {'azure', 'flask', 'django', 'yaml', 'rich', 'duckdb', 'click', 'werkzeug'}\n"
        "print(sorted({name.split('.')[0] for name in sys.modules} & foreign))"
    )
    assert program.output == "[]\n"


def test_an_error_is_at_the_hub_long_before_the_batch_timeout(hub, start, arrived):
    start(
        PREAMBLE + "log.error('now')\nimport time; time.sleep(60)\n",
        connection=hub.connection_string(),
        EVENTHUB_LOG_BATCH_TIMEOUT="50",
    )
    assert arrived(hub, 1, timeout=30) == ["now"]
