"""Scores of events that the scoring machine cannot read.

Who owns events encrypts them in batches, a service that holds the model computes
on the ciphertexts, the owner decrypts. The service holds no key and never imports
what encrypts or decrypts; the linter keeps it so.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedanomaly.scoring.exchange import HttpExchange
    from fedanomaly.scoring.in_process import Exchange, InProcess
    from fedanomaly.scoring.scored import Scored, Scores
    from fedanomaly.scoring.scorer import EncryptedScorer

__all__ = ["EncryptedScorer", "Exchange", "HttpExchange", "InProcess", "Scored", "Scores"]

_HOMES = {
    "EncryptedScorer": "scorer",
    "Exchange": "in_process",
    "HttpExchange": "exchange",
    "InProcess": "in_process",
    "Scored": "scored",
    "Scores": "scored",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - one of several classes
    # Lazy: the service loads neither detectors nor what holds keys.
    if name in _HOMES:
        return getattr(importlib.import_module(f"fedanomaly.scoring.{_HOMES[name]}"), name)
    raise AttributeError(f"module 'fedanomaly.scoring' has no attribute {name!r}")
