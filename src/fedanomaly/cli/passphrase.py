"""Where a passphrase comes from: a private file, the environment, or a prompt.

Never from the command line, where every user of the machine can read it, and
never from a default.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

import typer

from fedanomaly.errors import KeystoreError

VARIABLE = "FEDANOMALY_PASSPHRASE"


def passphrase_of(file: Path | None, *, confirm: bool = False) -> str:
    """Return the passphrase.

    Parameters
    ----------
    file : Path or None
        What `--passphrase-file` said.
    confirm : bool, default=False
        Ask twice at a prompt: for a new keystore.

    Raises
    ------
    KeystoreError
        If there is none, or others may read its file.
    """
    if file is not None:
        return _from_file(file)
    # Taken out, so that no process that we start inherits it.
    given = os.environ.pop(VARIABLE, None)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise KeystoreError("no passphrase was given", hint=f"use --passphrase-file or {VARIABLE}")
    return typer.prompt("Passphrase of the keystore", hide_input=True, confirmation_prompt=confirm, err=True)


def _from_file(file: Path) -> str:
    from fedanomaly.node.keystore import check_private  # noqa: PLC0415 - commands start fast

    try:
        if not _is_credential(file):
            check_private(file)
        return file.read_text("utf-8").rstrip("\r\n")
    except OSError as error:
        raise KeystoreError(f"the passphrase file cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise KeystoreError("the passphrase file is not text") from None


def _is_credential(file: Path) -> bool:
    """Whether systemd hands the file to this service (systemd.exec(5), LoadCredential).

    Its folder is closed to everybody else. The file belongs to root, and the entry
    that lets this user read it shows as permissions of the group.
    """
    folder = os.environ.get("CREDENTIALS_DIRECTORY")
    return folder is not None and file.parent == Path(folder) and not file.stat().st_mode & 0o007
