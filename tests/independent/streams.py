"""Keys, PRF, XOF, key streams and the samplers over them."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from tests.independent.encoding import begin, item, number


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def prf(key: bytes, data: bytes) -> bytes:
    return hmac.new(key, data, hashlib.sha256).digest()


def derive(secret: bytes, label: str, epoch: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=begin(label) + item("epoch", epoch)).derive(secret)


def at(data: bytes, ciphertext: int, prime: int) -> bytes:
    return data + number("c", ciphertext) + number("prime", prime)


class Stream:
    """AES-256-CTR from a zero IV, as little-endian 64-bit words."""

    def __init__(self, key: bytes) -> None:
        self._words = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
        self._buffer: list[int] = []

    def word(self) -> int:
        if not self._buffer:
            block = self._words.update(bytes(4096))
            self._buffer = [int.from_bytes(block[i : i + 8], "little") for i in range(0, 4096, 8)][::-1]
        return self._buffer.pop()

    def uniform(self, count: int, q: int) -> list[int]:
        mask, out = (1 << (q - 1).bit_length()) - 1, []
        while len(out) < count:
            candidate = self.word() & mask
            if candidate < q:
                out.append(candidate)
        return out

    def ternary(self, count: int) -> list[int]:
        out: list[int] = []
        while True:
            word = self.word()
            for shift in range(0, 64, 2):
                bits = word >> shift & 3
                if bits != 3:
                    out.append((0, 1, -1)[bits])
                    if len(out) == count:
                        return out

    def binomial(self, count: int) -> list[int]:
        low = (1 << 21) - 1
        words = [self.word() for _ in range(count)]
        return [(word & low).bit_count() - (word >> 21 & low).bit_count() for word in words]

    def smudging(self, count: int, bound: int) -> list[int]:
        return [value - bound for value in self.uniform(count, 2 * bound + 1)]


def prf_stream(key: bytes, data: bytes, ciphertext: int, prime: int) -> Stream:
    return Stream(prf(key, at(data, ciphertext, prime)))


def public_stream(manifest: bytes, ciphertext: int, prime: int) -> Stream:
    return Stream(sha256(at(begin("a") + item("manifest", manifest), ciphertext, prime)))
