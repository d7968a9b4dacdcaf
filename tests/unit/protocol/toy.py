"""A small detector for protocol tests: sums a vector in two steps, the second sized by the first."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Sequence

import numpy as np

from fedanomaly.protocol import JobRequest, Relation
from fedanomaly.types import FieldSpec, State, Statistics, Step, Total

SCHEMA = hashlib.sha256(b"toy").digest()


class ToyLearner:
    def __init__(self, rows: np.ndarray, *, generation: int = 1, finite: bool = True, params: str = "{}") -> None:
        self.rows = rows
        self.generation = generation
        self.schema = SCHEMA
        self.finite = finite
        self.params = params
        self.told: list[Relation] = []

    def relations(self, summed: Collection[int], copied: int) -> Sequence[Relation]:
        """Return what the test says of these rows and those that were summed, or may have been by a copy."""
        known = {*summed, self.generation}
        named = [(each, {*each.left, *each.right}) for each in self.told]
        return [each for each, sets in named if all(one in known or one <= copied for one in sets)]

    def start(self) -> State:
        return State("toy", 1, {"params": self.params})

    def next_step(self, state: State) -> Step | None:
        if "rows" not in state:
            return Step(name="count", fields=(FieldSpec(name="rows", shape=(1,), lower=0, upper=1 << 20),))
        if "sums" not in state:
            bound = int(state["rows"][0]) * 100
            spec = FieldSpec(name="sums", shape=(self.rows.shape[1],), lower=-bound, upper=bound)
            return Step(name="sums", fields=(spec,))
        return None

    def local(self, step: Step, state: State) -> Statistics:
        if step.name == "count":
            return {"rows": np.array([len(self.rows)])}
        return {"sums": self.rows.sum(axis=0)}

    def merge(self, step: Step, total: Total, state: State) -> State:
        name = step.fields[0].name
        return state.with_arrays(**{name: total[name]})

    def scores_are_finite(self, state: State) -> bool:
        return self.finite


def toy_request(tag: int = 0, *, dataset: str = "toy") -> JobRequest:
    return JobRequest(
        request=tag.to_bytes(16, "big"),
        model="toy",
        dataset=dataset,
        detector="toy",
        version=1,
        params="{}",
        schema=SCHEMA,
    )


def toy_rows(member: int, columns: int = 5) -> np.ndarray:
    rng = np.random.default_rng(member)
    return rng.integers(-100, 100, size=(20 + 7 * member, columns))
