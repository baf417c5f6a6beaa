import sys
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.delivery.made_lines import DEBUG, ERROR, INFO, LEVELS, WARNING, level_of, make_line
from tests.kits.interruptions import each_exception, each_interruption

from hublog.delivery.accounting import Drop, DropCounters
from hublog.delivery.memory_queue import NEVER, MemoryQueue
from hublog.delivery.severity import MOST_SEVERE, class_of

GENEROUS = 1 << 30


def make_queue(max_lines=9, max_bytes=GENEROUS, **settings):
    """Make a queue; up to 9 lines there is no reserve."""
    return MemoryQueue(max_lines=max_lines, max_bytes=max_bytes, **settings)


def lines_of(*levels, without=()):
    """Return a line of each level, numbered from 0, of different lengths."""
    lines = enumerate(levels)
    return [make_line(number, level, size=number % 3) for number, level in lines if number not in without]


def filled(*levels, drops=None):
    """Return a queue with these lines."""
    queue = make_queue(max_lines=10_000, drops=drops)
    for line, level in zip(lines_of(*levels), levels, strict=True):
        queue.put(line, level)
    return queue


def take(queue, max_lines=GENEROUS, max_bytes=GENEROUS, line_overhead=0):
    batch = queue.take(max_lines=max_lines, max_bytes=max_bytes, line_overhead=line_overhead)
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
    assert len(take(queue, max_bytes=36, line_overhead=2)) == 3


def test_a_level_that_is_no_number_changes_nothing():
    queue = make_queue()
    with pytest.raises(TypeError):
        queue.put(b"x", "INFO")
    assert (len(queue), queue.bytes_waiting, queue.entered_total) == (0, 0, 0)


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
    queue.put_beyond(b"y", level)
    assert take(queue) == [b"x", b"y"]


@pytest.mark.parametrize(("max_lines", "max_bytes"), [(50, 1_000), (5, 40), (1, 1), (1_000, GENEROUS)])
def test_new_bounds_apply_as_if_they_had_always_been_there(max_lines, max_bytes):
    fresh, changed = make_queue(max_lines, max_bytes), make_queue(9, 77)
    changed.max_bytes, changed.max_lines = max_bytes, max_lines
    assert (changed.max_lines, changed.max_bytes) == (max_lines, max_bytes)
    for level in (INFO, ERROR):
        assert [changed.put(b"12345", level) for _ in range(99)] == [
            fresh.put(b"12345", level) for _ in range(99)
        ]
    assert changed.books() == fresh.books()


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
def test_the_threshold_counts_the_lines_that_wait_and_not_the_places_of_those_evicted(wake_at):
    queue, woken = filled(ERROR, INFO, INFO), []
    queue.wake = lambda: woken.append(len(queue))
    queue.wake_at = wake_at
    queue.evict(1)
    queue.evict(1)
    assert queue.wake_at == wake_at
    queue.put(b"x")
    assert woken == ([2] if wake_at == 1 else [])
    queue.put(b"x")
    assert woken == {1: [2, 3], 3: [3], NEVER: []}[wake_at]
    take(queue)
    assert queue.wake_at == wake_at


# Evicting


def test_the_newest_line_of_the_class_is_evicted_and_counted():
    drops = DropCounters()
    queue = filled(DEBUG, INFO, DEBUG, WARNING, drops=drops)
    assert queue.evict(0)
    assert drops.totals() == {Drop.QUEUE_FULL: 1}
    assert drops.take_report().by_level == {"DEBUG": 1}
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
    queue.put(make_line(level=DEBUG))
    queue.put(make_line(9))
    assert [queue.evict(0), queue.evict(0), queue.evict(1)] == [True, False, True]
    assert take(queue) == lines_of(*[INFO] * (number - 1))


def test_lines_that_were_taken_between_evictions_are_forgotten():
    queue = filled(*[INFO] * 50)
    queue.evict(1)
    take(queue, max_lines=45)
    assert [queue.evict(1) for _ in range(6)] == [True] * 4 + [False] * 2
    assert len(queue) == 0
    assert queue.left_total == 50 - 45


