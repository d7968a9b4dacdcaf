"""What parses as an encrypted model re-serialises to the same bytes; everything else is one of our errors."""

import os

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.errors import MessageError
from fedanomaly.fhe.hidden import EncryptedModel
from fedanomaly.fhe.model_key import encrypt_model

BOUNDED = settings(max_examples=int(os.environ.get("FEDANOMALY_EXAMPLES", "25")), deadline=None)
WHOLE = encrypt_model(np.ones((1, 2)))[0].to_bytes()
HEAD = 160
"""What stands before the words, and a few of them."""


def parsed(data):
    try:
        return EncryptedModel.from_bytes(data).to_bytes()
    except MessageError:
        return None


@BOUNDED
@given(st.binary(max_size=400))
def test_any_bytes(data):
    assert parsed(data) is None


@BOUNDED
@given(st.integers(0, HEAD - 1), st.integers(0, 255))
def test_a_changed_byte(at, value):
    data = WHOLE[:at] + bytes([value]) + WHOLE[at + 1 :]
    assert parsed(data) in (None, data)


@BOUNDED
@given(st.integers(0, HEAD), st.integers(0, HEAD), st.binary(max_size=16))
def test_a_changed_piece(start, length, piece):
    data = WHOLE[:start] + piece + WHOLE[start + length :]
    assert parsed(data) in (None, data)
