"""Pickles gone through by their opcodes: every pickle ends where Python ends it, and none runs away."""

import pickle
import pickletools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quickstroke.utils.pickles import check

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=300) | st.binary(max_size=300),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(st.text(), inner),
    max_leaves=30,
)


@given(value=values, protocol=st.integers(0, 5), after=st.binary(max_size=5))
def test_any_pickle_ends_where_it_does(value: object, protocol: int, after: bytes) -> None:
    data = pickle.dumps([value, pickle.HIGHEST_PROTOCOL, OSError], protocol)
    assert check(data + after) == len(data)
    assert check(after + data, len(after)) == len(data) + len(after)
    for cut in range(0, len(data), 7):
        with pytest.raises(ValueError, match="cut off"):
            check(data[:cut])


@given(st.binary(max_size=60))
def test_any_bytes_end_as_pickletools_ends_them_or_are_refused(data: bytes) -> None:
    try:
        end = check(data)
    except ValueError as error:
        assert "its pickle" in str(error)
    else:
        assert data[end - 1 : end] == b"."


def test_every_opcode_is_known() -> None:
    for opcode in pickletools.opcodes:
        try:
            check(opcode.code.encode("latin-1"))
        except ValueError as error:
            assert "cut off" in str(error)
