"""What signed envelopes prove, judged by somebody who holds nothing else: no log, no order, no secret."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from fedanomaly.errors import FedAnomalyError
from fedanomaly.fhe import Ask, Contribution, DecryptionShare, Manifest
from fedanomaly.protocol import Envelope
from fedanomaly.protocol.messages import KINDS, Message
from tests.sums import added


def _round_of(ask: Ask) -> tuple[bytes, int, int]:
    return ask.epoch, ask.job, ask.round


SLOTS: dict[str, Callable[[Message], tuple]] = {
    "founded": lambda _: (),
    "epoch-call": lambda said: (said.number,),
    "hello": lambda said: (said.call,),
    "roster": lambda said: (said.call,),
    "deal": lambda said: (said.roster, said.receiver),
    "job-start": lambda said: (said.epoch, said.job),
    "announce": lambda said: _round_of(Ask.from_bytes(said.ask)),
    "join": lambda said: (said.ask,),
    "manifest": lambda said: (Manifest.from_bytes(said.manifest).ask.digest,),
    "contribution": lambda said: (said.manifest,),
    "close": lambda said: (said.manifest,),
    "statement": lambda said: (said.manifest,),
    "opened": lambda said: (said.manifest,),
    "vote": lambda said: (said.manifest,),
    "outcome": lambda said: (said.ask,),
}
"""What an honest party says once: by kind, about what."""


def convicted(envelopes: Iterable[Envelope]) -> set[tuple[bytes, str]]:
    """Return who signed two different things where an honest party signs one, or what is no message: key and kind."""
    said: dict[tuple, tuple[bytes, bytes]] = {}
    guilty = set()
    for envelope in envelopes:
        if envelope.kind not in SLOTS or not _is_signed(envelope):
            continue  # proves nothing
        try:
            slot = SLOTS[envelope.kind](KINDS[envelope.kind].from_bytes(envelope.body))
        except FedAnomalyError:
            guilty.add((envelope.sender, envelope.kind))
            continue
        key = (envelope.sender, envelope.kind, *slot)
        if said.setdefault(key, (envelope.body, envelope.attachment)) != (envelope.body, envelope.attachment):
            guilty.add((envelope.sender, envelope.kind))
    return guilty


def _is_signed(envelope: Envelope) -> bool:
    try:
        envelope.verify()
    except FedAnomalyError:
        return False
    return True


def sum_is_what_was_posted(round_, blobs: Mapping[bytes, bytes]) -> bool:
    """Whether the sum that the coordinator signed is that of the posts that it named; anybody can tell."""
    manifest = round_.posted
    given = [
        *(Contribution.from_bytes(blobs[digest], manifest) for digest in round_.close.contributions),
        *(
            DecryptionShare.from_bytes(blobs[envelope.attachment], manifest)
            for _, envelope in round_.statements.values()
        ),
    ]
    return added(manifest, given).to_bytes() == blobs[round_.published.attachment]
