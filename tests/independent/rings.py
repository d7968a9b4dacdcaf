"""The two rings: primes, evaluation points, products, and bit packing on the wire."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from math import prod

from tests.independent.encoding import need


@dataclass(frozen=True)
class Ring:
    """Z_Q[X] / (X^N + 1), Q the product of the primes; the last one is dropped on the wire."""

    degree: int
    primes: tuple[int, ...]
    roots: tuple[int, ...]
    mac_primes: tuple[int, ...]
    max_field_bits: int

    @property
    def wire(self) -> tuple[int, ...]:
        return self.primes[:-1]

    @property
    def modulus(self) -> int:
        return prod(self.primes)


SMALL = Ring(
    4096,
    (1152921504606830593, 70368743669761),
    (429945184819996456, 27524010277911),
    ((1 << 31) - 1, (1 << 31) - 1),
    30,
)
LARGE = Ring(
    8192,
    (36028797018652673, 36028797017571329, 36028797017456641, 562949952847873),
    (25350619466536671, 13456949044161292, 5763430635272187, 47268933391233),
    ((1 << 61) - 1,),
    60,
)
RINGS = {4096: SMALL, 8192: LARGE}
MONTGOMERY = 1 << 64


def ring_of(degree: int) -> Ring:
    need(degree in RINGS, "no such preset")
    return RINGS[degree]


def reversed_bits(index: int, bits: int) -> int:
    return int(format(index, f"0{bits}b")[::-1], 2)


@cache
def _order(degree: int) -> tuple[int, ...]:
    bits = degree.bit_length() - 1
    return tuple(reversed_bits(index, bits) for index in range(degree))


def _transform(values: list[int], omega: int, q: int) -> list[int]:
    """Return the values of a polynomial at omega^0, omega^1, ...: the textbook recursion, unrolled."""
    count = len(values)
    out = [values[i] for i in _order(count)]
    half = 1
    while half < count:
        step, power, factors = pow(omega, count // (2 * half), q), 1, []
        for _ in range(half):
            factors.append(power)
            power = power * step % q
        for start in range(0, count, 2 * half):
            for k, factor in enumerate(factors, start):
                low, high = out[k], out[k + half] * factor % q
                out[k], out[k + half] = (low + high) % q, (low - high) % q
        half *= 2
    return out


@cache
def _powers(root: int, q: int, count: int) -> tuple[int, ...]:
    out, power = [], 1
    for _ in range(count):
        out.append(power)
        power = power * root % q
    return tuple(out)


def evaluate(coefficients: list[int], root: int, q: int) -> list[int]:
    """Return p(root^(2 brv(i) + 1)) at position i: the order in which polynomials are drawn and kept."""
    count = len(coefficients)
    twisted = [c * power % q for c, power in zip(coefficients, _powers(root, q, count), strict=True)]
    natural = _transform(twisted, root * root % q, q)
    return [natural[k] for k in _order(count)]


def interpolate(values: list[int], root: int, q: int) -> list[int]:
    """Undo `evaluate`."""
    count = len(values)
    natural = [values[k] for k in _order(count)]
    inverse = pow(root, -1, q)
    twisted = _transform(natural, inverse * inverse % q, q)
    scale = pow(count, -1, q)
    return [c * power % q * scale % q for c, power in zip(twisted, _powers(inverse, q, count), strict=True)]


def multiply(a: list[int], b: list[int], q: int) -> list[int]:
    """Return a b mod (X^N + 1, q) without any transform: one product of two large integers."""
    count = len(a)
    width = (2 * q.bit_length() + count.bit_length() + 7) // 8

    def joined(values: list[int]) -> int:
        return int.from_bytes(b"".join((v % q).to_bytes(width, "little") for v in values), "little")

    product = (joined(a) * joined(b)).to_bytes(2 * count * width, "little")
    digits = [int.from_bytes(product[i * width : (i + 1) * width], "little") for i in range(2 * count)]
    return [(digits[i] - digits[i + count]) % q for i in range(count)]


@cache
def _crt_terms(primes: tuple[int, ...]) -> tuple[int, ...]:
    modulus = prod(primes)
    return tuple(modulus // q * pow(modulus // q, -1, q) for q in primes)


def crt(residues: list[int], primes: tuple[int, ...]) -> int:
    """Return the integer below the product of the primes with these residues."""
    return sum(r * term for r, term in zip(residues, _crt_terms(primes), strict=True)) % prod(primes)


def pack(values: list[int], q: int) -> bytes:
    """Return residues of the bits of their prime each, little-endian, in whole bytes with zeros at the end."""
    width, out = q.bit_length(), b""
    for start in range(0, len(values), 8):  # eight residues are `width` bytes
        group = values[start : start + 8]
        total = sum(value << (width * i) for i, value in enumerate(group))
        out += total.to_bytes((len(group) * width + 7) // 8, "little")
    return out


def unpack(data: bytes, count: int, q: int) -> tuple[list[int], bytes]:
    """Return `count` residues and what follows them."""
    width = q.bit_length()
    size = (count * width + 7) // 8
    need(len(data) >= size, "residues are cut short")
    values = []
    for start in range(0, count, 8):
        total = int.from_bytes(data[start * width // 8 : min((start + 8) * width // 8, size)], "little")
        for _ in range(min(8, count - start)):
            values.append(total & ((1 << width) - 1))
            total >>= width
        need(not total, "a padding bit is set")
    need(all(value < q for value in values), "a residue is not below its prime")
    return values, data[size:]


def pack_whole(rows: list[list[int]], ring: Ring) -> bytes:
    return b"".join(pack(row, q) for row, q in zip(rows, ring.primes, strict=True))


def unpack_whole(data: bytes, ring: Ring) -> list[list[int]]:
    rows = []
    for q in ring.primes:
        row, data = unpack(data, ring.degree, q)
        rows.append(row)
    need(not data, "bytes follow a polynomial")
    return rows
