"""How much of the federation's log this node has seen, over restarts.

A coordinator that was restored from an old backup has a shorter log, and would
write it on differently. Every member would then follow two histories, one after
the other, without a word. So a node keeps the position and the hash of the last
entry that it acted upon, and goes on only with a log that still contains it.
"""

from __future__ import annotations

from pathlib import Path

import msgspec

from fedanomaly.errors import ConfigError, DivergedError
from fedanomaly.protocol import Transcript
from fedanomaly.storage import write_durably
from fedanomaly.transport.client import DIVERGED_HINT


class Seen(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A position of the log and the hash of the log up to there.

    Parameters
    ----------
    head : int
        Position, from 1; 0: nothing was seen yet.
    chain : bytes
        See `Transcript.chain`.
    """

    head: int = 0
    chain: bytes = b""


class LogMark:
    """The mark of a home; a plain file, since a log is no secret.

    Parameters
    ----------
    path : Path
        The file.

    Raises
    ------
    ConfigError
        If the file is damaged.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            self.seen = msgspec.json.decode(path.read_bytes(), type=Seen)
        except FileNotFoundError:
            self.seen = Seen()
        except (msgspec.DecodeError, UnicodeDecodeError):
            raise ConfigError(f"{path} is damaged", hint="restore the node's home from its backup") from None

    def check(self, log: Transcript, head: int) -> None:
        """Refuse a log that does not contain what was seen.

        Parameters
        ----------
        log : Transcript
            What is folded of it.
        head : int
            Its last entry, as the coordinator tells.

        Raises
        ------
        DivergedError
            If it is shorter, or another one.
        """
        if head < self.seen.head:
            raise DivergedError(
                f"this node has seen {self.seen.head} entries of the log; the coordinator's has {head}",
                hint=DIVERGED_HINT,
            )
        if log.head >= self.seen.head > 0 and log.chain(self.seen.head) != self.seen.chain:
            raise DivergedError(
                f"up to entry {self.seen.head} the coordinator's log is not the one that this node has seen",
                hint=f"{DIVERGED_HINT}; then start this node again",
            )

    def keep(self, log: Transcript) -> None:
        """Record, durably, all that is folded of a log that was checked."""
        if log.head != self.seen.head:
            self.seen = Seen(head=log.head, chain=log.chain(log.head))
            write_durably(self._path, msgspec.json.encode(self.seen) + b"\n")
