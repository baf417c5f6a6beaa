"""Whatever an application may log."""

import logging

from hypothesis import strategies as st

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([2**31, -(2**31) - 1, 2**63, 2**64 - 1, -(2**63) - 1, 10**400])
    | st.floats()
    | st.text(st.characters(), max_size=30)
    | st.text('\ud800\u2028\u2029\x85\r\n\x00\x1e\\"é', max_size=20)
    | st.binary(max_size=20)
    | st.datetimes()
    | st.decimals()
    | st.uuids()
    | st.sampled_from([object(), ValueError("x"), logging, type, ..., range(3), {1, 2}, 1j])
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
)
