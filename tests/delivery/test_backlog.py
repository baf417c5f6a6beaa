import gc
import math
import sys
import threading
import tracemalloc

import pytest
from benchmarks.workload import read_lines
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.delivery.made_lines import DEBUG, ERROR, INFO, LEVELS, WARNING, level_of, make_line, number_of
from tests.kits.interruptions import each_exception, each_interruption

from hublog.delivery.accounting import Drop, DropCounters
from hublog.delivery.backlog import BLOCK_BYTES, Backlog
from hublog.delivery.memory_queue import MemoryQueue
from hublog.delivery.severity import CLASSES, MOST_SEVERE, class_of, class_of_line

ANY = {"max_bytes": 1 << 30, "max_lines": 1 << 30}
MIB = 1 << 20


class Storage:
    """A queue and a backlog behind it."""

    def __init__(self, *, max_lines=1 << 20, max_bytes=1 << 40, block_bytes=600):
        self.drops = DropCounters()
        self.queue = MemoryQueue(max_lines=max_lines, max_bytes=max_bytes, drops=self.drops)
        self.backlog = Backlog(self.queue, drops=self.drops, block_bytes=block_bytes)

    def flying(self, lines):
        """Send lines through the queue and leave them in flight."""
        for line in lines:
            self.queue.put_beyond(line, level_of(line))
        batch = self.queue.take(**ANY)
        return [] if batch is None else batch.lines

    def add(self, lines):
        self.backlog.add(self.flying(lines))

    def add_front(self, lines):
        self.backlog.add_front(self.flying(lines))

    def take_all(self, **limits):
        """Take in turns until there is nothing left, and finish what was taken."""
        taken = []
        while lines := self.backlog.take(**(ANY | limits)):
            self.queue.finish(lines)
            taken += lines
        return taken

    @property
    def lost(self):
        return self.drops.totals()

    @property
    def packed_blocks(self):
        return sum(bool(block.packed) for shelf in self.backlog._shelves for block in shelf)

    def stored(self, severity_class):
        """Return the lines of a class that wait in the backlog, looked at from inside."""
        found = []
        for block in list(self.backlog._shelves[severity_class]):
            if block.packed:
                self.backlog._unpack(block, block.packed)
            found += block.lines
        return found


def numbered(number, *levels, start=0, size=0):
    levels = levels or (INFO,)
    return [
        make_line(start + index, levels[index % len(levels)], size=size + index % 3)
        for index in range(number)
    ]


# In and out


@pytest.mark.parametrize("number", [1, 10, 500])
def test_lines_come_back_in_order_and_settled(number):
    stores = Storage()
    lines = numbered(number)
    stores.add(lines)
    assert (stores.backlog.lines, stores.queue.in_flight) == (number, 0)
    assert stores.take_all(max_lines=7) == lines
    assert (stores.backlog.lines, stores.backlog.held_bytes, stores.queue.held_bytes) == (0, 0, 0)


def test_an_empty_backlog_gives_nothing():
    backlog = Storage().backlog
    assert (backlog.take(**ANY), backlog.lines, backlog.oldest_number) == ([], 0, math.inf)


def test_no_lines_are_nothing_to_wait_for():
    stores = Storage()
    stores.backlog.add([])
    stores.backlog.add_front([])
    assert stores.backlog.oldest_number == math.inf


def test_lines_that_were_taken_are_in_flight_until_they_are_finished():
    stores = Storage()
    stores.add(numbered(10))
    taken = stores.backlog.take(max_bytes=1 << 30, max_lines=4)
    assert (len(taken), stores.backlog.lines, stores.queue.in_flight) == (4, 6, 4)
    stores.queue.finish(taken)
    assert stores.queue.held_lines == 6


def test_no_more_is_taken_than_fits():
    stores = Storage()
    stores.add(numbered(50))
    size = len(make_line(1))
    assert len(stores.backlog.take(max_bytes=10 * size + 99, max_lines=99, line_overhead=10)) == 9


def test_one_line_is_taken_even_when_it_is_over_the_limit():
    stores = Storage()
    stores.add(numbered(2))
    assert stores.backlog.take(max_bytes=1, max_lines=99) == numbered(1)


