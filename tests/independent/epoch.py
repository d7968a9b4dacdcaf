"""A member's secrets of one key epoch: how they are kept, dealt, and turned into keys."""

from __future__ import annotations

from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import mlkem, x25519
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256, SHAKE256, Hash
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, MLKEM768X25519PrivateKey, Suite
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.independent.encoding import begin, exactly, item, need, number, take, whole
from tests.independent.rings import MONTGOMERY, RINGS, Ring, evaluate, interpolate, pack_whole, unpack_whole
from tests.independent.streams import derive, prf, sha256

DEALING, READY = 0, 1
SUITE = Suite(KEM.MLKEM768_X25519, KDF.HKDF_SHA256, AEAD.AES_256_GCM)
Rows = list[list[int]]
"""One row of residues for each prime: values at the evaluation points, times 2^64."""


def hpke_private_key(seed: bytes) -> MLKEM768X25519PrivateKey:
    """Expand a seed of 32 bytes: SHAKE-256 gives 64 bytes for ML-KEM-768, then 32 for X25519."""
    shake = Hash(SHAKE256(96))
    shake.update(seed)
    expanded = shake.finalize()
    post_quantum = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64])
    return MLKEM768X25519PrivateKey(post_quantum, x25519.X25519PrivateKey.from_private_bytes(expanded[64:]))


def hpke_public_bytes(seed: bytes) -> bytes:
    shake = Hash(SHAKE256(96))
    shake.update(seed)
    expanded = shake.finalize()
    post_quantum = mlkem.MLKEM768PrivateKey.from_seed_bytes(expanded[:64]).public_key().public_bytes_raw()
    return post_quantum + x25519.X25519PrivateKey.from_private_bytes(expanded[64:]).public_key().public_bytes_raw()


def deal_info(roster: bytes, nonce: bytes, sender: int, receiver: int) -> bytes:
    who = number("sender", sender) + number("receiver", receiver)
    return begin("deal info") + item("roster", roster) + item("nonce", nonce) + who + item(
        "purpose", b"key shares and seeds"
    )  # fmt: skip


def commitment(member: int, part: bytes, salt: bytes) -> bytes:
    return sha256(begin("group commitment") + number("member", member) + item("salt", salt) + item("part", part))


@dataclass(frozen=True)
class Deal:
    """What one member gives another."""

    shares: dict[int, Rows]
    pair: bytes
    part: bytes
    salt: bytes


def write_deal(sender: int, receiver: int, deal: Deal) -> bytes:
    out = begin("deal") + number("from", sender) + number("to", receiver)
    for degree, ring in RINGS.items():
        out += item("share", pack_whole(deal.shares[degree], ring))
    return out + item("pair", deal.pair) + item("group", deal.part) + item("salt", deal.salt)


def read_deal(plain: bytes, sender: int, receiver: int) -> Deal:
    reader = Items(plain)
    need(reader.value("version") == b"fedanomaly/1" and reader.value("label") == b"deal", "not a deal")
    need(reader.whole("from") == sender and reader.whole("to") == receiver, "the deal is of another pair")
    shares = {degree: unpack_whole(reader.value("share"), ring) for degree, ring in RINGS.items()}
    deal = Deal(shares, reader.key("pair"), reader.key("group"), reader.key("salt"))
    reader.end()
    return deal


class Items:
    """Items taken off one after the other."""

    def __init__(self, data: bytes) -> None:
        self._rest = data

    def value(self, label: str) -> bytes:
        found, value, self._rest = take(self._rest)
        need(found == label, f"expected the item {label}")
        return value

    def key(self, label: str) -> bytes:
        return exactly(self.value(label), 32)

    def whole(self, label: str) -> int:
        return whole(self.value(label))

    def end(self) -> None:
        need(not self._rest, "bytes follow the last item")


def _box(key: bytes, salt: bytes) -> AESGCM:
    return AESGCM(HKDF(SHA256(), 32, salt=salt, info=begin("member state")).derive(key))


def seal(state: bytes, key: bytes, context: bytes, salt: bytes) -> bytes:
    bound = begin("member state") + item("context", context)
    return salt + _box(key, salt).encrypt(bytes(12), state, bound)


def unseal(blob: bytes, key: bytes, context: bytes) -> bytes:
    bound = begin("member state") + item("context", context)
    return _box(key, blob[:32]).decrypt(bytes(12), blob[32:], bound)


