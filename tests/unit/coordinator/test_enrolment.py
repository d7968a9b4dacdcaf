"""Who becomes a member of a running coordinator's federation, and who does not."""

from __future__ import annotations

import time

import pytest

from fedanomaly.errors import (
    InvitationError,
    ProtocolError,
    RefusedError,
)
from fedanomaly.protocol import Enrol
from fedanomaly.transport import Invitation
from fedanomaly.transport.wire import Enrolment, encode
from tests.unit.coordinator.conftest import Identity
from tests.unit.coordinator.web import ask_for_job


def test_enrolled_organisations_see_each_other_and_the_call_for_keys(served):
    clients = [served.enrol(name)[1] for name in ("north", "south", "west")]
    assert [entry.envelope.kind for entry in clients[2].feed(0)[0]] == ["founded", *["enrol"] * 3, "epoch-call"]
    status = clients[0].status()
    assert (status.name, status.members, status.epoch_state) == ("test", ("north", "south", "west"), "called")
    assert clients[1].federation().enrolled == 3


def test_an_invitation_works_once(served):
    identity, other = Identity(), Identity()
    invitation = served.invite("north")
    served.client(identity).enrol(invitation, served.enrolment(identity, "north"))
    with pytest.raises(InvitationError, match="used before"):
        served.client(other).enrol(invitation, served.enrolment(other, "north"))
    assert served.client(identity).status().members == ("north",)


def test_an_enrolment_whose_answer_was_lost_may_be_sent_again(served):
    identity = Identity()
    invitation, envelope = served.invite("north"), served.enrolment(identity, "north")
    client = served.client(identity)
    assert client.enrol(invitation, envelope) == client.enrol(invitation, envelope) == 2
    assert len(client.feed(0)[0]) == 2


def test_an_invitation_is_for_one_name(served):
    identity = Identity()
    with pytest.raises(InvitationError, match="another name"):
        served.client(identity).enrol(served.invite("north"), served.enrolment(identity, "south"))


def test_an_expired_invitation_is_refused(standing):
    identity = Identity()
    invitation = standing.invite("north", ttl_s=1.0, now_s=time.time() - 5)
    with pytest.raises(InvitationError, match="expired"):
        standing.client(identity).enrol(invitation, standing.enrolment(identity, "north"))


def test_a_guessed_invitation_is_refused(standing):
    identity = Identity()
    real = standing.invite("north")
    guess = Invitation(
        url=real.url, coordinator=real.coordinator, federation=real.federation, name="north", secret=bytes(32)
    )
    with pytest.raises(InvitationError, match="no such"):
        standing.client(identity).enrol(guess, standing.enrolment(identity, "north"))


def test_an_invitation_that_was_refused_is_still_good(served):
    identity = Identity()
    invitation = served.invite("north")
    with pytest.raises(InvitationError):
        served.client(identity).enrol(invitation, served.enrolment(identity, "south"))
    assert served.client(identity).enrol(invitation, served.enrolment(identity, "north")) == 2


def test_an_enrolment_must_be_signed_by_the_key_that_it_enrols(served):
    identity, thief = Identity(), Identity()
    envelope = served.enrolment(identity, "north")
    forged = type(envelope)(
        federation=envelope.federation, kind="enrol", sender=thief.public_key, body=envelope.body,
        signature=envelope.signature,
    )  # fmt: skip
    with pytest.raises(ProtocolError):
        served.client(thief).enrol(served.invite("north"), forged)


def test_a_key_enrols_once_and_a_name_as_well(served):
    identity, client = served.enrol("north")
    with pytest.raises(InvitationError, match="enrolled already; another organisation needs a home of its own"):
        client.enrol(served.invite("south"), served.enrolment(identity, "south"))
    other = Identity()
    with pytest.raises(InvitationError, match="ask for an invitation under another name"):
        served.client(other).enrol(served.invite("north"), served.enrolment(other, "north"))
    assert client.status().members == ("north",)


def test_an_invitation_admits_nothing_but_an_enrolment(served):
    identity = Identity()
    with pytest.raises(RefusedError):
        served.client(identity).enrol(served.invite("north"), served.say(identity, ask_for_job()).envelope)
    enrolment = served.say(identity, Enrol(name="north"), b"attached").envelope
    with pytest.raises(RefusedError):
        served.client(identity).enrol(served.invite("north"), enrolment)


def test_a_member_cannot_enrol_another_key_without_an_invitation(served):
    identity, client = served.enrol("north")
    with pytest.raises(RefusedError):
        client.post(served.enrolment(identity, "north2"))


@pytest.mark.parametrize(
    "body", [b"", b"garbage", encode(Enrolment(secret=b"s", envelope=b"e")), b"\x82\xa6secret\xc4\x01s"]
)
def test_an_enrolment_that_is_none_is_refused(standing, web, body):
    response = web(standing)("POST", "/v1/enrol", content=body)
    assert response.status_code == 422
    assert response.json()["code"] == "FA301"


def test_an_enrolment_beyond_the_limit_is_not_read(standing, web):
    assert web(standing)("POST", "/v1/enrol", content=bytes(65 * 1024)).status_code == 413
