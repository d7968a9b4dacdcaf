"""What a federation agrees on, and what a node insists on."""

from __future__ import annotations

import pytest

from fedanomaly.protocol import Settings
from fedanomaly.protocol.messages import Founded
from fedanomaly.protocol.settings import policy_hash
from tests.unit.protocol.folding import body


def test_the_policy_hash_binds_members_threshold_and_quota():
    hashes = {policy_hash(3, 2, 10), policy_hash(4, 2, 10), policy_hash(4, 3, 10), policy_hash(3, 2, 11)}
    assert len(hashes) == 4


def test_settings_survive_the_log():
    settings = Settings(name="röntgen", members=5, threshold=3, join_s=1.5, attempts=2)
    assert Settings.of(Founded.from_bytes(settings.founded().to_bytes())) == settings


@pytest.mark.parametrize(
    "literal",
    [
        {"name": ""},
        {"members": 2},
        {"members": 251},
        {"threshold": 1},
        {"threshold": 3},
        {"join_s": 0.0},
        {"attempts": 0},
        {"quota": 0},
        {"quota": (1 << 27) + 1},
    ],
)
def test_settings_are_checked_once(literal):
    from fedanomaly.errors import ConfigError

    with pytest.raises(ConfigError):
        Settings(**{"name": "x", "members": 3, "threshold": 2, **literal})


@pytest.mark.parametrize("literal", [{"min_members": 2}, {"min_threshold": 1}])
def test_a_policy_cannot_go_below_what_hides_anybody(literal):
    from fedanomaly.errors import ConfigError
    from fedanomaly.protocol import Policy

    with pytest.raises(ConfigError):
        Policy(**literal)


def test_a_policy_may_insist_on_a_higher_threshold(finished):
    from fedanomaly.protocol import Policy

    call = body(finished, "epoch-call")
    assert "below 3" in Policy(min_threshold=3).refuses_epoch(call)
    assert Policy().refuses_epoch(call) is None
