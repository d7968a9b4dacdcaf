"""Detectors that learn from sums: one file per algorithm."""

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.ensemble import Ensemble
from fedanomaly.detectors.loda import Loda
from fedanomaly.detectors.mahalanobis import Mahalanobis
from fedanomaly.detectors.registry import from_params, registry

__all__ = ["Detector", "Ensemble", "Loda", "Mahalanobis", "from_params", "registry"]
