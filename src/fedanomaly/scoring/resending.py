"""How a tenant goes on when a service is killed, started again, or given another model."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable
from typing import TypeVar

from fedanomaly.errors import CertificateError, NotFoundError, UnavailableError

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.05, 2.0
_drawn = random.Random()  # noqa: S311 - no secret

Answer = TypeVar("Answer")


class Stop:
    """Says that a piece of work is to end.

    Parameters
    ----------
    closed : threading.Event
        Ends all work of a scorer; a pause under way lasts on, `LONGEST_PAUSE_S` at most.
    """

    def __init__(self, closed: threading.Event) -> None:
        self._closed = closed
        self._event = threading.Event()

    def set(self) -> None:
        """End this work alone, and any pause of it."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether the work is to end."""
        return self._event.is_set() or self._closed.is_set()

    def wait(self, timeout_s: float) -> bool:
        """Wait for so long; returns whether the work is to end."""
        return self._event.wait(timeout_s) or self._closed.is_set()


def resent(ask: Callable[[], Answer], *, upload: Callable[[], None], retry_for_s: float, stop: Stop) -> Answer:
    """Return an answer, asked for again where that can help.

    Parameters
    ----------
    ask : callable
        Encrypts under a fresh key, at every call anew, and returns what comes back.
    upload : callable
        Gives the service a model that it does not have, say after a restart.
    retry_for_s : float
        After so many seconds no new try begins; 0: only a missing model is uploaded, once.
    stop : Stop
        Ends the tries.

    Raises
    ------
    FedAnomalyError
        What the last try met.
    """
    until_s, pause_s, missing = time.monotonic() + retry_for_s, FIRST_PAUSE_S, False
    while True:
        try:
            if missing:
                upload()
            return ask()
        except CertificateError:  # the next try would meet the same certificate
            raise
        except (NotFoundError, UnavailableError) as error:
            if isinstance(error, NotFoundError) and not missing:
                missing = True
                continue
            asked_s = error.retry_after_s if isinstance(error, UnavailableError) else 0.0
            # Drawn, so that those whom one restart has cut off do not all come back at once.
            wait_s = max(pause_s, min(asked_s, LONGEST_PAUSE_S)) * _drawn.uniform(0.5, 1.0)
            if time.monotonic() + wait_s >= until_s or stop.wait(wait_s):
                raise
        pause_s = min(2.0 * pause_s, LONGEST_PAUSE_S)
