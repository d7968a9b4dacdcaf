"""Rows scored by a service that sees ciphertexts only, where the policy of a node says so."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import TYPE_CHECKING

from fedanomaly.errors import CapacityError, ConfigError, FedAnomalyError, UnavailableError, WrongAnswerError
from fedanomaly.node.events import Feed
from fedanomaly.node.home import Home
from fedanomaly.node.keystore import Keystore
from fedanomaly.node.models import Lineage
from fedanomaly.scoring import HttpExchange
from fedanomaly.transport import Patience
from fedanomaly.types import Floats

if TYPE_CHECKING:
    from fedanomaly.detectors import Detector
    from fedanomaly.scoring import EncryptedScorer, Scored

ONE_TRY = Patience(connect_timeout_s=5.0, io_timeout_s=30.0, attempts=1)
"""The scorer tries again, under fresh keys."""
RETRY_FOR_S = 5.0
MAX_MODELS = 8


def exchange_of(home: Home, keystore: Keystore, url: str, ca_file: Path | None = None) -> HttpExchange:
    """Return the way to a scoring service, under a node's identity and for its federation.

    Parameters
    ----------
    home : Home
        Of the node; enrolled.
    keystore : Keystore
        Signs the requests.
    url : str
        Origin of the service.
    ca_file : Path, optional
        Certificates (PEM) to trust instead of the system's.

    Raises
    ------
    ConfigError
        If the node is in no federation, or the URL is no origin.
    """
    membership = home.membership
    if membership is None:
        raise ConfigError("this node is in no federation", hint="run: fedanomaly node enrol INVITATION")
    return HttpExchange(url, keystore, membership.federation, ca_file=ca_file, patience=ONE_TRY)


class RemoteScoring:
    """The scoring service that the policy names. Safe for threads.

    Parameters
    ----------
    exchange : HttpExchange
        The way to it; closed with this.
    feed : Feed
        Told of every failure.
    or_here : bool
        Whether rows that it cannot score may be scored here.
    hide_model : bool
        Whether it gets models encrypted. After a wrong score every call for that model
        fails until the node starts anew: a new upload would be a new try.
    """

    def __init__(self, exchange: HttpExchange, feed: Feed, *, or_here: bool, hide_model: bool) -> None:
        self._exchange = exchange
        self._feed = feed
        self._or_here = or_here
        self._hide_model = hide_model
        self._scorers: OrderedDict[str, EncryptedScorer] = OrderedDict()
        self._lied_about: set[str] = set()
        self._lock = threading.Lock()

    @classmethod
    def of(cls, home: Home, keystore: Keystore, feed: Feed) -> RemoteScoring | None:
        """Return the service that the policy of a home names, if it names one."""
        policy = home.policy_file
        if not policy.score_remotely:
            return None
        exchange = exchange_of(home, keystore, policy.score_remotely, home.scoring_authority)
        return cls(exchange, feed, or_here=policy.score_remotely_or_here, hide_model=policy.score_remotely_hide_model)

    def score(self, lineage: Lineage, detector: Detector, rows: Floats) -> Scored | None:
        """Return the scores of encoded rows.

        Parameters
        ----------
        lineage : Lineage
            Tells models apart.
        detector : Detector
            The model.
        rows : float64 array of shape (n_rows, n_features)
            Encoded by its schema.

        Returns
        -------
        Scored or None
            None: the service cannot score them, and the policy lets them be scored here.

        Raises
        ------
        ConfigError, CapacityError
            If the model is not scored on ciphertexts, or cannot be hidden where it must be.
        UnavailableError
            If the service does not answer.
        WrongAnswerError
            If it answers with something else than the model's scores.
        """
        try:
            return self._scorer(lineage.request, detector).score(rows, progress=False)
        except FedAnomalyError as error:
            if self._hide_model and isinstance(error, WrongAnswerError):
                self._lied_about.add(lineage.request)
            self._feed.problem("remote-scoring-failed", model=lineage.name, error=str(error))
            if self._or_here and isinstance(error, ConfigError | CapacityError | UnavailableError):
                return None
            raise

    def close(self) -> None:
        """End the conversation and forget the secrets of hidden models; a call under way fails."""
        self._exchange.close()
        with self._lock:
            for scorer in self._scorers.values():
                scorer.close()

    def _scorer(self, request: str, detector: Detector) -> EncryptedScorer:
        from fedanomaly.scoring import EncryptedScorer  # noqa: PLC0415 - scikit-learn only when it scores

        with self._lock:
            if request in self._lied_about:
                raise WrongAnswerError(
                    "the scoring service gave wrong scores for this encrypted model, and is not given it again",
                    hint="name another service in policy.toml, and start the node anew",
                )
            scorer = self._scorers.pop(request, None) or EncryptedScorer(
                detector, self._exchange, retry_for_s=RETRY_FOR_S, hide_model=self._hide_model
            )
            self._scorers[request] = scorer
            if len(self._scorers) > MAX_MODELS:
                # Not closed: a call may use it. Its secrets end with the last one.
                self._scorers.popitem(last=False)
            return scorer
