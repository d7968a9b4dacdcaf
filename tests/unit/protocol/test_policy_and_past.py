"""What a node owes to its policy and its past, in a running key epoch."""

from fedanomaly.protocol import Policy
from fedanomaly.types import item_int
from tests.unit.protocol.driving import asked, job_of


def test_a_node_that_was_restored_once_still_takes_part_in_self_tests(federation):
    """They sum zeros, of no rows: without it a federation of three never has a key epoch again."""
    fed = federation(3, 2)
    fed.parties[0].rows.put([("clone", item_int("gen", 1), b"")])
    fed._append(fed.coordinator.new_epoch())
    for _ in range(20):
        fed.now_s += 30
        fed.pump()
    assert fed.coordinator.transcript.live is not None


def test_a_policy_that_was_tightened_counts_from_the_next_start(federation):
    """Also in a key epoch that was set up before."""
    fed = federation(4, 2)
    known = tuple(party.identity.public_key for party in fed.parties[:3])
    fed.parties[0].policy = Policy(identities=known)
    fed.restart("org-0")
    asked(fed)
    for _ in range(20):
        fed.now_s += 30
        fed.pump()
    assert all(1 not in round_.contributions for round_ in job_of(fed).rounds)
