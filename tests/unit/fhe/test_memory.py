"""Memory for kernels has the size that was asked for and begins with a cache line."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.fhe._engine import ffi
from fedanomaly.fhe.memory import aligned


@given(st.one_of(st.integers(0, 300), st.integers(0, 1 << 21)))
def test_it_has_the_size_that_was_asked_for_and_is_empty(size):
    data = aligned(size)
    assert len(data) == size
    assert not any(data)


@pytest.mark.skipif(sys.implementation.name != "cpython", reason="others may move what remains")
@given(st.integers(2 * 64, 1 << 21))
def test_it_begins_with_a_cache_line(size):
    data = aligned(size)
    with ffi.from_buffer(data) as view:
        assert int(ffi.cast("uintptr_t", view)) % 64 == 0
