"""What a node notes of the steps of its jobs, and how far they have come."""

import numpy as np

from fedanomaly.detectors.progress import Progress
from fedanomaly.node.notes import StepNote, StepNotes
from fedanomaly.storage import MemoryRows
from fedanomaly.types import FieldSpec, Quantiser, Step, Total
from tests.unit.node.test_learner import datasets, learners, request_of, told

__all__ = ["datasets", "learners", "told"]
JOB, OTHER = bytes(16), bytes(15) + b"\1"


def step(name):
    return Step(name=name, fields=(FieldSpec(name="sum", shape=(1,), lower=0, upper=9),))


def total(name, clipped=0):
    return Total(step(name), {"sum": np.array([1])}, 3, clipped)


def test_steps_are_noted_in_their_order_and_opened_ones_outlive_a_restart():
    rows = MemoryRows()
    notes = StepNotes(rows)
    for name in ("rows/all", "scale/0", "a"):
        notes.begun(JOB, step(name))
        notes.begun(JOB, step(name))  # a round that is tried again
    notes.opened(JOB, step("rows/all"), total("rows/all"), None)
    notes.opened(JOB, step("scale/0"), total("scale/0", 4), Progress("mean loss", 0.5))
    notes.begun(OTHER, step("b"))

    opened = [
        StepNote(name="rows/all", clipped=0),
        StepNote(name="scale/0", clipped=4, progress_name="mean loss", progress=0.5),
    ]
    assert notes.of(JOB) == [*opened, StepNote(name="a")]
    assert notes.of(OTHER) == [StepNote(name="b")]
    assert StepNotes(rows).of(JOB) == opened


def test_what_was_opened_is_noted_once():
    notes = StepNotes(MemoryRows())
    notes.opened(JOB, step("a"), total("a", 1), None)
    notes.opened(JOB, step("a"), total("a", 2), None)
    assert notes.of(JOB) == [StepNote(name="a", clipped=1)]


def test_a_figure_that_cannot_be_told_does_not_stop_the_job(learners):
    learner = learners(request_of(learners, "kmeans", n_clusters=2, n_rounds=2))
    state = learner.start()
    while (due := learner.next_step(state)).name != "kmeans/1":
        state = train_step(learner, due, state)
    nobody = Total(due, {field.name: np.zeros(field.shape, dtype=np.int64) for field in due.fields}, 3, 0)
    assert learner.progress(due, nobody, state) is None


def train_step(learner, due, state):
    quantiser = Quantiser(step=due, members=3)
    return learner.merge(due, quantiser.total(quantiser.quantise(learner.local(due, state)), 1), state)


def test_a_federation_tells_how_far_a_model_has_come(federation):
    with federation.client() as node:
        job = node.train("payments", "kmeans", model="clusters", params={"n_clusters": 4, "n_rounds": 3}).wait(120)
        lineage, told = node.model("clusters").lineage, {entry["step_name"]: entry for entry in job.rounds}
    figures = [told[f"kmeans/{turn}"]["progress"] for turn in range(3)]
    assert figures[0] > figures[1] >= figures[2] > 0
    assert {told[f"kmeans/{turn}"]["progress_name"] for turn in range(3)} == {"variance within clusters"}
    assert told["rows/all"]["progress_name"] is None
    assert [entry["step_name"] for entry in lineage["rounds"]] == list(told)
    assert [entry["progress"] for entry in lineage["rounds"]] == [entry["progress"] for entry in told.values()]
    assert all(entry["seconds"] == told[entry["step_name"]]["seconds"] for entry in lineage["rounds"])
