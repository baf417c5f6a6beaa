import contextvars
import gc
import logging
import weakref

import pytest

from hublog.capture.reentry_guard import CaptureHandler, enter_own_thread, is_deep, is_own_thread


class Front(CaptureHandler):
    def __init__(self):
        super().__init__()
        self.taken = []

    def capture(self, record):
        self.taken.append((record.getMessage(), is_deep()))

    def refuse(self, record):
        raise AssertionError(record)


@pytest.fixture
def front():
    return Front()


@pytest.fixture
def logger(front):
    found = logging.Logger("shop")
    found.addHandler(front)
    return found


def in_our_thread(do):
    def run():
        enter_own_thread()
        assert is_own_thread()
        do()

    contextvars.Context().run(run)


class Dying:
    def __init__(self, log):
        self.log, self.itself = log, None

    def __del__(self):
        self.log("dying")


def test_what_our_thread_logs_itself_is_not_taken(front, logger):
    in_our_thread(lambda: logger.error("of a library"))
    assert front.taken == []
    assert not is_own_thread()


def test_a_finalizer_that_the_collector_runs_in_our_thread_is_the_applications(front, logger):
    def work():
        gc.collect()
        garbage = Dying(logger.error)
        garbage.itself = garbage
        del garbage
        gc.collect()
        logger.error("ours again")

    in_our_thread(work)
    assert front.taken == [("dying", True)]


def test_a_generator_that_the_collector_closes_in_our_thread_is_the_applications(front, logger):
    def generate():
        holder = [None]
        try:
            holder[0] = yield holder
        finally:
            logger.error("closed")

    def work():
        generator = generate()
        next(generator)[0] = generator
        del generator
        gc.collect()

    in_our_thread(work)
    assert front.taken == [("closed", True)]


def test_an_object_that_dies_in_our_thread_without_the_collector_is_the_applications(front, logger):
    gone = Dying(logger.error)
    kept = [gone, Dying(logger.error)]
    weakref.finalize(kept[1], logger.error, "finalized")
    del gone
    in_our_thread(kept.clear)
    assert sorted(front.taken) == [("dying", True), ("dying", True), ("finalized", True)]


def test_a_finalizer_of_the_clients_is_ours(front):
    azure = logging.Logger("azure.eventhub")
    azure.addHandler(front)
    kept = [Dying(azure.error)]
    in_our_thread(kept.clear)
    assert front.taken == []


def test_the_collector_in_a_thread_of_the_application_changes_nothing(front, logger):
    in_our_thread(lambda: None)
    gc.collect()
    logger.error("plain")
    assert front.taken == [("plain", False)]
