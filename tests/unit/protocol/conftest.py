from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from fedanomaly.protocol import Settings
from fedanomaly.simulation import Federation, Party
from tests.unit.protocol.toy import ToyLearner, toy_rows


@pytest.fixture
def federation() -> Iterator[Callable[..., Federation]]:
    """Make federations of toy learners; they are closed at the end of the test."""
    made: list[Federation] = []

    def make(members: int = 3, threshold: int = 2, *, enrol: bool = True, **settings: float) -> Federation:
        learners = [ToyLearner(toy_rows(index)) for index in range(members)]
        parties = [Party(f"org-{index}", lambda _, own=own: own) for index, own in enumerate(learners)]
        made.append(Federation(Settings(name="toy", members=members, threshold=threshold, **settings), parties))
        if enrol:
            made[-1].enrol()
        return made[-1]

    yield make
    for entry in made:
        entry.close()
