"""A key epoch in one process: real secrets, dealt and received for real."""

from __future__ import annotations

import hashlib
import os

import numpy as np
import numpy.typing as npt

from fedanomaly.fhe import Ask, JoinPost, Manifest, best_layout
from fedanomaly.fhe.secret import EpochSecrets

EPOCH = hashlib.sha256(b"benchmark epoch").digest()
ROSTER = hashlib.sha256(b"benchmark roster").digest()
ZEROS = bytes(32)
GENERATION = 1


def set_up(*, members: int, threshold: int) -> dict[int, EpochSecrets]:
    """Return the secrets of all members, by roster index, after a full set-up."""
    roster = range(1, members + 1)
    secrets = {index: EpochSecrets.generate(members=members, threshold=threshold, index=index) for index in roster}
    hellos = {index: secrets[index].hello() for index in roster}
    for sender in roster:
        for receiver in roster:
            if sender != receiver:
                info = f"deal from {sender} to {receiver}".encode()
                envelope = secrets[sender].deal(receiver, hello=hellos[receiver], info=info)
                secrets[receiver].receive(sender, hello=hellos[sender], info=info, envelope=envelope)
    for index in roster:
        secrets[index].finish(EPOCH, ROSTER)
    return secrets


def manifest(
    secrets: dict[int, EpochSecrets],
    frozen: dict[int, npt.NDArray[np.uint64]],
    *,
    threshold: int,
    field_bits: int,
    round_number: int,
) -> Manifest:
    """Return the manifest of a first step that the members of `frozen` joined."""
    fields = len(next(iter(frozen.values())))
    layout = best_layout(members=len(secrets), threshold=threshold, field_bits=field_bits, fields=fields)
    ask = Ask(
        kind="sum",
        preset=layout.preset,
        members=len(secrets),
        threshold=threshold,
        field_bits=field_bits,
        fields=fields,
        epoch=EPOCH,
        roster=ROSTER,
        policy=ZEROS,
        job=1,
        round=round_number,
        step=0,
        schema=ZEROS,
        step_tag=ZEROS,
        state_tag=ZEROS,
    )
    joins = tuple(
        JoinPost(
            member=index,
            generation=GENERATION,
            nonce=secrets[index].nonce(
                ask,
                generation=GENERATION,
                frozen_hash=hashlib.sha256(frozen[index].tobytes()).digest(),
                random=os.urandom(32),
            ),
            signature=bytes(64),
        )
        for index in sorted(frozen)
    )
    decryptors = tuple(sorted(frozen))[: min(len(frozen), threshold + 2)]
    return Manifest.build(ask, joins=joins, decryptors=decryptors)
