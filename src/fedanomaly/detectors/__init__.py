"""Detectors that learn from sums: one file per algorithm."""

from fedanomaly.detectors.autoencoder import Autoencoder
from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.copod import COPOD
from fedanomaly.detectors.ecod import ECOD
from fedanomaly.detectors.ensemble import Ensemble
from fedanomaly.detectors.gaussian_mixture import GaussianMixture
from fedanomaly.detectors.gradient_boosting import GradientBoosting
from fedanomaly.detectors.hbos import HBOS
from fedanomaly.detectors.kernel_mean import KernelMean
from fedanomaly.detectors.kmeans import KMeans
from fedanomaly.detectors.loda import Loda
from fedanomaly.detectors.logistic_regression import LogisticRegression
from fedanomaly.detectors.mahalanobis import Mahalanobis
from fedanomaly.detectors.ngram import NGram
from fedanomaly.detectors.pca import PCA
from fedanomaly.detectors.pyod_style import PyODStyle
from fedanomaly.detectors.random_trees import RandomTrees
from fedanomaly.detectors.registry import from_params, installed, registry
from fedanomaly.detectors.robust_mahalanobis import RobustMahalanobis
from fedanomaly.detectors.saved import load
from fedanomaly.detectors.text_surprise import TextSurprise
from fedanomaly.detectors.vector_autoregression import VectorAutoregression, windows

__all__ = [
    "COPOD",
    "ECOD",
    "HBOS",
    "PCA",
    "Autoencoder",
    "Detector",
    "Ensemble",
    "GaussianMixture",
    "GradientBoosting",
    "KMeans",
    "KernelMean",
    "Loda",
    "LogisticRegression",
    "Mahalanobis",
    "NGram",
    "PyODStyle",
    "RandomTrees",
    "RobustMahalanobis",
    "TextSurprise",
    "VectorAutoregression",
    "from_params",
    "installed",
    "load",
    "registry",
    "windows",
]
