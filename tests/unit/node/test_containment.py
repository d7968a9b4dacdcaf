"""Sets of rows that make up other sets of rows, found by their digests."""

from __future__ import annotations

import hashlib

import pytest

from fedanomaly.node.containment import relations_among
from fedanomaly.node.row_digest import RowDigest
from fedanomaly.protocol import Relation


def digest(rows: str) -> bytes:
    out = RowDigest()
    out.add([hashlib.sha256(row.encode()).digest() for row in rows])
    return out.digest


def relations(asked, **sets):
    """Return relations of sets of rows, each named by its rows; numbers count from 1 in the order given."""
    return set(relations_among(asked, {digest(rows): generation for rows, generation in sets.items()}))


@pytest.mark.parametrize(
    ("sets", "asked", "expected"),
    [
        ({"ab": 1, "cd": 2, "abcd": 3}, {1, 2, 3}, {Relation(left=(1, 2), right=(3,))}),
        ({"cd": 1, "abcd": 2, "ab": 3}, {1, 2, 3}, {Relation(left=(1, 3), right=(2,))}),
        ({"ab": 1, "cd": 2, "dcab": 3}, {1, 2, 3}, {Relation(left=(1, 2), right=(3,))}),
        ({"ab": 1, "cd": 2, "abcd": 3}, {1, 3}, set()),
        ({"ab": 1, "bc": 2, "abc": 3}, {1, 2, 3}, set()),
        ({"ab": 1, "abab": 2}, {1, 2}, {Relation(left=(1, 1), right=(2,))}),
        # What is between was never summed, and does not show.
        (
            {"a": 1, "b": 2, "ab": 3, "c": 4, "abc": 5, "d": 6, "abcd": 7},
            {1, 2, 4, 6, 7},
            {Relation(left=(1, 2, 4, 6), right=(7,))},
        ),
        # One file, held out in two ways: 0 is the file as a whole.
        ({"ab": 1, "cd": 2, "abc": 3, "d": 4, "abcd": 0}, {1, 2, 3, 4}, {Relation(left=(1, 2), right=(3, 4))}),
        # Wholes that two parts lead to by two ways.
        ({"a": 1, "bc": 2, "ab": 3, "c": 4, "abc": 5}, {1, 2, 3, 4}, {Relation(left=(1, 2), right=(3, 4))}),
        ({}, {1}, set()),
        ({"a": 1}, {1}, set()),
    ],
)
def test_relations_follow_from_digests(sets, asked, expected):
    assert relations(asked, **sets) == expected


def test_a_set_of_two_digests_is_one_set():
    """Rows with and without a column of labels: one generation, two digests."""
    two = {digest("ab"): 1, digest("AB"): 1, digest("cd"): 2, digest("abcd"): 3, digest("ABcd"): 3}
    assert set(relations_among({1, 2, 3}, two)) == {Relation(left=(1, 2), right=(3,))}


def test_no_rows_are_part_of_nothing():
    assert relations_among({1, 2}, {digest(""): 1, digest("ab"): 2}) == ()
