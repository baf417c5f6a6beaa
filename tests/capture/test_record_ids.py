import threading
import uuid

from hypothesis import given
from hypothesis import strategies as st

from hublog.capture.record_ids import RecordIds


def full(made):
    prefix, sequence = made
    return (prefix + b"%08x" % (sequence & 0xFFFF_FFFF)).decode()


@given(st.floats(0, 4_000_000_000), st.binary(min_size=6, max_size=6))
def test_an_id_is_a_uuid_of_version_7_with_the_records_millisecond(created, entropy):
    found = uuid.UUID(full(RecordIds(entropy=lambda size: entropy).next(created)))
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == int(created * 1000)


def test_numbers_have_no_gap_and_ids_do_not_repeat_in_eight_threads():
    ids, made = RecordIds(), []

    def work():
        for _ in range(2_000):
            made.append(ids.next(1_000.0))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sequence for _, sequence in made) == list(range(1, 16_001))
    assert len({full(item) for item in made}) == 16_000


def test_two_processes_do_not_meet():
    first, second = (full(RecordIds().next(1_000.0)) for _ in range(2))
    assert first != second


def test_ids_sort_by_time():
    ids = RecordIds()
    made = [full(ids.next(moment)) for moment in (1.0, 1.001, 2.5, 1_000_000.0)]
    assert made == sorted(made)
