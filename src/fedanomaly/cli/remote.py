"""Scores from a service that sees ciphertexts only, for `fedanomaly score --encrypted`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from fedanomaly.node.remote import exchange_of
from fedanomaly.scoring import EncryptedScorer
from fedanomaly.scoring.progress import LONG, shown
from fedanomaly.scoring.scorer import RETRY_FOR_S

if TYPE_CHECKING:
    from collections.abc import Callable

    from fedanomaly.detectors import Detector
    from fedanomaly.node.home import Home
    from fedanomaly.types import Floats


class Remote:
    """A scoring service, and what it was asked for.

    Parameters
    ----------
    scorer : EncryptedScorer
        The way to it.
    advance : callable
        Called with the number of events that are done.
    """

    def __init__(self, scorer: EncryptedScorer, advance: Callable[[int], None]) -> None:
        self._scorer = scorer
        self._advance = advance
        self._facts: Counter[str] = Counter(batches=0, local=0, uncertain=0, bytes_up=0, bytes_down=0)

    def scores(self, rows: Floats) -> Floats:
        """Return the scores of encoded rows."""
        scored = self._scorer.score(rows, progress=self._advance)
        self._facts.update(
            batches=scored.batches,
            local=scored.local,
            uncertain=int(scored.uncertain.sum()),
            bytes_up=scored.bytes_up,
            bytes_down=scored.bytes_down,
        )
        return scored.scores

    def facts(self) -> dict[str, int]:
        """Return batches, bytes, rows scored here, and rows too near the threshold to tell.

        `hidden_model_bytes` is the size of the encrypted model, which went up once; 0: it was not hidden.
        """
        return {**self._facts, "hidden_model_bytes": self._scorer.hidden_model_bytes}


@contextmanager
def asked(
    detector: Detector, url: str, ca_file: Path | None, home: Home, passphrase: str, *, hide_model: bool
) -> Iterator[Remote]:
    """Ask a scoring service under a node's identity; a terminal shows how far it is.

    Parameters
    ----------
    detector : Detector
        The model.
    url : str
        Origin of the service.
    ca_file : Path or None
        Certificates to trust instead of the system's.
    home : Home
        Of the node.
    passphrase : str
        Of its keystore.
    hide_model : bool
        Whether the service gets the model encrypted.

    Raises
    ------
    ConfigError
        If the node is in no federation, or the detector has no circuit, or none that can be hidden.
    """
    with (
        exchange_of(home, home.unlock(passphrase), url, ca_file) as exchange,
        # Rows come in parts, of a file that may be long: nobody knows how many there are.
        shown(None, events=None, batches=LONG) as advance,
        EncryptedScorer(detector, exchange, retry_for_s=RETRY_FOR_S, hide_model=hide_model) as scorer,
    ):
        yield Remote(scorer, advance)
