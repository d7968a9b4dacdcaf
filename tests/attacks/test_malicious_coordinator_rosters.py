"""A coordinator that names a member twice, or one who is not there, or an older way of doing things."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from fedanomaly.errors import ConfigError, FedAnomalyError, MessageError, ProtocolError, RefusedError, VersionError
from fedanomaly.fhe import Manifest, Preset
from fedanomaly.fhe.preset import layout
from fedanomaly.node.keystore import Keystore
from fedanomaly.protocol import Enrol, Policy, seal
from fedanomaly.protocol.messages import Announce, Founded, Join, ManifestPost
from tests.attacks.evidence import convicted
from tests.attacks.fork import Fork, private, raw_manifest
from tests.unit.protocol.driving import asked, enrol_all, listen, manifest_of, read, until

Z = bytes(32)


@pytest.mark.parametrize("named", ["twice", "twice, and one more", "a stranger", "a stranger, and one more"])
def test_a_roster_that_names_a_member_twice_or_a_stranger_gets_no_key(federation, named):
    fed = federation(4, 2)
    call = dataclasses.replace(fed.coordinator.transcript.epoch.call, number=2)
    one, two, three, four = call.identities
    stranger = Keystore(b"\5" * 32, Z).public_key
    identities = {
        "twice": (one, two, three, three),
        "twice, and one more": (one, two, three, four, four),
        "a stranger": (one, two, three, stranger),
        "a stranger, and one more": (one, two, three, four, stranger),
    }[named]
    kept = dict(fed.parties[0].vault._sealed)
    fork = Fork(fed, "org-0")
    assert "roster is not who is enrolled" in str(fork.say(dataclasses.replace(call, identities=identities)))
    assert fork.answers() == []
    assert fed.parties[0].vault._sealed == kept


def bent_manifests(round_):
    """Every way to name somebody twice, nobody, or one who is not on the roster."""
    joins = [round_.joins[index] for index in (1, 2, 3, 4)]
    four = (1, 2, 3, 4)
    nobody = dataclasses.replace(joins[3], member=5)
    zero = dataclasses.replace(joins[0], member=0)
    return {
        "join twice": {"joins": [joins[0], *joins], "decryptors": four},
        "join twice at the end": {"joins": [*joins, joins[3]], "decryptors": four},
        "joins out of order": {"joins": joins[::-1], "decryptors": four},
        "join of nobody": {"joins": [*joins, nobody], "decryptors": four},
        "join of index 0": {"joins": [zero, *joins], "decryptors": four},
        "too few joins": {"joins": joins[:2], "decryptors": (1, 2)},
        "decryptor twice": {"joins": joins, "decryptors": (1, 2, 3, 3)},
        "decryptor of nobody": {"joins": joins, "decryptors": (1, 2, 3, 5)},
        "decryptor of index 0": {"joins": joins, "decryptors": (0, 1, 2, 3)},
        "one decryptor": {"joins": joins, "decryptors": (1,)},
        "few decryptors": {"joins": joins, "decryptors": (1, 2, 3)},
        "decryptor that did not join": {"joins": joins[:3], "decryptors": (1, 2, 4)},
        "fixed twice": {"joins": joins, "decryptors": four, "fixed": (1, 1, 2)},
        "fixed too small": {"joins": joins, "decryptors": four, "fixed": (1, 2)},
        "fixed nobody": {"joins": joins, "decryptors": four, "fixed": (1, 2, 5)},
        "fixed who did not join": {"joins": joins[:3], "decryptors": (1, 2, 3), "fixed": (1, 2, 4)},
        "more ciphertexts": {"joins": joins, "decryptors": four, "ciphertexts": 2},
        "no ciphertext": {"joins": joins, "decryptors": four, "ciphertexts": 0},
        "older version": {"joins": joins, "decryptors": four, "version": "fedanomaly/0"},
    }


def test_a_manifest_that_names_a_member_twice_or_a_stranger_gets_no_contribution(federation):
    """The fold refuses it; and so does the engine, whatever the code around it believes."""
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining")
    listen(fed)
    honest = Manifest.from_bytes(manifest_of(round_, (1, 2, 3, 4)).manifest)
    secrets = fed.members["org-0"]._setup.secrets(fed.coordinator.transcript.epoch, fed.blobs.__getitem__)
    fork = Fork(fed, "org-0")
    for what, bent in bent_manifests(round_).items():
        raw = raw_manifest(round_.ask, **bent)
        assert isinstance(fork.say(ManifestPost(manifest=raw)), FedAnomalyError), what
        assert private(fork.answers()) == [], what
        believed = dataclasses.replace(honest, raw=raw)
        with pytest.raises(MessageError):
            secrets.contribution(believed, np.zeros(round_.ask.fields, dtype=np.uint64))
        with pytest.raises(MessageError):
            secrets.share(believed, (1, 2, 3))
    assert convicted(fork.seen) == {(fed._identity.public_key, "manifest")}
    assert fork.say(manifest_of(round_, (1, 2, 3, 4))) is None
    assert private(fork.answers()) == ["contribution"]


def test_a_join_that_the_coordinator_made_up_is_in_no_manifest(federation):
    """It has no member's key: it cannot join for one who did not, nor move one to another seat."""
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "joining")
    listen(fed, "org-0", "org-1", "org-2")
    fork = Fork(fed, "org-0")
    true = round_.joins[3]
    for made_up in (
        dataclasses.replace(true, member=4),
        dataclasses.replace(true, member=4, nonce=b"\1" * 32, signature=bytes(64)),
        dataclasses.replace(round_.joins[1], member=4),
    ):
        assert made_up.member not in round_.joins
        posted = Join(
            ask=round_.ask.digest,
            generation=made_up.generation,
            nonce=made_up.nonce,
            signature=made_up.signature,
        )
        assert "may not post" in str(fork.say(posted))
        joins = (*(round_.joins[index] for index in (1, 2, 3)), made_up)
        raw = Manifest.build(round_.ask, joins=joins, decryptors=(1, 2, 3, 4)).raw
        assert "was not posted" in str(fork.say(ManifestPost(manifest=raw)))
        assert private(fork.answers()) == []


