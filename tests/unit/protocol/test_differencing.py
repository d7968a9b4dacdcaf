"""What may open after what: the guard against differencing as a function."""

from __future__ import annotations

import numpy as np
import pytest

from fedanomaly.errors import CapacityError, MessageError
from fedanomaly.protocol.differencing import ANOTHER_SET, NOT_CERTIFIED, Summed, refusal
from fedanomaly.protocol.relations import MAX_TERMS, Relation, read_relations, write_relations

GROWN = Relation(left=(1, 2), right=(3,))


def of(members: str, generation: int | dict[str, int] = 1, *, fixed: bool = True, opened: str | None = None) -> Summed:
    """Return a sum: everybody is a letter."""
    rows = generation if isinstance(generation, dict) else dict.fromkeys(members, generation)
    everyone = frozenset(name.encode() for name in members)
    return Summed(
        joined=tuple((name.encode(), rows[name]) for name in members),
        fixed=everyone if fixed else frozenset(),
        opened=None if opened is None else frozenset(name.encode() for name in opened),
    )


def told(asked: Summed, *earlier: Summed, own: str = "a", relations=None, threshold: int = 2) -> str | None:
    known = {name.encode(): list(each) for name, each in (relations or {}).items()}
    return refusal(asked, earlier, own=own.encode(), relations=known, threshold=threshold)


def opened(members: str, generation: int | dict[str, int] = 1) -> Summed:
    return of(members, generation, opened=members)


EVERYONE_GREW = dict.fromkeys("abcdefgh", (GROWN,))


def test_new_rows_open_with_anybody():
    assert told(of("abc", 2, fixed=False), opened("abcd")) is None


def test_the_same_sum_opens_again_and_no_other_set_does():
    assert told(of("abcd"), opened("abcd")) is None
    assert told(of("abc"), opened("abcd")) == ANOTHER_SET
    assert told(of("abcde"), opened("abcd")) == ANOTHER_SET
    assert told(of("abcd", fixed=False), opened("abcd")) == ANOTHER_SET


def test_void_sums_and_sums_without_this_member_count_for_nothing():
    assert told(of("abc"), of("abcd", opened="")) is None
    assert told(of("abc"), of("abcd", fixed=False, opened="bcd")) is None


def test_what_may_still_open_counts():
    assert told(of("abc"), of("abcd")) == NOT_CERTIFIED
    assert told(of("abc", 3), of("abcd", 1), opened("abcd", 2), relations=EVERYONE_GREW) == NOT_CERTIFIED


@pytest.mark.parametrize(("new", "expected"), [("", None), ("b", ANOTHER_SET), ("bc", ANOTHER_SET), ("bcd", None)])
def test_of_the_same_set_nobody_or_more_than_t_have_new_rows(new, expected):
    rows = {name: 2 if name in new else 1 for name in "abcd"}
    assert told(of("abcd", rows), opened("abcd")) == expected


def test_two_sets_and_one_member_more_are_no_set_to_open():
    """Less the first two, this sum is the rows of i alone: many members that are new to a, and known to others."""
    assert told(of("abcdefghi"), opened("abcd")) == ANOTHER_SET
    assert told(of("abcdefghi"), opened("efgh"), own="e") == ANOTHER_SET


def test_two_sets_that_were_summed_in_parts_and_one_member_more_are_no_set_to_open():
    assert told(of("abcdefghi", 3), opened("abcd", 1), opened("abcd", 2), relations=EVERYONE_GREW) == ANOTHER_SET


def test_parts_and_the_whole_over_one_set_tell_nothing_new_in_any_order():
    for parts, whole in (((1, 2), 3), ((3, 1), 2), ((2, 3), 1)):
        sums = [opened("abcd", part) for part in parts]
        assert told(of("abcd", whole), *sums, relations=EVERYONE_GREW) is None
        assert told(of("abc", whole), *sums, relations=EVERYONE_GREW) == ANOTHER_SET
        # The guard of who does not know how rows are made up takes them for new ones; it is told, or refuses.
        assert told(of("abc", whole), *sums) is None


