import math
import threading

from tests.delivery.bench import Bench, Hub

from hublog.delivery.worker import Worker

LIMIT_S = 20


def test_what_starts_with_the_thread_ends_with_it_though_it_is_stopped_at_once():
    bench = Bench(Hub())
    order, looks = [], threading.Semaphore(0)

    def start():
        for _ in range(3):  # the thread, which has nothing to do, would be at its end by now
            assert looks.acquire(timeout=LIMIT_S)
        order.append("started")

    worker = Worker(
        bench.shipper,
        [bench.queue],
        prepare=lambda is_asked: 0.0,
        start=start,
        enter=lambda: None,
        leave=lambda: order.append("left"),
        look=lambda: looks.release() or math.inf,
    )
    worker.stop()
    worker.wake()
    assert worker.wait_until_ended(LIMIT_S)
    assert order == ["started", "left"]
