"""What goes wrong around one node is told, and never ends its loop."""

import pytest

from fedanomaly.errors import DataError, NotFoundError, RefusedError, UnavailableError
from fedanomaly.node import service as module
from fedanomaly.node.home import Membership
from fedanomaly.node.models import ModelStore
from fedanomaly.node.service import NodeService
from fedanomaly.protocol import Enrol, Entry, seal


@pytest.fixture
def service(home, passphrase, monkeypatch):
    """A node that has not started; each test does its turns itself."""
    monkeypatch.setattr(module, "FIRST_PAUSE_S", 0.0)
    home.enrolled(Membership(name="north", url="http://127.0.0.1:1", coordinator=bytes(32), federation=b"f" * 32))
    service = NodeService.open(home, passphrase)
    monkeypatch.setattr(service._client, "feed", lambda **_asked: ([], 0))
    yield service
    service.stop()


def problems(service):
    return [(event.name, event.details.get("error")) for event in service.feed.after(0) if event.details.get("problem")]


def raising(error):
    def call(*_arguments, **_named):
        raise error

    return call


def test_a_coordinator_that_does_not_answer_is_told_and_tried_again(service, monkeypatch):
    monkeypatch.setattr(service._client, "feed", raising(UnavailableError("nobody")))

    assert not service._turn(0.0)

    assert problems(service) == [("coordinator-unreachable", "FA500: nobody")]
    assert not service.status.connected


def test_a_coordinator_that_stays_away_is_told_once_and_again_when_it_goes_away_again(service, monkeypatch):
    with monkeypatch.context() as away:
        away.setattr(service._client, "feed", raising(UnavailableError("nobody")))
        for _ in range(3):
            assert not service._turn(0.0)
    assert len(problems(service)) == 1

    assert service._turn(0.0)
    monkeypatch.setattr(service._client, "feed", raising(UnavailableError("nobody")))
    for _ in range(3):
        assert not service._turn(0.0)

    assert len(problems(service)) == 2


def test_who_stops_a_node_twice_does_no_harm(service, monkeypatch):
    assert service._turn(0.0)
    retired = []
    monkeypatch.setattr(service._member, "retire", lambda: retired.append(True) or iter(()))
    service.stop()
    service.stop()  # its ledger is closed by now
    assert retired == [True]


def test_what_nobody_expected_of_the_other_side_is_told_without_its_text(service, monkeypatch):
    monkeypatch.setattr(service._client, "feed", raising(KeyError("PRIVATE")))

    assert not service._turn(0.0)

    assert problems(service) == [("coordinator-unreachable", "unexpected KeyError")]


@pytest.mark.parametrize(
    ("error", "said"),
    [(DataError("no rows"), "FA200: no rows"), (ZeroDivisionError("PRIVATE"), "unexpected ZeroDivisionError")],
)
def test_a_turn_that_fails_is_told_and_the_next_one_comes(service, monkeypatch, error, said):
    with monkeypatch.context() as here:
        here.setattr(service._member, "act", raising(error))
        assert service._turn(0.0)

    assert service._turn(0.0)
    assert problems(service) == [("turn-failed", said)]


def test_a_coordinator_that_is_lost_while_something_is_sent_is_unreachable(service, keystore, monkeypatch):
    post = seal(keystore, b"f" * 32, "enrol", Enrol(name="north").to_bytes())
    monkeypatch.setattr(service._member, "act", lambda _fetch: iter([post]))
    monkeypatch.setattr(service._client, "post", raising(UnavailableError("gone")))

    assert not service._turn(0.0)
    assert problems(service) == [("coordinator-unreachable", "FA500: gone")]


def test_a_post_that_is_refused_does_not_hold_up_the_next(service, keystore, monkeypatch):
    posts = [seal(keystore, b"f" * 32, "enrol", Enrol(name=name).to_bytes(), b"x") for name in ("a", "b")]
    sent = []

    def post(envelope):
        if envelope == posts[0].envelope:
            raise RefusedError("too late")
        sent.append(envelope)

    monkeypatch.setattr(service._member, "act", lambda _fetch: iter(posts))
    monkeypatch.setattr(service._client, "upload", lambda _data: None)
    monkeypatch.setattr(service._client, "post", post)

    assert service._turn(0.0)

    assert sent == [posts[1].envelope]
    assert problems(service) == [("post-refused", "FA402: too late")]


def test_an_entry_that_breaks_the_rules_is_passed_over(service, monkeypatch, other_keystore):
    envelope = seal(other_keystore, b"g" * 32, "enrol", Enrol(name="x").to_bytes()).envelope
    monkeypatch.setattr(service._client, "feed", lambda **_asked: ([Entry(1, 0.0, envelope)], 1))

    assert service._turn(0.0)

    assert service.status.head == 1
    assert [name for name, _ in problems(service)] == ["entry-refused"]


def test_an_entry_that_nobody_expected_is_passed_over_as_well(service, monkeypatch, other_keystore):
    envelope = seal(other_keystore, b"f" * 32, "enrol", Enrol(name="x").to_bytes()).envelope
    monkeypatch.setattr(service._client, "feed", lambda **_asked: ([Entry(1, 0.0, envelope)], 1))
    monkeypatch.setattr(service._member, "accept", raising(RuntimeError("PRIVATE")))

    assert service._turn(0.0)

    assert service.status.head == 1
    assert problems(service) == [("entry-refused", "unexpected RuntimeError")]


def test_a_stopped_node_does_nothing_more(service, monkeypatch):
    monkeypatch.setattr(service._member, "act", raising(AssertionError("acts")))
    service._stop.set()

    assert service._turn(0.0)
    assert problems(service) == []


def test_a_model_that_cannot_be_kept_does_not_hold_up_the_node(trained, monkeypatch):
    (service, _) = trained.services
    found = []
    monkeypatch.setattr(service.feed, "problem", lambda name, **details: found.append((name, details["error"])))
    monkeypatch.setattr(ModelStore, "has", lambda *_asked: False)
    monkeypatch.setattr(service._learners, "snapshot_of", raising(NotFoundError("gone")))
    service._kept.clear()

    with service._working:
        service._keep_models()

    assert set(found) == {("model-lost", "FA404: gone")}
