"""A release says who vouches for a model; anything else is none."""

from __future__ import annotations

import pytest
import structlog
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.errors import FedAnomalyError, MessageError, UnauthenticatedError, VersionError
from fedanomaly.scoring.models import ReleaseFolder
from fedanomaly.scoring.release import Release, make_release, read_release
from fedanomaly.types.canonical import item
from tests.unit.scoring.conftest import FEDERATION, Identity, circuit

RELEASER, OTHER = Identity(), Identity()
RELEASE = Release(federation=FEDERATION, name="payments", version=3, circuit=circuit())
FILE = make_release(RELEASE, [RELEASER])


def read(data, releasers=(RELEASER.public_key,), federation=FEDERATION):
    return read_release(data, federation=federation, releasers=releasers)


def test_a_release_is_read_as_it_was_made():
    found = read(FILE)
    assert (found.name, found.version, found.circuit.digest) == ("payments", 3, RELEASE.circuit.digest)
    assert found.to_bytes() == RELEASE.to_bytes()


def test_one_releaser_among_several_signers_is_enough():
    assert read(make_release(RELEASE, [OTHER, RELEASER])).version == 3


def test_without_a_releaser_it_is_refused():
    for releasers in ((), (OTHER.public_key,)):
        with pytest.raises(UnauthenticatedError):
            read(FILE, releasers)


def test_for_another_federation_it_is_refused():
    with pytest.raises(UnauthenticatedError):
        read(FILE, federation=bytes(32))


@given(st.integers(0, len(FILE) - 1), st.integers(1, 255))
def test_a_tampered_release_is_refused(at, change):
    data = bytearray(FILE)
    data[at] ^= change
    with pytest.raises(FedAnomalyError):
        read(bytes(data))


@given(st.integers(0, len(FILE) - 1))
def test_a_cut_release_is_refused(size):
    with pytest.raises(FedAnomalyError):
        read(FILE[:size])


def test_a_signature_of_another_that_does_not_hold_spoils_it():
    forged = item("signer", OTHER.public_key) + item("signature", bytes(64))
    own = FILE[len(item("release", RELEASE.to_bytes())) :]
    both = sorted([forged, own])
    with pytest.raises(UnauthenticatedError):
        read(item("release", RELEASE.to_bytes()) + b"".join(both))


def test_a_signature_twice_is_refused():
    own = FILE[len(item("release", RELEASE.to_bytes())) :]
    with pytest.raises(MessageError):
        read(FILE + own)


def test_another_version_is_refused_as_such():
    signed = RELEASE.to_bytes().replace(b"fedanomaly/1", b"fedanomaly/9", 1)
    data = item("release", signed) + item("signer", RELEASER.public_key) + item("signature", RELEASER.sign(signed))
    with pytest.raises(VersionError):
        read(data)


@pytest.mark.parametrize("name", ["", "../x", "a b", "ä", "x" * 101])
def test_a_name_is_plain(name):
    with pytest.raises(MessageError):
        Release(federation=FEDERATION, name=name, version=1, circuit=RELEASE.circuit)


@pytest.fixture
def folder(tmp_path):
    return tmp_path, ReleaseFolder(tmp_path, FEDERATION, max_batch_bytes=1 << 24)


def test_a_file_that_does_not_verify_is_skipped_and_told_once(folder):
    path, releases = folder
    (path / "good.release").write_bytes(FILE)
    (path / "bad.release").write_bytes(FILE[:-1] + bytes([FILE[-1] ^ 1]))
    (path / "notes.txt").write_bytes(b"no release")
    with structlog.testing.capture_logs() as lines:
        for _ in range(3):
            assert list(releases.scan([RELEASER.public_key])) == [RELEASE.circuit.digest]
    assert [(line["event"], line["file"]) for line in lines] == [
        ("release-refused", "bad.release"),
        ("release-loaded", "good.release"),
    ]


def test_files_come_change_and_go(folder):
    path, releases = folder
    assert releases.scan([RELEASER.public_key]) == {}
    (path / "a.release").write_bytes(FILE)
    assert list(releases.scan([RELEASER.public_key])) == [RELEASE.circuit.digest]
    next_one = Release(federation=FEDERATION, name="payments", version=4, circuit=circuit(9))
    (path / "new").write_bytes(make_release(next_one, [RELEASER]))
    (path / "new").rename(path / "a.release")
    assert list(releases.scan([RELEASER.public_key])) == [next_one.circuit.digest]
    (path / "a.release").unlink()
    assert releases.scan([RELEASER.public_key]) == {}


def test_who_is_no_releaser_any_more_has_released_nothing(folder):
    path, releases = folder
    (path / "a.release").write_bytes(FILE)
    assert releases.scan([RELEASER.public_key])
    assert releases.scan([OTHER.public_key]) == {}


def test_a_model_whose_batches_are_too_large_is_not_served(tmp_path):
    (tmp_path / "a.release").write_bytes(FILE)
    assert ReleaseFolder(tmp_path, FEDERATION, max_batch_bytes=1000).scan([RELEASER.public_key]) == {}


def test_a_model_that_the_engine_cannot_compute_exactly_is_refused(folder):
    path, releases = folder
    huge = Release(federation=FEDERATION, name="huge", version=1, circuit=circuit(1, features=4))
    huge.circuit.weights[:] *= 1e9
    (path / "a.release").write_bytes(make_release(huge, [RELEASER]))
    with structlog.testing.capture_logs() as lines:
        assert releases.scan([RELEASER.public_key]) == {}
    assert "FA303" in lines[0]["error"]