def test_the_block_that_came_first_is_taken_first():
    stores = Storage(block_bytes=BLOCK_BYTES)
    first, second, third = numbered(2, DEBUG), numbered(2, ERROR, start=2), numbered(2, DEBUG, start=4)
    stores.add(first)
    stores.add(second)
    stores.add(third)
    assert stores.take_all() == first + second + third


def test_of_lines_that_came_together_the_most_severe_are_taken_first():
    stores = Storage()
    stores.add(numbered(8, *LEVELS))
    assert [level_of(line) for line in stores.take_all()] == [ERROR] * 2 + [WARNING] * 2 + [INFO] * 2 + [
        DEBUG
    ] * 2


def test_what_was_tried_already_comes_first_and_the_last_such_before_all():
    stores = Storage()
    stores.add(numbered(3, start=20))
    stores.add_front(numbered(300, start=1_000))
    stores.add_front(numbered(3, start=10))
    assert stores.take_all() == numbered(3, start=10) + numbered(300, start=1_000) + numbered(3, start=20)


def test_what_was_given_back_last_comes_first_whatever_its_class():
    stores = Storage()
    stores.add_front(numbered(1, ERROR))
    stores.add_front(numbered(1, DEBUG))
    assert [level_of(line) for line in stores.take_all()] == [DEBUG, ERROR]


def test_lines_given_back_again_and_again_keep_their_order():
    stores = Storage()
    lines = numbered(300)
    stores.add(lines)
    for number in (1, 7, 1, 150, 30, 299, 1):
        stores.backlog.add_front(stores.backlog.take(max_bytes=1 << 30, max_lines=number))
    assert stores.take_all() == lines


def test_a_mark_is_passed_when_what_came_before_it_has_left():
    stores = Storage()
    stores.add(numbered(30))
    mark = stores.backlog.next_number
    stores.add(numbered(30, ERROR, start=30))
    taken = 0
    while stores.backlog.oldest_number < mark:
        taken += len(stores.backlog.take(max_bytes=1 << 30, max_lines=1))
    assert taken == 30


def test_what_is_given_back_is_before_each_mark():
    stores = Storage()
    stores.add(numbered(3))
    mark = stores.backlog.next_number
    stores.backlog.add_front(stores.backlog.take(**ANY))
    assert stores.backlog.oldest_number < mark


# Memory


def test_ten_thousand_records_of_a_web_shop_take_little_more_than_a_mebibyte():
    lines = read_lines()
    stores = Storage(block_bytes=BLOCK_BYTES)
    gc.collect()
    tracemalloc.start()
    for begin in range(0, len(lines), 500):
        stores.add([bytes(bytearray(line)) for line in lines[begin : begin + 500]])
    gc.collect()
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert stores.backlog.lines == 10_000
    assert used < 1.3 * MIB
    assert stores.backlog.held_bytes == pytest.approx(used, rel=0.1)
    assert sorted(stores.take_all()) == sorted(lines)


@pytest.mark.parametrize("add", [Storage.add, Storage.add_front])
def test_much_that_comes_at_once_is_packed(add):
    stores = Storage(block_bytes=BLOCK_BYTES)
    lines = numbered(8_000, size=900)
    add(stores, lines)
    assert stores.packed_blocks > 80
    assert stores.backlog.held_bytes < BLOCK_BYTES + 8_000 * 30
    assert stores.take_all(max_bytes=500 << 10) == lines


@pytest.mark.parametrize("add", [Storage.add, Storage.add_front])
def test_little_that_comes_often_is_packed(add):
    stores = Storage()
    for number in range(300):
        add(stores, [make_line(number)])
    assert stores.packed_blocks > 50
    assert sum(not block.packed for block in stores.backlog._shelves[1]) <= 5


def test_stowed_lines_leave_room_for_others():
    stores = Storage(max_bytes=20 * len(make_line(1, size=500)), block_bytes=5_000)
    lines = numbered(18, size=500)
    flying = stores.flying(lines)
    assert not stores.queue.has_room(len(lines[0]), INFO)
    stores.backlog.add(flying)
    assert stores.queue.has_room(10 * len(lines[0]), INFO)


