"""Detectors that learn from sums: one file per algorithm."""

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.mahalanobis import Mahalanobis
from fedanomaly.detectors.registry import from_params, registry

__all__ = ["Detector", "Mahalanobis", "from_params", "registry"]
