"""A score as affine forms of an event's readings: what can be computed on ciphertexts."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Literal, Self, get_args

import numpy as np

from fedanomaly.errors import MessageError, ShapeError
from fedanomaly.types.arrays import Floats
from fedanomaly.types.canonical import VERSION, Reader, begin, item, item_int

Kind = Literal["linear", "quadratic"]
MOST_DIVISOR_BITS = 12
"""Readings are divided by 2^12 at most: one without weight gains nothing."""


@dataclass(frozen=True, eq=False)
class Circuit:
    """One or more outputs for every event, each of some affine forms of its readings.

    Parameters
    ----------
    kind : {"linear", "quadratic"}
        "linear": every output is one form. "quadratic": a sum of squares of forms.
    rows : tuple of int
        Forms of each output.
    weights : float64 array of shape (n_forms, n_features)
        Finite.
    bias : float64 array of shape (n_forms,)
        Finite.

    Raises
    ------
    ShapeError
        If the parts do not fit each other.
    """

    kind: Kind
    rows: tuple[int, ...]
    weights: Floats
    bias: Floats

    def __post_init__(self) -> None:
        forms = sum(self.rows)
        if not self.rows or min(self.rows) < 1 or (self.kind == "linear" and max(self.rows) > 1):
            raise ShapeError("every output of a circuit has one form, or if it is quadratic some")
        if self.weights.ndim != 2 or self.weights.shape[0] != forms or self.weights.shape[1] < 1:
            raise ShapeError(f"{forms} forms need as many rows of weights, not shape {self.weights.shape}")
        if self.bias.shape != (forms,) or not (np.isfinite(self.weights).all() and np.isfinite(self.bias).all()):
            raise ShapeError("every form of a circuit has finite weights and one finite bias")

    @property
    def features(self) -> int:
        """Readings of an event."""
        return self.weights.shape[1]

    @property
    def outputs(self) -> int:
        """Numbers that come out for an event."""
        return len(self.rows)

    @property
    def digest(self) -> bytes:
        """SHA-256 of the canonical bytes: the name of exactly this circuit."""
        return hashlib.sha256(self.to_bytes()).digest()

    def evaluate(self, readings: Floats) -> Floats:
        """Return the outputs in the clear.

        Parameters
        ----------
        readings : float64 array of shape (n_events, n_features)

        Returns
        -------
        float64 array of shape (n_events, n_outputs)
        """
        forms = readings @ self.weights.T + self.bias
        if self.kind == "linear":
            return forms
        starts = np.cumsum((0, *self.rows[:-1]))
        return np.add.reduceat(np.square(forms), starts, axis=1)

    def balanced(self) -> tuple[Circuit, Floats]:
        """Return the circuit for readings that were divided by powers of two, and these, for the least error.

        Encrypting adds the same noise to every reading, rounding the same error to
        every weight. A reading divided by c whose weights are multiplied by it has c
        times the noise and 1/c of the rounding. With readings as large as their
        weights are small, both are equal where a column of weights has the length
        k^(1/4) / sqrt(2), k being the number of forms. c is never below 1, so that
        readings stay within their bound.

        Returns
        -------
        Circuit
            For ``readings / divisors`` gives what this one gives for readings.
        float64 array of shape (n_features,)
            The divisors.
        """
        lengths = np.sqrt(np.square(self.weights).sum(axis=0))
        wanted = max(self.rows) ** 0.25 / np.sqrt(2.0)
        ratio = wanted / np.where(lengths > 0, lengths, wanted)
        divisors = np.exp2(np.clip(np.rint(np.log2(ratio)), 0, MOST_DIVISOR_BITS))
        return Circuit(self.kind, self.rows, self.weights * divisors, self.bias), divisors

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        return (
            begin("circuit")
            + item("kind", self.kind.encode())
            + item_int("features", self.features)
            + item("rows", np.array(self.rows, dtype="<u4").tobytes())
            + item("weights", self.weights.astype("<f8").tobytes())
            + item("bias", self.bias.astype("<f8").tobytes())
        )

    @classmethod
    def from_bytes(cls, data: bytes) -> Self:
        """Read what `to_bytes` wrote.

        Raises
        ------
        MessageError
            If the bytes are something else.
        """
        reader = Reader(data)
        if reader.item("version") != VERSION or reader.item("label") != b"circuit":
            raise MessageError("not a circuit of this version")
        kind, features = reader.text("kind"), reader.int("features")
        rows, weights, bias = (reader.item(name) for name in ("rows", "weights", "bias"))
        reader.end()
        if kind not in get_args(Kind) or len(rows) % 4 or len(weights) != len(bias) * features or len(bias) % 8:
            raise MessageError("the parts of a circuit do not fit each other")
        try:
            return cls(
                kind,  # pyright: ignore[reportArgumentType] - one of them, as was just seen
                tuple(np.frombuffer(rows, dtype="<u4").tolist()),
                np.frombuffer(weights, dtype="<f8").reshape(-1, features).astype(np.float64),
                np.frombuffer(bias, dtype="<f8").astype(np.float64),
            )
        except (ShapeError, ValueError):
            raise MessageError("the parts of a circuit do not fit each other") from None
