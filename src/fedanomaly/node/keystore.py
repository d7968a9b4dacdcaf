"""One file with everything that a node must never lose or show.

It holds the identity (an Ed25519 seed) and the data key, under AES-256-GCM with
a key that Argon2id makes of the passphrase. Cost and salt stand in the file and
are authenticated with it, so whoever turns the cost down gets no answer at all.
Every other key of the node is derived from the data key, one for each purpose.
"""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn, Self

import msgspec
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedanomaly.errors import CryptoError, KeystoreError, MessageError
from fedanomaly.storage import write_durably
from fedanomaly.types import Reader, item, item_int
from fedanomaly.types.canonical import begin

KEY_BYTES = 32
NONCE_BYTES = 12
SALT_BYTES = 16
VERSION = 1
MIN_PASSPHRASE_CHARACTERS = 12

_MEMORY_KIB = range(19_456, (1 << 20) + 1)
_ITERATIONS = range(2, 65)
_LANES = range(1, 17)


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one guess of the passphrase costs.

    The default is the second recommendation of RFC 9106 section 4; the lower
    bounds are those of the OWASP password storage cheat sheet, the upper ones
    keep a planted file from taking the machine's memory.

    Parameters
    ----------
    memory_kib : int
        Memory.
    iterations : int
        Passes.
    lanes : int
        Parallel lanes.
    """

    memory_kib: int = 65_536
    iterations: int = 3
    lanes: int = 4

    def __post_init__(self) -> None:
        if self.memory_kib not in _MEMORY_KIB or self.iterations not in _ITERATIONS or self.lanes not in _LANES:
            raise KeystoreError("the Argon2id cost of the keystore is out of range")


class _File(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The keystore as it lies on the disk."""

    format: str
    version: int
    kdf: str
    memory_kib: int
    iterations: int
    lanes: int
    salt: bytes
    cipher: str
    nonce: bytes
    sealed: bytes

    def authenticated(self) -> bytes:
        """Return every field that is not secret, in one unambiguous form."""
        return (
            begin("keystore")
            + item("format", self.format.encode())
            + item_int("version", self.version)
            + item("kdf", self.kdf.encode())
            + item_int("memory_kib", self.memory_kib)
            + item_int("iterations", self.iterations)
            + item_int("lanes", self.lanes)
            + item("salt", self.salt)
            + item("cipher", self.cipher.encode())
        )

    def cipher_of(self, passphrase: str) -> AESGCM:
        """Return the cipher that the passphrase opens."""
        kdf = Argon2id(
            salt=self.salt,
            length=KEY_BYTES,
            iterations=self.iterations,
            lanes=self.lanes,
            memory_cost=self.memory_kib,
        )
        return AESGCM(kdf.derive(passphrase.encode("utf-8")))


_FORMAT, _KDF, _CIPHER = "fedanomaly keystore", "argon2id", "AES-256-GCM"


