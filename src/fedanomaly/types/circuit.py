"""A score as affine forms of an event's readings: what can be computed on ciphertexts."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass, replace
from typing import Literal, Self, get_args

import numpy as np

from fedanomaly.errors import MessageError, ShapeError
from fedanomaly.types.arrays import Floats
from fedanomaly.types.canonical import VERSION, Reader, begin, item, item_int

Kind = Literal["linear", "quadratic", "polynomial"]
LAYER_BITS, MIX_BITS = 13, 10
"""A polynomial's weights are computed with so many bits behind the point, those that mix squares with 10 at most."""
MOST_DIVISOR_BITS = 12
"""Readings are divided by 2^12 at most: one without weight gains nothing."""
MAX_READING = 64.0
"""Readings that are encrypted are at most that far from 0; the engine refuses others."""


@dataclass(frozen=True, eq=False)
class Layer:
    """What a polynomial of degree 4 makes of the squares u of its forms y.

    The output is ``sum_i (mix_i . u + direct_i t_i + shift_i)^2 + sum_k (weights_k
    . x + bias_k)^2``; x are the readings, t is x or y.

    Parameters
    ----------
    mix : float64 array of shape (n_rows, n_forms)
        Finite, as all of them.
    direct, shift : float64 arrays of shape (n_rows,)
        A row for each reading or, `of_forms`, for each form.
    of_forms : bool
        Whether t is y.
    weights : float64 array of shape (n_plain, n_features)
        Of the forms that are squared and added; there may be none.
    bias : float64 array of shape (n_plain,)
        Of the same.

    Raises
    ------
    ShapeError
        If the parts do not fit each other.
    """

    mix: Floats
    direct: Floats
    shift: Floats
    of_forms: bool
    weights: Floats
    bias: Floats

    def __post_init__(self) -> None:
        rows, plain = len(self.direct), len(self.bias)
        fits = (self.mix.shape[:1], self.direct.shape, self.shift.shape) == ((rows,),) * 3 and self.mix.ndim == 2
        if not fits or self.weights.ndim != 2 or (self.weights.shape[:1], self.bias.shape) != ((plain,),) * 2:
            raise ShapeError("the parts of a circuit's layer do not fit each other")
        if not all(np.isfinite(part).all() for part in (self.mix, self.direct, self.shift, self.weights, self.bias)):
            raise ShapeError("a circuit's layer has finite weights only")

    def evaluate(self, readings: Floats, forms: Floats) -> Floats:
        """Return the output of shape (n_events, 1), from readings and forms of shape (n_events, ...)."""
        rows = np.square(forms) @ self.mix.T + (forms if self.of_forms else readings) * self.direct + self.shift
        plain = readings @ self.weights.T + self.bias
        return (np.square(rows).sum(axis=1) + np.square(plain).sum(axis=1))[:, None]

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        parts = {name: getattr(self, name) for name in ("mix", "direct", "shift", "weights", "bias")}
        return item_int("of forms", int(self.of_forms)) + b"".join(
            item(f"layer {name}", part.astype("<f8").tobytes()) for name, part in parts.items()
        )

    @classmethod
    def read(cls, reader: Reader, forms: int, features: int) -> Self:
        """Read what `to_bytes` wrote; may raise ValueError for numbers that are no arrays."""
        of_forms = reader.int("of forms")
        if of_forms > 1:
            raise MessageError("a circuit's rows are of forms or of readings")
        mix, direct, shift, weights, bias = (
            np.frombuffer(reader.item(f"layer {name}"), dtype="<f8").astype(np.float64)
            for name in ("mix", "direct", "shift", "weights", "bias")
        )
        shaped = mix.reshape(len(direct), forms), weights.reshape(len(bias), features)
        return cls(shaped[0], direct, shift, bool(of_forms), shaped[1], bias)