@dataclass
class Dealing:
    """A member's secrets before the epoch id is known."""

    members: int
    threshold: int
    index: int
    hpke: bytes
    noise: bytes
    part: bytes
    salt: bytes
    sent: list[bytes]
    got: dict[int, tuple[bytes, bytes, bytes]]
    secret: dict[int, Rows]
    coefficients: dict[int, list[Rows]]
    shares: dict[int, dict[int, Rows]]

    def share_for(self, degree: int, receiver: int) -> Rows:
        """Evaluate the sharing polynomial at a roster index."""
        terms = [self.secret[degree], *self.coefficients[degree]]
        powers = [receiver**power for power in range(self.threshold)]
        rows = []
        for q, parts in zip(RINGS[degree].primes, zip(*terms, strict=True), strict=True):
            columns = zip(*parts, strict=True)
            rows.append([sum(v * power for v, power in zip(column, powers, strict=True)) % q for column in columns])
        return rows

    def deal_for(self, receiver: int) -> Deal:
        shares = {degree: self.share_for(degree, receiver) for degree in RINGS}
        return Deal(shares, self.sent[receiver - 1], self.part, self.salt)

    def receive(self, sender: int, hello: bytes, info: bytes, envelope: bytes) -> None:
        deal = read_deal(SUITE.decrypt(envelope, hpke_private_key(self.hpke), info), sender, self.index)
        need(commitment(sender, deal.part, deal.salt) == hello[1216:], "the deal breaks its sender's commitment")
        self.got[sender] = (deal.pair, deal.part, deal.salt)
        for degree, rows in deal.shares.items():
            self.shares[degree][sender] = rows

    def finish(self, epoch: bytes, roster: bytes) -> Keys:
        self.got[self.index] = (bytes(32), self.part, self.salt)
        group = begin("group") + b"".join(item("part", self.got[i][1]) for i in range(1, self.members + 1))
        zero = {}
        for other in range(1, self.members + 1):
            if other == self.index:
                continue
            mine, theirs = self.sent[other - 1], self.got[other][0]
            low, high = sorted((self.index, other))
            halves = (mine, theirs) if self.index == low else (theirs, mine)
            pair = begin("pair") + number("low", low) + number("high", high)
            pair += item("a", halves[0]) + item("b", halves[1])
            zero[other] = derive(sha256(pair), "zero", epoch)
        return Keys(
            members=self.members,
            threshold=self.threshold,
            index=self.index,
            epoch=epoch,
            roster=roster,
            join=derive(self.noise, "join", epoch),
            e=derive(self.noise, "e", epoch),
            f=derive(self.noise, "f", epoch),
            chain=derive(sha256(group), "group", epoch),
            job=0,
            zero=zero,
            minus_secret={
                degree: [[-v % q for v in row] for row, q in zip(rows, RINGS[degree].primes, strict=True)]
                for degree, rows in self.secret.items()
            },
            shares=self.shares,
        )


@dataclass
class Keys:
    """A member's secrets of a running epoch, as the second kind of sealed state holds them."""

    members: int
    threshold: int
    index: int
    epoch: bytes
    roster: bytes
    join: bytes
    e: bytes
    f: bytes
    chain: bytes
    job: int
    zero: dict[int, bytes]
    minus_secret: dict[int, Rows]
    shares: dict[int, dict[int, Rows]] = field(default_factory=dict)

    def group_key(self, purpose: str, job: int) -> bytes:
        """Return the key of pad, mac or tag for one job: the chain, ratcheted once for each job."""
        need(0 <= job - self.job <= 1 << 20, "the group keys of this job are gone, or far ahead")
        chain = self.chain
        for _ in range(job - self.job):
            chain = derive(chain, "ratchet", self.epoch)
        return derive(chain, purpose, self.epoch)

    def confirmation(self) -> bytes:
        return prf(derive(self.chain, "confirm", self.epoch), begin("confirm") + item("roster", self.roster))

    def nonce(self, ask: bytes, generation: int, frozen: bytes, random: bytes) -> bytes:
        about = number("gen", generation) + item("frozen", frozen) + item("random", random)
        return prf(self.join, begin("join") + ask + about)

    def tag(self, job: int, data: bytes) -> bytes:
        return prf(self.group_key("tag", job), begin("tag") + item("data", data))


