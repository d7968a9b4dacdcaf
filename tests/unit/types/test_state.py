import copy
import pickle

import numpy as np
import pytest

from fedanomaly.errors import MessageError, VersionError
from fedanomaly.types import Reader, State, item, item_int

STATE = State("some", 2, {"b": 0.1, "a": [1, "x"]}, {"m": np.arange(6).reshape(2, 3), "k": np.array([-(1 << 62)])})


def test_bytes_read_back_to_the_same_bytes():
    again = State.from_bytes(STATE.to_bytes())
    assert again.to_bytes() == STATE.to_bytes()
    assert again["m"].tolist() == [[0, 1, 2], [3, 4, 5]]
    assert (again.detector, again.version, dict(again.params)) == ("some", 2, {"a": [1, "x"], "b": 0.1})


def test_order_of_names_does_not_matter():
    turned = State("some", 2, {"a": [1, "x"], "b": 0.1}, {"k": STATE["k"], "m": STATE["m"]})
    assert turned.to_bytes() == STATE.to_bytes()


def test_arrays_cannot_be_changed_from_outside():
    mine = np.zeros(2, dtype=np.int64)
    state = State("some", 1, {}, {"a": mine})
    mine[0] = 5
    assert state["a"].tolist() == [0, 0]
    with pytest.raises(ValueError, match="read-only"):
        state["a"][0] = 1


def test_a_name_is_set_once():
    with pytest.raises(ValueError, match="already set"):
        STATE.with_arrays(m=np.zeros(1))
    assert "n" in STATE.with_arrays(n=np.zeros(1))


def test_copies_go_through_the_canonical_bytes():
    # scikit-learn's clone, joblib and process pools copy fitted detectors.
    assert copy.deepcopy(STATE).to_bytes() == STATE.to_bytes()
    assert pickle.loads(pickle.dumps(STATE)).to_bytes() == STATE.to_bytes()  # noqa: S301 - our own bytes


def test_no_json_and_no_arrays_are_refused():
    with pytest.raises(MessageError):
        State.from_bytes(STATE.to_bytes().replace(b'{"a"', b'["a"', 1))
    with pytest.raises(MessageError, match="not a state"):
        State.from_bytes(item("version", b"fedanomaly/1") + item("label", b"step"))


def test_every_shortened_or_changed_state_is_refused_or_another():
    data = STATE.to_bytes()
    for cut in range(len(data)):
        with pytest.raises(MessageError):
            State.from_bytes(data[:cut])
    for at in range(len(data)):
        changed = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
        try:
            assert State.from_bytes(changed).to_bytes() == changed
        except (MessageError, VersionError):
            continue


def test_a_later_format_is_told_apart():
    first = item_int("format", 1)
    with pytest.raises(VersionError):
        State.from_bytes(STATE.to_bytes().replace(first, item_int("format", 9), 1))


def test_reader_takes_items_in_order_and_nothing_else():
    reader = Reader(item("a", b"xy") + item_int("b", 7))
    assert (reader.item("a"), reader.int("b"), reader.done) == (b"xy", 7, True)
    reader.end()
    for bad in (b"", b"\x01a", item("b", b""), item("a", b"x")[:-1]):
        with pytest.raises(MessageError):
            Reader(bad).item("a")
    with pytest.raises(MessageError, match="follow"):
        Reader(item("a", b"")).end()
    with pytest.raises(MessageError, match="wrong length"):
        Reader(item("a", b"x")).hash("a")
    with pytest.raises(MessageError, match="not text"):
        Reader(item("a", b"\xff")).text("a")
