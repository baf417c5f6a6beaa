import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.delivery.made_lines import DEBUG, ERROR, INFO, LEVELS, WARNING, level_of, make_line, number_of
from tests.kits.interruptions import each_exception, each_interruption

from hublog.delivery.accounting import Accounting, Drop
from hublog.delivery.memory_queue import MOST_SEVERE, NEVER, MemoryQueue, class_of
from hublog.line import SENT_AT_BYTES

GENEROUS = 1 << 30


def make_queue(max_lines=9, max_bytes=GENEROUS, **settings):
    """Make a queue; up to 9 lines there is no reserve."""
    return MemoryQueue(max_lines=max_lines, max_bytes=max_bytes, **settings)


def lines_of(*levels, without=()):
    """Return a line of each level, numbered from 0, of different lengths."""
    lines = enumerate(levels)
    return [make_line(number, level, size=number % 3) for number, level in lines if number not in without]


def filled(*levels, accounting=None):
    """Return a queue with these lines."""
    queue = make_queue(max_lines=10_000, accounting=accounting)
    for line, level in zip(lines_of(*levels), levels, strict=True):
        queue.put(line, level)
    return queue


def packed(lines):
    return sum(len(line) + SENT_AT_BYTES for line in lines)


def take_postponed(queue, max_lines=GENEROUS):
    batch = queue.take_postponed(max_lines=max_lines, max_bytes=GENEROUS)
    return [] if batch is None else batch.lines


def take(queue, max_lines=GENEROUS, max_bytes=GENEROUS):
    batch = queue.take(max_lines=max_lines, max_bytes=max_bytes)
    return [] if batch is None else batch.lines


# In and out


def test_lines_come_out_in_the_order_they_went_in():
    queue = make_queue()
    assert [queue.put(line) for line in (b"a", b"b", b"c")] == [True] * 3
    assert take(queue) == [b"a", b"b", b"c"]


def test_an_empty_queue_gives_nothing():
    assert make_queue().take(max_lines=1, max_bytes=1) is None


def test_the_newest_line_is_refused_when_the_queue_is_full():
    queue = make_queue(max_lines=2)
    assert [queue.put(line) for line in (b"a", b"b", b"c")] == [True, True, False]
    assert take(queue) == [b"a", b"b"]


def test_lines_in_flight_count_against_the_bounds_until_they_are_finished():
    queue = make_queue(max_lines=2, max_bytes=100)
    queue.put(b"x" * 60)
    taken = take(queue)
    assert not queue.put(b"x" * 60)
    queue.finish(taken)
    assert queue.put(b"x" * 60)


def test_bytes_are_bounded_whatever_the_count():
    queue = make_queue(max_lines=9, max_bytes=100)
    assert sum(queue.put(b"x" * 30) for _ in range(9)) == 3


def test_one_line_is_taken_even_when_it_is_over_the_limit():
    queue = make_queue()
    queue.put(b"x" * 50)
    queue.put(b"y")
    assert take(queue, max_bytes=10) == [b"x" * 50]


def test_what_lines_become_longer_by_counts():
    queue = make_queue()
    for _ in range(5):
        queue.put(b"x" * 10)
    assert len(take(queue, max_bytes=3 * (10 + SENT_AT_BYTES))) == 3
    assert len(take(queue, max_bytes=2 * (10 + SENT_AT_BYTES) - 1)) == 1


def test_a_level_that_is_no_number_changes_nothing():
    queue = make_queue()
    with pytest.raises(TypeError):
        queue.put(b"x", "INFO")
    assert (queue.counts(), queue.bytes_waiting) == ((0, 0, 0, 0), 0)


# The reserve


@pytest.mark.parametrize(("max_lines", "refused_from"), [(100, 90), (19, 18), (10, 9), (9, 9), (1, 1)])
def test_the_last_tenth_of_the_places_is_for_errors(max_lines, refused_from):
    queue = make_queue(max_lines=max_lines)
    assert sum(queue.put(b"x", WARNING) for _ in range(200)) == refused_from
    assert not queue.has_room(1, WARNING)
    assert sum(queue.put(b"x", ERROR) for _ in range(200)) == max_lines - refused_from
    assert not queue.has_room(1, ERROR)


def test_the_last_tenth_of_the_bytes_is_for_errors():
    queue = make_queue(max_lines=1_000, max_bytes=1_000)
    assert sum(queue.put(b"x" * 100, WARNING) for _ in range(99)) == 9
    assert (queue.has_room(100, WARNING), queue.has_room(100, ERROR)) == (False, True)
    assert sum(queue.put(b"x" * 100, ERROR) for _ in range(99)) == 1


