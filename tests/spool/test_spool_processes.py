"""Real processes that are killed, fork, race for a directory, or run out of disk."""

import contextlib
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest
from tests.kits.environ import inherited
from tests.spool.independent import ALL, lines_of, segment_bytes, segments_of

from hublog.spool.directory import SpoolDirectory
from hublog.spool.root import SpoolRoot

LIMIT_S = 60

HEAD = """
import os, signal, sys, threading
from pathlib import Path
from hublog.spool.segments import SegmentRules
from hublog.spool.directory import SpoolDirectory
from hublog.spool.root import SpoolRoot

root = SpoolRoot(Path(sys.argv[1]), max_bytes=int(sys.argv[2]) if len(sys.argv) > 2 else 1 << 30)
root.prepare()

def say(*words):
    os.write(1, (" ".join(map(str, words)) + "\\n").encode())
"""


@pytest.fixture
def start(tmp_path):
    """Starts a process that runs a script on the root; all are gone at the end of the test."""
    started = []

    def start_process(script, *args, before=()):
        command = [*before, sys.executable, "-c", HEAD + textwrap.dedent(script), str(tmp_path / "spool")]
        # Without coverage: who is forked or interrupted inside of it waits for its lock for ever.
        env = inherited("COVERAGE")
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
        started.append(
            subprocess.Popen([*command, *map(str, args)], env=env, start_new_session=True, **pipes)
        )
        return started[-1]

    yield start_process
    for process in started:
        with contextlib.suppress(ProcessLookupError):  # else a child that it forked would stay
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(LIMIT_S)
        process.stdin.close()
        process.stdout.close()


def hear(process):
    """The next line that a process says."""
    assert select.select([process.stdout], [], [], LIMIT_S)[0], "nothing was said"
    return process.stdout.readline().decode().split()


def hear_all(process):
    output, _ = process.communicate(timeout=LIMIT_S)
    return [line.split() for line in output.decode().splitlines()]


def kill(process):
    process.kill()
    process.wait(LIMIT_S)


def adopt_all(path):
    """What a living process finds there, by directory; all of it is settled."""
    root = SpoolRoot(path, max_bytes=1 << 30)
    found = {}
    for directory in root.adopt_orphans():
        lines, position = directory.read(*ALL)
        assert len(lines) == directory.recovered_total
        found[directory.path.name] = lines
        directory.settle(position)
        assert directory.remove_if_empty()
    return found


# killed

WRITER = """
directory = SpoolDirectory.create(root.path, rules=SegmentRules(max_bytes=20_000))
say(directory.path.name)
number = 0
while True:
    lines = [b'{"w":%d,"n":%d,"pad":"%s"}' % (os.getpid(), number + i, b"x" * 80) for i in range(20)]
    assert directory.append(lines) == 20
    number += 20
    say(number)
"""


@pytest.mark.parametrize("writers", [1, 4])
def test_what_was_acknowledged_survives_the_death_of_its_writer(start, tmp_path, writers):
    rng = random.Random(writers)  # noqa: S311  # moments of death are no secret
    for _ in range(5 if writers == 1 else 2):
        processes = [start(WRITER) for _ in range(writers)]
        names = {process.pid: hear(process)[0] for process in processes}
        acknowledged = {}
        for process in processes:
            for _ in range(rng.randrange(1, 200)):
                hear(process)
            process.kill()
            said = [line.split() for line in process.communicate(timeout=LIMIT_S)[0].decode().splitlines()]
            acknowledged[process.pid] = max([int(words[0]) for words in said if words], default=20)
        found = adopt_all(tmp_path / "spool")
        for pid, count in acknowledged.items():
            lines = found[names[pid]]
            assert len(lines) >= count
            for number, line in enumerate(lines):
                assert line == b'{"w":%d,"n":%d,"pad":"%s"}' % (pid, number, b"x" * 80)
        assert list((tmp_path / "spool").iterdir()) == []


def test_the_death_of_a_parent_is_noticed_while_its_child_lives(start, tmp_path):
    process = start("""
        directory = root.create_directory()
        directory.append([b'{"parent":1}'])
        if os.fork() == 0:
            root.abandon_after_fork()
            assert directory.append([b'{"child":1}']) == 0
            say("child", os.getpid())
        signal.pause()
    """)
    child = int(hear(process)[1])
    try:
        assert adopt_all(tmp_path / "spool") == {}
        kill(process)
        os.kill(child, 0)
        assert list(adopt_all(tmp_path / "spool").values()) == [[b'{"parent":1}']]
    finally:
        os.kill(child, signal.SIGKILL)


