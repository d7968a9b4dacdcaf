"""A whole job over HTTP: three members, real cryptography, and what the coordinator then has on its disk."""

from __future__ import annotations

import numpy as np
import pytest

from fedanomaly.protocol import Enrol, seal
from fedanomaly.simulation import Party
from tests.unit.coordinator.conftest import serve
from tests.unit.protocol.toy import ToyLearner, toy_request, toy_rows

NAMES = ("north", "south", "west")


class Organisation:
    """A member that talks to the coordinator as a node does."""

    def __init__(self, federation, name: str, rows: np.ndarray) -> None:
        self.party = Party(name, lambda _: ToyLearner(rows))
        self.client = federation.client(self.party.identity)
        home = federation.home
        self.member = self.party.start(home.identity.public_key, home.federation)
        enrolment = seal(self.party.identity, home.federation, "enrol", Enrol(name=name).to_bytes()).envelope
        self.client.enrol(federation.invite(name), enrolment)

    def step(self) -> int:
        """Fold what is new and do what is due; returns how many entries were new."""
        entries, _ = self.client.feed(self.member.transcript.head)
        for entry in entries:
            self.member.accept(entry)
        for post in self.member.act(self.client.download):
            if post.attachment is not None:
                self.client.upload(post.attachment)
            self.client.post(post.envelope)
        return len(entries)


def pump(organisations) -> None:
    while sum(organisation.step() for organisation in organisations):
        pass


@pytest.fixture
def organisations(federation):
    made = []

    def enrol():
        made.extend(Organisation(federation, name, toy_rows(n)) for n, name in enumerate(NAMES))
        return made

    yield enrol
    for organisation in made:
        organisation.member.close()


def test_a_job_over_http_opens_the_sum_and_leaves_no_plaintext(federation, organisations):
    with serve(federation.home):
        members = organisations()
        pump(members)
        status = members[0].client.status()
        assert (status.epoch_state, [job.state for job in status.jobs]) == ("live", ["accepted"])
        members[0].client.post(members[0].member.request(toy_request(7)).envelope)
    # Restarted in the middle of the job, it goes on.
    with serve(federation.home):
        pump(members)
        job = members[1].client.status().jobs[-1]
    assert (job.model, job.requested_by, job.state) == ("toy", "north", "accepted")
    assert [(round_.state, round_.contributors, round_.voted) for round_ in job.rounds] == [
        ("accepted", NAMES, NAMES)
    ] * 2
    rows = [toy_rows(n) for n in range(3)]
    states = [organisation.member.state(organisation.member.transcript.jobs[-1]) for organisation in members]
    pooled = np.concatenate(rows).sum(axis=0)
    for state in states:
        np.testing.assert_array_equal(state["sums"], pooled)
    on_disk = b"".join(path.read_bytes() for path in federation.home.folder.rglob("*") if path.is_file())
    for plain in (pooled, *(own.sum(axis=0) for own in rows)):
        for kind in ("<i8", "<i4", "<f8"):
            assert plain.astype(kind).tobytes() not in on_disk
    for organisation in members:
        assert organisation.party.identity.public_key in on_disk