def _head(phase: int, members: int, threshold: int, index: int) -> bytes:
    out = begin("member state") + number("members", members) + number("threshold", threshold)
    return out + number("index", index) + number("phase", phase)


def write_keys(keys: Keys) -> bytes:
    out = _head(READY, keys.members, keys.threshold, keys.index)
    out += item("epoch", keys.epoch) + item("roster", keys.roster) + item("join", keys.join)
    out += item("e", keys.e) + item("f", keys.f) + item("chain", keys.chain) + number("job", keys.job)
    for other in range(1, keys.members + 1):
        out += item("zero", keys.zero.get(other, bytes(32)))
    for degree, ring in RINGS.items():
        out += item("poly", pack_whole(keys.minus_secret[degree], ring))
        for sender in range(1, keys.members + 1):
            out += item("poly", pack_whole(keys.shares[degree][sender], ring))
    return out


def write_dealing(dealing: Dealing) -> bytes:
    out = _head(DEALING, dealing.members, dealing.threshold, dealing.index)
    out += item("hpke", dealing.hpke) + item("noise", dealing.noise) + item("group", dealing.part)
    out += item("salt", dealing.salt)
    for other in range(1, dealing.members + 1):
        out += item("sent", dealing.sent[other - 1])
        if other == dealing.index:  # a member has its own part from the start, and no half of a pair with itself
            out += number("known", 1) + item("pair", bytes(32)) + item("part", dealing.part)
            out += item("part salt", dealing.salt)
        else:
            out += number("known", 0)
    for degree, ring in RINGS.items():
        for rows in (dealing.secret[degree], *dealing.coefficients[degree], dealing.share_for(degree, dealing.index)):
            out += item("poly", pack_whole(rows, ring))
    return out


def read_state(state: bytes) -> Dealing | Keys:
    reader = Items(state)
    need(reader.value("version") == b"fedanomaly/1" and reader.value("label") == b"member state", "not a state")
    members, threshold, index = reader.whole("members"), reader.whole("threshold"), reader.whole("index")
    everybody = range(1, members + 1)
    if reader.whole("phase") == READY:
        epoch, roster = reader.key("epoch"), reader.key("roster")
        join, e, f, chain = (reader.key(label) for label in ("join", "e", "f", "chain"))
        job = reader.whole("job")
        zero = {other: reader.key("zero") for other in everybody}
        zero.pop(index)
        minus_secret, shares = {}, {}
        for degree, ring in RINGS.items():
            minus_secret[degree] = unpack_whole(reader.value("poly"), ring)
            shares[degree] = {sender: unpack_whole(reader.value("poly"), ring) for sender in everybody}
        reader.end()
        return Keys(members, threshold, index, epoch, roster, join, e, f, chain, job, zero, minus_secret, shares)
    hpke, noise, part, salt = (reader.key(label) for label in ("hpke", "noise", "group", "salt"))
    sent, got = [], {}
    for other in everybody:
        sent.append(reader.key("sent"))
        if reader.whole("known"):
            got[other] = (reader.key("pair"), reader.key("part"), reader.key("part salt"))
    secret, coefficients, shares = {}, {}, {}
    for degree, ring in RINGS.items():
        secret[degree] = unpack_whole(reader.value("poly"), ring)
        coefficients[degree] = [unpack_whole(reader.value("poly"), ring) for _ in range(threshold - 1)]
        shares[degree] = {sender: unpack_whole(reader.value("poly"), ring) for sender in got}
    reader.end()
    return Dealing(members, threshold, index, hpke, noise, part, salt, sent, got, secret, coefficients, shares)


def to_rows(coefficients: list[int], ring: Ring) -> Rows:
    """Return a polynomial as it is kept: evaluated, times 2^64."""
    return [
        [v * MONTGOMERY % q for v in evaluate([c % q for c in coefficients], root, q)]
        for q, root in zip(ring.primes, ring.roots, strict=True)
    ]


def to_coefficients(row: list[int], ring: Ring, j: int) -> list[int]:
    """Return the coefficients of a kept polynomial mod prime j."""
    q = ring.primes[j]
    inverse = pow(MONTGOMERY, -1, q)
    return interpolate([v * inverse % q for v in row], ring.roots[j], q)
