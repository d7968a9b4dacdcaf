"""How much may be under way at once: the bound of the service's memory, and of what one tenant takes of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from fedanomaly.errors import UnavailableError

RETRY_AFTER_S = 1.0


class Slots:
    """Places for what is received or computed; used on the event loop alone.

    Nobody waits for a place: who comes too early is told to come again, before
    its body is read, so a queue cannot grow and nothing of it is kept.

    Parameters
    ----------
    total : int
        Places there are.
    of_one : int
        Places that one tenant may have: a slow one leaves the others theirs.
    """

    def __init__(self, total: int, of_one: int) -> None:
        self._total, self._of_one = total, of_one
        self._taken: Counter[bytes] = Counter()

    @property
    def taken(self) -> int:
        """Places in use."""
        return self._taken.total()

    @contextmanager
    def place(self, tenant: bytes) -> Iterator[None]:
        """Hold a place.

        Raises
        ------
        UnavailableError
            If there is none.
        """
        if self.taken >= self._total:
            raise UnavailableError("as many requests as this service takes are under way", retry_after_s=RETRY_AFTER_S)
        if self._taken[tenant] >= self._of_one:
            raise UnavailableError("as many requests as one tenant may have are under way", retry_after_s=RETRY_AFTER_S)
        self._taken[tenant] += 1
        try:
            yield
        finally:
            self._taken[tenant] -= 1
            if not self._taken[tenant]:
                del self._taken[tenant]
