"""The end of the log, in memory: whoever asks for news is almost always near it."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence

from fedanomaly.storage.envelopes import Record


class Recent:
    """The newest entries that the fold has taken.

    Parameters
    ----------
    max_entries, max_bytes : int
        What it holds at most; one answer of the feed has room for all of it.
    """

    def __init__(self, *, max_entries: int, max_bytes: int) -> None:
        self._max_entries, self._max_bytes = max_entries, max_bytes
        self._records: deque[Record] = deque()
        self._bytes = 0
        self.head = 0

    def add(self, records: Sequence[Record]) -> None:
        """Take in what follows the head of the log."""
        for record in records:
            if record.seq != self.head + 1:  # a fold that broke off: nobody is to miss what it left out
                self._records.clear()
                self._bytes = 0
            self._records.append(record)
            self._bytes += len(record.data)
            self.head = record.seq
            while len(self._records) > self._max_entries or self._bytes > self._max_bytes:
                self._bytes -= len(self._records.popleft().data)

    def after(self, seq: int) -> Sequence[Record] | None:
        """Return all that follows position `seq`; None if some of it is no longer here."""
        wanted = max(self.head - seq, 0)
        if wanted > len(self._records):
            return None
        return [self._records[at] for at in range(len(self._records) - wanted, len(self._records))]