def test_a_line_that_is_larger_than_a_block_is_a_block():
    stores = Storage()
    lines = numbered(3, size=5_000)
    stores.add(lines)
    assert stores.packed_blocks == 3
    assert stores.take_all() == lines


def test_a_block_that_cannot_be_unpacked_is_counted_once_and_the_rest_comes():
    stores = Storage()
    lines = numbered(60)
    stores.add(lines)
    first, second, *_ = stores.backlog._shelves[1]
    first.packed = b"damaged"
    second.packed = second.packed[:-9]
    assert stores.take_all() == lines[first.count + second.count :]
    assert stores.lost == {Drop.INTERNAL_ERROR: first.count + second.count}
    assert (stores.queue.held_lines, stores.queue.held_bytes) == (0, 0)


# Evicting


@pytest.mark.parametrize("number", [1, 3, 200])
def test_the_newest_line_of_the_class_is_evicted_and_counted(number):
    stores = Storage()
    lines = numbered(number, INFO)
    stores.add(lines)
    stores.add(numbered(3, ERROR, start=number))
    for left in reversed(range(number)):
        assert stores.backlog.evict(1)
        assert stores.backlog.lines == left + 3
        if left % 50 == 0:
            assert stores.stored(1) == lines[:left]
    assert not stores.backlog.evict(1)
    assert stores.lost == {Drop.QUEUE_FULL: number}
    assert stores.backlog.held_bytes == sum(map(len, numbered(3, ERROR, start=number)))


def test_the_most_severe_are_never_evicted():
    stores = Storage()
    stores.add(numbered(3, ERROR))
    assert not stores.backlog.evict(MOST_SEVERE)


def test_an_eviction_makes_no_full_memory_fuller():
    stores = Storage(block_bytes=5_000)
    stores.add(numbered(100, size=500))
    before = stores.queue.held_bytes
    while stores.backlog.evict(1):
        assert stores.queue.held_bytes <= before
        before = stores.queue.held_bytes
    assert before == 0


def test_whoever_interrupts_the_taker_takes_and_evicts_nothing():
    stores = Storage()
    flying = stores.flying(numbered(3, start=90))
    stores.add(numbered(30))
    with stores.queue.changing():
        assert stores.backlog.take(**ANY) == []
        assert not stores.backlog.evict(1)
        stores.backlog.add(flying)
    assert stores.take_all() == numbered(30) + flying


def test_what_an_eviction_unpacked_is_packed_again_with_what_comes():
    stores = Storage()
    lines = numbered(100)
    stores.add(lines)
    for number in range(100, 200):
        stores.backlog.evict(1)
        lines.pop()
        lines.append(make_line(number))
        stores.add(lines[-1:])
    assert sum(not block.packed for block in stores.backlog._shelves[1]) <= 5
    assert stores.take_all() == lines


def test_room_is_made_of_what_matters_least_the_newest_first_and_the_queue_before_the_backlog():
    stores = Storage(max_lines=9)
    stores.add(numbered(4, DEBUG, INFO))
    for line in numbered(5, INFO, DEBUG, start=4):
        stores.queue.put(line, level_of(line))
    gone = []
    before = everything(stores)
    while stores.backlog.make_room(10, WARNING):
        stores.queue.put_beyond(make_line(len(gone) + 10, WARNING), WARNING)
        now = everything(stores)
        gone += [line for line in before if line not in now]
        before = now
    assert [(number_of(line), level_of(line)) for line in gone] == [
        *[(7, DEBUG), (5, DEBUG), (2, DEBUG), (0, DEBUG)],
        *[(8, INFO), (6, INFO), (4, INFO), (3, INFO), (1, INFO)],
    ]


def test_no_room_is_made_for_a_line_that_never_has_any():
    stores = Storage(max_lines=9, max_bytes=1_000)
    stores.add(numbered(4, DEBUG))
    assert not stores.backlog.make_room(1_001, ERROR)
    assert stores.lost == {}


