import threading

from hypothesis import given
from hypothesis import strategies as st

from hublog.delivery.bounded_queue import NEVER, BoundedQueue

GENEROUS = 1 << 30


def make_queue(max_lines=10, max_bytes=GENEROUS):
    return BoundedQueue(max_lines=max_lines, max_bytes=max_bytes)


def test_lines_come_out_in_the_order_they_went_in():
    queue = make_queue()
    for line in (b"a", b"b", b"c"):
        assert queue.put(line)
    assert queue.take(max_lines=10, max_bytes=GENEROUS) == [b"a", b"b", b"c"]


def test_the_newest_line_is_refused_when_the_queue_is_full():
    queue = make_queue(max_lines=2)
    assert [queue.put(line) for line in (b"a", b"b", b"c")] == [True, True, False]
    assert queue.take(max_lines=10, max_bytes=GENEROUS) == [b"a", b"b"]


def test_lines_in_flight_count_against_the_bound_until_they_are_finished():
    queue = make_queue(max_lines=2)
    queue.put(b"a")
    queue.put(b"b")
    taken = queue.take(max_lines=10, max_bytes=GENEROUS)
    assert not queue.put(b"c")
    queue.finish(taken)
    assert queue.put(b"c")


def test_bytes_are_bounded_whatever_the_count():
    queue = make_queue(max_lines=1_000, max_bytes=100)
    assert sum(queue.put(b"x" * 30) for _ in range(10)) == 3


def test_one_line_is_taken_even_when_it_is_over_the_limit():
    queue = make_queue()
    queue.put(b"x" * 50)
    queue.put(b"y")
    assert queue.take(max_lines=10, max_bytes=10) == [b"x" * 50]


def test_a_put_wakes_only_at_the_threshold():
    queue = make_queue()
    woken = []
    queue.wake = lambda: woken.append(len(queue))
    queue.wake_at = 3
    for _ in range(3):
        queue.put(b"x")
    assert woken == [3]


def test_an_urgent_put_wakes_a_sleeping_taker_and_leaves_a_busy_one_alone():
    queue = make_queue()
    woken = []
    queue.wake = lambda: woken.append(1)
    queue.wake_at = NEVER
    queue.put(b"x", urgent=True)
    assert (woken, queue.urgent) == ([], True)
    queue.wake_at = 100
    queue.put(b"x", urgent=True)
    assert woken == [1]


@given(
    st.lists(
        st.one_of(
            st.tuples(st.just("put"), st.binary(max_size=40)),
            st.tuples(st.just("take"), st.integers(1, 8), st.integers(1, 120)),
            st.tuples(st.just("finish")),
        ),
        max_size=80,
    ),
    st.integers(1, 12),
    st.integers(40, 300),
)
def test_nothing_is_lost_reordered_or_held_beyond_the_bounds(steps, max_lines, max_bytes):
    queue = make_queue(max_lines, max_bytes)
    accepted, came_out, flying = [], [], []
    for step in steps:
        match step:
            case ("put", line):
                if queue.put(line):
                    accepted.append(line)
            case ("take", lines, size):
                taken = queue.take(max_lines=lines, max_bytes=size)
                assert len(taken) <= lines
                assert len(taken) <= 1 or sum(map(len, taken)) <= size
                came_out += taken
                flying.append(taken)
            case _:
                if flying:
                    queue.finish(flying.pop(0))
        held = accepted[len(came_out) :] + [line for lines in flying for line in lines]
        assert queue.in_flight + len(queue) == len(held) <= max_lines
        assert sum(map(len, held)) <= max_bytes
    assert came_out + queue.take(max_lines=1_000, max_bytes=GENEROUS) == accepted


def test_eight_threads_put_and_one_takes_without_a_loss():
    queue = make_queue(max_lines=GENEROUS)
    per_thread = 5_000

    def work(name):
        for number in range(per_thread):
            queue.put(b"%d:%d" % (name, number))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads) or len(queue):
        taken = queue.take(max_lines=100, max_bytes=GENEROUS)
        queue.finish(taken)
        seen += taken
    assert len(seen) == 8 * per_thread
    for name in range(8):
        own = [line for line in seen if line.startswith(b"%d:" % name)]
        assert own == [b"%d:%d" % (name, number) for number in range(per_thread)]
    assert queue.bytes_waiting == 0
