"""The engine against a second implementation, and both against stored vectors.

Go holds itself against the same files (`engine/testdata`): shared randomness must
never change, and Go and Python must agree on which manifests they accept. Run as
a script, this writes the files.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from fedanomaly.errors import MessageError
from fedanomaly.fhe import Ask, JoinPost, Manifest, Preset
from fedanomaly.fhe._engine import call, ffi
from fedanomaly.types.canonical import begin, item, item_int

TESTDATA = Path(__file__).parents[3] / "engine" / "testdata"


def _stream(key: bytes) -> Iterator[int]:
    encryptor = Cipher(algorithms.AES256(key), modes.CTR(bytes(16))).encryptor()
    while True:
        yield from struct.unpack("<8Q", encryptor.update(bytes(64)))


def words(key: bytes, count: int) -> list[int]:
    stream = _stream(key)
    return [next(stream) for _ in range(count)]


def residues(key: bytes, q: int, count: int) -> list[int]:
    mask, stream, out = (1 << (q - 1).bit_length()) - 1, _stream(key), []
    while len(out) < count:
        if (candidate := next(stream) & mask) < q:
            out.append(candidate)
    return out


def public_key(manifest: bytes, ciphertext: int, prime: int) -> bytes:
    return hashlib.sha256(
        begin("a") + item("manifest", manifest) + item_int("c", ciphertext) + item_int("prime", prime)
    ).digest()


def derive(secret: bytes, label: str, epoch: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt=None, info=begin(label) + item("epoch", epoch)).derive(secret)


def streams() -> dict[str, list[dict[str, object]]]:
    public = [
        {
            "manifest": bytes([at] * 32).hex(),
            "ciphertext": ciphertext,
            "prime": prime,
            "words": words(public_key(bytes([at] * 32), ciphertext, prime), 6),
        }
        for at, ciphertext, prime in ((0, 0, 0), (1, 0, 1), (1, 7, 3), (255, 1 << 14, 0))
    ]
    uniform = [
        {"key": bytes([at] * 32).hex(), "q": q, "values": residues(bytes([at] * 32), q, 12)}
        for at, q in ((0, 97), (3, (1 << 31) - 1), (4, (1 << 61) - 1), (5, 3))
    ]
    derived = [
        {"secret": bytes([at] * 32).hex(), "label": label, "epoch": bytes([9] * 32).hex()}
        for at, label in ((0, "join"), (1, "ratchet"), (2, "zero"))
    ]
    for vector in derived:
        key = derive(bytes.fromhex(vector["secret"]), vector["label"], bytes.fromhex(vector["epoch"]))
        vector["key"] = key.hex()
    return {"public": public, "residues": uniform, "derived": derived}


def sample(preset: Preset = Preset.N4096, **changes: object) -> Ask:
    facts: dict[str, object] = {
        "kind": "sum",
        "preset": preset,
        "members": 6,
        "threshold": 2,
        "field_bits": 20,
        "fields": 100,
        "epoch": bytes([1] * 32),
        "roster": bytes([2] * 32),
        "policy": bytes([3] * 32),
        "job": 1 << 40,
        "round": 5,
        "step": 6,
        "schema": bytes([7] * 32),
        "step_tag": bytes([8] * 32),
        "state_tag": bytes([9] * 32),
    }
    return Ask(**{**facts, **changes})


def joins_of(members: tuple[int, ...]) -> bytes:
    return b"".join(
        JoinPost(member=i, generation=1, nonce=bytes([i % 256] * 32), signature=bytes([i % 256] * 64)).to_bytes()
        for i in members
    )


def raw_of(
    ask: Ask | None = None,
    *,
    version: bytes | None = None,
    ciphertexts: int = 1,
    previous: bytes = bytes(32),
    certificate: bytes = b"",
    fixed: tuple[int, ...] = (),
    joined: tuple[int, ...] = (1, 2, 3, 4, 5),
    decryptors: tuple[int, ...] = (1, 2, 3, 4),
    joins: bytes | None = None,
) -> bytes:
    def indices(members: tuple[int, ...]) -> bytes:
        return struct.pack(f"<{len(members)}H", *members)

    return (
        (version or begin("manifest"))
        + (ask or sample()).to_bytes()
        + item_int("ciphertexts", ciphertexts)
        + item("previous", previous)
        + item("certificate", certificate)
        + item("F", indices(fixed))
        + item("J", joins_of(joined) if joins is None else joins)
        + item("D", indices(decryptors))
    )


def manifests() -> list[dict[str, object]]:
    good, hash_ = raw_of(), bytes([4] * 32)
    accepted = {
        "first step": good,
        "fixed set": raw_of(previous=hash_, certificate=b"statements", fixed=(1, 3, 5)),
        "test": raw_of(sample(kind="test")),
        "large ring, wide fields": raw_of(sample(Preset.N8192, field_bits=60)),
        "everybody joined": raw_of(joined=(1, 2, 3, 4, 5, 6), decryptors=(3, 4, 5, 6)),
        "three joined": raw_of(joined=(2, 4, 6), decryptors=(2, 4, 6)),
        "two ciphertexts": raw_of(sample(fields=8200), ciphertexts=2),
        "largest integers": raw_of(sample(job=2**64 - 1, round=2**64 - 1, step=2**64 - 1)),
    }
    refused = {
        "empty": b"",
        "trailing byte": good + b"\0",
        "cut": good[:-1],
        "other version": raw_of(version=item("version", b"fedanomaly/2") + item("label", b"manifest")),
        "other label": raw_of(version=begin("ask")),
        "unknown kind": raw_of(sample(kind="mean")),
        "kind with a byte beyond ASCII": good.replace(b"kind\x03\0\0\0sum", b"kind\x03\0\0\0s\xffm"),
        "unknown preset": good.replace(struct.pack("<Q", 4096), struct.pack("<Q", 2048), 1),
        "preset beyond 2^32": good.replace(struct.pack("<Q", 4096), struct.pack("<Q", 4096 | 1 << 40), 1),
        "two members": raw_of(sample(members=2)),
        "251 members": raw_of(sample(members=251)),
        "threshold of one": raw_of(sample(threshold=1)),
        "threshold of everybody": raw_of(sample(threshold=6)),
        "no bit for a value": raw_of(sample(field_bits=3)),
        "wide fields in the small ring": raw_of(sample(field_bits=31)),
        "no fields": raw_of(sample(fields=0)),
        "more than an epoch may open": raw_of(sample(fields=1 << 29), ciphertexts=1 << 16),
        "number of ciphertexts": raw_of(ciphertexts=2),
        "previous without certificate": raw_of(previous=hash_),
        "certificate without previous": raw_of(certificate=b"x"),
        "F too small": raw_of(previous=hash_, certificate=b"x", fixed=(1, 2)),
        "F did not join": raw_of(previous=hash_, certificate=b"x", fixed=(1, 2, 6)),
        "F with a duplicate": raw_of(previous=hash_, certificate=b"x", fixed=(1, 2, 2, 3)),
        "F out of order": raw_of(previous=hash_, certificate=b"x", fixed=(2, 1, 3)),
        "J with a duplicate": raw_of(joined=(1, 2, 2, 3, 4)),
        "J out of order": raw_of(joined=(2, 1, 3, 4, 5)),
        "J with index 0": raw_of(joined=(0, 1, 2, 3, 4)),
        "J with index n + 1": raw_of(joined=(1, 2, 3, 4, 7)),
        "J with index 2^32 + 5": raw_of(joined=(1, 2, 3, 4, (1 << 32) + 5)),
        "J too small": raw_of(joined=(1, 2), decryptors=(1, 2)),
        "J with a short signature": raw_of(
            joins=joins_of((1, 2, 3, 4))
            + item_int("member", 5)
            + item_int("gen", 1)
            + item("nonce", bytes(32))
            + item("signature", bytes(63))
        ),
        "J cut": raw_of(joins=joins_of((1, 2, 3, 4, 5))[:-1]),
        "D with a duplicate": raw_of(decryptors=(1, 2, 2, 3)),
        "D out of order": raw_of(decryptors=(2, 1, 3, 4)),
        "D with index 0": raw_of(decryptors=(0, 1, 2, 3)),
        "D with index n + 1": raw_of(decryptors=(1, 2, 3, 7)),
        "D too small": raw_of(decryptors=(1, 2, 3)),
        "D too large": raw_of(decryptors=(1, 2, 3, 4, 5)),
        "D did not join": raw_of(decryptors=(1, 2, 3, 6)),
        "half an index": good[: -len(item("D", bytes(8)))] + item("D", bytes(7)),
    }
    return [
        {
            "name": name,
            "raw": raw.hex(),
            "accepted": name in accepted,
            "hash": hashlib.sha256(raw).hexdigest() if name in accepted else "",
        }
        for name, raw in (accepted | refused).items()
    ]


def stored(name: str) -> object:
    return json.loads((TESTDATA / f"{name}.json").read_text(encoding="utf-8"))


def test_the_second_implementation_gives_the_stored_streams():
    assert streams() == stored("streams")


def test_the_stored_manifests_are_what_this_file_says():
    assert manifests() == stored("manifests")


def engine_accepts(raw: bytes) -> bytes | None:
    out = ffi.new("uint8_t[32]")
    try:
        call("fa_manifest_check", raw, len(raw), out)
    except MessageError:
        return None
    return bytes(out)


@pytest.mark.parametrize("vector", manifests(), ids=lambda vector: vector["name"])
def test_python_and_the_engine_agree_on_a_manifest(vector):
    raw = bytes.fromhex(vector["raw"])
    if vector["accepted"]:
        assert Manifest.from_bytes(raw).hash.hex() == vector["hash"]
        assert engine_accepts(raw).hex() == vector["hash"]
    else:
        with pytest.raises(MessageError):
            Manifest.from_bytes(raw)
        assert engine_accepts(raw) is None


@pytest.mark.parametrize("size", [65536, 65537])
def test_a_certificate_has_at_most_64_kib(size):
    raw = raw_of(previous=bytes([4] * 32), certificate=bytes(size))
    if size == 65536:
        assert engine_accepts(raw) == Manifest.from_bytes(raw).hash
    else:
        with pytest.raises(MessageError):
            Manifest.from_bytes(raw)
        assert engine_accepts(raw) is None


if __name__ == "__main__":
    for name, vectors in (("streams", streams()), ("manifests", manifests())):
        (TESTDATA / f"{name}.json").write_text(json.dumps(vectors, indent=1) + "\n", encoding="utf-8")
