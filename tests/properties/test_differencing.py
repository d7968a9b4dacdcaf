"""Whatever is asked for, in whatever order: no combination of opened sums holds one honest member's rows alone."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from fedanomaly.protocol.differencing import Summed, refusal
from fedanomaly.protocol.relations import Relation
from fedanomaly.types.span import Span

PIECES = 3
"""Sets of rows of a member that have none in common; everything it sums is made up of them."""


def relations_of(pieces: dict[int, tuple[int, ...]]) -> list[Relation]:
    """Return all relations of sets of rows, by what pieces each generation is made up of."""
    span: Span[tuple[int, int]] = Span()
    for generation, parts in pieces.items():
        span.add({(0, piece): -parts.count(piece) for piece in parts} | {(1, generation): 1})
    out = []
    for row in span:
        if min(row)[0] == 1:
            scale = np.lcm.reduce([value.denominator for value in row.values()])
            counts = {generation: int(value * int(scale)) for (_, generation), value in row.items()}
            sides = [[key for key in sorted(counts) for _ in range(sign * counts[key])] for sign in (1, -1)]
            if all(sides):
                out.append(Relation(left=tuple(sides[0]), right=tuple(sides[1])))
    return out


@dataclass
class World:
    """Members with their sets of rows; the first t - 1 collude with the coordinator."""

    members: list[bytes]
    threshold: int
    pieces: dict[bytes, dict[int, tuple[int, ...]]]
    relations: dict[bytes, list[Relation]]

    @property
    def honest(self) -> list[bytes]:
        return self.members[self.threshold - 1 :]

    def exposed(self, opened: list[Summed]) -> list[bytes]:
        """Return the honest members of whom a combination of sums holds rows, and of no other honest one."""
        width = PIECES + 1
        rows = np.zeros((len(opened), len(self.honest) * width))
        for row, each in zip(rows, opened, strict=True):
            for at, identity in enumerate(self.honest):
                if identity in each.opened:
                    for piece in self.pieces[identity][each.generations[identity]]:
                        row[at * width + piece] += 1
        found = []
        for at, identity in enumerate(self.honest):
            others = np.delete(rows, slice(at * width, (at + 1) * width), axis=1)
            if np.linalg.matrix_rank(rows) > np.linalg.matrix_rank(others):
                found.append(identity)
        return found


@st.composite
def worlds(draw) -> World:
    threshold = draw(st.integers(2, 3))
    members = [bytes([index]) * 32 for index in range(draw(st.integers(threshold + 1, threshold + 4)))]
    sets = st.lists(st.integers(0, PIECES - 1), min_size=1, max_size=PIECES + 1).map(lambda parts: tuple(sorted(parts)))
    pieces, relations = {}, {}
    for index, identity in enumerate(members):
        distinct = draw(st.lists(sets, min_size=1, max_size=5, unique=True))
        pieces[identity] = dict(enumerate(distinct, 1))
        relations[identity] = relations_of(pieces[identity])
        if index < threshold - 1:  # whoever colludes says what suits it
            relations[identity] = [Relation(left=(1,), right=(2,))] if draw(st.booleans()) else []
    return World(members, threshold, pieces, relations)


class Play:
    """Sums that are asked for, contributed to and opened in any order, each member holding to its guard."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.asked: list[Summed] = []
        self.given: dict[int, set[bytes]] = {}
        self.history: dict[bytes, list[int]] = {identity: [] for identity in world.honest}

    def opened(self) -> list[Summed]:
        return [each for each in self.asked if each.opened]

    def contribute(self, number: int, identity: bytes) -> bool:
        told = refusal(
            self.asked[number],
            [self.asked[each] for each in self.history[identity]],
            own=identity,
            relations=self.world.relations,
            threshold=self.world.threshold,
        )
        if told is None:
            self.given[number].add(identity)
            self.history[identity].append(number)
        return told is None

    def close(self, number: int, members: frozenset[bytes]) -> None:
        self.asked[number] = replace(self.asked[number], opened=members)


def played(world: World, draw) -> Play:
    play = Play(world)
    colluders = set(world.members) - set(world.honest)
    for _ in range(draw(st.integers(2, 12))):
        pending = [number for number, each in enumerate(play.asked) if each.opened is None]
        if not pending or draw(st.integers(0, 2)) == 0:
            joined = draw(st.lists(st.sampled_from(world.members), min_size=1, unique=True))
            joined = sorted({*joined, *world.members[: world.threshold + 1]}) if draw(st.booleans()) else sorted(joined)
            if len(joined) <= world.threshold:
                joined = world.members[:]
            generations = tuple(
                (identity, draw(st.sampled_from(sorted(world.pieces[identity])))) for identity in joined
            )
            fixed = frozenset(joined) if draw(st.booleans()) else frozenset()
            play.given[len(play.asked)] = set()
            play.asked.append(Summed(joined=generations, fixed=fixed))
            pending.append(len(play.asked) - 1)
        number = draw(st.sampled_from(pending))
        asked = play.asked[number]
        for identity in draw(st.permutations(sorted(asked.generations))):
            if identity in play.history and identity not in play.given[number] and draw(st.integers(0, 4)):
                play.contribute(number, identity)
        there = play.given[number] | (colluders & asked.generations.keys())
        if draw(st.integers(0, 3)) and len(there) > world.threshold and (not asked.fixed or there == asked.fixed):
            play.close(number, frozenset(there))
        elif draw(st.integers(0, 5)) == 0:
            play.close(number, frozenset())
    return play


@settings(max_examples=300)
@given(st.data())
def test_no_combination_of_opened_sums_holds_the_rows_of_one_honest_member(data):
    world = data.draw(worlds())
    play = played(world, data.draw)
    assert world.exposed(play.opened()) == []
