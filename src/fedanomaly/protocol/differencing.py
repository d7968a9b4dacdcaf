"""The guard against differencing: which sum may open, given those that opened over the same rows.

Opened sums are vectors: a coordinate for every set of rows of every member. Who
has them has all of their linear combinations, so none of these may hold rows of
one member alone, nor of one and of up to t - 1 others who collude with the
coordinator. Every member watches over the sums that it contributed to, whatever
the statistic is called. It lets another one open if

1. what it adds itself is not made up of what it added before: then no
   combination of sums cancels its own part; or
2. the whole sum is made up of sums that opened: then it tells nothing new; or
3. every earlier sum that its rows are part of opened over the very set that is
   fixed now, and at least t + 1 members of that set add rows that are not made
   up of what this member saw them add. These cannot all be cancelled either.

Why this is enough. Take a combination that leaves the rows of at most one honest
member, and in it the sum that opened last. All other honest members of that sum
are cancelled, so they let it pass by 2 or 3. By 2 it can be replaced by sums that
opened earlier. If all went by 3, look at the one of them that contributed last. A
sum that could cancel another one of them was over this same set, and certified
before that one contributed; so this one saw it too, and whom it counted as new
cannot be cancelled. Of t + 1 such members at least two are honest.

What is made up of what follows from relations (`protocol.relations`), which each
member says of its own rows with every job. A lie there exposes the liar only.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from fedanomaly.errors import CapacityError
from fedanomaly.fhe import Manifest
from fedanomaly.protocol.relations import Relation
from fedanomaly.protocol.rounds import Round
from fedanomaly.types.span import Span

NOT_CERTIFIED = "an earlier sum over the same rows is not certified yet"
ANOTHER_SET = "a sum over these rows and another set was opened before"

MOST_COEFFICIENTS = 300_000
"""So much arithmetic, a few seconds, is spent on relations that a member may have made up to keep others busy."""

Relations = Mapping[bytes, Collection[Relation]]
"""By identity."""
Vector = dict[tuple[bytes, int], int]


@dataclass(frozen=True, kw_only=True)
class Summed:
    """One sum, as far as a member knows what became of it.

    Parameters
    ----------
    joined : tuple of (bytes, int)
        Identity and generation of everyone who may be in it, by identity.
    fixed : frozenset of bytes
        The set that it may open over; empty: any of the joined ones.
    opened : frozenset of bytes or None
        The set that it opened over, empty if it is void; None: not certified.
    """

    joined: tuple[tuple[bytes, int], ...]
    fixed: frozenset[bytes]
    opened: frozenset[bytes] | None = None

    @property
    def generations(self) -> dict[bytes, int]:
        """Generation by identity."""
        return dict(self.joined)

    @property
    def may_hold(self) -> dict[bytes, int]:
        """Generation by identity of everyone whose rows may be in it, or are."""
        members = self.fixed if self.opened is None else self.opened
        return {identity: each for identity, each in self.joined if identity in members or members == frozenset()}

    def vector(self, members: frozenset[bytes]) -> Vector:
        """Return it as a vector, over a set of members."""
        return {(identity, generation): 1 for identity, generation in self.joined if identity in members}


def summed_of(manifest: Manifest, identities: Sequence[bytes], view: Round | None) -> Summed:
    """Return who joined a sum with which rows, and what is certified of it.

    Parameters
    ----------
    manifest : Manifest
        Of the sum.
    identities : sequence of bytes
        Of the roster.
    view : Round or None
        The round with its statements, where there are some.
    """
    certificate = view.certificate() if view else None
    return Summed(
        joined=tuple((identities[join.member - 1], join.generation) for join in manifest.joins),
        fixed=frozenset(identities[index - 1] for index in manifest.fixed),
        opened=frozenset(identities[index - 1] for index in certificate.contributors) if certificate else None,
    )


def refusal(
    asked: Summed, earlier: Sequence[Summed], *, own: bytes, relations: Relations, threshold: int
) -> str | None:
    """Return why a member does not contribute to a sum, or None if it may.

    Parameters
    ----------
    asked : Summed
        The sum.
    earlier : sequence of Summed
        All that the member contributed to before.
    own : bytes
        The member's identity.
    relations : mapping of bytes to sequence of Relation
        What is known of everyone's sets of rows.
    threshold : int
        t.
    """
    live = [each for each in dict.fromkeys(earlier) if each.opened is None or own in each.opened]
    rows = asked.generations[own]
    if not _is_new(rows, own, live, relations):
        linked = _linked(rows, relations.get(own, ()))
        before = [each for each in live if each.generations[own] in linked]
        if any(each.opened is None for each in before):
            return NOT_CERTIFIED
        same_set = all(each.opened == asked.fixed for each in before)
        if not _tells_nothing(asked, live, relations) and not (
            same_set and _new_members(asked, live, relations) > threshold
        ):
            return ANOTHER_SET
    return None


def _is_new(generation: int, identity: bytes, sums: Sequence[Summed], relations: Relations) -> bool:
    """Whether rows of a member are not made up of those that it may have added to sums."""
    added = {each.may_hold[identity] for each in sums if identity in each.may_hold}
    if generation in added:
        return False
    try:
        known = Span([{each: 1} for each in sorted(added)], limit=MOST_COEFFICIENTS)
        for relation in relations.get(identity, ()):
            known.add(relation.vector())
        is_made_up = {generation: 1} in known
    except CapacityError:
        is_made_up = True  # who says so much of its rows that nobody can follow hides nobody
    return not is_made_up


def _new_members(asked: Summed, sums: Sequence[Summed], relations: Relations) -> int:
    return sum(
        _is_new(generation, identity, sums, relations)
        for identity, generation in asked.joined
        if identity in asked.fixed
    )


def _tells_nothing(asked: Summed, sums: Sequence[Summed], relations: Relations) -> bool:
    """Whether a sum over a fixed set is a combination of sums that opened."""
    if not asked.fixed:
        return False
    known: Span[tuple[bytes, int]] = Span(limit=MOST_COEFFICIENTS)
    opened = [(each, each.opened) for each in sums if each.opened]
    try:
        for each, members in opened:
            known.add(each.vector(members))
        # Last: their rows are long, and every sum would be held against them.
        for identity in asked.fixed.union(*(members for _, members in opened)):
            for relation in relations.get(identity, ()):
                known.add({(identity, generation): count for generation, count in relation.vector().items()})
        tells_nothing = asked.vector(asked.fixed) in known
    except CapacityError:
        tells_nothing = False
    return tells_nothing


def _linked(generation: int, relations: Collection[Relation]) -> set[int]:
    """Return the generations that share rows with one, as far as relations tell."""
    linked, rest = {generation}, [set(each.left) | set(each.right) for each in relations]
    while touched := [each for each in rest if not linked.isdisjoint(each)]:
        linked.update(*touched)
        rest = [each for each in rest if linked.isdisjoint(each)]
    return linked