def test_the_memory_of_where_lines_are_is_bounded():
    queue = filled(*[INFO] * 20)
    for _ in range(50):
        queue.evict(1)
        queue.finish(take(queue, max_lines=10))
        for number in range(11):
            queue.put(make_line(number))
    assert sum(map(len, queue._index._positions)) <= 20


def test_a_queue_whose_lines_are_all_evicted_is_empty():
    queue = filled(INFO, INFO)
    queue.evict(1)
    queue.evict(1)
    assert (len(queue), queue.bytes_waiting, queue.held_lines, queue.held_bytes) == (0, 0, 0, 0)
    assert queue.take(max_lines=1, max_bytes=1) is None


def test_whoever_interrupts_the_taker_takes_and_evicts_nothing():
    queue = filled(INFO, INFO)
    with queue.changing() as is_alone:
        assert is_alone
        assert queue.take(max_lines=1, max_bytes=1) is None
        assert not queue.evict(1)
        assert queue.left_total == 0
        assert queue.put(make_line())
    assert queue.evict(1)


# Counts


def test_lines_have_left_for_good_once_they_were_settled_or_stowed():
    queue = filled(INFO, INFO, INFO)
    first, second = take(queue, max_lines=1), take(queue, max_lines=1)
    assert (queue.entered_total, queue.left_total) == (3, 0)
    queue.finish(first)
    assert queue.left_total == 1
    queue.stow(second, held_bytes=7)
    assert queue.left_total == 2
    queue.unstow(second, held_bytes=7)
    assert queue.left_total == 2, "it never goes back"
    assert queue.in_flight == 1


def test_lines_that_were_stowed_have_left_even_if_nobody_looked():
    queue = filled(INFO, INFO)
    lines = take(queue)
    queue.stow(lines, held_bytes=7)
    queue.unstow(lines, held_bytes=7)
    assert queue.left_total == 2


def test_lines_that_were_evicted_have_left():
    queue = filled(DEBUG, INFO, DEBUG)
    queue.evict(0)
    queue.evict(0)
    assert queue.left_total == 1
    queue.finish(take(queue))
    assert queue.left_total == 3


def test_stowed_lines_are_held_with_the_size_they_have_there():
    queue = make_queue(max_lines=2, max_bytes=100)
    queue.put(b"x" * 60)
    lines = take(queue)
    queue.stow(lines, held_bytes=60)
    assert (queue.held_lines, queue.held_bytes, queue.has_room(60, INFO)) == (1, 60, False)
    queue.restow(-50)
    assert (queue.held_lines, queue.held_bytes, queue.has_room(60, INFO)) == (1, 10, True)
    queue.lose_stowed(1, 10)
    assert (queue.held_lines, queue.held_bytes, queue.stowed) == (0, 0, 0)


STEPS = st.one_of(
    st.tuples(st.just("put"), st.sampled_from(LEVELS), st.integers(0, 60)),
    st.tuples(st.just("beyond"), st.sampled_from(LEVELS), st.integers(0, 60)),
    st.tuples(st.just("take"), st.integers(1, 8), st.integers(1, 900)),
    st.tuples(st.just("finish"), st.integers(0, 3)),
    st.tuples(st.just("stow"), st.integers(0, 3), st.integers(0, 400)),
    st.tuples(st.just("unstow"), st.integers(0, 3)),
    st.tuples(st.just("evict"), st.integers(0, 3)),
    st.tuples(st.just("fit"), st.integers(1, 25), st.integers(100, 4_000)),
    st.tuples(
        st.just("left"),
    ),
)


