"""Scores of events that the scoring machine cannot read.

Who owns events encrypts them in batches, a service that holds the model computes
on the ciphertexts, the owner decrypts. The service holds no key.
"""

from fedanomaly.scoring.exchange import Exchange, InProcess, Offer
from fedanomaly.scoring.scorer import EncryptedScorer, Scored

__all__ = ["EncryptedScorer", "Exchange", "InProcess", "Offer", "Scored"]
