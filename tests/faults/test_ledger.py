import hypothesis.strategies as st
import pytest
from hypothesis import given, settings
from tests.faults.ledger import Ledger

IDS = st.lists(st.sampled_from([f"id{number}" for number in range(12)]), max_size=20)


def test_a_record_in_none_of_the_three_is_missing():
    ledger = Ledger.of(["a", "b", "c"], delivered=["a"], on_disk=["b"])
    assert (ledger.unique_delivered, ledger.stored, ledger.missing) == (1, 1, 1)
    assert ledger.gone == {"c"}


def test_a_counted_drop_accounts_for_a_record():
    ledger = Ledger.of(["a", "b"], delivered=["a"], dropped=1)
    assert (ledger.missing, ledger.overcounted) == (0, 0)


def test_a_drop_of_a_record_that_arrived_is_overcounted():
    assert Ledger.of(["a"], delivered=["a"], dropped=1).overcounted == 1


def test_a_drop_may_be_a_record_whose_request_was_not_answered():
    assert Ledger.of(["a"], uncertain=["b"], delivered=["a"], dropped=1).overcounted == 0


def test_the_second_delivery_is_a_duplicate_and_not_a_second_record():
    ledger = Ledger.of(["a", "b"], delivered=["a", "a", "a"])
    assert (ledger.unique_delivered, ledger.duplicates, ledger.missing) == (1, 2, 1)


def test_a_delivered_record_that_is_still_on_disk_counts_once():
    ledger = Ledger.of(["a"], delivered=["a"], on_disk=["a"])
    assert (ledger.unique_delivered, ledger.stored, ledger.missing) == (1, 0, 0)


def test_a_record_that_was_set_aside_is_neither_missing_nor_overcounted():
    for dropped in (0, 1):
        ledger = Ledger.of(["a", "odd"], delivered=["a"], set_aside=["odd"], dropped=dropped)
        assert (ledger.missing, ledger.overcounted) == (0, 0)


def test_a_record_that_nobody_accepted_is_unconfirmed():
    assert Ledger.of(["a"], uncertain=["b"], delivered=["a", "b", "c"]).unconfirmed == {"c"}


@settings(deadline=None)
@given(IDS, IDS, IDS, st.integers(0, 20))
def test_the_three_and_what_is_missing_add_up_to_what_was_accepted(accepted, delivered, on_disk, dropped):
    ledger = Ledger.of(accepted, delivered=delivered, on_disk=on_disk, dropped=dropped)
    explained = ledger.unique_delivered + ledger.stored + dropped
    assert explained + ledger.missing - ledger.overcounted == len(set(accepted))


@pytest.mark.parametrize("taken", range(5))
def test_no_record_can_be_taken_from_a_delivery_unseen(taken):
    ids = [f"id{number}" for number in range(5)]
    without = ids[:taken] + ids[taken + 1 :]
    assert Ledger.of(ids, delivered=without).gone == {ids[taken]}
