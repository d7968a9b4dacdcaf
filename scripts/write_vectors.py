"""Write the test vectors of docs/explanation/vectors, from the engine.

    python scripts/write_vectors.py

The members' secrets follow from names (tests/independent/drawn.py), are sealed
by the second implementation and opened by the engine, which then computes every
output; what only shows on the way (masks, encodings, MAC totals) is the second
implementation's, and both agree on where it leads. The vectors never change:
another stream would make members disagree.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.independent import drawn, sums  # noqa: E402
from tests.independent.encoding import begin, item  # noqa: E402
from tests.independent.epoch import deal_info, read_deal, seal, write_deal, write_dealing  # noqa: E402
from tests.independent.packing import Layout  # noqa: E402
from tests.independent.streams import sha256  # noqa: E402

from fedanomaly.fhe import Ask, Contribution, DecryptionShare, InMemory, Manifest, MaskedSum, add_up  # noqa: E402
from fedanomaly.fhe.secret import EpochSecrets  # noqa: E402

FOLDER = ROOT / "docs" / "explanation" / "vectors"
KEY = bytes(32)
SHOWN = 600
"""Longer messages are given by their hash."""

# Name, layout (ring, members, threshold, bits of an entry, entries), whose contributions, which values.
Case = tuple[str, Layout, tuple[int, ...], str]
CASES: list[Case] = [
    ("fields of 20 bits, small ring", Layout(4096, 4, 2, 20, 7), (1, 2, 4), "drawn"),
    ("widest fields of the small ring", Layout(4096, 4, 2, 30, 5), (1, 2, 3, 4), "largest"),
    ("two ciphertexts", Layout(4096, 4, 2, 10, 20485), (2, 3, 4), "drawn"),
    ("one bit a value", Layout(4096, 4, 2, 3, 40), (1, 2, 3), "largest"),
    ("fields of 20 bits, large ring", Layout(8192, 4, 2, 20, 11), (1, 3, 4), "drawn"),
    ("a field that is encoded exactly", Layout(8192, 4, 2, 25, 9), (1, 2, 3, 4), "drawn"),
    ("widest fields of the large ring", Layout(8192, 4, 2, 60, 3), (2, 3, 4), "largest"),
    ("nothing but zeros", Layout(8192, 4, 2, 40, 4), (1, 2, 3, 4), "zero"),
]
LAYOUTS = [
    (degree, members, threshold, bits, entries)
    for degree, widths in ((4096, (4, 9, 20, 24, 25, 30)), (8192, (4, 9, 20, 24, 25, 53, 60)))
    for members, threshold in ((3, 2), (5, 3), (16, 9), (64, 20), (250, 2))
    for bits in widths
    for entries in (1, 1000, 100_000)
]


def member(index: int, members: int, threshold: int) -> EpochSecrets:
    """Return the engine's member with the secrets of the vectors, before dealing."""
    state = write_dealing(drawn.dealing(members, threshold, index))
    blob = seal(state, KEY, b"", bytes(32))
    return EpochSecrets.unseal(KEY, b"", blob, members=members, threshold=threshold, index=index)


def federation(members: int, threshold: int) -> tuple[list[EpochSecrets], dict[str, Any]]:
    """Let the engine set a key epoch up; return its members and what that gave."""
    everybody = {index: member(index, members, threshold) for index in range(1, members + 1)}
    hellos = {index: one.hello() for index, one in everybody.items()}
    for sender, one in everybody.items():
        for receiver, other in everybody.items():
            if sender != receiver:
                info = deal_info(drawn.ROSTER, drawn.named("hello", sender), sender, receiver)
                envelope = one.deal(receiver, hello=hellos[receiver], info=info)
                other.receive(sender, hello=hellos[sender], info=info, envelope=envelope)
    tags = {one.finish(drawn.EPOCH, drawn.ROSTER) for one in everybody.values()}
    first = drawn.dealing(members, threshold, 1)
    plain = write_deal(1, 2, first.deal_for(2))
    read_deal(plain, 1, 2)
    return list(everybody.values()), {
        "members": members,
        "threshold": threshold,
        "epoch": drawn.EPOCH.hex(),
        "roster": drawn.ROSTER.hex(),
        "hello_of_1_sha256": sha256(hellos[1]).hex(),
        "commitment_of_1": hellos[1][1216:].hex(),
        "info_of_deal_1_to_2": deal_info(drawn.ROSTER, drawn.named("hello", 1), 1, 2).hex(),
        "deal_1_to_2_bytes": len(plain),
        "deal_1_to_2_sha256": sha256(plain).hex(),
        "confirmation": tags.pop().hex() if len(tags) == 1 else "the members disagree",
        "tag_of_job_7": everybody[1].tag(7, b"state").hex(),
    }


