"""The engine's Python face: presets, manifests, messages, addition.

Nothing here holds a secret. What does is in `fedanomaly.fhe.secret`, which only
the node and the simulation import.
"""

from fedanomaly.fhe.manifest import Ask, JoinPost, Manifest, join_signed, least_contributors
from fedanomaly.fhe.preset import EPOCH_QUOTA_COEFFICIENTS, Layout, Preset, best_layout, layout
from fedanomaly.fhe.sums import Accumulator, Contribution, DecryptionShare, MaskedSum

__all__ = [
    "EPOCH_QUOTA_COEFFICIENTS",
    "Accumulator",
    "Ask",
    "Contribution",
    "DecryptionShare",
    "JoinPost",
    "Layout",
    "Manifest",
    "MaskedSum",
    "Preset",
    "best_layout",
    "join_signed",
    "layout",
    "least_contributors",
]
