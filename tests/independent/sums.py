"""Contribution, decryption share, sum and opening of one manifest."""

from __future__ import annotations

from math import prod

from tests.independent.encoding import Refused, begin, indices, item, need
from tests.independent.epoch import Keys, Rows
from tests.independent.manifests import Manifest
from tests.independent.packing import Layout
from tests.independent.rings import MONTGOMERY, Ring, crt, interpolate
from tests.independent.streams import prf_stream, public_stream

Ciphertexts = list[list[int]]


def of(label: str, manifest: Manifest) -> bytes:
    return begin(label) + item("manifest", manifest.hash)


def of_set(label: str, manifest: Manifest, contributors: tuple[int, ...]) -> bytes:
    return of(label, manifest) + item("U", indices(contributors))


def times_public(manifest: Manifest, c: int, key: Rows, ring: Ring, used: int) -> list[int]:
    """Return the used coefficients of a_c times a kept polynomial, mod Q.

    a_c is drawn at the evaluation points, so the product is one of values.
    """
    rows = []
    for j, (q, root) in enumerate(zip(ring.primes, ring.roots, strict=True)):
        a, scale = public_stream(manifest.hash, c, j).uniform(ring.degree, q), pow(MONTGOMERY, -1, q)
        product = [x * y % q * scale % q for x, y in zip(a, key[j], strict=True)]
        rows.append(interpolate(product, root, q)[:used])
    return [crt(list(column), ring.primes) for column in zip(*rows, strict=True)]


def mask(key: bytes, data: bytes, c: int, layout: Layout) -> list[int]:
    """Return a polynomial that is uniform mod Q."""
    primes = layout.ring.primes
    rows = [prf_stream(key, data, c, j).uniform(layout.used(c), q) for j, q in enumerate(primes)]
    return [crt(list(column), primes) for column in zip(*rows, strict=True)]


def lagrange(decryptors: tuple[int, ...], at: int, q: int) -> int:
    others = [one for one in decryptors if one != at]
    return prod(others) * pow(prod(one - at for one in others), -1, q) % q


def contribution(keys: Keys, manifest: Manifest, values: list[int]) -> bytes:
    layout = manifest.ask.layout
    if manifest.ask.kind == "test":
        values = [0] * layout.entries
    need(keys.index in (manifest.fixed or manifest.joined), "this member's contribution cannot be in the sum")
    need(all(0 <= value < 1 << layout.value_bits for value in values), "a value does not fit")
    chi = layout.chi(values, keys.group_key("mac", manifest.ask.job), of("mac", manifest))
    out: Ciphertexts = []
    for c in range(layout.ciphertexts):
        masked = times_public(manifest, c, keys.minus_secret[layout.degree], layout.ring, layout.used(c))
        noise = prf_stream(keys.e, of("e", manifest), c, 0).binomial(layout.used(c))
        plain = layout.encode(c, values, chi)
        x = [sum(terms) % layout.ring.modulus for terms in zip(masked, plain, noise, strict=True)]
        out.append(layout.rounded(x))
    return layout.to_bytes(out)


def zero_mask(keys: Keys, manifest: Manifest, contributors: tuple[int, ...], c: int) -> list[int]:
    """Return z: over all decryptors it adds up to zero."""
    layout = manifest.ask.layout
    total = [0] * layout.used(c)
    for other in manifest.decryptors:
        if other != keys.index:
            sign = 1 if other > keys.index else -1
            part = mask(keys.zero[other], of_set("zero", manifest, contributors), c, layout)
            total = [(t + sign * p) % layout.ring.modulus for t, p in zip(total, part, strict=True)]
    return total


def pad(keys: Keys, manifest: Manifest, contributors: tuple[int, ...], c: int) -> list[int]:
    key = keys.group_key("pad", manifest.ask.job)
    return mask(key, of_set("pad", manifest, contributors), c, manifest.ask.layout)


def share(keys: Keys, manifest: Manifest, contributors: tuple[int, ...]) -> bytes:
    layout, ring = manifest.ask.layout, manifest.ask.layout.ring
    need(keys.index in manifest.decryptors and manifest.may_open(contributors), "this set may not be opened")
    kept = keys.shares[layout.degree]
    opening = []
    for j, q in enumerate(ring.primes):
        factor = lagrange(manifest.decryptors, keys.index, q)
        columns = zip(*(kept[i][j] for i in contributors), strict=True)
        opening.append([sum(column) * factor % q for column in columns])
    out: Ciphertexts = []
    for c in range(layout.ciphertexts):
        terms = [
            times_public(manifest, c, opening, ring, layout.used(c)),
            prf_stream(keys.f, of_set("f", manifest, contributors), c, 0).smudging(layout.used(c), layout.smudging),
            zero_mask(keys, manifest, contributors, c),
        ]
        if keys.index == manifest.decryptors[0]:
            terms.append(pad(keys, manifest, contributors, c))
        out.append(layout.rounded([sum(column) % ring.modulus for column in zip(*terms, strict=True)]))
    return layout.to_bytes(out)


def added(manifest: Manifest, messages: list[bytes]) -> bytes:
    layout = manifest.ask.layout
    wire = prod(layout.ring.wire)
    read = [layout.from_bytes(message) for message in messages]
    total = [[sum(column) % wire for column in zip(*parts, strict=True)] for parts in zip(*read, strict=True)]
    return layout.to_bytes(total)


def opened(keys: Keys, manifest: Manifest, contributors: tuple[int, ...], masked: bytes) -> list[int]:
    """Return the exact sum, or refuse: one answer whatever is wrong."""
    layout = manifest.ask.layout
    need(manifest.may_open(contributors), "rejected")
    wire = prod(layout.ring.wire)
    entries: list[int] = []
    chi, clean = [0] * layout.macs, True
    for c, x in enumerate(layout.from_bytes(masked)):
        rounded = layout.rounded(pad(keys, manifest, contributors, c))
        clean &= layout.decode(c, [(a - p) % wire for a, p in zip(x, rounded, strict=True)], entries, chi)
    clean &= all(value <= len(contributors) * ((1 << layout.value_bits) - 1) for value in entries)
    clean &= chi == layout.chi(entries, keys.group_key("mac", manifest.ask.job), of("mac", manifest))
    if not clean:
        raise Refused("rejected")
    return entries