@pytest.mark.parametrize("level", [INFO, ERROR])
def test_whoever_has_made_room_is_not_refused(level):
    queue = make_queue(max_lines=1, max_bytes=1)
    queue.put(b"x")
    queue.put(b"y", level, beyond=True)
    assert take(queue) == [b"x", b"y"]


# Waking


def test_a_put_wakes_only_at_the_threshold():
    queue, woken = make_queue(), []
    queue.wake = lambda: woken.append(len(queue))
    queue.wake_at = 3
    for _ in range(3):
        queue.put(b"x")
    assert woken == [3]


def test_an_urgent_put_wakes_a_sleeping_taker_and_leaves_a_busy_one_alone():
    queue, woken = make_queue(urgent_level=WARNING), []
    queue.wake = lambda: woken.append(1)
    queue.wake_at = NEVER
    queue.put(b"x", WARNING)
    assert (woken, queue.urgent) == ([], True)
    queue.wake_at = 100
    queue.put(b"x", WARNING)
    assert woken == [1]


def test_what_is_urgent_may_be_set_anew():
    queue = make_queue()
    queue.put(b"x", WARNING)
    assert not queue.urgent
    queue.urgent_level = WARNING
    queue.put(b"x", WARNING)
    assert queue.urgent


@pytest.mark.parametrize("wake_at", [1, 3, NEVER])
def test_the_threshold_counts_the_lines_that_wait(wake_at):
    queue, woken = filled(ERROR, INFO, INFO), []
    queue.wake = lambda: woken.append(len(queue))
    take(queue, max_lines=2)
    queue.wake_at = wake_at
    queue.put(b"x")
    queue.put(b"x")
    assert woken == {1: [2, 3], 3: [3], NEVER: []}[wake_at]


# Evicting


def test_the_newest_line_of_the_class_is_evicted_and_counted():
    accounting = Accounting()
    queue = filled(DEBUG, INFO, DEBUG, WARNING, accounting=accounting)
    assert queue.evict(0)
    assert accounting.drops().totals == {Drop.QUEUE_FULL: 1}
    assert accounting.take_report().by_level == {"DEBUG": 1}
    assert len(queue) == 3
    assert take(queue) == lines_of(DEBUG, INFO, DEBUG, WARNING, without=[2])


def test_without_a_book_of_the_caller_lines_are_evicted_too():
    assert filled(DEBUG).evict(0)


@pytest.mark.parametrize("severity_class", [0, 2, 3])
def test_a_class_that_does_not_wait_is_not_evicted(severity_class):
    queue = filled(INFO, ERROR)
    assert not queue.evict(severity_class)
    assert len(queue) == 2


def test_lines_in_flight_are_not_evicted():
    queue = filled(INFO, INFO, INFO)
    take(queue, max_lines=2)
    assert [queue.evict(1), queue.evict(1)] == [True, False]


def test_an_evicted_line_makes_room_for_another():
    queue = make_queue(max_lines=2, max_bytes=GENEROUS)
    queue.put(make_line(0, DEBUG), DEBUG)
    queue.put(make_line(1))
    assert not queue.put(make_line(2))
    queue.evict(0)
    assert queue.has_room(len(make_line(2)), INFO)
    assert queue.put(make_line(2))
    assert take(queue) == [make_line(1), make_line(2)]


@pytest.mark.parametrize("number", [3, 2_000])
def test_lines_that_come_between_evictions_are_found(number):
    queue = filled(*[INFO] * number)
    assert [queue.evict(1), queue.evict(0)] == [True, False]
    queue.put(make_line(level=DEBUG), DEBUG)
    queue.put(make_line(9))
    assert [queue.evict(0), queue.evict(0), queue.evict(1)] == [True, False, True]
    assert take(queue) == lines_of(*[INFO] * (number - 1))


def test_lines_that_were_taken_between_evictions_are_forgotten():
    queue = filled(*[INFO] * 50)
    queue.evict(1)
    take(queue, max_lines=45)
    assert [queue.evict(1) for _ in range(6)] == [True] * 4 + [False] * 2
    assert len(queue) == 0


def test_a_queue_whose_lines_are_all_evicted_is_empty():
    queue = filled(INFO, INFO)
    queue.evict(1)
    queue.evict(1)
    assert (len(queue), queue.bytes_waiting, queue.held_lines, queue.held_bytes) == (0, 0, 0, 0)
    assert queue.take(max_lines=1, max_bytes=1) is None


