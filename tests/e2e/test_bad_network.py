"""Between nodes and coordinator the network is slow and cuts: jobs finish, and nothing is said twice."""

from __future__ import annotations

import pytest
from scripts.check_ledgers import violations

from tests.e2e.bad_network import CALM, BadNetwork, Weather
from tests.e2e.nursery import Nursery
from tests.e2e.realm import PASSPHRASE, Realm
from tests.e2e.recorder import Recorder

ATTEMPTS = 5
NAMES = ("north", "south", "west")
WEATHERS = {
    "slow": Weather(latency_s=0.03, bytes_per_s=300_000),
    "cut": Weather(cuts=0.5, cut_after=(1, 6000)),
    "reset": Weather(resets=0.5, cut_after=(1, 6000)),
    "half-closed": Weather(half_closes=0.4, cut_after=(1, 6000)),
}


@pytest.fixture
def federation(tmp_path):
    with Nursery(tmp_path) as nursery:
        realm = Realm(nursery, NAMES)
        recorder = Recorder(realm.port)
        network = BadNetwork(recorder.port, seed=7)
        try:
            realm.found(dict.fromkeys(NAMES, network.port))
            yield realm, network
            network.weather = CALM
            realm.stop()
            nodes = [realm.home(name) for name in NAMES]
            assert list(violations(realm.home("coordinator"), nodes, PASSPHRASE)) == []
            assert recorder.differing() == []
        finally:
            network.close()
            recorder.close()


def test_jobs_finish_through_a_network_that_is_slow_and_cuts_in_the_middle_of_messages(federation):
    realm, network = federation
    network.weather = Weather(latency_s=0.01, cuts=0.3, cut_after=(1, 250_000))  # also within a deal
    realm.start_nodes()
    realm.live()
    for fate, weather in WEATHERS.items():
        network.weather = weather
        for _ in range(ATTEMPTS):  # whether a connection meets its fate is drawn
            network.cut_all()
            job = realm.train("north")
            assert realm.ended("north", job)["state"] == "accepted"
            if fate == "slow" or network.ended.get(fate):
                break
        else:
            raise AssertionError(f"no connection was {fate}")
    for name in NAMES:
        realm.kept(name, job)


def test_a_network_that_swallows_everything_holds_a_job_up_until_it_is_back(federation):
    realm, network = federation
    realm.start_nodes()
    realm.live()
    network.weather = Weather(blackholes=1.0, cut_after=(1, 2000))
    network.cut_all()
    # Its own loopback API answers all the while; what it posts is swallowed.
    assert realm.ask("north", lambda client: client.status()["epoch_state"]) == "live"
    network.weather = CALM
    network.cut_all()
    assert realm.ended("north", realm.train("north"))["state"] == "accepted"