def test_a_child_does_not_set_its_living_parent_free(start, tmp_path):
    process = start("""
        directory = root.create_directory()
        directory.append([b'{"parent":1}'])
        child = os.fork()
        if child == 0:
            root.abandon_after_fork()
            os._exit(0)
        os.waitpid(child, 0)
        say("parent", directory.append([b'{"parent":2}']))
        signal.pause()
    """)
    assert hear(process) == ["parent", "1"]
    assert adopt_all(tmp_path / "spool") == {}


def test_a_parent_that_closes_leaves_nothing_locked_by_a_child_that_knows_nothing(start, tmp_path):
    process = start("""
        directory = root.create_directory()
        directory.append([b'{"parent":1}'])
        if os.fork() == 0:
            signal.pause()
        directory.close()
        say("closed")
        signal.pause()
    """)
    hear(process)
    assert list(adopt_all(tmp_path / "spool").values()) == [[b'{"parent":1}']]


def test_forks_amid_writing_threads_lose_nothing_and_hang_nobody(start, tmp_path):
    process = start("""
        directory = SpoolDirectory.create(root.path, rules=SegmentRules(max_bytes=5_000))
        os.register_at_fork(after_in_child=directory.abandon_after_fork)
        stop, counts = threading.Event(), [0] * 3

        def work(name):
            while not stop.is_set():
                counts[name] += directory.append([b'{"t":%d,"n":%d}' % (name, counts[name])])

        threads = [threading.Thread(target=work, args=(name,)) for name in range(3)]
        for thread in threads:
            thread.start()
        for number in range(30):
            child = os.fork()
            if child == 0:
                assert directory.append([b'{"t":9}']) == 0
                own = root.create_directory()
                assert own.append([b'{"c":%d,"n":%d}' % (number, n) for n in range(20)]) == 20
                os._exit(0)
            assert os.waitpid(child, 0)[1] == 0
        stop.set()
        for thread in threads:
            thread.join()
        say(directory.path.name, *counts)
        os._exit(0)
    """)
    name, *counts = hear(process)
    assert process.wait(LIMIT_S) == 0
    found = adopt_all(tmp_path / "spool")
    lines = found.pop(name)
    assert len(lines) == sum(map(int, counts))
    for thread, count in enumerate(counts):
        own = [line for line in lines if line.startswith(b'{"t":%d,' % thread)]
        assert own == [b'{"t":%d,"n":%d}' % (thread, number) for number in range(int(count))]
    assert sorted(found.values()) == sorted(
        [b'{"c":%d,"n":%d}' % (number, n) for n in range(20)] for number in range(30)
    )


# interrupted


def test_threads_and_signals_write_without_a_loss(start, tmp_path):
    process = start("""
        directory = SpoolDirectory.create(root.path, rules=SegmentRules(max_bytes=20_000))
        fired, depth = [0], [0]

        def work(name):
            for number in range(3_000):
                assert directory.append([b'{"t":%d,"n":%d}' % (name, number)]) == 1

        def interrupt(signum, frame):
            if depth[0] == 3:  # a slow machine would never come back from them
                return
            depth[0] += 1
            number, fired[0] = fired[0], fired[0] + 1
            assert directory.append([b'{"t":99,"n":%d}' % number]) == 1
            depth[0] -= 1

        signal.signal(signal.SIGALRM, interrupt)
        threads = [threading.Thread(target=work, args=(name,)) for name in range(1, 4)]
        signal.setitimer(signal.ITIMER_REAL, 0.0003, 0.0003)
        for thread in threads:
            thread.start()
        work(0)
        while any(thread.is_alive() for thread in threads):
            work(4)
        signal.setitimer(signal.ITIMER_REAL, 0)
        lines, _ = directory.read(1 << 30, 1 << 30)
        assert len(lines) == directory.backlog_lines == directory.appended_total
        directory.close()
        say(fired[0])
    """)
    ((fired,),) = hear_all(process)
    assert process.returncode == 0
    (lines,) = adopt_all(tmp_path / "spool").values()
    for name in range(4):
        own = [line for line in lines if line.startswith(b'{"t":%d,' % name)]
        assert own == [b'{"t":%d,"n":%d}' % (name, number) for number in range(3_000)]
    interrupts = {line for line in lines if line.startswith(b'{"t":99,')}
    assert interrupts == {b'{"t":99,"n":%d}' % number for number in range(int(fired))}