def test_one_member_that_adds_something_else_to_a_whole_would_be_the_difference():
    rows = dict.fromkeys("abc", 3) | {"d": 4}
    assert told(of("abcd", rows), opened("abcd", 1), opened("abcd", 2), relations=EVERYONE_GREW) == ANOTHER_SET


def test_differences_of_more_than_two_sums_are_seen():
    """Each two of these four sums differ in more than t members; together all cancel but i."""
    first = dict.fromkeys("abcdefghi", 1)
    second = first | dict.fromkeys("bcdefg", 2)
    third = first | dict.fromkeys("bcd", 2)
    fourth = first | dict.fromkeys("efg", 2) | {"i": 2}
    sums = [opened("abcdefghi", rows) for rows in (first, second, third)]
    assert told(of("abcdefghi", fourth), *sums) == ANOTHER_SET


@pytest.mark.parametrize(
    "relation", [((), (1,)), ((1,), ()), ((2, 1), (3,)), ((1, 2), (2, 3)), ((0, 1), (2,)), ((1,), (1,))]
)
def test_malformed_relations_are_refused(relation):
    with pytest.raises(MessageError):
        Relation(left=relation[0], right=relation[1])


def test_relations_have_one_written_form():
    both = [GROWN, Relation(left=(1, 1), right=(4,))]
    written = write_relations(both)
    assert write_relations(reversed(both)) == written
    assert set(read_relations(written)) == set(both)
    assert read_relations(b"") == ()
    singles = sorted(each.to_bytes() for each in both)
    for wrong in (b"".join(reversed(singles)), singles[0] * 2, written + b"\0", written[:-1]):
        with pytest.raises(MessageError):
            read_relations(wrong)


def test_relations_name_so_many_sets_at_most():
    many = Relation(left=tuple(range(2, MAX_TERMS + 1)), right=(1,))
    assert read_relations(many.to_bytes()) == (many,)
    with pytest.raises(CapacityError, match="in parts and together so often"):
        write_relations([many, GROWN])
    with pytest.raises(MessageError, match="more than"):
        read_relations(b"".join(sorted(each.to_bytes() for each in (many, GROWN))))


def test_who_makes_up_relations_keeps_nobody_busy():
    rng = np.random.default_rng(1)
    made_up = []
    while len(made_up) < MAX_TERMS // 8:
        left, right = (tuple(sorted(rng.integers(1, 900, size=4).tolist())) for _ in range(2))
        if not set(left) & set(right):
            made_up.append(Relation(left=left, right=right))
    assert read_relations(write_relations(set(made_up)))
    again = Relation(left=(1,), right=(2,))
    assert told(of("abcd"), opened("abcd", 2), relations={"b": made_up, "a": [again]}) == ANOTHER_SET
    # Its own sums follow from its own rows; and of members that are new to all, it is none.
    assert told(of("abcd", 3), opened("abcd", 2), relations={"b": made_up, "a": [again]}) is None
    three = dict.fromkeys("acd", 5) | {"b": 950, "e": 2}
    assert told(of("abcde", three), opened("abcde", 2), own="e", relations={"b": made_up}) is None
    two = {"a": 5, "c": 5, "d": 2, "e": 2, "b": 950}
    assert told(of("abcde", two), opened("abcde", 2), own="e", relations={"b": made_up}) == ANOTHER_SET


def test_ten_years_of_daily_rows_that_were_summed_each_day_and_together_are_told_in_time():
    days = range(1, 3651)
    whole = Relation(left=tuple(days), right=(4000,))
    relations = dict.fromkeys("abcd", (whole,))
    sums = [opened("abcd", day) for day in days]
    assert told(of("abcd", 4000), *sums, relations=relations) is None
    assert told(of("abc", 4000), *sums, relations=relations) == ANOTHER_SET
