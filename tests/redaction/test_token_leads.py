"""What a token could begin with is found in any text: a template that has it is looked at each time."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hublog.redaction.token_patterns import _FORMS, _ISSUED, holds_lead

LEADS = sorted({token.lead for token in _FORMS + _ISSUED})


@pytest.mark.parametrize("text", ["{}", "order {} of", "aa{}", "{}{}", "\u20ac{}\u20ac"])
def test_every_lead_is_found_wherever_it_stands(text):
    assert [lead for lead in LEADS if not holds_lead(text.replace("{}", lead))] == []


@given(st.lists(st.sampled_from(LEADS).flatmap(lambda lead: st.sampled_from([lead, lead[:-1], " ", "x"]))))
def test_it_is_what_a_search_for_each_of_them_finds(parts):
    text = "".join(parts)
    assert holds_lead(text) == any(lead in text for lead in LEADS)