def test_finalizers_write_in_the_middle_of_an_append(start, tmp_path):
    process = start("""
        import gc

        directory = SpoolDirectory.create(root.path, rules=SegmentRules(max_bytes=5_000))
        written = []

        class Dying:
            def __init__(self):
                self.me = self

            def __del__(self):
                written.append(directory.append([b'{"d":%d}' % len(written)]))

        gc.set_threshold(1)
        for number in range(1_000):
            Dying()
            directory.append([b'{"n":%d}' % number])
        gc.collect()
        directory.close()
        say(len(written), sum(written))
    """)
    assert hear_all(process) == [["1000", "1000"]]
    assert process.returncode == 0
    (lines,) = adopt_all(tmp_path / "spool").values()
    assert len(lines) == 2_000
    assert [line for line in lines if b"n" in line] == [b'{"n":%d}' % number for number in range(1_000)]
    assert {line for line in lines if b"d" in line} == {b'{"d":%d}' % number for number in range(1_000)}


# adopted

ADOPTER = """
say("ready")
sys.stdin.readline()
adopted = root.adopt_orphans()
say(*[f"{directory.path.name}:{directory.backlog_lines}" for directory in adopted])
signal.pause()
"""


def test_of_four_adopters_exactly_one_takes_each_directory(start, tmp_path):
    left = {}
    for number in range(8):
        directory = SpoolDirectory.create(prepared(tmp_path))
        directory.append([b'{"n":%d}' % number] * 50)
        directory.close()
        left[directory.path.name] = 50
    adopters = [start(ADOPTER) for _ in range(4)]
    for process in adopters:
        assert hear(process) == ["ready"]
    for process in adopters:
        process.stdin.write(b"go\n")
        process.stdin.flush()
    taken = [word for process in adopters for word in hear(process)]
    assert sorted(taken) == sorted(f"{name}:{count}" for name, count in left.items())
    assert adopt_all(tmp_path / "spool") == {}


def prepared(tmp_path):
    root = SpoolRoot(tmp_path / "spool", max_bytes=1 << 30)
    root.prepare()
    return root.path


def test_the_next_goes_on_where_a_killed_adopter_was(start, tmp_path):
    lines = [b'{"n":%d}' % number for number in range(500)]
    directory = SpoolDirectory.create(prepared(tmp_path))
    directory.append(lines)
    directory.close()
    process = start("""
        (adopted,) = root.adopt_orphans()
        adopted.settle(adopted.read(1 << 20, 200)[1])
        adopted.read(1 << 20, 100)
        say("in the middle")
        signal.pause()
    """)
    hear(process)
    assert adopt_all(tmp_path / "spool") == {}
    kill(process)
    assert list(adopt_all(tmp_path / "spool").values()) == [lines[200:]]


def test_creators_and_cleaners_race_without_harm(start, tmp_path):
    processes = [
        start("""
            for number in range(300):
                directory = root.create_directory()
                assert directory.append([b'{"n":%d}' % number]) == 1
                assert directory.backlog_lines == 1
                directory.settle(directory.read(100, 1)[1])
                directory.close()
                for adopted in root.adopt_orphans():
                    adopted.close()
            say("done")
        """)
        for _ in range(3)
    ]
    for process in processes:
        assert hear_all(process) == [["done"]]
        assert process.returncode == 0
    assert adopt_all(tmp_path / "spool") == {}
    assert list((tmp_path / "spool").iterdir()) == []


# bounded


def test_many_processes_keep_one_bound_and_count_what_they_lose(start, tmp_path):
    bound, count, writers = 320 << 10, 1_500, 4
    processes = [
        start(
            f"""
            directory = root.create_directory()
            for number in range({count}):
                assert directory.append([b'{{"n":%d,"pad":"%s"}}' % (number, b"x" * 500)]) == 1
                if number % 20 == 0:
                    root.enforce_bound()
            root.enforce_bound()
            say("done", directory.path.name)
            sys.stdin.readline()
            directory.reconcile()
            say(directory.dropped_total, directory.backlog_lines)
            signal.pause()
            """,
            bound,
        )
        for _ in range(writers)
    ]
    names = [hear(process)[1] for process in processes]
    root = SpoolRoot(tmp_path / "spool", max_bytes=bound)
    assert segment_bytes(root.path) <= bound + writers * root.rules.max_bytes
    for name, process in zip(names, processes, strict=True):
        process.stdin.write(b"\n")
        process.stdin.flush()
        dropped, backlog = map(int, hear(process))
        kept = [line for path in segments_of(root.path / name) for line in lines_of(path.read_bytes())]
        assert dropped + backlog == count
        assert backlog == len(kept)
        assert kept == [
            b'{"n":%d,"pad":"%s"}' % (number, b"x" * 500) for number in range(count - len(kept), count)
        ]


