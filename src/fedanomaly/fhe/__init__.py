"""The engine's Python face: presets, manifests, messages, addition.

Nothing here holds a secret. What does is in `fedanomaly.fhe.secret`, which only
the node and the simulation import.
"""

from fedanomaly.fhe._engine import ABI_VERSION
from fedanomaly.fhe.manifest import Ask, JoinPost, Manifest, join_signed, least_contributors
from fedanomaly.fhe.preset import EPOCH_QUOTA_COEFFICIENTS, Layout, Preset, best_layout, layout
from fedanomaly.fhe.source import InMemory, Source
from fedanomaly.fhe.sums import Contribution, DecryptionShare, MaskedSum, add_up

__all__ = [
    "ABI_VERSION",
    "EPOCH_QUOTA_COEFFICIENTS",
    "Ask",
    "Contribution",
    "DecryptionShare",
    "InMemory",
    "JoinPost",
    "Layout",
    "Manifest",
    "MaskedSum",
    "Preset",
    "Source",
    "add_up",
    "best_layout",
    "join_signed",
    "layout",
    "least_contributors",
]
