"""Anomaly detection that competing organisations learn together, under encryption."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fedanomaly import datasets, detectors, errors, features
    from fedanomaly.client import Client
    from fedanomaly.scoring import EncryptedScorer
    from fedanomaly.simulation import compare, evaluate, simulate

__version__ = "0.1.0"
__all__ = [
    "Client",
    "EncryptedScorer",
    "compare",
    "datasets",
    "detectors",
    "errors",
    "evaluate",
    "features",
    "simulate",
]

_ROOMS = frozenset({"datasets", "detectors", "errors", "features"})
_HOMES = {
    "Client": "fedanomaly.client",
    "EncryptedScorer": "fedanomaly.scoring",
    "compare": "fedanomaly.simulation",
    "evaluate": "fedanomaly.simulation",
    "simulate": "fedanomaly.simulation",
}


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module, a class or a function
    # Lazy: scikit-learn and the engine are loaded by whoever needs them.
    if name in _ROOMS:
        return importlib.import_module(f"fedanomaly.{name}")
    if name in _HOMES:
        return getattr(importlib.import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'fedanomaly' has no attribute {name!r}")


def __dir__() -> list[str]:
    return [*__all__, "__version__"]
