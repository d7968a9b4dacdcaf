"""Adds messages that are in memory, as the coordinator adds those on disk."""

from __future__ import annotations

from collections.abc import Iterable

from fedanomaly.fhe import Contribution, DecryptionShare, InMemory, Manifest, MaskedSum, add_up


def added(manifest: Manifest, messages: Iterable[Contribution | DecryptionShare]) -> MaskedSum:
    """Return the masked sum of messages, whatever they are."""
    sources = [(type(message), InMemory(message.to_bytes())) for message in messages]
    return MaskedSum.from_bytes(b"".join(add_up(manifest, sources)), manifest)