def case(members: list[EpochSecrets], entry: Case) -> dict[str, Any]:
    """Return one sum, from frozen values to the opened integers."""
    name, layout, contributors, rule = entry
    named = drawn.manifest(layout)
    manifest = Manifest.from_bytes(named.raw)
    frozen = {index: drawn.values(layout, index, rule) for index in contributors}
    arrays = {index: np.array(values, dtype=np.uint64) for index, values in frozen.items()}
    contributions = {index: members[index - 1].contribution(manifest, arrays[index]) for index in contributors}
    shares = {index: members[index - 1].share(manifest, contributors) for index in manifest.decryptors}
    sent = [(Contribution, InMemory(message.to_bytes())) for message in contributions.values()]
    sent += [(DecryptionShare, InMemory(message.to_bytes())) for message in shares.values()]
    masked = MaskedSum.from_bytes(b"".join(add_up(manifest, sent)), manifest)
    opened = members[0].open(manifest, contributors, masked)
    ask = Ask.from_bytes(named.ask.raw)
    nonce = members[0].nonce(ask, generation=1, frozen_hash=bytes(32), random=bytes(range(32)))
    return {
        "name": name,
        "layout": [layout.degree, layout.members, layout.threshold, layout.bits, layout.entries],
        "contributors": contributors,
        "values": rule,
        "manifest": named.raw.hex(),
        "nonce_of_1": nonce.hex(),
        "contributions": {str(index): _shown(message.residues) for index, message in contributions.items()},
        "shares": {str(index): _shown(message.residues) for index, message in shares.items()},
        "masked_sum": _shown(masked.residues),
        "opened": [int(value) for value in opened[:12]],
        "on_the_way": on_the_way(layout, named, frozen, contributors),
    }


def on_the_way(
    layout: Layout, manifest: drawn.Manifest, frozen: dict[int, list[int]], contributors: tuple[int, ...]
) -> dict[str, Any]:
    """Return what the second implementation computes in between, of the first contributor and decryptor."""
    keys = drawn.federation(layout.members, layout.threshold)
    first = contributors[0]
    chi = layout.chi(frozen[first], keys[0].group_key("mac", 1), sums.of("mac", manifest))
    public = sums.public_stream(manifest.hash, 0, 0).uniform(2, layout.ring.primes[0])
    noise = sums.prf_stream(keys[first - 1].e, sums.of("e", manifest), 0, 0).binomial(layout.used(0))
    smudging = sums.prf_stream(keys[0].f, sums.of_set("f", manifest, contributors), 0, 0)
    encoded = layout.encode(0, frozen[first], chi)
    return {
        "a_0_first_values_mod_the_first_prime": public,
        "chi": chi,
        "encoded_first": str(encoded[0]),
        "encoded_last": str(encoded[-1]),
        "noise_first": noise[:8],
        "smudging_first": smudging.smudging(layout.used(0), layout.smudging)[:3],
        "zero_mask_first": str(sums.zero_mask(keys[0], manifest, contributors, 0)[0]),
        "pad_first": str(sums.pad(keys[0], manifest, contributors, 0)[0]),
        "pad_first_rounded": str(layout.rounded(sums.pad(keys[0], manifest, contributors, 0)[:1])[0]),
    }


def layouts() -> list[dict[str, Any]]:
    """Return how steps lie in ciphertexts, as the engine says."""
    from fedanomaly.errors import FedAnomalyError  # noqa: PLC0415
    from fedanomaly.fhe import Preset  # noqa: PLC0415
    from fedanomaly.fhe.preset import layout  # noqa: PLC0415

    out = []
    for degree, members, threshold, bits, entries in LAYOUTS:
        row: dict[str, Any] = {"of": [degree, members, threshold, bits, entries]}
        try:
            got = layout(Preset(degree), members=members, threshold=threshold, field_bits=bits, fields=entries)
            row["k"], row["fields"] = got.coefficient_bits, got.fields_per_coefficient
            row["value_bits"], row["ciphertexts"] = got.value_bits, got.ciphertexts
            row["coefficients"], row["message_bytes"] = got.coefficients, got.message_bytes
            row["decryptors"] = got.max_decryptors
        except FedAnomalyError:
            row["impossible"] = True
        out.append(row)
    return out


def envelopes() -> dict[str, Any]:
    """Return the hashes that need no secret: a policy, a set, an epoch id, an ask."""
    from fedanomaly.protocol.rounds import set_hash  # noqa: PLC0415
    from fedanomaly.protocol.settings import policy_hash  # noqa: PLC0415

    ask = Ask.from_bytes(drawn.ask(Layout(4096, 4, 2, 20, 7)))
    return {
        "policy_of_3_members_threshold_2_quota_2_27": policy_hash(3, 2, 1 << 27).hex(),
        "set_1_3_250": set_hash((1, 3, 250)).hex(),
        "ask": ask.to_bytes().hex(),
        "ask_digest": ask.digest.hex(),
        "an_input": (begin("a label") + item("value", b"bytes")).hex(),
    }


def vectors() -> dict[str, Any]:
    """Return all vectors, by file."""
    members, set_up = federation(4, 2)
    found = [case(members, entry) for entry in CASES]
    for one in members:
        one.close()
    return {"set-up": set_up, "sums": found, "layouts": layouts(), "hashes": envelopes()}


def _shown(message: bytes) -> str:
    return message.hex() if len(message) <= SHOWN else "sha256 " + sha256(message).hex()


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name, value in vectors().items():
        (FOLDER / f"{name}.json").write_text(json.dumps(value, indent=1) + "\n", encoding="utf-8")
