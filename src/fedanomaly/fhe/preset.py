"""Named parameters, and how a step lies in ciphertexts."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from functools import lru_cache

from fedanomaly.errors import CapacityError, FedAnomalyError
from fedanomaly.fhe._engine import call, ffi


class Preset(IntEnum):
    """Rings with at least 128 bits of security; the value is the ring degree.

    Source: HomomorphicEncryption.org tables, ternary secrets, classical
    attacks; the engine checks them when it builds the ring.
    """

    N4096 = 4096
    N8192 = 8192


MAX_FIELD_BITS = {Preset.N4096: 30, Preset.N8192: 60}
EPOCH_QUOTA_COEFFICIENTS = 1 << 27


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How the entries of one step lie in ciphertexts.

    Parameters
    ----------
    preset : Preset
        Ring.
    members, threshold : int
        Size of the roster and decryption threshold.
    field_bits : int
        Bits of an entry of the sum.
    fields : int
        Number of entries.
    coefficient_bits : int
        k: bits of one plaintext coefficient.
    fields_per_coefficient : int
        Entries packed into one coefficient.
    value_bits : int
        Bits of one member's entry.
    ciphertexts, coefficients : int
        What travels, the MAC included.
    message_bytes : int
        Size of the residues of a contribution, a decryption share and a masked sum.
    ciphertext_bytes : int
        How much of it is each ciphertext but the last.
    max_decryptors : int
        Decryptors of a full round.
    """

    preset: Preset
    members: int
    threshold: int
    field_bits: int
    fields: int
    coefficient_bits: int
    fields_per_coefficient: int
    value_bits: int
    ciphertexts: int
    coefficients: int
    message_bytes: int
    ciphertext_bytes: int
    max_decryptors: int


@lru_cache(maxsize=256)
def layout(preset: Preset, *, members: int, threshold: int, field_bits: int, fields: int) -> Layout:
    """Return how `fields` entries lie in ciphertexts of one preset.

    Raises
    ------
    FedAnomalyError
        If the parameters are impossible, or an entry does not fit.
    """
    out = ffi.new("int64_t[8]")
    call("fa_layout", int(preset), members, threshold, field_bits, fields, out)
    return Layout(
        preset=preset,
        members=members,
        threshold=threshold,
        field_bits=field_bits,
        fields=fields,
        coefficient_bits=out[0],
        fields_per_coefficient=out[1],
        value_bits=out[2],
        ciphertexts=out[3],
        coefficients=out[4],
        message_bytes=out[5],
        ciphertext_bytes=out[7],
        max_decryptors=out[6],
    )


def best_layout(*, members: int, threshold: int, field_bits: int, fields: int) -> Layout:
    """Return the layout with the smallest message among the presets that fit.

    Raises
    ------
    CapacityError
        If no preset holds an entry of so many bits.
    """
    found = []
    for preset in Preset:
        try:
            found.append(layout(preset, members=members, threshold=threshold, field_bits=field_bits, fields=fields))
        except FedAnomalyError:
            continue
    if not found:
        raise CapacityError(
            f"no preset holds entries of {field_bits} bits for {members} members",
            hint="narrow the bounds, coarsen the resolution, or split the federation",
        )
    return min(found, key=lambda layout: layout.message_bytes)
