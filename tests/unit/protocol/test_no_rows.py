"""Who has no rows to add follows a job: it opens and votes, and contributes nothing."""

import numpy as np

from fedanomaly.protocol import JobState
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows


def without_rows(fed, *indices):
    for index in indices:
        idle = ToyLearner(toy_rows(index)[:0], generation=0)
        fed.parties[index].learners = lambda _, idle=idle: idle
        fed.restart(f"org-{index}")
    fed.pump()
    return fed


def test_who_has_no_rows_opens_and_votes_and_is_in_no_sum(federation):
    fed = without_rows(federation(5), 1)

    job = fed.train(toy_request())

    assert job.state is JobState.ACCEPTED
    assert fed.now_s == 0.0  # nobody waited for its join
    assert {round_.contributors for round_ in job.rounds} == {(1, 3, 4, 5)}
    assert all(2 not in round_.joins and 2 in round_.votes for round_ in job.rounds)
    states = [member.state(job) for member in fed.members.values()]
    assert len({state.to_bytes() for state in states}) == 1
    rows = np.concatenate([toy_rows(index) for index in (0, 2, 3, 4)])
    assert states[1]["rows"].tolist() == [len(rows)]
    assert states[1]["sums"].tolist() == rows.sum(axis=0).tolist()


def test_members_without_rows_hide_nobody(federation):
    fed = without_rows(federation(4), 0, 2)

    job = fed.train(toy_request())

    assert job.state is JobState.VOID
    assert job.reason == "2 members are ready from the same state and have rows to add, 3 are needed"
    assert not job.rounds
