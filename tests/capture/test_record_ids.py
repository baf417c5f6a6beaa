import threading
import uuid

from hypothesis import given
from hypothesis import strategies as st

from hublog.line import RecordIds


def full(made):
    prefix, sequence = made
    return (prefix + b"%08x" % (sequence & 0xFFFF_FFFF)).decode()


@given(st.integers(0, (1 << 48) - 1), st.binary(min_size=6, max_size=6))
def test_an_id_is_a_uuid_of_version_7_with_the_records_millisecond(milliseconds, entropy):
    found = uuid.UUID(full(RecordIds(entropy=lambda size: entropy).next(milliseconds)))
    assert (found.version, found.variant) == (7, uuid.RFC_4122)
    assert found.int >> 80 == milliseconds


def test_numbers_have_no_gap_and_ids_do_not_repeat_in_eight_threads():
    ids, made = RecordIds(), []

    def work():
        for _ in range(2_000):
            made.append(ids.next(1_000_000))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(sequence for _, sequence in made) == list(range(1, 16_001))
    assert len({full(item) for item in made}) == 16_000


def test_two_processes_do_not_meet():
    first, second = (full(RecordIds().next(1_000_000)) for _ in range(2))
    assert first != second


def test_ids_sort_by_time():
    ids = RecordIds()
    made = [full(ids.next(moment)) for moment in (1_000, 1_001, 2_500, 1_000_000_000)]
    assert made == sorted(made)
