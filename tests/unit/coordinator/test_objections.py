"""What members could not use of each other's key set-up is told to whoever looks at the federation."""

from __future__ import annotations

import json

from fedanomaly.coordinator import read_status
from fedanomaly.protocol.messages import Objection


def test_an_objection_is_told_by_the_service_and_by_the_command(served, dealing, fedanomaly):
    members, roster = dealing
    said = (
        "epoch 1: south cannot use the deal of west",
        "epoch 1: west cannot use the hello of north",
    )
    for index, about, what in [(2, 1, "hello"), (1, 3, "deal")]:
        identity, client = members[index]
        client.post(served.say(identity, Objection(roster=roster, about=about, what=what)).envelope)

    assert members[0][1].status().objections == said
    assert read_status(served.home.folder).objections == said
    shown = fedanomaly("coordinator", "status", "--home", served.home.folder).stdout
    for text in said:
        assert f"set-up     {text}; either of the two may be wrong\n" in shown
    told = json.loads(fedanomaly("coordinator", "status", "--home", served.home.folder, "--json").stdout)
    assert tuple(told["objections"]) == said


def test_without_objections_nothing_is_said_of_them(served, dealing, fedanomaly):
    shown = fedanomaly("coordinator", "status", "--home", served.home.folder).stdout

    assert "key epoch  1 (dealing)" in shown
    assert "set-up" not in shown
