"""The same signatures and envelopes are met again and again: each is checked and read once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache

from fedanomaly.protocol import Envelope, envelope, rounds

parsed = lru_cache(maxsize=20_000)(Envelope.from_bytes)


@contextmanager
def remembered_signatures() -> Iterator[None]:
    """Remember which signatures hold; what does not hold is never remembered."""
    before = envelope.verify, rounds.verify
    known = lru_cache(maxsize=100_000)(envelope.verify)
    envelope.verify = rounds.verify = known
    try:
        yield
    finally:
        envelope.verify, rounds.verify = before
