"""A member's secrets of one key epoch. Dangerous: only the node imports this.

The secrets live inside the engine, behind a handle. They leave it in two forms
only: sealed to another member by HPKE (a deal), or sealed under a key of this
node's keystore. Python never holds a ring secret, a key share or a PRF key.
"""

from __future__ import annotations

import os
import weakref
from types import TracebackType
from typing import NoReturn, Self

import numpy as np
import numpy.typing as npt

from fedanomaly.errors import CryptoError, MessageError
from fedanomaly.fhe._engine import call, ffi, free
from fedanomaly.fhe.manifest import Ask, Manifest
from fedanomaly.fhe.sums import Contribution, DecryptionShare, MaskedSum

_HELLO_CAPACITY = 4096


class EpochSecrets:
    """One member's secrets of one key epoch.

    Make it with `generate` or `unseal`. Every message is a deterministic
    function of the secrets, the manifest and the frozen values, so a repeated
    call gives the same bytes; only `deal` is randomised, by HPKE.

    The engine erases them at `close`, or else with the last reference to this
    object: an error on the way must not leave secrets behind.
    """

    def __init__(self, handle: int, *, members: int, index: int) -> None:
        self._handle = handle
        self._members = members
        self._index = index
        self._finalizer = weakref.finalize(self, free, handle, os.getpid())
        self._finalizer.atexit = False  # the memory goes with the process

    @classmethod
    def generate(cls, *, members: int, threshold: int, index: int) -> Self:
        """Draw fresh secrets for the member with roster index `index`.

        Raises
        ------
        ConfigError
            If there is no such roster: 3 <= members, 2 <= threshold < members.
        """
        handle = ffi.new("int64_t *")
        call("fa_member_new", members, threshold, index, handle)
        return cls(handle[0], members=members, index=index)

    def seal(self, key: bytes, context: bytes) -> bytes:
        """Return all secrets sealed under a key of 32 bytes, bound to `context`."""
        length, capacity = ffi.new("int64_t *"), ffi.new("int64_t *")
        call("fa_member_seal_bytes", self._open_handle(), capacity)
        out = bytearray(capacity[0])
        call(
            "fa_member_seal",
            self._open_handle(),
            _exactly(key, 32),
            context,
            len(context),
            ffi.from_buffer("uint8_t[]", out),
            len(out),
            length,
        )
        return bytes(out[: length[0]])

    @classmethod
    def unseal(cls, key: bytes, context: bytes, blob: bytes, *, members: int, threshold: int, index: int) -> Self:
        """Read what `seal` wrote.

        Raises
        ------
        MessageError
            If the key, the context or a byte is another, or the secrets are not
            those of this roster index.
        """
        handle, facts = ffi.new("int64_t *"), ffi.new("int64_t[4]")
        call("fa_member_unseal", _exactly(key, 32), context, len(context), blob, len(blob), handle)
        secrets = cls(handle[0], members=members, index=index)
        call("fa_member_facts", handle[0], facts)
        if tuple(facts)[:3] != (members, threshold, index):
            secrets.close()
            raise MessageError("the sealed secrets are of another member")
        return secrets

    def hello(self) -> bytes:
        """Return the HPKE public key and the commitment to the group key part."""
        out, length = bytearray(_HELLO_CAPACITY), ffi.new("int64_t *")
        buffer = ffi.from_buffer("uint8_t[]", out)
        call("fa_member_hello", self._open_handle(), buffer, _HELLO_CAPACITY, length)
        return bytes(out[: length[0]])

    def deal(self, to: int, *, hello: bytes, info: bytes) -> bytes:
        """Return the HPKE envelope with our key shares and seeds for a member.

        Randomised: keep the bytes and send the same ones again.

        Parameters
        ----------
        to : int
            Roster index of the receiver.
        hello : bytes
            The receiver's hello.
        info : bytes
            Version, roster, sender, receiver and purpose; authenticated.
        """
        size = ffi.new("int64_t *")
        call("fa_member_deal_bytes", size)
        out, length = bytearray(size[0]), ffi.new("int64_t *")
        call(
            "fa_member_deal",
            self._open_handle(),
            to,
            hello,
            len(hello),
            info,
            len(info),
            ffi.from_buffer("uint8_t[]", out),
            len(out),
            length,
        )
        return bytes(out[: length[0]])

    def receive(self, sender: int, *, hello: bytes, info: bytes, envelope: bytes) -> None:
        """Open and keep another member's deal; one for each sender.

        Raises
        ------
        MessageError
            If it does not open, or breaks the commitment of the sender's hello.
        """
        call(
            "fa_member_receive",
            self._open_handle(),
            sender,
            hello,
            len(hello),
            info,
            len(info),
            envelope,
            len(envelope),
        )

    def finish(self, epoch: bytes, roster: bytes) -> bytes:
        """Derive the keys of every purpose and forget the dealing secrets.

        Returns
        -------
        bytes
            A keyed tag, 32 bytes, equal at every member.
        """
        out = ffi.new("uint8_t[32]")
        call("fa_member_finish", self._open_handle(), _exactly(epoch, 32), _exactly(roster, 32), out)
        return bytes(out)

    def forget(self, job: int) -> None:
        """Erase the group keys of all jobs before `job`."""
        call("fa_member_forget", self._open_handle(), job)

    def nonce(self, ask: Ask, *, generation: int, frozen_hash: bytes, random: bytes) -> bytes:
        """Return the join nonce, bound to the ask and the frozen values."""
        raw, out = ask.to_bytes(), ffi.new("uint8_t[32]")
        call(
            "fa_member_nonce",
            self._open_handle(),
            raw,
            len(raw),
            generation,
            _exactly(frozen_hash, 32),
            _exactly(random, 32),
            out,
        )
        return bytes(out)

    def tag(self, job: int, data: bytes) -> bytes:
        """Return the keyed tag of a state or step; equal at every member."""
        out = ffi.new("uint8_t[32]")
        call("fa_member_tag", self._open_handle(), job, data, len(data), out)
        return bytes(out)

    def contribution(self, manifest: Manifest, values: npt.NDArray[np.uint64]) -> Contribution:
        """Encrypt the frozen values of this member for one round.

        Parameters
        ----------
        manifest : Manifest
            The round. Under kind "test" constant zeros are sent instead.
        values : uint64 array of shape (fields,)
            Frozen values, each below 2^value_bits.

        Raises
        ------
        DataError
            If a value does not fit.
        MessageError
            If the manifest is not of this member's key epoch.
        """
        values = np.ascontiguousarray(values, dtype=np.uint64)
        size = manifest.ask.layout.message_bytes
        out = bytearray(size)
        call(
            "fa_contribution",
            self._open_handle(),
            manifest.raw,
            len(manifest.raw),
            ffi.from_buffer("uint64_t[]", values.data),
            values.size,
            ffi.from_buffer("uint8_t[]", out),
            size,
        )
        return Contribution(manifest.hash, bytes(out))

    def share(self, manifest: Manifest, contributors: tuple[int, ...]) -> DecryptionShare:
        """Return the masked decryption share for exactly this set.

        The caller has recorded the statement durably before.

        Raises
        ------
        RefusedError
            If this member is no decryptor, or the set may not be opened.
        """
        size = manifest.ask.layout.message_bytes
        out = bytearray(size)
        call(
            "fa_share",
            self._open_handle(),
            manifest.raw,
            len(manifest.raw),
            ffi.new("uint16_t[]", _indices(contributors)),
            len(contributors),
            ffi.from_buffer("uint8_t[]", out),
            size,
        )
        return DecryptionShare(manifest.hash, bytes(out))

    def open(self, manifest: Manifest, contributors: tuple[int, ...], masked: MaskedSum) -> npt.NDArray[np.uint64]:
        """Open a masked sum.

        Returns
        -------
        uint64 array of shape (fields,)
            The exact sum over `contributors`.

        Raises
        ------
        RejectedError
            For every failure alike: range, unused bits, noise, MAC.
        """
        out = np.empty(manifest.ask.fields, dtype=np.uint64)
        call(
            "fa_open",
            self._open_handle(),
            manifest.raw,
            len(manifest.raw),
            ffi.new("uint16_t[]", _indices(contributors)),
            len(contributors),
            masked.residues,
            len(masked.residues),
            ffi.from_buffer("uint64_t[]", out.data),
            out.size,
        )
        return out

    def close(self) -> None:
        """Erase the secrets from the engine's memory; closing twice does nothing."""
        self._handle = 0
        self._finalizer()

    def _open_handle(self) -> int:
        if not self._handle:
            raise CryptoError("the secrets of this key epoch were erased")
        return self._handle

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<EpochSecrets of member {self._index} of {self._members}>"

    def __reduce__(self) -> NoReturn:
        raise CryptoError("secrets are not copied or pickled")


def _exactly(data: bytes, length: int) -> bytes:
    if len(data) != length:
        raise MessageError(f"expected {length} bytes")
    return data


def _indices(contributors: tuple[int, ...]) -> list[int]:
    """Return indices that fit the engine's type; 0 is nobody's, so it is refused there."""
    return [index if 0 <= index < 1 << 16 else 0 for index in contributors]
