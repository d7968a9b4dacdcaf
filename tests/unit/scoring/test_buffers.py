"""Memory for batches is used again, by one at a time, and not hoarded."""

from __future__ import annotations

from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.scoring.buffers import Buffers


def test_what_came_back_is_lent_again():
    buffers = Buffers(2)
    with buffers.lend(100) as first:
        pass
    with buffers.lend(100) as again, buffers.lend(100) as other:
        assert again is first
        assert other is not first


def test_it_comes_back_from_an_error_as_well():
    buffers, lent = Buffers(1), []

    def fail() -> None:
        with buffers.lend(100) as piece:
            lent.append(piece)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    with buffers.lend(100) as again:
        assert again is lent[0]


@given(sizes=st.lists(st.integers(1, 4), max_size=30), most=st.integers(1, 4))
def test_no_piece_is_lent_twice_at_a_time_and_few_wait(sizes, most):
    buffers = Buffers(most)
    for _ in range(2):
        with ExitStack() as held:
            lent = [held.enter_context(buffers.lend(size)) for size in sizes]
            assert [len(piece) for piece in lent] == sizes
            assert len({id(piece) for piece in lent}) == len(sizes)
        assert len(buffers._free) <= most