def test_room_that_is_there_costs_nothing():
    stores = Storage(max_lines=9)
    stores.add(numbered(8, DEBUG))
    assert stores.backlog.make_room(10, INFO)
    assert stores.lost == {}


def everything(stores):
    """Return all lines that wait, queue first, looked at from inside."""
    waiting = [line for line in stores.queue._lines if line is not None]
    return waiting + [line for severity_class in range(CLASSES) for line in stores.stored(severity_class)]


class StoresMachine(RuleBasedStateMachine):
    """Puts, takes, gives back and evicts at random; a list says where each line must be."""

    def __init__(self):
        super().__init__()
        self.stores = Storage(max_lines=60, max_bytes=12_000)
        self.waiting, self.flying = [], []
        self.shelves = [[] for _ in range(CLASSES)]
        self.marks = []
        self.entered = self.finished = self.evicted = 0

    @property
    def waiting_anywhere(self):
        return self.waiting + [line for shelf in self.shelves for line in shelf]

    @rule(level=st.sampled_from(LEVELS), count=st.integers(1, 12), size=st.sampled_from([0, 0, 100, 3_000]))
    def log(self, level, count, size):
        for _ in range(count):
            line = make_line(self.entered, level, size=size)
            if not self.stores.queue.put(line, level):
                if not self.make_room(line, level):
                    return
                self.stores.queue.put_beyond(line, level)
            self.entered += 1
            self.waiting.append(line)

    def make_room(self, line, level):
        has_room = self.stores.backlog.make_room(len(line), level)
        there = set(everything(self.stores))
        for lower in range(class_of(level)):
            for store in (self.waiting, self.shelves[lower]):
                self.note_evicted(store, lower, there)
        assert [other for other in self.waiting_anywhere if other not in there] == []
        lower = [other for other in self.waiting_anywhere if class_of_line(other) < class_of(level)]
        assert has_room == self.stores.queue.has_room(len(line), level)
        assert has_room or not lower or len(line) > self.stores.queue.max_bytes
        return has_room

    def note_evicted(self, store, severity_class, there):
        """Note the lines of a class that are gone from a store: the newest, after all that matter less."""
        for line in [other for other in reversed(store) if class_of_line(other) == severity_class]:
            if line in there:
                break
            store.remove(line)
            self.evicted += 1
            assert not [other for other in self.waiting_anywhere if class_of_line(other) < severity_class]
            assert store is self.waiting or not [
                other for other in self.waiting if class_of_line(other) == severity_class
            ]

    @rule(max_lines=st.integers(1, 20), max_bytes=st.integers(1, 3_000))
    def take_new(self, max_lines, max_bytes):
        batch = self.stores.queue.take(max_lines=max_lines, max_bytes=max_bytes)
        taken = [] if batch is None else batch.lines
        assert taken == self.waiting[: len(taken)]
        assert bool(taken) == bool(self.waiting)
        del self.waiting[: len(taken)]
        self.flying += [taken] * bool(taken)

    @rule(max_lines=st.integers(1, 20), max_bytes=st.integers(1, 3_000), overhead=st.integers(0, 41))
    def take_stored(self, max_lines, max_bytes, overhead):
        taken = self.stores.backlog.take(max_lines=max_lines, max_bytes=max_bytes, line_overhead=overhead)
        assert bool(taken) == any(self.shelves)
        assert len(taken) <= max_lines
        assert len(taken) <= 1 or sum(len(line) + overhead for line in taken) <= max_bytes
        for line in taken:
            assert self.shelves[class_of_line(line)].pop(0) == line
        self.flying += [taken] * bool(taken)

    @precondition(lambda self: self.flying)
    @rule(which=st.integers(0, 9))
    def finish(self, which):
        lines = self.flying.pop(which % len(self.flying))
        self.stores.queue.finish(lines)
        self.finished += len(lines)

    @precondition(lambda self: self.flying)
    @rule(which=st.integers(0, 9), is_first=st.booleans())
    def keep(self, which, is_first):
        lines = self.flying.pop(which % len(self.flying))
        (self.stores.backlog.add_front if is_first else self.stores.backlog.add)(lines)
        for _, stored in self.marks if not is_first else ():
            stored.difference_update(lines)  # they have left, and have come again
        for severity_class, shelf in enumerate(self.shelves):
            group = [line for line in lines if class_of_line(line) == severity_class]
            shelf[:] = group + shelf if is_first else shelf + group

    @rule(severity_class=st.integers(0, 3), is_stored=st.booleans())
    def evict(self, severity_class, is_stored):
        found = [line for line in self.waiting if class_of_line(line) == severity_class]
        if is_stored:
            found = self.shelves[severity_class]
        is_there = bool(found) and severity_class < MOST_SEVERE
        store = self.stores.backlog if is_stored else self.stores.queue
        assert store.evict(severity_class) == is_there
        if is_there:
            self.evicted += 1
            (found if is_stored else self.waiting).remove(found[-1])

    @rule(max_lines=st.sampled_from([9, 60, 200]), max_bytes=st.sampled_from([4_000, 12_000]))
    def fit(self, max_lines, max_bytes):
        self.stores.queue.max_lines, self.stores.queue.max_bytes = max_lines, max_bytes

    @rule()
    def mark(self):
        stored = {line for shelf in self.shelves for line in shelf}
        self.marks.append((self.stores.backlog.next_number, stored))

    @invariant()
    def each_line_is_where_it_must_be(self):
        assert [line for line in self.stores.queue._lines if line is not None] == self.waiting

    @invariant()
    def the_counts_agree(self):
        queue, stowed = self.stores.queue, sum(map(len, self.shelves))
        flying = sum(map(len, self.flying))
        assert queue.books() == (self.entered, len(self.waiting), flying, stowed)
        assert self.entered == self.finished + self.evicted + len(self.waiting) + flying + stowed
        assert self.stores.backlog.lines == stowed
        assert queue.held_lines == len(self.waiting) + flying + stowed
        assert self.stores.lost.get(Drop.QUEUE_FULL, 0) == self.evicted

    @invariant()
    def the_bytes_agree(self):
        queue, backlog = self.stores.queue, self.stores.backlog
        loose = self.waiting + [line for lines in self.flying for line in lines]
        assert queue.held_bytes == sum(map(len, loose)) + backlog.held_bytes
        assert queue.bytes_waiting == sum(map(len, self.waiting))
        blocks = [block for shelf in backlog._shelves for block in shelf]
        held = sum(
            block.held_bytes if block.packed else sum(map(block.held, block.lines)) for block in blocks
        )
        assert backlog.held_bytes == held <= sum(len(line) + 40 for shelf in self.shelves for line in shelf)

    @invariant()
    def what_came_before_a_mark_has_left_once_it_is_passed(self):
        there = {line for shelf in self.shelves for line in shelf}
        for mark, stored in self.marks:
            assert self.stores.backlog.oldest_number < mark or not stored & there

    def teardown(self):
        taken = self.stores.take_all()
        for severity_class, shelf in enumerate(self.shelves):
            assert [line for line in taken if class_of_line(line) == severity_class] == shelf


