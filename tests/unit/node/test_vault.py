import pytest

from fedanomaly.errors import KeystoreError
from fedanomaly.node.vault import SealedVault

LABEL = b"epoch 1"
ROSTER = {"members": 3, "threshold": 2, "index": 1}


@pytest.fixture
def folder(tmp_path):
    return tmp_path / "epochs"


@pytest.fixture
def vault(folder, keystore):
    return SealedVault(folder, keystore)


def test_fresh_secrets_are_on_the_disk_before_they_are_used(vault, folder, keystore):
    secrets = vault.generate(LABEL, **ROSTER)

    loaded = SealedVault(folder, keystore).load(LABEL, **ROSTER)
    assert loaded is not None
    assert loaded.hello() == secrets.hello()


def test_unknown_secrets_are_none(vault):
    assert vault.load(LABEL, **ROSTER) is None


def test_the_file_is_private_and_named_by_its_label(vault, folder):
    vault.generate(LABEL, **ROSTER)

    (path,) = folder.iterdir()
    assert path.name == f"{LABEL.hex()}.sealed"
    assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_saved_replaces_what_was_there(vault):
    vault.generate(LABEL, **ROSTER)
    second = vault.generate(b"other", **ROSTER)

    vault.save(LABEL, second)

    assert vault.load(LABEL, **ROSTER).hello() == second.hello()


def test_destroyed_secrets_are_gone(vault, folder):
    vault.generate(LABEL, **ROSTER)

    vault.destroy(LABEL)
    vault.destroy(LABEL)

    assert list(folder.iterdir()) == []
    assert vault.load(LABEL, **ROSTER) is None


def test_secrets_of_one_epoch_do_not_open_as_those_of_another(vault, folder):
    vault.generate(LABEL, **ROSTER)
    (folder / f"{LABEL.hex()}.sealed").rename(folder / f"{b'other'.hex()}.sealed")

    with pytest.raises(KeystoreError):
        vault.load(b"other", **ROSTER)


def test_a_changed_byte_is_noticed(vault, folder):
    vault.generate(LABEL, **ROSTER)
    (path,) = folder.iterdir()
    raw = bytearray(path.read_bytes())
    raw[len(raw) // 2] ^= 1
    path.write_bytes(raw)

    with pytest.raises(KeystoreError):
        vault.load(LABEL, **ROSTER)


def test_another_keystore_does_not_open_them(vault, folder, other_keystore):
    vault.generate(LABEL, **ROSTER)

    with pytest.raises(KeystoreError):
        SealedVault(folder, other_keystore).load(LABEL, **ROSTER)
