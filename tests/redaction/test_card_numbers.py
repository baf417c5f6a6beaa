import pytest

from hublog.redaction.card_numbers import find_cards, may_hold_card


@pytest.mark.parametrize(
    "gap", ["", *" -._/", "  ", "   ", "    ", *"\u00a0\u00b7\u2009\u202f\u2010\u2011\u2012\u2013\u2014"]
)
@pytest.mark.parametrize("groups", [("4111", "1111", "1111", "1111"), ("3782", "822463", "10005")])
def test_a_card_number_is_expected_in_each_text_that_has_one(gap, groups):
    text = f"card {gap.join(groups)} declined"
    assert may_hold_card(text, text.encode())
    assert [text[span.start : span.end] for span in find_cards(text)] == [gap.join(groups)]


@pytest.mark.parametrize(
    "text", ["2026-11-23T13:10:31.123456Z ok", "order 4711 of 2026-11-30 at 10.0.0.7 took 12"]
)
def test_times_and_addresses_are_not_searched_for_cards(text):
    assert not may_hold_card(text, text.encode())