# out of disk


def test_a_file_limit_does_not_kill_the_process_that_logs(start, tmp_path):
    process = start("""
        import resource
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
        directory = root.create_directory()
        lines = [b'{"n":%d,"pad":"%s"}' % (number, b"x" * 500) for number in range(2_000)]
        say(directory.append(lines), directory.append([b'{"%s"}' % (b"x" * 200_000)]))
        say(sum(directory.append([line]) for line in lines))
        os._exit(0)
    """)
    assert hear_all(process) == [["2000", "0"], ["2000"]]
    assert process.returncode == 0
    (lines,) = adopt_all(tmp_path / "spool").values()
    assert [line.split(b",")[0] for line in lines] == [b'{"n":%d' % number for number in range(2_000)] * 2


FULL_DISK = """
clock = [0.0]
root = SpoolRoot(Path(sys.argv[1]), max_bytes=1 << 30, now=lambda: clock[0])
directory = root.create_directory()
line = b'{"n":%07d,"pad":"' + b"x" * 500 + b'"}'
accepted = []

def append_until_full():
    while directory.append([line % len(accepted)]) == 1:
        accepted.append(line % len(accepted))
        assert len(accepted) < 100_000

append_until_full()
first = len(accepted)
assert directory.error is not None
assert directory.append([line % 0] * 10) == 0
dropped = root.make_room()
append_until_full()
lines, position = directory.read(1 << 30, 1 << 30)
say("kept", lines == accepted[dropped:], dropped == directory.dropped_total > 0, len(accepted) > first)
directory.settle(position)
clock[0] += 1
say("freed", directory.append([line % 1]))
lines, position = directory.read(1 << 30, 1 << 30)
say("read", lines == [line % 1], directory.damage_total, directory.damaged_total)
"""

#: Where no file system can be mounted, a disk of 8 MiB is played: the same calls fail in the same way.
PLAYED_DISK = """
import errno

write, used = os.write, lambda: sum(file.stat().st_size for file in Path(sys.argv[1]).rglob("*.seg"))

def short(fd, data):
    room = (8 << 20) - used() if os.fstat(fd).st_nlink and fd > 2 else len(data)
    if room <= 0:
        raise OSError(errno.ENOSPC, "No space left on device")
    return write(fd, data[:room])

os.write = short
"""


def can_mount(unshare):
    if unshare is None:
        return False
    command = [unshare, "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_full_disk_loses_only_what_it_says_and_goes_on_once_there_is_room(start, tmp_path):
    (tmp_path / "spool").mkdir(0o700)
    unshare = shutil.which("unshare")
    if can_mount(unshare):
        mount = f'mount -t tmpfs -o size=8m,mode=700 none "{tmp_path / "spool"}" && exec "$@"'
        process = start(FULL_DISK, before=[unshare, "-rm", "sh", "-c", mount, "sh"])
    else:
        process = start(PLAYED_DISK + FULL_DISK)
    assert hear_all(process) == [
        ["kept", "True", "True", "True"],
        ["freed", "1"],
        ["read", "True", "0", "0"],
    ]
    assert process.returncode == 0


def test_the_full_disk_that_is_played_behaves_like_a_real_one(start, tmp_path):
    assert hear_all(start(PLAYED_DISK + FULL_DISK))[1:] == [["freed", "1"], ["read", "True", "0", "0"]]


def test_no_descriptor_is_left_open(tmp_path):
    before = open_descriptors()
    root = SpoolRoot(tmp_path / "spool", max_bytes=1 << 30)
    root.prepare()
    for _ in range(50):
        directory = root.create_directory()
        directory.append([b"{}"])
        directory.read(100, 1)
        directory.close()
        for adopted in root.adopt_orphans():
            adopted.settle(adopted.read(100, 1)[1])
            adopted.close()
    root.enforce_bound()
    assert open_descriptors() == before
    assert list(root.path.iterdir()) == []


def open_descriptors():
    found = {}
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(FileNotFoundError):
            found[entry.name] = entry.readlink()
    return {name: path for name, path in found.items() if "/fd" not in str(path)}
