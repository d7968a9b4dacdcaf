"""Noise budget, layout, encoding, the linear MAC, rounding and decoding: exact fractions throughout."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import prod

from tests.independent.encoding import need
from tests.independent.rings import Ring, crt, pack, ring_of, unpack
from tests.independent.streams import prf_stream

QUOTA = 1 << 27
NARROW = 24
CHUNK_BITS = 44
BINOMIAL_BOUND = 21


@dataclass(frozen=True)
class Layout:
    """How `entries` integers of `bits` bits lie in ciphertexts for n members and threshold t."""

    degree: int
    members: int
    threshold: int
    bits: int
    entries: int

    def check(self) -> None:
        need(3 <= self.members <= 250 and 2 <= self.threshold < self.members, "impossible roster or threshold")
        need(self.head < self.bits <= self.ring.max_field_bits, "impossible field")
        need(1 <= self.entries <= 1 << 32 and self.fields > 0, "impossible step")
        need(all(self._fits(self.k, p) for p in self.ring.mac_primes), "the MAC does not fit")
        need(self.data <= QUOTA - self.macs, "more coefficients than a key epoch may open")

    @cached_property
    def ring(self) -> Ring:
        return ring_of(self.degree)

    @property
    def head(self) -> int:
        return (self.members - 1).bit_length()

    @property
    def decryptors(self) -> int:
        return min(self.members, self.threshold + 2)

    @property
    def group(self) -> int:
        """Narrow fields that share one rounded constant."""
        return max(1, CHUNK_BITS // self.bits)

    def _noise(self, k: int) -> tuple[int, int, int]:
        """Return E, B and the rounding of the constants for k bits a coefficient."""
        fields, exact, rounding = k // self.bits, 1, 0
        if self.bits <= NARROW:
            for first in range(0, fields, self.group):
                rounding += 1 << (self.bits * min(self.group, fields - first) - 1)
        else:
            exact = max(1, fields)
        e = self.members * (BINOMIAL_BOUND + exact)
        return e, e << 30, rounding

    def _share(self, k: int, modulus: int) -> tuple[int, int]:
        """Return the largest honest residual, in steps of Q' / modulus, as a fraction."""
        e, b, rounding = self._noise(k)
        last = self.ring.primes[-1]
        over = 2 * (e + self.decryptors * b + rounding) + last * (self.members + self.decryptors + 2)
        return over * modulus, 2 * last * prod(self.ring.wire)

    def _fits(self, k: int, modulus: int) -> bool:
        over, under = self._share(k, modulus)
        return 2 * over < under

    @cached_property
    def k(self) -> int:
        return next(k for k in range(prod(self.ring.wire).bit_length(), -1, -1) if k == 0 or self._fits(k, 1 << k))

    @cached_property
    def fields(self) -> int:
        return self.k // self.bits

    @property
    def value_bits(self) -> int:
        return self.bits - self.head

    @cached_property
    def smudging(self) -> int:
        return self._noise(self.k)[1]

    def limit(self, modulus: int) -> int:
        """Return the largest residual that is accepted, in units of 2^-64 of a step."""
        over, under = self._share(self.k, modulus)
        bound = (over << 64) // under
        return bound + (bound >> 10) + (1 << 16)

    @property
    def macs(self) -> int:
        return len(self.ring.mac_primes)

    @property
    def data(self) -> int:
        return (self.entries - 1) // self.fields + 1

    @property
    def coefficients(self) -> int:
        return self.data + self.macs

    @property
    def ciphertexts(self) -> int:
        return (self.coefficients - 1) // self.degree + 1

    def used(self, c: int) -> int:
        return min(self.degree, self.coefficients - c * self.degree)

    def span(self, c: int) -> tuple[int, int]:
        """Return which entries lie in ciphertext c."""
        full = self.degree * self.fields
        return min(c * full, self.entries), min((c + 1) * full, self.entries)

    @property
    def message_bytes(self) -> int:
        widths = [q.bit_length() for q in self.ring.wire]
        return sum((self.used(c) * width + 7) // 8 for c in range(self.ciphertexts) for width in widths)

    def encode(self, c: int, values: list[int], chi: list[int]) -> list[int]:
        """Return the plaintext of ciphertext c as integers mod Q."""
        q, t = self.ring.modulus, 1 << self.k
        low, high = self.span(c)
        out = [0] * self.used(c)
        for at, value in enumerate(values[low:high]):
            coefficient, field = divmod(at, self.fields)
            if self.bits <= NARROW:
                first = field - field % self.group  # the constant is that of the first field of its chunk
                constant = ((q << (self.bits * first + 1)) + t) // (2 * t)
                out[coefficient] += (value << (self.bits * (field - first))) * constant
            else:
                out[coefficient] += exactly_scaled(value, q << (self.bits * field), t)
        for index, p in enumerate(self.ring.mac_primes):
            ciphertext, coefficient = divmod(self.data + index, self.degree)
            if ciphertext == c:
                out[coefficient] += exactly_scaled(chi[index], q, p)
        return [value % q for value in out]

    def decode(self, c: int, x: list[int], entries: list[int], chi: list[int]) -> bool:
        """Append what ciphertext c holds, given its coefficients mod Q'; return whether it is clean."""
        wire = prod(self.ring.wire)
        low, high = self.span(c)
        clean, count, limit = True, high - low, self.limit(1 << self.k)
        for coefficient in range(-(-count // self.fields)):
            message, residual = nearest(x[coefficient], 1 << self.k, wire)
            clean &= residual <= limit and message >> (self.fields * self.bits) == 0
            for field in range(self.fields):
                value = message >> (field * self.bits) & ((1 << self.bits) - 1)
                if coefficient * self.fields + field < count:
                    entries.append(value)
                else:
                    clean &= value == 0
        for index, p in enumerate(self.ring.mac_primes):
            ciphertext, coefficient = divmod(self.data + index, self.degree)
            if ciphertext == c:
                total, residual = nearest(x[coefficient], p, wire)
                chi[index] = total
                clean &= residual <= self.limit(p)
        return clean

    def chi(self, values: list[int], key: bytes, data: bytes) -> list[int]:
        """Return the linear MAC of a vector under the group's key."""
        totals = []
        for index, p in enumerate(self.ring.mac_primes):
            total = 0
            for c in range(self.ciphertexts):
                low, high = self.span(c)
                rho = prf_stream(key, data, c, index).uniform(high - low, p)
                total += sum(r * v for r, v in zip(rho, values[low:high], strict=True))
            totals.append(total % p)
        return totals

    def rounded(self, x: list[int]) -> list[int]:
        """Divide coefficients mod Q by the last prime: integers mod Q'."""
        last = self.ring.primes[-1]
        return [(value + last // 2) // last % prod(self.ring.wire) for value in x]

    def to_bytes(self, ciphertexts: list[list[int]]) -> bytes:
        return b"".join(pack([value % q for value in x], q) for x in ciphertexts for q in self.ring.wire)

    def from_bytes(self, data: bytes) -> list[list[int]]:
        out = []
        for c in range(self.ciphertexts):
            rows = []
            for q in self.ring.wire:
                row, data = unpack(data, self.used(c), q)
                rows.append(row)
            out.append([crt(list(column), self.ring.wire) for column in zip(*rows, strict=True)])
        need(not data, "bytes follow the last residue")
        return out


def exactly_scaled(value: int, over: int, under: int) -> int:
    """Return value times over / under with an error of at most one, whatever the value."""
    base, rest = divmod(over, under)
    fraction = (rest << 64) // under
    return value * base + ((value * fraction + (1 << 63)) >> 64)


def nearest(x: int, modulus: int, wire: int) -> tuple[int, int]:
    """Return round(modulus x / Q') mod modulus, and how far off it was in units of 2^-64."""
    whole, rest = divmod(2 * modulus * x + wire, 2 * wire)
    return whole % modulus, (abs(rest - wire) << 64) // (2 * wire)
