"""A stand-in for the ring arithmetic: plain residues and hashes, no noise, no polynomials.

It has no security whatsoever. It has the shape of the real thing: the same
messages of the same size, which the engine checks and adds; Shamir shares of a
secret for each prime, contributions that only the shares over exactly one set
open, zero masks, a pad, a MAC; group keys that are erased job by job; the same
errors for the same mistakes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from functools import lru_cache

import numpy as np

from fedanomaly.errors import CryptoError, DataError, MessageError, RefusedError, RejectedError
from fedanomaly.fhe import Ask, Contribution, DecryptionShare, Manifest, MaskedSum
from tests.independent.encoding import Refused
from tests.independent.packing import Layout
from tests.independent.rings import RINGS, crt, pack, unpack

HELLO_BYTES = 1248
PRIMES = tuple(dict.fromkeys(prime for ring in RINGS.values() for prime in ring.wire))

Residues = list[int]
Rows = list[tuple[int, Residues]]
"""For each ciphertext and prime: the prime and the residues of the coefficients in use."""


def digest(*parts: object) -> bytes:
    """Return a hash of parts, each with its length."""
    hashed = hashlib.sha256()
    for part in parts:
        data = part if isinstance(part, bytes) else str(part).encode()
        hashed.update(len(data).to_bytes(4, "little") + data)
    return hashed.digest()


def scalar(prime: int, *parts: object) -> int:
    """Return an integer below a prime."""
    return int.from_bytes(digest(prime, *parts), "little") % prime


@lru_cache(maxsize=64)
def layout_of(preset: int, members: int, threshold: int, bits: int, fields: int) -> Layout:
    """Return how entries lie in ciphertexts, by the second implementation."""
    return Layout(preset, members, threshold, bits, fields)


def plain(ask: Ask) -> Layout:
    """Return the layout of an ask."""
    return layout_of(int(ask.preset), ask.members, ask.threshold, ask.field_bits, ask.fields)


def stream(ask: Ask, *parts: object) -> Rows:
    """Return uniform residues for all ciphertexts and primes of a round."""
    layout, rows = plain(ask), []
    for c in range(layout.ciphertexts):
        for prime in layout.ring.wire:
            raw = hashlib.shake_256(digest(c, prime, *parts)).digest(16 * layout.used(c))
            rows.append((prime, [int.from_bytes(raw[i : i + 16], "little") % prime for i in range(0, len(raw), 16)]))
    return rows


def added(rows: Rows, others: Rows, factor: Callable[[int], int]) -> Rows:
    """Return rows plus a multiple, by prime, of other rows."""
    return [
        (prime, [(x + factor(prime) * y) % prime for x, y in zip(row, other, strict=True)])
        for (prime, row), (_, other) in zip(rows, others, strict=True)
    ]


def packed(rows: Rows) -> bytes:
    """Return rows as they travel."""
    return b"".join(pack(row, prime) for prime, row in rows)


def encoded(ask: Ask, values: list[int], key: bytes, manifest: bytes) -> Rows:
    """Return packed values, and behind them their keyed sum, by ciphertext and prime."""
    layout = plain(ask)
    whole = [
        sum(v << (layout.bits * f) for f, v in enumerate(values[first : first + layout.fields]))
        for first in range(0, len(values), layout.fields)
    ]
    rows = []
    for c in range(layout.ciphertexts):
        start = c * layout.degree
        for prime in layout.ring.wire:
            mac = sum(scalar(prime, key, manifest, "mac", f) * v for f, v in enumerate(values)) % prime
            listed = [*(value % prime for value in whole), *([mac] * layout.macs)]
            rows.append((prime, listed[start : start + layout.used(c)]))
    return rows


class FastSecrets:
    """One member's secrets of one key epoch; stands in for `fhe.secret.EpochSecrets`."""

    def __init__(self, kept: dict, entropy: Callable[[int], bytes]) -> None:
        self._kept = kept
        self._entropy = entropy
        self._closed = False

    @classmethod
    def generate(cls, entropy: Callable[[int], bytes], *, members: int, threshold: int, index: int) -> FastSecrets:
        kept = {"n": members, "t": threshold, "i": index, "seed": entropy(32).hex(), "got": {}, "floor": 0}
        return cls(kept, entropy)

    @classmethod
    def unseal(cls, entropy: Callable[[int], bytes], blob: bytes, *, index: int) -> FastSecrets:
        kept = json.loads(blob)
        if kept["i"] != index:
            raise MessageError("the sealed secrets are of another member")
        return cls(kept, entropy)

    def seal(self, key: bytes, context: bytes) -> bytes:
        del key, context
        return json.dumps(self._open).encode()

    @property
    def _open(self) -> dict:
        if self._closed:
            raise CryptoError("the secrets of this key epoch were erased")
        return self._kept

    @property
    def _seed(self) -> bytes:
        if "seed" not in self._open:
            raise CryptoError("the dealing secrets were erased")
        return bytes.fromhex(self._open["seed"])

    def hello(self) -> bytes:
        head = digest("public", self._seed) + digest("commitment", self._part())
        return head.ljust(HELLO_BYTES, b"\0")

    def _part(self) -> bytes:
        return digest("part", self._seed)

    def _share(self, prime: int, to: int) -> int:
        powers = range(self._open["t"])
        return sum(scalar(prime, "poly", self._seed, power) * pow(to, power, prime) for power in powers) % prime

    def deal(self, to: int, *, hello: bytes, info: bytes) -> bytes:
        body = {
            "salt": self._entropy(16).hex(),
            "part": self._part().hex(),
            "pair": digest("pair", self._seed, to).hex(),
            "shares": [self._share(prime, to) for prime in PRIMES],
        }
        data = json.dumps(body).encode().ljust(2048)
        return digest("hpke", hello[:32], info, data) + data

    def receive(self, sender: int, *, hello: bytes, info: bytes, envelope: bytes) -> None:
        tag, data = envelope[:32], envelope[32:]
        if tag != digest("hpke", digest("public", self._seed), info, data):
            raise MessageError("a deal does not open")
        body = json.loads(data)
        if digest("commitment", bytes.fromhex(body["part"])) != hello[32:64]:
            raise MessageError("a deal breaks the commitment of its sender")
        self._open["got"][str(sender)] = body

    def finish(self, epoch: bytes, roster: bytes) -> bytes:
        kept, seed = self._open, self._seed
        others = [j for j in range(1, kept["n"] + 1) if j != kept["i"]]
        if sorted(kept["got"]) != [str(j) for j in others]:
            raise CryptoError("deals are missing")
        got = kept.pop("got")
        parts = sorted([self._part(), *(bytes.fromhex(got[str(j)]["part"]) for j in others)])
        kept["epoch"], kept["g"] = epoch.hex(), digest("group", epoch, *parts).hex()
        kept["join"] = digest("join", seed, epoch).hex()
        kept["s"] = [scalar(prime, "poly", seed, 0) for prime in PRIMES]
        kept["shares"] = {str(j): got[str(j)]["shares"] for j in others}
        kept["shares"][str(kept["i"])] = [self._share(prime, kept["i"]) for prime in PRIMES]
        kept["pairs"] = {}
        for j in others:
            mine, theirs = digest("pair", seed, j), bytes.fromhex(got[str(j)]["pair"])
            low, high = (mine, theirs) if kept["i"] < j else (theirs, mine)
            kept["pairs"][str(j)] = digest("zero", epoch, low, high).hex()
        del kept["seed"]
        return digest("confirm", bytes.fromhex(kept["g"]), roster)

    def forget(self, job: int) -> None:
        self._open["floor"] = max(job, self._open["floor"])

    def _group(self, job: int) -> bytes:
        if job < self._open["floor"]:
            raise CryptoError("the keys of this job were erased")
        return digest("group key", bytes.fromhex(self._open["g"]), job)

    def nonce(self, ask: Ask, *, generation: int, frozen_hash: bytes, random: bytes) -> bytes:
        return digest(bytes.fromhex(self._open["join"]), ask.to_bytes(), generation, frozen_hash, random)

    def tag(self, job: int, data: bytes) -> bytes:
        return digest("tag", self._group(job), data)

    def _check(self, manifest: Manifest) -> None:
        if manifest.ask.epoch.hex() != self._open["epoch"]:
            raise MessageError("the manifest is not of this key epoch")

    def contribution(self, manifest: Manifest, values: np.ndarray) -> Contribution:
        self._check(manifest)
        ask = manifest.ask
        listed = [0] * ask.fields if ask.kind == "test" else [int(value) for value in values]
        if max(listed, default=0) >> ask.layout.value_bits:
            raise DataError("a value does not fit")
        rows = encoded(ask, listed, self._group(ask.job), manifest.hash)
        secret = dict(zip(PRIMES, self._open["s"], strict=True))
        masked = added(rows, stream(ask, "a", manifest.hash), lambda prime: -secret[prime])
        return Contribution(manifest.hash, packed(masked))

    def share(self, manifest: Manifest, contributors: tuple[int, ...]) -> DecryptionShare:
        self._check(manifest)
        ask, me = manifest.ask, self._open["i"]
        if me not in manifest.decryptors or not manifest.may_open(contributors):
            raise RefusedError("this set may not be opened here")
        shares = {
            prime: sum(self._open["shares"][str(i)][at] for i in contributors) * lagrange(manifest, me, prime)
            for at, prime in enumerate(PRIMES)
        }
        public = stream(ask, "a", manifest.hash)
        rows = added([(prime, [0] * len(row)) for prime, row in public], public, lambda prime: shares[prime])
        for j in manifest.decryptors:
            if j != me:
                zero = stream(ask, "zero", bytes.fromhex(self._open["pairs"][str(j)]), manifest.hash, contributors)
                rows = added(rows, zero, lambda _, sign=1 if j > me else -1: sign)
        if me == manifest.decryptors[0]:
            rows = added(rows, self._pad(manifest, contributors), lambda _: 1)
        return DecryptionShare(manifest.hash, packed(rows))

    def _pad(self, manifest: Manifest, contributors: tuple[int, ...]) -> Rows:
        return stream(manifest.ask, "pad", self._group(manifest.ask.job), manifest.hash, contributors)

    def open(self, manifest: Manifest, contributors: tuple[int, ...], masked: MaskedSum) -> np.ndarray:
        self._check(manifest)
        ask, layout, data, rows = manifest.ask, plain(manifest.ask), masked.residues, []
        try:
            for c in range(layout.ciphertexts):
                for prime in layout.ring.wire:
                    row, data = unpack(data, layout.used(c), prime)
                    rows.append((prime, row))
        except Refused:
            raise RejectedError("the sum does not open") from None
        rows = added(rows, self._pad(manifest, contributors), lambda _: -1)
        wire, values = layout.ring.wire, []
        for c in range(layout.ciphertexts):
            parts = rows[c * len(wire) : (c + 1) * len(wire)]
            for at in range(min(layout.used(c), layout.data - c * layout.degree)):
                whole = crt([row[at] for _, row in parts], wire)
                for _ in range(min(layout.fields, ask.fields - len(values))):
                    values.append(whole & ((1 << layout.bits) - 1))
                    whole >>= layout.bits
                if whole:
                    raise RejectedError("the sum does not open")
        if encoded(ask, values, self._group(ask.job), manifest.hash) != rows:
            raise RejectedError("the sum does not open")
        return np.array(values, dtype=np.uint64)

    def close(self) -> None:
        self._closed = True


def lagrange(manifest: Manifest, me: int, prime: int) -> int:
    """Return the Lagrange coefficient of a decryptor at 0."""
    above, below = 1, 1
    for j in manifest.decryptors:
        if j != me:
            above, below = above * j % prime, below * (j - me) % prime
    return above * pow(below, -1, prime) % prime
