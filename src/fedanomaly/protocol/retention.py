"""Which attachments nobody needs any more: contributions are large, and their round ends.

A key epoch's deals are of no use once every member has confirmed: whoever
confirms keeps the finished secrets and has destroyed what opens a deal. A
round's contributions and shares serve its one sum. A masked sum stays for
members that are away: until each of them was seen at the end of the log when
`KEEP_SUMS_S` had passed, whenever that is. Envelopes, with the digests of all
that was attached, stay for good.
"""

from __future__ import annotations

from collections.abc import Mapping

from fedanomaly.protocol.envelope import NO_ATTACHMENT
from fedanomaly.protocol.epochs import EpochState
from fedanomaly.protocol.transcript import Transcript

KEEP_S = 3600.0
"""How long what has served its purpose stays, so that somebody may still look into it."""
KEEP_SUMS_S = 7 * 24 * 3600.0
"""How long a masked sum stays at least: members may fail to open it and try again."""


def unneeded(log: Transcript, now_s: float, seen: Mapping[bytes, float]) -> set[bytes]:
    """Return digests of attachments that may be removed.

    Parameters
    ----------
    log : Transcript
        The coordinator's fold.
    now_s : float
        Unix seconds by the clock that stamps entries.
    seen : mapping of bytes to float
        When each identity last asked for news having all of the log.
    """
    kept: set[bytes] = {NO_ATTACHMENT}
    spent: set[bytes] = set()
    for epoch in log.epochs:
        over = epoch.state in {EpochState.LIVE, EpochState.ENDED} and now_s >= epoch.since + KEEP_S
        (spent if over else kept).update(envelope.attachment for envelope in epoch.deals.values())
    for round_ in log.rounds.values():
        over = round_.state.final and now_s >= round_.since + KEEP_S
        given = [*round_.contributions.values(), *(envelope for _, envelope in round_.statements.values())]
        (spent if over else kept).update(envelope.attachment for envelope in given)
        if round_.opened is not None:
            late_s = round_.since + KEEP_SUMS_S
            opened = over and all(seen.get(identity, 0.0) >= late_s for identity in round_.identities)
            (spent if opened else kept).add(round_.opened.attachment)
    return spent - kept  # a member may have named the same bytes twice