def test_room_is_made_of_what_matters_least_the_newest_first_and_new_lines_before_postponed_ones():
    accounting = Accounting()
    queue = make_queue(max_lines=6, accounting=accounting)
    lines = lines_of(INFO, DEBUG, DEBUG, INFO, DEBUG, INFO)
    for line in lines[:3]:
        queue.put(line, level_of(line))
    queue.postpone(take(queue))
    for line in lines[3:]:
        queue.put(line, level_of(line))
    left = []
    for _ in range(6):
        assert queue.make_room(len(lines[0]), ERROR)
        queue.put(make_line(9, ERROR), ERROR, beyond=True)
        left.append(6 - accounting.drops().totals[Drop.QUEUE_FULL])
    assert left == [5, 4, 3, 2, 1, 0]
    assert not queue.make_room(1, ERROR)
    assert not queue.make_room(1, INFO)


@pytest.mark.parametrize(
    ("evictions", "postponed", "new"),
    [(1, [0, 1, 2], [3, 5]), (2, [0, 1], [3, 5]), (3, [0], [3, 5]), (4, [0], [3]), (5, [0], []), (6, [], [])],
)
def test_evictions_begin_with_the_lowest_class(evictions, postponed, new):
    queue = make_queue()
    for number, level in enumerate((INFO, DEBUG, DEBUG, INFO, DEBUG, INFO)):
        queue.put(make_line(number, level), level)
        if number == 2:
            queue.postpone(take(queue))
    for _ in range(evictions):
        assert queue.evict(0) or queue.evict(1)
    assert sorted(map(number_of, take_postponed(queue))) == postponed
    assert list(map(number_of, take(queue))) == new


def test_no_room_is_made_for_a_line_that_never_has_any():
    queue = make_queue(max_lines=9, max_bytes=500)
    for line in lines_of(DEBUG, DEBUG):
        assert queue.put(line, DEBUG)
    assert not queue.make_room(501, ERROR)
    assert len(queue) == 2


# Postponing


def test_postponed_lines_count_against_the_bounds_and_are_not_new():
    queue = make_queue(max_lines=2, max_bytes=100)
    queue.put(b"x" * 60)
    queue.postpone(take(queue))
    assert (len(queue), queue.held_lines, queue.held_bytes, queue.bytes_waiting) == (0, 1, 60, 0)
    assert not queue.put(b"x" * 60)
    queue.finish(take_postponed(queue))
    assert queue.counts() == (0, 0, 0, 1)
    assert queue.put(b"x" * 60)


def test_lines_put_aside_keep_their_order():
    queue = filled(INFO, DEBUG, ERROR, INFO)
    for _ in range(2):
        batch = queue.take(max_lines=2, max_bytes=GENEROUS)
        queue.postpone(batch.lines, batch.number)
    assert sorted(map(number_of, take_postponed(queue, max_lines=2))) == [0, 1]
    assert sorted(map(number_of, take_postponed(queue))) == [2, 3]


def test_what_was_tried_already_comes_first_and_the_last_such_before_all():
    queue = filled(INFO, INFO, ERROR, INFO)
    first, second, third, fourth = (take(queue, max_lines=1) for _ in range(4))
    queue.postpone(first, 1)
    queue.postpone_first(second)
    queue.postpone_first(third)
    queue.postpone(fourth)
    assert list(map(number_of, take_postponed(queue))) == [2, 1, 0, 3]


def test_lines_given_back_again_and_again_keep_their_order():
    queue = filled(*[INFO] * 6)
    lines = take(queue)
    for _ in range(5):
        queue.postpone_first(lines)
        lines = take_postponed(queue)
    assert list(map(number_of, lines)) == list(range(6))


@pytest.mark.parametrize("level", [INFO, ERROR])
def test_a_mark_is_passed_when_what_came_before_it_has_left(level):
    queue = filled(INFO, INFO)
    mark = queue.last_number
    queue.put(make_line(2, level), level)
    assert queue.oldest_number <= mark
    lines = take(queue, max_lines=2)
    assert queue.oldest_number > mark
    queue.postpone_first(lines)
    assert queue.oldest_number <= mark
    take_postponed(queue)
    assert queue.oldest_number > mark
    take(queue)
    assert queue.oldest_number == NEVER


def test_a_batch_has_the_number_of_its_oldest_line():
    queue = filled(INFO, ERROR, DEBUG)
    take(queue, max_lines=1)
    mark = queue.last_number
    assert queue.take(max_lines=9, max_bytes=GENEROUS).number < mark
    queue.put(b"x")
    assert queue.take(max_lines=9, max_bytes=GENEROUS).number > mark


STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(LEVELS), st.integers(0, 60)),
    st.tuples(st.just("beyond"), st.sampled_from(LEVELS), st.integers(0, 60)),
    st.tuples(st.just("take"), st.integers(1, 8), st.integers(1, 900)),
    st.tuples(st.just("finish"), st.integers(0, 3)),
    st.tuples(st.just("postpone"), st.integers(0, 3), st.booleans()),
    st.tuples(st.just("take_postponed"), st.integers(1, 8)),
    st.tuples(st.just("evict"), st.integers(0, 3)),
)


class Model:
    """What a queue must hold, without its ways."""

    def __init__(self, max_lines, max_bytes):
        self.accounting = Accounting()
        self.queue = make_queue(max_lines, max_bytes, accounting=self.accounting)
        self.waiting, self.flying, self.postponed = [], [], []
        self.entered = self.finished = self.evicted = 0

    def do(self, step, *arguments):
        getattr(self, step)(*arguments)
        self.check()

    def room_for(self, line, level):
        queue = self.queue
        is_severe = level >= ERROR or queue.max_lines < 10
        lines = queue.max_lines - (0 if is_severe else queue.max_lines // 10)
        size = queue.max_bytes - (0 if is_severe else queue.max_bytes // 10)
        return self.held_lines < lines and self.held_bytes + len(line) <= size

    @property
    def held(self):
        return self.waiting + self.postponed + [line for lines in self.flying for line in lines]

    @property
    def held_lines(self):
        return len(self.held)

    @property
    def held_bytes(self):
        return sum(map(len, self.held))

    def put(self, level, size):
        line = make_line(self.entered, level, size=size)
        has_room = self.room_for(line, level)
        assert self.queue.has_room(len(line), level) == has_room
        assert self.queue.put(line, level) == has_room
        if has_room:
            self.waiting.append(line)
            self.entered += 1

    def beyond(self, level, size):
        self.waiting.append(make_line(self.entered, level, size=size))
        self.queue.put(self.waiting[-1], level, beyond=True)
        self.entered += 1

    def take(self, max_lines, max_bytes):
        taken = take(self.queue, max_lines, max_bytes)
        assert taken == self.waiting[: len(taken)]
        del self.waiting[: len(taken)]
        assert len(taken) <= max_lines
        assert len(taken) <= 1 or packed(taken) <= max_bytes
        more = [*taken, *self.waiting[:1]]
        assert len(taken) in (max_lines, len(more)) or packed(more) > max_bytes
        if taken:
            self.flying.append(taken)

    def finish(self, which):
        if which < len(self.flying):
            lines = self.flying.pop(which)
            self.queue.finish(lines)
            self.finished += len(lines)

    def postpone(self, which, is_first):
        if which < len(self.flying):
            lines = self.flying.pop(which)
            self.postponed += lines
            (self.queue.postpone_first if is_first else self.queue.postpone)(lines)

    def take_postponed(self, max_lines):
        taken = take_postponed(self.queue, max_lines)
        assert len(taken) == min(max_lines, len(self.postponed))
        for line in taken:
            self.postponed.remove(line)
        if taken:
            self.flying.append(taken)

    def evict(self, severity_class):
        of_class = [
            [line for line in lines if class_of(level_of(line)) == severity_class < MOST_SEVERE]
            for lines in (self.waiting, self.postponed)
        ]
        assert self.queue.evict(severity_class) == any(of_class)
        if of_class[0]:
            self.waiting.remove(of_class[0][-1])
        elif of_class[1]:
            left = take_postponed(self.queue)
            (gone,) = set(self.postponed) - set(left)
            assert gone in of_class[1]
            self.queue.postpone(left)
            self.postponed.remove(gone)
        self.evicted += any(of_class)

    def check(self):
        queue = self.queue
        flying = sum(map(len, self.flying))
        assert queue.counts() == (len(self.waiting), len(self.postponed), flying, self.finished)
        assert self.entered == self.finished + self.evicted + self.held_lines
        assert (len(queue), queue.held_lines) == (len(self.waiting), self.held_lines)
        assert (queue.bytes_waiting, queue.held_bytes) == (sum(map(len, self.waiting)), self.held_bytes)
        assert self.accounting.drops().evicted_total == self.evicted


@given(st.integers(1, 25), st.integers(100, 4_000), st.lists(STEPS, max_size=60))
def test_whatever_is_done_every_line_is_counted_once(max_lines, max_bytes, steps):
    model = Model(max_lines, max_bytes)
    for step in steps:
        model.do(*step)
    model.do("take", GENEROUS, GENEROUS)
    assert model.waiting == []


# Threads and interruptions


@pytest.fixture
def restless():
    """Let threads change places as often as they can."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


def test_eight_threads_put_and_one_takes_without_a_loss(restless):
    queue, per_thread = make_queue(max_lines=GENEROUS), 3_000

    def work(name):
        for number in range(per_thread):
            queue.put(b"%d:%d" % (name, number))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads) or len(queue):
        taken = take(queue, max_lines=100)
        queue.finish(taken)
        seen += taken
    assert len(seen) == 8 * per_thread
    for name in range(8):
        own = [line for line in seen if line.startswith(b"%d:" % name)]
        assert own == [b"%d:%d" % (name, number) for number in range(per_thread)]
    assert (queue.bytes_waiting, queue.held_bytes, queue.held_lines) == (0, 0, 0)


def test_six_threads_put_and_evict_and_one_takes_and_all_is_accounted_for(restless):
    accounting = Accounting()
    queue = make_queue(max_lines=300, accounting=accounting)
    put, refused = [], []

    def work(name):
        for number in range(1_500):
            level = LEVELS[number % 4]
            line = make_line(name * 10_000 + number, level)
            if queue.put(line, level):
                put.append(line)
            elif any(queue.evict(lower) for lower in range(class_of(level))):
                queue.put(line, level, beyond=True)
                put.append(line)
            else:
                refused.append(line)

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    for thread in threads:
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads) or len(queue):
        taken = take(queue, max_lines=7)
        queue.finish(taken)
        seen += taken
    evicted = accounting.drops().totals.get(Drop.QUEUE_FULL, 0)
    assert len(set(seen)) == len(seen) == len(put) - evicted
    assert set(seen) <= set(put)
    assert {level_of(line) for line in set(put) - set(seen)} <= {DEBUG, INFO, WARNING}
    assert len(put) + len(refused) == 6 * 1_500
    assert (queue.bytes_waiting, queue.held_bytes, queue.held_lines) == (0, 0, 0)


class Scene:
    """A queue in the middle of its life."""

    def __init__(self):
        self.accounting = Accounting()
        self.queue = filled(DEBUG, INFO, DEBUG, WARNING, INFO, accounting=self.accounting)
        self.put = lines_of(DEBUG, INFO, DEBUG, WARNING, INFO)
        self.out, self.lengths = [], []
        self.evict()

    def add(self):
        line = make_line(100 + len(self.put), DEBUG)
        self.put.append(line)
        assert self.queue.put(line, DEBUG)

    def evict(self):
        return self.queue.evict(0) or self.queue.evict(1)

    def take(self):
        batch = self.queue.take(max_lines=2, max_bytes=GENEROUS)
        if batch is not None:
            self.out += batch.lines

    def check(self):
        counts, evicted = self.queue.counts(), self.accounting.drops().evicted_total
        assert len(self.put) == counts.new + counts.in_flight + evicted
        rest = take(self.queue)
        assert len(rest) == counts.new
        assert len(set(self.out + rest)) == len(self.out + rest) == len(self.put) - evicted
        assert set(self.out + rest) <= set(self.put)
        self.queue.finish(self.out + rest)
        assert take(self.queue) == []  # bytes are counted again
        assert (self.queue.held_lines, self.queue.held_bytes, self.queue.bytes_waiting) == (0, 0, 0)


@pytest.mark.parametrize("act", [Scene.add, Scene.evict, Scene.take])
@pytest.mark.parametrize("interrupt", [Scene.add, Scene.evict, Scene.take])
def test_whatever_interrupts_a_call_nothing_is_lost_or_counted_twice(act, interrupt):
    for scene in each_interruption(Scene, act, interrupt):
        scene.check()


@pytest.mark.parametrize("act", [Scene.add, Scene.evict])
def test_a_signal_handler_that_waits_for_the_worker_holds_nobody_up(act):
    taken = []

    def wait_for_the_worker(scene):
        worker = threading.Thread(target=lambda: taken.append(take(scene.queue)))
        worker.start()
        worker.join(10.0)
        assert not worker.is_alive()

    for scene in each_interruption(Scene, act, wait_for_the_worker):
        scene.out += taken.pop()
        scene.check()


@pytest.mark.parametrize("act", [Scene.evict, Scene.take])
def test_an_exception_of_a_signal_handler_leaves_a_queue_that_works(act):
    for scene in each_exception(Scene, act):
        scene.add()
        assert scene.evict()
        take(scene.queue)
        assert (len(scene.queue), scene.queue.bytes_waiting) == (0, 0)