class Model:
    """What a queue must hold, without its ways."""

    def __init__(self, max_lines, max_bytes):
        self.drops = DropCounters()
        self.queue = make_queue(max_lines, max_bytes, drops=self.drops)
        self.waiting, self.flying, self.stowed = [], [], []
        self.entered = self.finished = self.evicted = self.left_total = 0

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
    def held_lines(self):
        return len(self.waiting) + sum(map(len, self.flying)) + sum(len(lines) for lines, _ in self.stowed)

    @property
    def held_bytes(self):
        loose = self.waiting + [line for lines in self.flying for line in lines]
        return sum(map(len, loose)) + sum(held for _, held in self.stowed)

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
        self.queue.put_beyond(self.waiting[-1], level)
        self.entered += 1

    def take(self, max_lines, max_bytes):
        taken = take(self.queue, max_lines, max_bytes)
        assert taken == self.waiting[: len(taken)]
        del self.waiting[: len(taken)]
        assert len(taken) <= max_lines
        assert len(taken) <= 1 or sum(map(len, taken)) <= max_bytes
        more = [*taken, *self.waiting[:1]]
        assert len(taken) in (max_lines, len(more)) or sum(map(len, more)) > max_bytes
        if taken:
            self.flying.append(taken)

    def finish(self, which):
        if which < len(self.flying):
            lines = self.flying.pop(which)
            self.queue.finish(lines)
            self.finished += len(lines)

    def stow(self, which, held):
        if which < len(self.flying):
            self.stowed.append((self.flying.pop(which), held))
            self.queue.stow(*self.stowed[-1])

    def unstow(self, which):
        if which < len(self.stowed):
            self.queue.unstow(*self.stowed[which])
            self.flying.append(self.stowed.pop(which)[0])

    def evict(self, severity_class):
        found = [line for line in self.waiting if class_of(level_of(line)) == severity_class < MOST_SEVERE]
        assert self.queue.evict(severity_class) == bool(found)
        if found:
            self.waiting.remove(found[-1])
            self.evicted += 1

    def fit(self, max_lines, max_bytes):
        self.queue.max_lines, self.queue.max_bytes = max_lines, max_bytes

    def left(self):
        before, self.left_total = self.left_total, self.queue.left_total
        assert before <= self.left_total <= self.entered - len(self.waiting)
        if not (self.flying or self.waiting):
            assert self.left_total == self.entered

    def check(self):
        queue = self.queue
        flying, stowed = sum(map(len, self.flying)), sum(len(lines) for lines, _ in self.stowed)
        assert queue.books() == (self.entered, len(self.waiting), flying, stowed)
        assert self.entered == self.finished + self.evicted + len(self.waiting) + flying + stowed
        assert (len(queue), queue.entered_total, queue.held_lines) == (
            len(self.waiting),
            self.entered,
            self.held_lines,
        )
        assert (queue.bytes_waiting, queue.held_bytes) == (sum(map(len, self.waiting)), self.held_bytes)
        assert queue.stowed_bytes == sum(held for _, held in self.stowed)
        assert self.drops.totals().get(Drop.QUEUE_FULL, 0) == self.evicted


@given(st.lists(STEPS, max_size=80), st.integers(1, 25), st.integers(200, 4_000))
def test_nothing_is_lost_reordered_or_counted_wrong(steps, max_lines, max_bytes):
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
    drops, is_over = DropCounters(), threading.Event()
    queue = make_queue(max_lines=300, drops=drops)
    put, refused, wrong = [], [], []

    def work(name):
        for number in range(1_500):
            level = LEVELS[number % 4]
            line = make_line(name * 10_000 + number, level)
            if queue.put(line, level):
                put.append(line)
            elif any(queue.evict(lower) for lower in range(class_of(level))):
                queue.put_beyond(line, level)
                put.append(line)
            else:
                refused.append(line)

    def look():
        while not is_over.is_set():
            with queue.lock:
                entered, waiting, in_flight, _ = queue.books()
                evicted = drops.totals().get(Drop.QUEUE_FULL, 0)
            if entered < waiting + in_flight + evicted or waiting < 0:
                wrong.append((entered, waiting, in_flight, evicted))

    threads = [threading.Thread(target=work, args=(name,)) for name in range(6)]
    watcher = threading.Thread(target=look)
    for thread in (*threads, watcher):
        thread.start()
    seen = []
    while any(thread.is_alive() for thread in threads) or len(queue):
        taken = take(queue, max_lines=7)
        queue.finish(taken)
        seen += taken
    is_over.set()
    watcher.join()
    evicted = drops.totals().get(Drop.QUEUE_FULL, 0)
    assert wrong == []
    assert len(set(seen)) == len(seen) == len(put) - evicted
    assert set(seen) <= set(put)
    assert {level_of(line) for line in set(put) - set(seen)} <= {DEBUG, INFO, WARNING}
    assert len(put) + len(refused) == 6 * 1_500
    assert (queue.bytes_waiting, queue.held_bytes, queue.held_lines) == (0, 0, 0)