class Keystore:
    """The opened keystore of a node: signs, and derives keys for one purpose each.

    Make it with `create` or `open`. It shows nothing in its `repr` and does not
    pickle.
    """

    def __init__(self, seed: bytes, data_key: bytes) -> None:
        self._identity = Ed25519PrivateKey.from_private_bytes(seed)
        self._data_key = data_key
        self.public_key = self._identity.public_key().public_bytes_raw()

    @classmethod
    def create(cls, path: Path, passphrase: str, *, cost: Cost | None = None) -> Self:
        """Draw a new identity and data key and write them, durably.

        Raises
        ------
        KeystoreError
            If the file exists, or the passphrase is too short.
        """
        check_passphrase(passphrase)
        if path.exists():
            raise KeystoreError(f"{path} exists", hint="a new identity would lock this node out of its own data")
        cost = cost or Cost()
        seed, data_key = os.urandom(KEY_BYTES), os.urandom(KEY_BYTES)
        head = _File(
            format=_FORMAT,
            version=VERSION,
            kdf=_KDF,
            memory_kib=cost.memory_kib,
            iterations=cost.iterations,
            lanes=cost.lanes,
            salt=os.urandom(SALT_BYTES),
            cipher=_CIPHER,
            nonce=os.urandom(NONCE_BYTES),
            sealed=b"",
        )
        plain = item("identity", seed) + item("data key", data_key)
        sealed = head.cipher_of(passphrase).encrypt(head.nonce, plain, head.authenticated())
        file = msgspec.structs.replace(head, sealed=sealed)
        write_durably(path, msgspec.json.format(msgspec.json.encode(file), indent=2) + b"\n")
        return cls(seed, data_key)

    @classmethod
    def open(cls, path: Path, passphrase: str) -> Self:
        """Read the keystore.

        Raises
        ------
        KeystoreError
            If it is not there, others may read it, a byte was changed, or the
            passphrase is another one.
        """
        file = _read(path)
        try:
            plain = file.cipher_of(passphrase).decrypt(file.nonce, file.sealed, file.authenticated())
            reader = Reader(plain)
            seed, data_key = reader.exact("identity", KEY_BYTES), reader.exact("data key", KEY_BYTES)
            reader.end()
        except (InvalidTag, MessageError, ValueError):
            raise KeystoreError("the passphrase is wrong, or the keystore was changed") from None
        return cls(seed, data_key)

    def sign(self, data: bytes) -> bytes:
        """Return the Ed25519 signature of this node's identity, 64 bytes."""
        return self._identity.sign(data)

    def key_for(self, purpose: str) -> bytes:
        """Return the key of one purpose, 32 bytes (HKDF-SHA-256, RFC 5869)."""
        info = begin("derived key") + item("purpose", purpose.encode("ascii"))
        return HKDF(algorithm=SHA256(), length=KEY_BYTES, salt=None, info=info).derive(self._data_key)

    def __repr__(self) -> str:
        return f"<Keystore of {self.public_key.hex()[:16]}>"

    def __reduce__(self) -> NoReturn:
        raise CryptoError("keys are not copied or pickled")


class Sealer:
    """Seals small files under the key of one purpose; each is bound to its name.

    Parameters
    ----------
    keystore : Keystore
        Gives the key.
    purpose : str
        What the files hold, such as ``"models"``.
    """

    def __init__(self, keystore: Keystore, purpose: str) -> None:
        self._aead = AESGCM(keystore.key_for(purpose))
        self._purpose = purpose

    def seal(self, name: str, data: bytes) -> bytes:
        """Return the sealed form, with a fresh nonce."""
        nonce = os.urandom(NONCE_BYTES)
        return nonce + self._aead.encrypt(nonce, data, self._bound(name))

    def open(self, name: str, sealed: bytes) -> bytes:
        """Return what was sealed under this very name.

        Raises
        ------
        KeystoreError
            If the key, the name or a byte is another.
        """
        try:
            return self._aead.decrypt(sealed[:NONCE_BYTES], sealed[NONCE_BYTES:], self._bound(name))
        except (InvalidTag, ValueError):
            raise KeystoreError(f"{name} does not open under this keystore") from None

    def _bound(self, name: str) -> bytes:
        return begin("sealed file") + item("purpose", self._purpose.encode("ascii")) + item("name", name.encode())


def check_passphrase(passphrase: str) -> None:
    """Refuse a passphrase that is too short to stand alone against guessing.

    Raises
    ------
    KeystoreError
        If it has fewer than 12 characters.
    """
    if len(passphrase) < MIN_PASSPHRASE_CHARACTERS:
        raise KeystoreError(
            f"a passphrase needs at least {MIN_PASSPHRASE_CHARACTERS} characters",
            hint="four random words are easy to keep and hard to guess",
        )


def _read(path: Path) -> _File:
    try:
        check_private(path)
        file = msgspec.json.decode(path.read_bytes(), type=_File)
    except FileNotFoundError:
        raise KeystoreError(f"there is no keystore at {path}", hint="run: fedanomaly node init") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise KeystoreError(f"{path} is not a keystore") from None
    if (file.format, file.version, file.kdf, file.cipher) != (_FORMAT, VERSION, _KDF, _CIPHER):
        raise KeystoreError(f"{path} is a keystore of a kind that is not known here", hint="upgrade this node")
    Cost(memory_kib=file.memory_kib, iterations=file.iterations, lanes=file.lanes)
    return file


def check_private(path: Path) -> None:
    """Refuse a secret file that anybody but its owner may open.

    Raises
    ------
    KeystoreError
        If group or others have any permission, or another user owns it.
    """
    status = path.stat()
    if status.st_uid != os.geteuid():
        raise KeystoreError(f"{path} belongs to another user", hint="run the node as the owner of its home")
    if stat.S_IMODE(status.st_mode) & 0o077:
        raise KeystoreError(f"others may read {path}", hint=f"run: chmod 600 {path}")