StoresMachine.TestCase.settings = settings(deadline=None, max_examples=80, stateful_step_count=50)
TestStores = StoresMachine.TestCase


# Threads and interruptions


class Traffic:
    """Threads that log, and the worker's doings."""

    def __init__(self):
        self.stores = Storage(max_lines=200, block_bytes=3_000)
        self.put, self.refused, self.seen = [], [], []
        self.rounds = 0

    def log(self, name):
        for number in range(1_500):
            level = LEVELS[(number * 7 + name) % 4]
            line = make_line(name * 10_000 + number, level)
            if self.stores.queue.put(line, level):
                self.put.append(line)
            elif self.stores.backlog.make_room(len(line), level):
                self.stores.queue.put_beyond(line, level)
                self.put.append(line)
            else:
                self.refused.append(line)

    def work(self):
        """Do what one thread at a time may: take and add."""
        self.rounds += 1
        batch = self.stores.queue.take(max_lines=30, max_bytes=1 << 20)
        if batch is not None:
            self.stores.backlog.add(batch.lines)
        taken = self.stores.backlog.take(max_lines=self.rounds % 40, max_bytes=1 << 20)
        if self.rounds % 3:
            self.stores.backlog.add_front(taken)
        else:
            self.stores.queue.finish(taken)
            self.seen += taken

    def end(self):
        rest = self.stores.flying([])
        self.stores.queue.finish(rest)
        self.seen += rest + self.stores.take_all()


