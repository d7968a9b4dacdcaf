import json
import pickle

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from fedanomaly.errors import CryptoError, KeystoreError
from fedanomaly.node.keystore import Cost, Keystore, Sealer

CHEAP = Cost(memory_kib=19_456, iterations=2, lanes=1)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "keystore.json"


@pytest.fixture
def created(path, passphrase):
    return Keystore.create(path, passphrase, cost=CHEAP)


def test_the_same_passphrase_opens_the_same_identity_and_keys(created, path, passphrase):
    opened = Keystore.open(path, passphrase)

    assert opened.public_key == created.public_key
    assert opened.key_for("models") == created.key_for("models")


def test_what_it_signs_verifies_under_its_public_key(created):
    Ed25519PublicKey.from_public_bytes(created.public_key).verify(created.sign(b"text"), b"text")


def test_every_purpose_has_its_own_key(created):
    keys = {created.key_for(purpose) for purpose in ("models", "data sets", "epoch secrets")}

    assert len(keys) == 3


def test_another_passphrase_does_not_open_it(created, path):
    with pytest.raises(KeystoreError, match="passphrase is wrong"):
        Keystore.open(path, "four words somebody said")


def test_a_short_passphrase_is_refused_and_nothing_is_written(path):
    with pytest.raises(KeystoreError, match="at least 12"):
        Keystore.create(path, "short")

    assert not path.exists()


def test_an_existing_keystore_is_never_replaced(created, path, passphrase):
    before = path.read_bytes()

    with pytest.raises(KeystoreError, match="exists"):
        Keystore.create(path, passphrase, cost=CHEAP)

    assert path.read_bytes() == before


def test_a_missing_keystore_is_said_with_what_to_do(path, passphrase):
    with pytest.raises(KeystoreError) as caught:
        Keystore.open(path, passphrase)

    assert caught.value.hint == "run: fedanomaly node init"


def test_the_file_is_private_from_the_start(created, path):
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o610, 0o666])
def test_a_keystore_that_others_may_open_is_refused_with_what_to_do(created, path, passphrase, mode):
    path.chmod(mode)

    with pytest.raises(KeystoreError, match="others may read") as caught:
        Keystore.open(path, passphrase)

    assert "chmod 600" in (caught.value.hint or "")


@pytest.mark.parametrize("field", ["salt", "nonce", "sealed"])
def test_a_changed_byte_is_noticed(created, path, passphrase, field):
    file = json.loads(path.read_text())
    text = file[field]
    file[field] = ("A" if text[0] != "A" else "B") + text[1:]
    path.write_text(json.dumps(file))

    with pytest.raises(KeystoreError):
        Keystore.open(path, passphrase)


@pytest.mark.parametrize(
    ("field", "value"), [("memory_kib", 19_457), ("iterations", 3), ("lanes", 2), ("version", 1 << 31)]
)
def test_the_cost_is_authenticated(created, path, passphrase, field, value):
    file = json.loads(path.read_text())
    path.write_text(json.dumps(file | {field: value}))

    with pytest.raises(KeystoreError):
        Keystore.open(path, passphrase)


@pytest.mark.parametrize("field", ["memory_kib", "iterations", "lanes"])
@pytest.mark.parametrize("value", [0, 1 << 40])
def test_an_impossible_cost_is_refused_before_any_memory_is_taken(created, path, passphrase, field, value):
    file = json.loads(path.read_text())
    path.write_text(json.dumps(file | {field: value}))

    with pytest.raises(KeystoreError, match="out of range"):
        Keystore.open(path, passphrase)


@pytest.mark.parametrize("text", ["", "{}", "not json", '{"format": 3}'])
def test_any_other_file_is_no_keystore(path, passphrase, text):
    path.touch(mode=0o600)
    path.write_text(text)

    with pytest.raises(KeystoreError, match="not a keystore"):
        Keystore.open(path, passphrase)


def test_nothing_of_it_shows_in_its_repr_or_in_a_pickle(created):
    assert repr(created) == f"<Keystore of {created.public_key.hex()[:16]}>"
    with pytest.raises(CryptoError):
        pickle.dumps(created)


def test_a_sealed_file_opens_under_its_own_name_only(created):
    sealer = Sealer(created, "models")
    sealed = sealer.seal("a", b"content")

    assert sealer.open("a", sealed) == b"content"
    with pytest.raises(KeystoreError):
        sealer.open("b", sealed)


def test_a_sealed_file_opens_for_its_own_purpose_only(created):
    sealed = Sealer(created, "models").seal("a", b"content")

    with pytest.raises(KeystoreError):
        Sealer(created, "data sets").open("a", sealed)


def test_sealing_twice_gives_different_bytes(created):
    sealer = Sealer(created, "models")

    assert sealer.seal("a", b"content") != sealer.seal("a", b"content")


@pytest.mark.parametrize("sealed", [b"", b"short", bytes(40)])
def test_bytes_that_were_never_sealed_do_not_open(created, sealed):
    with pytest.raises(KeystoreError):
        Sealer(created, "models").open("a", sealed)
