"""What a job of every detector with default parameters takes, in a typical federation.

The entries are written by scripts/write_typical_costs.py.
"""

from __future__ import annotations

from typing import NamedTuple, TypedDict


class Size(TypedDict):
    """Of a job and its federation, as `fedanomaly cost` asks for it."""

    rows: int
    features: int
    members: int
    threshold: int


TYPICAL_JOB: Size = {"rows": 1_000_000, "features": 30, "members": 5, "threshold": 3}


class Typical(NamedTuple):
    """What a job takes.

    Parameters
    ----------
    rounds : int
        As expected on normal random rows.
    most_rounds : int
        It takes no more, whatever the rows are.
    upload_bytes : int
        What a member sends that decrypts in every round.
    """

    rounds: int
    most_rounds: int
    upload_bytes: int


TYPICAL = {
    "autoencoder": Typical(13, 19, 304_892),
    "copod": Typical(5, 12, 287_630),
    "ecod": Typical(6, 12, 314_126),
    "ensemble": Typical(17, 25, 1_057_274),
    "gaussian_mixture": Typical(14, 20, 595_016),
    "gradient_boosting": Typical(70, 78, 38_726_858),
    "hbos": Typical(5, 12, 287_630),
    "kernel_mean": Typical(6, 12, 289_826),
    "kmeans": Typical(11, 16, 378_548),
    "loda": Typical(7, 12, 424_646),
    "logistic_regression": Typical(12, 19, 334_950),
    "mahalanobis": Typical(5, 12, 249_020),
    "ngram": Typical(4, 6, 410_624),
    "pca": Typical(6, 12, 275_516),
    "random_trees": Typical(6, 12, 440_678),
    "robust_mahalanobis": Typical(9, 15, 416_888),
    "text_surprise": Typical(3, 6, 621_272),
    "vector_autoregression": Typical(5, 12, 249_020),
}
