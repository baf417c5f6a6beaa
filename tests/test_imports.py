import os
import signal
import threading

import pytest

from hublog.imports import importing

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")


def exit_code_of_fork(in_child):
    pid = os.fork()
    if pid == 0:
        code = 1
        signal.alarm(20)  # a child that waits for ever ends with an error
        try:
            code = int(not in_child())
        finally:
            os._exit(code)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def can_import():
    """Whether the lock is free; else it waits."""
    with importing():
        return True


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_waits_for_the_import_of_another_thread():
    begun, go_on, seen = threading.Event(), threading.Event(), []

    def work():
        with importing():
            begun.set()
            go_on.wait(10)
            seen.append("imported")

    thread = threading.Thread(target=work)
    thread.start()
    assert begun.wait(10)
    threading.Timer(0.2, go_on.set).start()
    assert exit_code_of_fork(lambda: seen == ["imported"] and can_import()) == 0
    thread.join()
    assert can_import()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_an_import_that_forks_itself_does_not_wait_for_itself():
    with importing():
        assert exit_code_of_fork(can_import) == 0
    assert can_import()


@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_forks_of_many_threads_leave_the_lock_free():
    codes = []
    threads = [threading.Thread(target=lambda: codes.append(exit_code_of_fork(can_import))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert codes == [0] * 8
    assert can_import()
