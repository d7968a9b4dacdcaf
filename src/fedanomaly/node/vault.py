"""The secrets of key epochs on disk: sealed by the engine, replaced as a whole."""

from __future__ import annotations

from pathlib import Path

from fedanomaly.errors import KeystoreError, MessageError
from fedanomaly.fhe.secret import EpochSecrets
from fedanomaly.node.durable import make_folder, remove_file
from fedanomaly.node.keystore import Keystore
from fedanomaly.protocol import Secrets
from fedanomaly.storage import write_durably
from fedanomaly.types import item
from fedanomaly.types.canonical import begin


class SealedVault:
    """Keeps the secrets of each key epoch in one sealed file.

    The plaintext never passes through Python: the engine seals it under a key
    that is derived for this purpose alone, bound to the label of the epoch.

    Parameters
    ----------
    folder : Path
        Where the files lie.
    keystore : Keystore
        Gives the key.
    """

    def __init__(self, folder: Path, keystore: Keystore) -> None:
        make_folder(folder)
        self._folder = folder
        self._key = keystore.key_for("epoch secrets")

    def generate(self, label: bytes, *, members: int, threshold: int, index: int) -> EpochSecrets:
        """Draw fresh secrets; they are durable when this returns."""
        secrets = EpochSecrets.generate(members=members, threshold=threshold, index=index)
        self.save(label, secrets)
        return secrets

    def load(self, label: bytes, *, members: int, threshold: int, index: int) -> EpochSecrets | None:
        """Return kept secrets, or None.

        Raises
        ------
        KeystoreError
            If the file was changed, or sealed under another keystore.
        """
        try:
            sealed = self._path(label).read_bytes()
        except FileNotFoundError:
            return None
        try:
            return EpochSecrets.unseal(
                self._key, _context(label), sealed, members=members, threshold=threshold, index=index
            )
        except MessageError:
            raise KeystoreError("the secrets of a key epoch do not open under this keystore") from None

    def save(self, label: bytes, secrets: Secrets) -> None:
        """Replace kept secrets by their present form, durably."""
        write_durably(self._path(label), secrets.seal(self._key, _context(label)))

    def destroy(self, label: bytes) -> None:
        """Remove kept secrets for good; missing ones are no error."""
        remove_file(self._path(label))

    def _path(self, label: bytes) -> Path:
        return self._folder / f"{label.hex()}.sealed"


def _context(label: bytes) -> bytes:
    return begin("epoch secrets at rest") + item("label", label)