@pytest.mark.parametrize(
    "changes",
    [{"threshold": 1}, {"threshold": 4}, {"members": 2}, {"quota": 1 << 28}, {"quota": 0}, {"attempts": 0}],
)
def test_a_log_that_is_founded_on_less_than_the_least_is_no_log(federation, changes):
    fed = federation(4, 2)
    founded = read(fed.log[0])
    assert isinstance(founded, Founded)
    fork = Fork(fed, "org-0", [])
    assert isinstance(fork.say(dataclasses.replace(founded, **changes)), ConfigError)
    for entry in fed.log[1:20]:
        assert isinstance(fork.show(entry.envelope), ProtocolError)
    assert fork.answers() == []


def test_settings_are_not_lowered_later(federation):
    fed = federation(4, 2)
    fork = Fork(fed, "org-0")
    for changes in ({"threshold": 3}, {"quota": 1}, {"members": 3}, {"name": "another"}):
        assert "opened once" in str(fork.say(dataclasses.replace(read(fed.log[0]), **changes)))
    assert fork.log.settings == fed.coordinator.settings


def test_a_log_with_a_larger_quota_is_not_that_of_this_key_epoch(federation):
    """After a restart the node is shown the same history under a larger quota; its keys serve only the first."""
    fed = federation(4, 2, quota=20_000)
    larger = dataclasses.replace(read(fed.log[0]), quota=1 << 27)
    fork = Fork(fed, "org-0", [])
    assert fork.say(larger) is None
    refused = [fork.show(entry.envelope) for entry in fed.log[1:]]
    assert sum(error is None for error in refused) == 4  # the enrolments
    assert "policy is another one" in str(next(error for error in refused if error))
    assert fork.answers() == []


@pytest.mark.parametrize(
    ("policy", "why"),
    [
        (Policy(min_threshold=3), "threshold is below 3"),
        (Policy(min_members=5), "fewer than 5 members"),
    ],
)
def test_a_federation_below_the_policy_of_a_node_gets_no_key_of_it(federation, policy, why):
    fed = federation(4, 2, enrol=False)
    enrol_all(fed)
    fed.parties[0].policy = policy
    fed.restart("org-0")
    listen(fed)
    assert why in str(fed.errors[-1][1])
    assert not fed.parties[0].vault._sealed
    assert set(fed.coordinator.transcript.epoch.hellos) == {2, 3, 4}


@pytest.mark.parametrize("policy", [Policy(max_message_bytes=16), Policy(detectors=("loda",)), Policy(datasets=("b",))])
def test_a_job_beyond_the_policy_of_a_node_gets_nothing_of_it(federation, policy):
    fed = federation(4, 2)
    fed.parties[0].policy = policy
    fed.restart("org-0")
    asked(fed, 1)
    fed.pump()
    assert [name for name, error in fed.errors if isinstance(error, RefusedError)] == ["org-0"]
    mine = fed.parties[0].identity.public_key
    after = [entry.envelope.kind for entry in fed.log[-60:] if entry.envelope.sender == mine]
    assert "decline" in after
    assert not {"join", "statement"} & set(after[after.index("decline") :])


def test_a_smaller_ring_or_other_bits_than_the_step_needs_are_not_joined(federation):
    """Every lesser encoding of the same step that is possible at all."""
    fed = federation(4, 2)
    asked(fed)
    round_ = until(fed, "announced")
    ask = round_.ask
    before = [entry.envelope for entry in fed.log[:-1]]
    tried = 0
    fork = Fork(fed, "org-0", before)
    for preset in Preset:
        for field_bits in range(1, 31):
            lesser = dataclasses.replace(ask, preset=preset, field_bits=field_bits)
            if lesser == ask:
                continue
            try:
                layout(preset, members=4, threshold=2, field_bits=field_bits, fields=ask.fields)
            except FedAnomalyError:
                continue
            assert fork.say(Announce(ask=lesser.to_bytes())) is not None
            tried += 1
    assert tried > 40
    assert fork.answers() == []


@pytest.mark.parametrize("version", [b"fedanomaly/0", b"fedanomaly/2", b"", b"fedanomaly/1 "])
def test_nothing_of_another_version_is_spoken(federation, version):
    fed = federation(4, 2)
    asked(fed)
    until(fed, "announced")
    fork = Fork(fed, "org-0", [entry.envelope for entry in fed.log[:-1]])
    announce = fed.log[-1].envelope
    old = len(b"fedanomaly/1").to_bytes(4, "little") + b"fedanomaly/1"
    new = len(version).to_bytes(4, "little") + version
    assert announce.body.count(old) == 1
    bent = seal(fed._identity, fed._federation, "announce", announce.body.replace(old, new)).envelope
    assert isinstance(fork.show(bent), VersionError)
    kind = seal(fed._identity, fed._federation, "announce/2", announce.body).envelope
    assert isinstance(fork.show(kind), VersionError)
    with pytest.raises(VersionError):
        type(announce).from_bytes(announce.to_bytes().replace(old, new, 1))
    assert fork.answers() == []


def test_nobody_is_enrolled_by_the_coordinator(federation):
    fed = federation(4, 2, enrol=False)
    enrol_all(fed)
    fork = Fork(fed, "org-0", [fed.log[0].envelope])
    assert "may not post" in str(fork.say(Enrol(name="made up")))
    assert fork.log.members == {}