def test_whoever_holds_the_lock_sees_counts_that_agree_while_others_put_and_evict(restless):
    drops, wrong = DropCounters(), []
    queue = make_queue(max_lines=GENEROUS, drops=drops)

    def work():
        for number in range(2_000):
            queue.put(make_line(number))
            queue.evict(1)

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    while any(thread.is_alive() for thread in threads):
        with queue.lock:
            evicted = drops.totals().get(Drop.QUEUE_FULL, 0)
            entered, waiting, _, _ = queue.books()
        if not entered - 3 <= waiting + evicted <= entered:
            wrong.append((entered, waiting, evicted))
    assert wrong == []


class Scene:
    """A queue in the middle of its life."""

    def __init__(self):
        self.drops = DropCounters()
        self.queue = filled(DEBUG, INFO, DEBUG, WARNING, INFO, drops=self.drops)
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
        entered, waiting, in_flight, _ = self.queue.books()
        evicted = self.drops.totals().get(Drop.QUEUE_FULL, 0)
        assert entered == len(self.put) == waiting + in_flight + evicted
        rest = take(self.queue)
        assert len(rest) == waiting
        assert len(set(self.out + rest)) == len(self.out + rest) == entered - evicted
        assert set(self.out + rest) <= set(self.put)
        self.queue.finish(self.out + rest)
        assert (self.queue.held_lines, self.queue.held_bytes, self.queue.bytes_waiting) == (0, 0, 0)


@pytest.mark.parametrize("act", [Scene.add, Scene.evict, Scene.take])
@pytest.mark.parametrize("interrupt", [Scene.add, Scene.evict, Scene.take])
def test_whatever_interrupts_a_call_nothing_is_lost_or_counted_twice(act, interrupt):
    for scene in each_interruption(Scene, act, interrupt):
        scene.check()


def test_the_counts_agree_wherever_they_are_read():
    def read(scene):
        entered, waiting, in_flight, _ = scene.queue.books()
        evicted = scene.drops.totals().get(Drop.QUEUE_FULL, 0)
        assert entered == waiting + in_flight + evicted

    for act in (Scene.add, Scene.evict, Scene.take):
        for scene in each_interruption(Scene, act, read):
            scene.check()


@pytest.mark.parametrize("interrupt", [Scene.add, Scene.evict, Scene.take])
def test_a_length_is_that_of_one_moment(interrupt):
    scene = Scene()
    before = len(scene.queue)
    interrupt(scene)
    either = {before, len(scene.queue)}
    for scene in each_interruption(Scene, lambda scene: scene.lengths.append(len(scene.queue)), interrupt):
        assert set(scene.lengths) <= either


@pytest.mark.parametrize("act", [Scene.evict, Scene.take])
def test_whoever_interrupts_holds_nobody_up(act):
    taken = []  # by a worker that a signal handler waits for, unless it has interrupted the worker itself

    def wait_for_the_worker(scene):
        worker = threading.Thread(target=lambda: taken.append(take(scene.queue)))
        worker.start()
        worker.join(0.0 if act is Scene.take else 10.0)
        assert act is Scene.take or not worker.is_alive()
        scene.worker = worker

    for scene in each_interruption(Scene, act, wait_for_the_worker):
        scene.worker.join(10.0)
        scene.out += taken.pop()
        scene.check()


@pytest.mark.parametrize("act", [Scene.evict, Scene.take])
def test_an_exception_of_a_signal_handler_leaves_the_counts_right(act):
    for scene in each_exception(Scene, act):
        entered, waiting, in_flight, _ = scene.queue.books()
        assert entered == waiting + in_flight + scene.drops.totals()[Drop.QUEUE_FULL]
        scene.add()
        assert scene.evict()
        assert len(take(scene.queue)) == waiting
