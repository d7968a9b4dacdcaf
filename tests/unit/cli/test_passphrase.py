"""Where a passphrase may lie."""

import os

import pytest

from fedanomaly.cli.passphrase import passphrase_of
from fedanomaly.errors import KeystoreError


@pytest.fixture
def file(tmp_path):
    made = tmp_path / "passphrase"
    made.write_text("correct horse battery\n")
    made.chmod(0o440)  # as systemd hands credentials over: the group bits are the entry for one user
    return made


def test_a_file_that_a_group_reads_is_refused(file):
    with pytest.raises(KeystoreError, match="others may read"):
        passphrase_of(file)


def test_a_credential_of_this_service_is_taken(file, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(file.parent))
    assert passphrase_of(file) == "correct horse battery"


@pytest.mark.parametrize("change", ["elsewhere", "open"])
def test_only_what_systemd_guards_is_a_credential(file, monkeypatch, change, tmp_path):
    (tmp_path / "other").mkdir()
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(tmp_path / "other" if change == "elsewhere" else tmp_path))
    if change == "open":
        file.chmod(0o444)
    with pytest.raises(KeystoreError, match="others may read"):
        passphrase_of(file)


def test_a_missing_file_is_said(tmp_path, monkeypatch):
    for folder in (None, tmp_path):
        if folder:
            monkeypatch.setenv("CREDENTIALS_DIRECTORY", os.fspath(folder))
        with pytest.raises(KeystoreError, match="cannot be read"):
            passphrase_of(tmp_path / "missing")
