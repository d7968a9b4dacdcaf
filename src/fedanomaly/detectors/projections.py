"""Scores that are the mean over random projections of what each adds: from histograms or from polynomials."""

# ruff: noqa: N803 - X is what scikit-learn calls the rows

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar, Self

import numpy as np

from fedanomaly.detectors.quartic import Quartic, fitted
from fedanomaly.detectors.scaling import Scale
from fedanomaly.types import Circuit, Floats, Integers, Layer

BINS = 256
SPAN = 10
"""The bins reach that many deviations to both sides of the mean."""


@dataclass(frozen=True, eq=False)
class View:
    """The projections and their bins.

    Parameters
    ----------
    scale : Scale
        Turns raw rows into whole steps.
    weights : float64 array of shape (n_features, n_projections)
        Whole numbers, mostly 0.
    low : float64 array of shape (n_projections,)
        Lower edge of the first bin, a whole number.
    width : float64 array of shape (n_projections,)
        Width of a bin, a whole number.
    """

    scale: Scale
    weights: Floats
    low: Floats
    width: Floats

    def chunks(self, X: Floats) -> Iterator[tuple[Floats, Floats]]:
        """Yield scaled rows, and each of their projections, from the first bin on.

        Rows, weights and edges are whole numbers whose sums stay below 2^53, so
        projections do not depend on the machine or on the order of addition.
        """
        for rows in self.scale.chunks(X):
            projections = rows @ self.weights
            projections -= self.low
            yield rows, projections

    def bins(self, projections: Floats) -> Integers:
        """Return the bin of each, in its place; the end bins are open."""
        projections /= self.width
        # Conversion cuts towards 0, which is the floor of what is not negative.
        return np.clip(projections, 0, BINS - 1, out=projections).astype(np.int64)


@dataclass(frozen=True, eq=False)
class Projected(ABC):
    """A score that is the mean of what projections add, ready to score.

    Parameters
    ----------
    view : View
        The projections and their bins.
    """

    view: View

    @abstractmethod
    def parts(self, projections: Floats) -> Floats:
        """Return what every projection adds, shape (n_samples, n_projections), in the place of the projections."""

    def scores(self, X: Floats) -> Floats:
        """Return the mean over the projections."""
        out = np.empty(len(X))
        at = 0
        for _, projections in self.view.chunks(X):
            out[at : at + len(projections)] = self.parts(projections).sum(axis=1)
            at += len(projections)
        return out

    def shares(self, X: Floats) -> Floats:
        """Return every projection's part, shared among its features by |w_j z_j|."""
        weights = np.abs(self.view.weights)
        chosen = (weights > 0) / np.maximum((weights > 0).sum(axis=0), 1)
        out = np.empty(X.shape)
        at = 0
        for rows, projections in self.view.chunks(X):
            part = self.parts(projections)
            reach = np.abs(rows) @ weights
            still = reach == 0
            moved = np.where(still, 0.0, part) / np.where(still, 1.0, reach)
            out[at : at + len(rows)] = np.abs(rows) * (moved @ weights.T) + np.where(still, part, 0.0) @ chosen.T
            at += len(rows)
        return out


@dataclass(frozen=True, eq=False)
class Densities(Projected):
    """The learnt densities.

    Parameters
    ----------
    surprise : float64 array of shape (n_projections, n_bins)
        -log p of every bin.
    """

    surprise: Floats

    def parts(self, projections: Floats) -> Floats:
        """Return -log p, looked up."""
        bins = self.view.bins(projections)
        bins += np.arange(len(self.surprise)) * BINS
        return np.take(self.surprise.ravel(), bins) / len(self.surprise)


@dataclass(frozen=True, eq=False)
class Polynomials(Projected):
    """Polynomials of the projections, in deviations from the mean.

    Parameters
    ----------
    quartic : Quartic
        A polynomial for each projection.
    off : float
        Root mean square of its distance from -log p over the training rows of all members.
    """

    quartic: Quartic
    off: float
    outputs_suffice: ClassVar[bool] = True

    @classmethod
    def of(cls, view: View, surprise: Floats, counts: Floats) -> Self:
        """Return the polynomials nearest to -log p of every bin, from how many rows each counted."""
        quartic = fitted(surprise, counts, SPAN)
        middles = np.linspace(-SPAN, SPAN, 2 * BINS + 1)[1::2]
        squares = np.square(quartic(np.broadcast_to(middles[:, None], surprise.T.shape)).T - surprise)
        return cls(view, quartic, float(np.sqrt((squares * counts).sum() / max(counts.sum(), 1.0))))

    def parts(self, projections: Floats) -> Floats:
        """Return the polynomials' values."""
        unit, middle = self._unit()
        projections -= middle
        projections /= unit
        return self.quartic(projections) / len(unit)

    def circuit(self) -> Circuit:
        """Return the sum over the projections, of readings in robust deviations."""
        unit, middle = self._unit()
        (a, b, c), (d, e), constant = self.quartic.upper.T, self.quartic.lower.T, self.quartic.constant
        weights = (self.view.weights * (self.view.scale.grid / unit)).T
        bias = -(self.view.low + middle) / unit
        # The constants together are the square of a form without weights.
        plain = np.vstack([weights * d[:, None], np.zeros(weights.shape[1])])
        plain_bias = np.append(bias * d + e, np.sqrt(constant.sum()))
        layer = Layer(np.diag(a), b, c, of_forms=True, weights=plain, bias=plain_bias)
        return Circuit("polynomial", (len(bias),), weights, bias, layer)

    @property
    def scale(self) -> Scale:
        """What turns raw rows into readings."""
        return self.view.scale

    def readings(self, X: Floats) -> Floats:
        """Return the rows in robust deviations."""
        return self.view.scale.readings(X)

    def combined(self, outputs: Floats, readings: Floats) -> Floats:  # noqa: ARG002 - the output is the sum
        """Return the mean over the projections."""
        return np.maximum(outputs[:, 0], 0.0) / len(self.quartic.constant)

    def _unit(self) -> tuple[Floats, Floats]:
        """Return a deviation of every projection, and where its mean lies from the first bin on."""
        middle = self.view.width * (BINS / 2)
        return middle / SPAN, middle
