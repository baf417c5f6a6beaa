"""Programs with a console or a log file in trouble: ``files CASE``."""

import contextlib
import fcntl
import json
import logging
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import probe

CASES = {}
LOGS = Path(os.environ.get("LOG_DIR", "logs"))
#: Not the probe's logger, whose records the ledger looks for at the hub.
log = logging.getLogger("files")


def case(function):
    """Register a program."""
    CASES[function.__name__] = function
    return function


def _write_until_killed(name, seed):
    """Log without an end, and note in a file what each log call has accepted."""
    sizes = random.Random(seed)  # noqa: S311  # to be the same in each run
    noted = os.open(probe.FOLDER / f"accepted-{name}", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    number = 0
    while True:
        log.info("line", extra={"id": f"{name}.{number}", "filling": "x" * sizes.choice((10, 500, 9_000))})
        os.write(noted, b"%d\n" % number)
        number += 1


def _fork_writer(name, seed):
    child = os.fork()
    if child == 0:
        try:
            _write_until_killed(name, seed)
        finally:
            os._exit(1)
    return child


@case
def killed():
    """T12: writers of one file are killed, one after another, and replaced."""
    kills, seconds = int(sys.argv[2]), float(sys.argv[3])
    choose = random.Random(int(sys.argv[4]))  # noqa: S311  # as above
    probe.set_up()
    log.info("line", extra={"id": "parent.0"})
    writers = [_fork_writer(f"w{number}", number) for number in range(6)]
    end, done = time.monotonic() + seconds, 0
    while done < kills and time.monotonic() < end:
        time.sleep(choose.random() * 0.02)
        index = choose.randrange(len(writers))
        os.kill(writers[index], signal.SIGKILL)
        os.waitpid(writers[index], 0)
        done += 1
        writers[index] = _fork_writer(f"w{len(writers) + done}", done)
    for writer in writers:
        os.kill(writer, signal.SIGKILL)
        os.waitpid(writer, 0)
    log.info("line", extra={"id": "parent.1"})
    print(f"kills {done + len(writers)}", flush=True)


@case
def next_start():
    """T12: the next process finishes what the killed ones left."""
    probe.set_up()
    log.info("line", extra={"id": "next.0"})
    for handler in logging.getLogger().handlers:
        if type(handler).__name__ == "FileLogHandler":
            handler._file.wait(60)


def _in_place_of_the_file():
    """Prepare what the variant wants where the log file or its lock should be."""
    kind, _, name = sys.argv[2].partition("-")
    path = LOGS / ("application.log" if name == "log" else ".__application.lock")
    if kind == "readonly":
        try:
            tempfile.gettempdir()
        except FileNotFoundError:
            return
        raise AssertionError("there is a temporary directory")
    LOGS.mkdir(parents=True, exist_ok=True)
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "link":
        (probe.FOLDER / "target").write_text("mine")
        path.symlink_to(probe.FOLDER / "target")
    elif kind == "lock":
        held = os.open(path, os.O_RDWR | os.O_CREAT, 0o640)
        fcntl.flock(held, fcntl.LOCK_EX)
        os.set_inheritable(held, True)
        if os.fork() == 0:  # another process that holds it for ever
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_RDWR), 1)
            sys.stdin.read()
            os._exit(0)
        os.close(held)
    elif kind == "gone":
        folder = probe.FOLDER / "gone"
        folder.mkdir()
        os.chdir(folder)
        folder.rmdir()
        os.environ["LOG_DIR"] = "logs"
    elif kind == "nolocks":

        def none(*_args):
            raise OSError(37, "No locks available")

        fcntl.flock = none


def _start(way):
    if way == "setup_logging":
        probe.set_up()
        return
    if way == "HubLog":
        from flask import Flask

        from hublog.flask import HubLog

        HubLog(Flask("files"))
    else:
        import django
        from django.conf import settings

        import hublog.django

        settings.configure(
            INSTALLED_APPS=["hublog.django"],
            MIDDLEWARE=["hublog.django.middleware.RequestContextMiddleware"],
            LOGGING=hublog.django.logging_config(),
        )
        django.setup()
    probe.send_ours_alone()


@case
def misplaced():
    """T10: something else stands in place of the log file; how long log calls waited is printed."""
    _in_place_of_the_file()
    waits = []
    begin = time.monotonic(), time.thread_time()
    _start(sys.argv[3])
    begun = time.monotonic() - begin[0], time.thread_time() - begin[1]
    for number in range(100):
        before = time.monotonic(), time.thread_time()
        probe.write(f"misplaced-{number}")
        waits.append((time.monotonic() - before[0]) - (time.thread_time() - before[1]))
    import hublog

    hublog.flush(20)
    print(json.dumps({"waited_s": sorted(waits)[len(waits) // 2], "start_s": begun}), flush=True)


@case
def console():
    """T11: standard output cannot be written; everything is logged to all destinations."""
    broken = sys.argv[2]
    probe.set_up()
    if broken == "closed":
        os.close(1)
    elif broken == "full":
        os.dup2(os.open("/dev/full", os.O_WRONLY), 1)
    else:
        reader, writer = os.pipe()
        os.dup2(writer, 1)
        os.close(reader)
    for number in range(500):
        probe.write(f"console-{number}", "password=hunter2 %s", {"token": "hunter3"})
    import hublog

    hublog.flush(20)


CASES[sys.argv[1]]()
