"""What a round asks, and the manifest that names one sum completely."""

from __future__ import annotations

from dataclasses import dataclass

from tests.independent.encoding import ZEROS, begin, begun, exactly, index_set, item, items, need, number, take, whole
from tests.independent.packing import Layout
from tests.independent.streams import sha256

ASK = [
    "kind", "preset", "members", "threshold", "field_bits", "fields", "epoch", "roster", "policy",
    "job", "round", "step", "schema", "step_tag", "state_tag",
]  # fmt: skip
MANIFEST = [*ASK, "ciphertexts", "previous", "certificate", "F", "J", "D"]


@dataclass(frozen=True)
class Ask:
    """The items of an ask; `raw` are its very bytes."""

    raw: bytes
    kind: str
    layout: Layout
    epoch: bytes
    roster: bytes
    policy: bytes
    job: int
    round: int
    step: int
    schema: bytes
    step_tag: bytes
    state_tag: bytes

    @property
    def digest(self) -> bytes:
        return sha256(begin("ask") + self.raw)


def read_ask(raw: bytes) -> Ask:
    values = dict(zip(ASK, items(raw, ASK), strict=True))
    need(values["kind"] in (b"sum", b"test"), "unknown kind")
    sizes = [whole(values[label]) for label in ("preset", "members", "threshold", "field_bits", "fields")]
    layout = Layout(*sizes)
    need(layout.degree in (4096, 8192), "unknown preset")
    need(3 <= layout.members <= 250 and 2 <= layout.threshold < layout.members, "impossible roster or threshold")
    need(layout.bits <= layout.ring.max_field_bits and 1 <= layout.entries <= 1 << 32, "impossible step")
    named = {label: exactly(values[label], 32) for label in ("epoch", "roster", "policy", "schema")}
    tags = {label: exactly(values[label], 32) for label in ("step_tag", "state_tag")}
    where = {label: whole(values[label]) for label in ("job", "round", "step")}
    return Ask(raw=raw, kind=values["kind"].decode(), layout=layout, **named, **tags, **where)


@dataclass(frozen=True)
class Join:
    """Who joined, with which data snapshot and nonce, signed."""

    member: int
    generation: int
    nonce: bytes
    signature: bytes

    def signed(self, ask: Ask) -> bytes:
        about = number("member", self.member) + number("gen", self.generation)
        return begin("join post") + ask.raw + about + item("nonce", self.nonce)


@dataclass(frozen=True)
class Manifest:
    """One sum: J, D, F and what it rests on."""

    raw: bytes
    ask: Ask
    previous: bytes
    certificate: bytes
    fixed: tuple[int, ...]
    joins: tuple[Join, ...]
    decryptors: tuple[int, ...]

    @property
    def hash(self) -> bytes:
        return sha256(self.raw)

    @property
    def joined(self) -> tuple[int, ...]:
        return tuple(join.member for join in self.joins)

    @property
    def least(self) -> int:
        return max(3, self.ask.layout.threshold + 1)

    def may_open(self, contributors: tuple[int, ...]) -> bool:
        return (
            contributors == tuple(sorted(set(contributors)))
            and len(contributors) >= (1 if self.ask.kind == "test" else self.least)
            and set(contributors) <= set(self.joined)
            and (not self.fixed or contributors == self.fixed)
        )


def read_manifest(raw: bytes) -> Manifest:
    values = dict(zip(MANIFEST, begun(raw, "manifest", MANIFEST), strict=True))
    head = len(begin("manifest"))
    tail = raw[head:]
    for _ in ASK:
        tail = take(tail)[2]
    ask = read_ask(raw[head : len(raw) - len(tail)])
    members = ask.layout.members
    ask.layout.check()
    need(whole(values["ciphertexts"]) == ask.layout.ciphertexts, "wrong number of ciphertexts")
    joins, rest = [], values["J"]
    while rest:
        head_of = []
        for label in ("member", "gen", "nonce", "signature"):
            found, value, rest = take(rest)
            need(found == label, f"expected the item {label}")
            head_of.append(value)
        joins.append(Join(whole(head_of[0]), whole(head_of[1]), exactly(head_of[2], 32), exactly(head_of[3], 64)))
    manifest = Manifest(
        raw=raw,
        ask=ask,
        previous=exactly(values["previous"], 32),
        certificate=values["certificate"],
        fixed=index_set(values["F"], members),
        joins=tuple(joins),
        decryptors=index_set(values["D"], members),
    )
    joined = manifest.joined
    need(joined == tuple(sorted(set(joined))) and all(1 <= one <= members for one in joined), "J is no set")
    need(len(joined) >= manifest.least, "too few joined")
    need(len(manifest.certificate) <= 65536, "the certificate is too long")
    need((manifest.previous == ZEROS) == (not manifest.certificate), "a previous sum comes with its certificate")
    need(len(manifest.decryptors) == min(len(joined), ask.layout.threshold + 2), "D has the wrong size")
    need(set(manifest.decryptors) <= set(joined), "a decryptor did not join")
    need(not manifest.fixed or len(manifest.fixed) >= manifest.least, "F is too small")
    need(set(manifest.fixed) <= set(joined), "a member of F did not join")
    return manifest
