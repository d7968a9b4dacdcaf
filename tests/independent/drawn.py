"""The members of the stored vectors: everything that is random follows from names."""

from __future__ import annotations

from functools import cache

from tests.independent.encoding import ZEROS, begin, indices, item, number
from tests.independent.epoch import Dealing, Keys, Rows, to_rows
from tests.independent.manifests import Manifest, read_manifest
from tests.independent.packing import Layout
from tests.independent.rings import RINGS
from tests.independent.streams import Stream, sha256

EPOCH, ROSTER = sha256(b"epoch"), sha256(b"roster")


def named(*parts: object) -> bytes:
    """Return 32 bytes that stand for a random draw."""
    return sha256(" ".join(str(part) for part in parts).encode())


def _coefficients(degree: int, key: bytes) -> Rows:
    stream = Stream(key)
    return [stream.uniform(degree, q) for q in RINGS[degree].primes]


def dealing(members: int, threshold: int, index: int) -> Dealing:
    """Return the secrets of one member before the epoch id is known."""
    drawn = Dealing(
        members=members,
        threshold=threshold,
        index=index,
        hpke=named("hpke", index),
        noise=named("noise", index),
        part=named("part", index),
        salt=named("salt", index),
        sent=[named("pair", index, other) for other in range(1, members + 1)],
        got={},
        secret={d: to_rows(Stream(named("secret", index, d)).ternary(d), ring) for d, ring in RINGS.items()},
        coefficients={
            d: [_coefficients(d, named("coefficient", index, d, power)) for power in range(1, threshold)] for d in RINGS
        },
        shares={},
    )
    drawn.shares = {degree: {index: drawn.share_for(degree, index)} for degree in RINGS}
    return drawn


@cache
def federation(members: int, threshold: int) -> tuple[Keys, ...]:
    """Return the keys of all members, after everybody dealt."""
    everybody = [dealing(members, threshold, index) for index in range(1, members + 1)]
    for receiver in everybody:
        for sender in everybody:
            if sender is not receiver:
                deal = sender.deal_for(receiver.index)
                receiver.got[sender.index] = (deal.pair, deal.part, deal.salt)
                for degree, rows in deal.shares.items():
                    receiver.shares[degree][sender.index] = rows
    return tuple(member.finish(EPOCH, ROSTER) for member in everybody)


def ask(layout: Layout, *, kind: str = "sum", job: int = 1) -> bytes:
    sizes = number("preset", layout.degree) + number("members", layout.members)
    sizes += number("threshold", layout.threshold) + number("field_bits", layout.bits)
    where = number("job", job) + number("round", 0) + number("step", 0)
    return (
        item("kind", kind.encode())
        + sizes
        + number("fields", layout.entries)
        + item("epoch", EPOCH)
        + item("roster", ROSTER)
        + item("policy", named("policy"))
        + where
        + item("schema", named("schema"))
        + item("step_tag", named("step"))
        + item("state_tag", named("state"))
    )


def manifest(layout: Layout, *, kind: str = "sum", job: int = 1) -> Manifest:
    """Return the manifest of a first step that everybody joined with empty signatures."""
    joins = b"".join(
        number("member", one) + number("gen", 1) + item("nonce", named("nonce", one)) + item("signature", bytes(64))
        for one in range(1, layout.members + 1)
    )
    decryptors = tuple(range(1, layout.decryptors + 1))
    return read_manifest(
        begin("manifest")
        + ask(layout, kind=kind, job=job)
        + number("ciphertexts", layout.ciphertexts)
        + item("previous", ZEROS)
        + item("certificate", b"")
        + item("F", b"")
        + item("J", joins)
        + item("D", indices(decryptors))
    )


def values(layout: Layout, member: int, rule: str) -> list[int]:
    """Return a member's frozen values: all zero, all as large as they may be, or drawn."""
    largest = (1 << layout.value_bits) - 1
    if rule == "drawn":
        return Stream(named("values", member, layout)).uniform(layout.entries, largest + 1)
    return [largest if rule == "largest" else 0] * layout.entries