def test_five_threads_log_and_make_room_while_the_worker_moves_lines_and_all_is_accounted_for():
    traffic = Traffic()
    threads = [threading.Thread(target=traffic.log, args=(name,)) for name in range(5)]
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        for thread in threads:
            thread.start()
        while any(thread.is_alive() for thread in threads):
            traffic.work()
    finally:
        sys.setswitchinterval(before)
    traffic.end()
    put, seen, stores = set(traffic.put), set(traffic.seen), traffic.stores
    assert len(seen) == len(traffic.seen) == len(traffic.put) - stores.lost.get(Drop.QUEUE_FULL, 0)
    assert seen <= put
    assert ERROR not in {level_of(line) for line in put - seen}
    assert len(traffic.put) + len(traffic.refused) == 5 * 1_500
    assert (stores.queue.held_lines, stores.queue.held_bytes, stores.backlog.held_bytes) == (0, 0, 0)


class Scene:
    """Queue and backlog in the middle of their life."""

    def __init__(self):
        self.stores = Storage(block_bytes=500)
        self.put = numbered(12, DEBUG) + numbered(3, INFO, start=12)
        self.stores.add(self.put)
        self.out, self.extra = [], self.stores.flying(numbered(4, DEBUG, start=90))
        self.put += self.extra

    def add(self):
        extra, self.extra = self.extra, []
        self.stores.backlog.add(extra)

    def add_front(self):
        extra, self.extra = self.extra, []
        self.stores.backlog.add_front(extra)

    def take(self):
        self.out += self.stores.backlog.take(max_lines=5, max_bytes=1 << 20)

    def evict(self):
        self.stores.backlog.evict(0)

    def check(self):
        entered, waiting, in_flight, stowed = self.stores.queue.books()
        evicted = self.stores.lost.get(Drop.QUEUE_FULL, 0)
        assert entered == len(self.put) == waiting + in_flight + stowed + evicted
        rest = self.stores.take_all() + self.extra
        seen = self.out + rest
        assert len(set(seen)) == len(seen) == len(self.put) - evicted
        assert set(seen) <= set(self.put)
        self.stores.queue.finish(self.out + self.extra)
        assert (self.stores.queue.held_lines, self.stores.queue.held_bytes) == (0, 0)


@pytest.mark.parametrize("act", [Scene.add, Scene.add_front, Scene.take, Scene.evict])
@pytest.mark.parametrize("interrupt", [Scene.add, Scene.take, Scene.evict])
def test_whatever_interrupts_a_call_nothing_is_lost_or_counted_twice(act, interrupt):
    for scene in each_interruption(Scene, act, interrupt):
        scene.check()


def test_an_eviction_in_the_middle_of_a_take_hides_no_other_line():
    def make():
        scene = Scene()
        scene.take()
        scene.out += scene.stores.backlog.take(max_lines=6, max_bytes=1 << 20)
        return scene

    for scene in each_interruption(make, Scene.take, Scene.evict):
        assert len(scene.out) > 11
        scene.check()


def test_an_exception_of_a_signal_handler_ends_an_eviction_and_spoils_nothing():
    for scene in each_exception(Scene, Scene.evict):
        scene.evict()
        scene.check()


def test_whoever_interrupts_an_eviction_keeps_nobody_from_adding_and_taking():
    def wait_for_the_worker(scene):
        worker = threading.Thread(target=lambda: (scene.add(), scene.take()))
        worker.start()
        worker.join(10.0)
        assert not worker.is_alive()

    for scene in each_interruption(Scene, Scene.evict, wait_for_the_worker):
        scene.check()
