"""Scores from a service that sees ciphertexts only, for `fedanomaly score --encrypted`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from fedanomaly.errors import ConfigError
from fedanomaly.scoring import EncryptedScorer, HttpExchange

if TYPE_CHECKING:
    from fedanomaly.detectors import Detector
    from fedanomaly.node.home import Home
    from fedanomaly.types import Floats


class Remote:
    """A scoring service, asked under a node's identity, and what it was asked for.

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

    Raises
    ------
    ConfigError
        If the node is in no federation, or the detector has no circuit.
    """

    def __init__(self, detector: Detector, url: str, ca_file: Path | None, home: Home, passphrase: str) -> None:
        membership = home.membership
        if membership is None:
            raise ConfigError("this node is in no federation", hint="run: fedanomaly node enrol INVITATION")
        self._exchange = HttpExchange(url, home.unlock(passphrase), membership.federation, ca_file=ca_file)
        self._scorer = EncryptedScorer(detector, self._exchange)
        self._facts: Counter[str] = Counter(batches=0, local=0, uncertain=0, bytes_up=0, bytes_down=0)

    def scores(self, rows: Floats) -> Floats:
        """Return the scores of encoded rows."""
        scored = self._scorer.score(rows)
        self._facts.update(
            batches=scored.batches,
            local=scored.local,
            uncertain=int(scored.uncertain.sum()),
            bytes_up=scored.bytes_up,
            bytes_down=scored.bytes_down,
        )
        return scored.scores

    def facts(self) -> dict[str, int]:
        """Return batches, bytes, rows scored here, and rows too near the threshold to tell."""
        return dict(self._facts)

    def close(self) -> None:
        """End the conversation."""
        self._exchange.close()
