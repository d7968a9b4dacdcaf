import dataclasses

from fedanomaly.node.views import jobs_of
from fedanomaly.protocol import seal
from tests.unit.protocol.federations import federation
from tests.unit.protocol.toy import toy_request

__all__ = ["federation"]


def test_what_another_member_wrote_does_not_act_on_a_terminal(federation):
    fed = federation(3, 2)
    escape = "\x1b]0;owned\x07"
    request = dataclasses.replace(toy_request(), model=f"a{escape}", dataset=f"b{escape}", detector=f"c{escape}")
    body = request.to_bytes()
    fed.post(seal(fed.parties[0].identity, fed._federation, request.kind, body))

    (view,) = jobs_of(fed.coordinator.transcript, fed.parties[1].identity.public_key, lambda _request: [])

    assert (view.model, view.dataset, view.detector) == ("a ]0;owned ", "b ]0;owned ", "c ]0;owned ")
