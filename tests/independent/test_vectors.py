"""The stored vectors: of the specification's folder, and those that Go is held against."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.independent import drawn, sums
from tests.independent.encoding import Refused, begin, item
from tests.independent.epoch import commitment, deal_info, hpke_public_bytes, read_deal, write_deal
from tests.independent.manifests import read_ask, read_manifest
from tests.independent.packing import Layout
from tests.independent.rings import RINGS, evaluate, interpolate, multiply
from tests.independent.streams import Stream, derive, public_stream, sha256

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "explanation" / "vectors"


def stored(name: str):
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def engine(name: str):
    return json.loads((ROOT / "engine" / "testdata" / f"{name}.json").read_text(encoding="utf-8"))


def shown(message: bytes) -> str:
    return message.hex() if len(message) <= 600 else "sha256 " + sha256(message).hex()


def test_streams_and_derived_keys():
    vectors = engine("streams")
    for one in vectors["public"]:
        stream = public_stream(bytes.fromhex(one["manifest"]), one["ciphertext"], one["prime"])
        assert [stream.word() for _ in one["words"]] == one["words"]
    for one in vectors["residues"]:
        assert Stream(bytes.fromhex(one["key"])).uniform(len(one["values"]), one["q"]) == one["values"]
    for one in vectors["derived"]:
        secret, epoch = bytes.fromhex(one["secret"]), bytes.fromhex(one["epoch"])
        assert derive(secret, one["label"], epoch).hex() == one["key"]


@pytest.mark.parametrize("vector", engine("manifests"), ids=lambda vector: vector["name"])
def test_the_same_manifests_are_accepted_and_refused(vector):
    raw = bytes.fromhex(vector["raw"])
    if vector["accepted"]:
        assert read_manifest(raw).hash.hex() == vector["hash"]
    else:
        with pytest.raises(Refused):
            read_manifest(raw)


@pytest.mark.parametrize("ring", RINGS.values(), ids=str)
def test_the_rings_are_what_the_specification_says(ring):
    for q, root in zip(ring.primes, ring.roots, strict=True):
        assert q % (2 * ring.degree) == 1
        assert pow(root, ring.degree, q) == q - 1
        a, b = Stream(drawn.named("a")).uniform(ring.degree, q), Stream(drawn.named("b")).uniform(ring.degree, q)
        points = [x * y % q for x, y in zip(evaluate(a, root, q), evaluate(b, root, q), strict=True)]
        assert interpolate(points, root, q) == multiply(a, b, q)


def test_layouts():
    impossible = 0
    for row in stored("layouts"):
        layout = Layout(*row["of"])
        if "impossible" in row:
            impossible += 1
            with pytest.raises(Refused):
                layout.check()
            continue
        layout.check()
        assert [layout.k, layout.fields, layout.value_bits, layout.ciphertexts] == [
            row[name] for name in ("k", "fields", "value_bits", "ciphertexts")
        ]
        assert (layout.coefficients, layout.message_bytes) == (row["coefficients"], row["message_bytes"])
        assert layout.decryptors == row["decryptors"]
    assert 0 < impossible < len(stored("layouts")) // 2


def test_key_set_up():
    vector = stored("set-up")
    keys = drawn.federation(vector["members"], vector["threshold"])
    first = drawn.dealing(vector["members"], vector["threshold"], 1)
    bound = commitment(1, first.part, first.salt)
    assert vector["commitment_of_1"] == bound.hex()
    assert vector["hello_of_1_sha256"] == sha256(hpke_public_bytes(first.hpke) + bound).hex()
    info = deal_info(bytes.fromhex(vector["roster"]), drawn.named("hello", 1), 1, 2)
    assert vector["info_of_deal_1_to_2"] == info.hex()
    plain = write_deal(1, 2, first.deal_for(2))
    assert (vector["deal_1_to_2_bytes"], vector["deal_1_to_2_sha256"]) == (len(plain), sha256(plain).hex())
    assert write_deal(1, 2, read_deal(plain, 1, 2)) == plain
    assert {key.confirmation().hex() for key in keys} == {vector["confirmation"]}
    assert keys[3].tag(7, b"state").hex() == vector["tag_of_job_7"]


@pytest.mark.parametrize("vector", stored("sums"), ids=lambda vector: vector["name"])
def test_a_sum(vector):
    layout = Layout(*vector["layout"])
    keys = drawn.federation(layout.members, layout.threshold)
    manifest = drawn.manifest(layout)
    assert manifest.raw.hex() == vector["manifest"]
    assert keys[0].nonce(manifest.ask.raw, 1, bytes(32), bytes(range(32))).hex() == vector["nonce_of_1"]
    contributors = tuple(vector["contributors"])
    frozen = {one: drawn.values(layout, one, vector["values"]) for one in contributors}
    contributions = {one: sums.contribution(keys[one - 1], manifest, frozen[one]) for one in contributors}
    assert {str(one): shown(message) for one, message in contributions.items()} == vector["contributions"]
    shares = {one: sums.share(keys[one - 1], manifest, contributors) for one in manifest.decryptors}
    assert {str(one): shown(message) for one, message in shares.items()} == vector["shares"]
    masked = sums.added(manifest, [*contributions.values(), *shares.values()])
    assert shown(masked) == vector["masked_sum"]
    opened = sums.opened(keys[3], manifest, contributors, masked)
    assert opened == [sum(column) for column in zip(*frozen.values(), strict=True)]
    assert opened[:12] == vector["opened"]


@pytest.mark.parametrize("vector", stored("sums"), ids=lambda vector: vector["name"])
def test_what_shows_on_the_way(vector):
    layout = Layout(*vector["layout"])
    keys, manifest = drawn.federation(layout.members, layout.threshold), drawn.manifest(layout)
    contributors, seen = tuple(vector["contributors"]), vector["on_the_way"]
    first = contributors[0]
    frozen = drawn.values(layout, first, vector["values"])
    chi = layout.chi(frozen, keys[0].group_key("mac", 1), sums.of("mac", manifest))
    encoded = layout.encode(0, frozen, chi)
    assert (chi, str(encoded[0]), str(encoded[-1])) == (seen["chi"], seen["encoded_first"], seen["encoded_last"])
    noise = sums.prf_stream(keys[first - 1].e, sums.of("e", manifest), 0, 0).binomial(layout.used(0))
    assert noise[:8] == seen["noise_first"]
    assert str(sums.zero_mask(keys[0], manifest, contributors, 0)[0]) == seen["zero_mask_first"]
    pad = sums.pad(keys[0], manifest, contributors, 0)
    assert (str(pad[0]), str(layout.rounded(pad)[0])) == (seen["pad_first"], seen["pad_first_rounded"])
    public = public_stream(manifest.hash, 0, 0).uniform(2, layout.ring.primes[0])
    assert public == seen["a_0_first_values_mod_the_first_prime"]
    smudging = sums.prf_stream(keys[0].f, sums.of_set("f", manifest, contributors), 0, 0)
    assert smudging.smudging(layout.used(0), layout.smudging)[:3] == seen["smudging_first"]


def test_zero_masks_cancel_over_all_decryptors_and_over_no_fewer():
    layout = Layout(4096, 4, 2, 20, 7)
    keys, manifest = drawn.federation(4, 2), drawn.manifest(layout)
    masks = [sums.zero_mask(key, manifest, (1, 2, 3), 0) for key in keys]
    assert not any(sum(column) % layout.ring.modulus for column in zip(*masks, strict=True))
    assert all(sum(column) % layout.ring.modulus for column in zip(*masks[:3], strict=True))


def test_hashes():
    vector = stored("hashes")
    ask = read_ask(bytes.fromhex(vector["ask"]))
    assert ask.raw == drawn.ask(Layout(4096, 4, 2, 20, 7))
    assert ask.digest.hex() == vector["ask_digest"]
    assert vector["an_input"] == (begin("a label") + item("value", b"bytes")).hex()
    from tests.independent.encoding import indices, number

    policy = number("members", 3) + number("threshold", 2) + number("quota", 1 << 27)
    assert vector["policy_of_3_members_threshold_2_quota_2_27"] == sha256(begin("policy") + policy).hex()
    listed = begin("contributors") + item("U", indices((1, 3, 250)))
    assert vector["set_1_3_250"] == sha256(listed).hex()