@dataclass(frozen=True, eq=False)
class Circuit:
    """One or more outputs for every event, each of some affine forms of its readings.

    Parameters
    ----------
    kind : {"linear", "quadratic", "polynomial"}
        "linear": every output is one form. "quadratic": a sum of squares of forms.
        "polynomial": one output, of degree 4 as the layer says.
    rows : tuple of int
        Forms of each output.
    weights : float64 array of shape (n_forms, n_features)
        Finite.
    bias : float64 array of shape (n_forms,)
        Finite.
    layer : Layer, optional
        Of a polynomial, and only of that.
    reach : float, default=64.0
        Largest magnitude of a reading. It is no part of the bytes: circuits are
        balanced before they are sent, and readings of these reach 64.

    Raises
    ------
    ShapeError
        If the parts do not fit each other.
    """

    kind: Kind
    rows: tuple[int, ...]
    weights: Floats
    bias: Floats
    layer: Layer | None = None
    reach: float = MAX_READING

    def __post_init__(self) -> None:
        forms = sum(self.rows)
        if not self.rows or min(self.rows) < 1 or (self.kind == "linear" and max(self.rows) > 1):
            raise ShapeError("every output of a circuit has one form, or if it is not linear some")
        if self.weights.ndim != 2 or self.weights.shape[0] != forms or self.weights.shape[1] < 1:
            raise ShapeError(f"{forms} forms need as many rows of weights, not shape {self.weights.shape}")
        if self.bias.shape != (forms,) or not (np.isfinite(self.weights).all() and np.isfinite(self.bias).all()):
            raise ShapeError("every form of a circuit has finite weights and one finite bias")
        if (self.kind == "polynomial") != (self.layer is not None):
            raise ShapeError("a polynomial has a layer above its forms, and no other circuit has")
        if self.layer is not None:
            rows = forms if self.layer.of_forms else self.features
            if (
                len(self.rows) > 1
                or self.layer.mix.shape != (rows, forms)
                or self.layer.weights.shape[1:] != (self.features,)
            ):
                raise ShapeError("the layer of a polynomial does not fit its forms and readings")

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

    @property
    def size_bytes(self) -> int:
        """Memory of all weights."""
        layer = self.layer
        more = () if layer is None else (layer.mix, layer.direct, layer.shift, layer.weights, layer.bias)
        return sum(part.nbytes for part in (self.weights, self.bias, *more))

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
        if self.layer is not None:
            return self.layer.evaluate(readings, forms)
        starts = np.cumsum((0, *self.rows[:-1]))
        return np.add.reduceat(np.square(forms), starts, axis=1)

    def balanced(self) -> tuple[Circuit, Floats]:
        """Return the circuit for readings that were divided by powers of two, and these, for the least error.

        Encrypting adds the same noise to every reading, rounding the same error to
        every weight. A reading divided by c whose weights are multiplied by it has c
        times the noise and 1/c of the rounding. With readings as large as their
        weights are small, both are equal where a column of weights has the length
        k^(1/4) / sqrt(2), k being the number of forms. Where rounding changes no
        weight, c is as small as that allows. It never takes readings beyond 64.

        Returns
        -------
        Circuit
            For ``readings / divisors`` gives what this one gives for readings.
        float64 array of shape (n_features,)
            The divisors.
        """
        squares, forms, layer = np.square(self.weights).sum(axis=0), max(self.rows), self.layer
        least = math.ceil(math.log2(self.reach / MAX_READING))
        if layer is not None:
            for bits in range(least, 1):
                divisors = np.full(self.features, math.ldexp(1.0, bits))
                if (divided := self._divided(divisors)).is_exact:
                    return divided, divisors
            squares += np.square(layer.weights).sum(axis=0)
            forms += len(layer.bias)
            if not layer.of_forms:
                squares += np.square(layer.direct)
        lengths = np.sqrt(squares)
        wanted = forms**0.25 / np.sqrt(2.0)
        ratio = wanted / np.where(lengths > 0, lengths, wanted)
        divisors = np.exp2(np.clip(np.rint(np.log2(ratio)), least, MOST_DIVISOR_BITS))
        return self._divided(divisors), divisors

    @property
    def is_exact(self) -> bool:
        """Whether rounding changes no weight: so are polynomials whose weights were rounded as they are computed."""
        return (layer := self.layer) is not None and all(
            np.array_equal(part, rounded(part, bits))
            for part, bits in (
                (layer.mix, MIX_BITS),
                (layer.direct, LAYER_BITS),
                (layer.weights, LAYER_BITS),
                (self.weights, LAYER_BITS),
            )
        )

    def _divided(self, divisors: Floats) -> Circuit:
        """Return the circuit for readings that were divided."""
        layer = self.layer
        if layer is not None:
            direct = layer.direct if layer.of_forms else layer.direct * divisors
            layer = replace(layer, direct=direct, weights=layer.weights * divisors)
        return Circuit(self.kind, self.rows, self.weights * divisors, self.bias, layer)

    def to_bytes(self) -> bytes:
        """Return the canonical bytes."""
        return (
            begin("circuit")
            + item("kind", self.kind.encode())
            + item_int("features", self.features)
            + item("rows", np.array(self.rows, dtype="<u4").tobytes())
            + item("weights", self.weights.astype("<f8").tobytes())
            + item("bias", self.bias.astype("<f8").tobytes())
            + (b"" if self.layer is None else self.layer.to_bytes())
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
        fits = len(rows) % 4 == 0 and len(bias) % 8 == 0 and bias and len(weights) == len(bias) * features
        if kind not in get_args(Kind) or not fits:
            raise MessageError("the parts of a circuit do not fit each other")
        try:
            layer = Layer.read(reader, len(bias) // 8, features) if kind == "polynomial" else None
            reader.end()
            return cls(
                kind,  # pyright: ignore[reportArgumentType] - one of them, as was just seen
                tuple(np.frombuffer(rows, dtype="<u4").tolist()),
                np.frombuffer(weights, dtype="<f8").reshape(-1, features).astype(np.float64),
                np.frombuffer(bias, dtype="<f8").astype(np.float64),
                layer,
            )
        except (ShapeError, ValueError):
            raise MessageError("the parts of a circuit do not fit each other") from None


def rounded(weights: Floats, bits: int) -> Floats:
    """Return whole numbers of ``2^-bits``."""
    return np.ldexp(np.rint(np.ldexp(weights, bits)), -bits)
