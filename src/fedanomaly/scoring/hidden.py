"""An encrypted model at a service: its owner encrypts weights and batches, and makes scores of the forms it gets.

A form cannot leave its range, so unlike a batch of squares an answer is never
refused for what was asked. The first that is refused, by the engine or because a
canary does not fit, is a lie, and ends the model's secrets: a service that watches
what is refused learns one thing of them, not one with every batch.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable
from functools import cache
from typing import NoReturn

import numpy as np

from fedanomaly.errors import CapacityError, ConfigError, CryptoError, RangeError, WrongAnswerError
from fedanomaly.fhe.hidden import HiddenShape
from fedanomaly.fhe.model_key import ModelKey, encrypt_model, hidden_shape
from fedanomaly.fhe.scoring import READING_NOISE, READING_SCALE
from fedanomaly.scoring.bounds import DEVIATIONS
from fedanomaly.scoring.canaries import Canaries, drawn
from fedanomaly.scoring.config import MIB
from fedanomaly.scoring.in_process import Exchange
from fedanomaly.scoring.wire import ID_BYTES
from fedanomaly.types import Circuit, Floats

FORM_NORM = 8.0 * (1.0 - 1e-9)
"""What the weights of a form add up to when they are encrypted: as much as fits at the engine's finest scale, 2^26."""


def shape_of(circuit: Circuit) -> HiddenShape:
    """Return the shape that a circuit has when it is hidden.

    Raises
    ------
    ConfigError
        If it is of a kind that cannot be.
    CapacityError
        If it has too many weights.
    """
    if circuit.kind not in ("linear", "quadratic"):
        raise ConfigError(
            f"a model with a {circuit.kind} circuit cannot be hidden: nothing but forms is computed on encrypted "
            "weights",
            hint="score without hiding it, if the service may have the model in the clear, or on this machine",
        )
    return hidden_shape(circuit.features, len(circuit.bias))


class HiddenModel:
    """A circuit that a service computes without learning it. Safe for threads.

    Parameters
    ----------
    circuit : Circuit
        Of affine forms, or sums of their squares.
    service : Exchange
        Gets the encrypted weights, and nothing else of the circuit.
    n_canaries : int
        Events of each batch whose forms are also computed here.

    Raises
    ------
    ConfigError
        If it is a circuit of another kind.
    CapacityError
        If its weights are too large, or the encrypted model is too large for the service.
    """

    def __init__(self, circuit: Circuit, service: Exchange, n_canaries: int) -> None:
        shape_of(circuit)
        self._circuit = circuit
        self._service = service
        self._n_canaries = n_canaries
        norms = np.abs(circuit.weights).sum(axis=1)
        self._factors = FORM_NORM / np.where(norms > 1e-100, norms, FORM_NORM)
        self._model, self._key = encrypt_model(circuit.weights * self._factors[:, None])
        self._ended = False
        self._noise = FormNoise(circuit, self._key, self._factors)
        self._starts = np.cumsum((0, *circuit.rows[:-1]))
        self.upload()

    def upload(self) -> None:
        """Give the service the encrypted model; the same ciphertext again tells it nothing new.

        Raises
        ------
        CapacityError
            If the service takes none, or none so large.
        """
        try:
            self._service.upload(self._model)
        except CapacityError:
            raise CapacityError(
                f"the service does not take this encrypted model of {self.shape.model_bytes / MIB:.1f} MiB",
                hint="max_upload_mib and max_uploads_per_tenant in its scoring.toml say what it takes of a tenant",
            ) from None

    @property
    def shape(self) -> HiddenShape:
        """Sizes of batches and answers."""
        return self._model.shape

    def score(self, readings: Floats) -> tuple[Floats, Floats]:
        """Return the outputs for one batch, and how far each may be from the circuit's.

        Parameters
        ----------
        readings : float64 array of shape (n_events, n_features)
            At most `HiddenShape.events`.

        Returns
        -------
        outputs, errors : float64 arrays of shape (n_events, n_outputs)

        Raises
        ------
        WrongAnswerError
            If the service answers with something else, now or at any time before.
        NotFoundError
            If the service was started anew: `upload` helps.
        """
        local = cache(lambda: self._local(readings))
        forms = self._answered(readings, local)
        errors, some = local()
        if not some.agree(forms):
            self.end()
        forms += self._circuit.bias
        if self._circuit.kind == "linear":
            return forms, errors
        # (y + e)^2 is at most 2 |y| |e| + e^2 away from y^2.
        squares, off = np.square(forms), errors * (2.0 * np.abs(forms) + errors)
        return (np.add.reduceat(squares, self._starts, axis=1), np.add.reduceat(off, self._starts, axis=1))

    def _local(self, readings: Floats) -> tuple[Floats, Canaries]:
        """Return how far each form may be off, and some of them, while the service computes all."""
        errors = self._noise.bounds(readings)
        places = drawn(len(readings), self._n_canaries, self.shape.events // 2)
        return errors, Canaries(places, readings[places] @ self._circuit.weights.T, errors[places])

    def _answered(self, readings: Floats, meanwhile: Callable[[], object]) -> Floats:
        try:
            batch, key = self._key.encrypt(readings)
            try:
                answer = self._service.answer(self._model.digest, batch, os.urandom(ID_BYTES), meanwhile)
                return key.decrypt(answer) / self._factors
            finally:
                key.close()
        except RangeError:
            self.end()
        except CryptoError:
            if self._ended:  # by another thread
                self.end()
            raise

    def close(self) -> None:
        """Forget the secrets of the model."""
        self._key.close()

    def end(self) -> NoReturn:
        """Spend the secrets of the model: the service gave what are not its scores."""
        self._ended = True
        self.close()
        raise WrongAnswerError(
            "the service's scores are not those of this model; the secrets of the encrypted model are spent",
            hint="another scorer encrypts the model again; better with another service",
        ) from None


class FormNoise:
    """How far decrypted forms may be from what the weights give in the clear.

    Parameters
    ----------
    circuit : Circuit
        Whose weights were encrypted.
    key : ModelKey
        That says how finely.
    factors : float64 array of shape (n_forms,)
        By which the weights of each form were multiplied before.

    Notes
    -----
    The noise of a weight is a complex number n in a slot, of deviation v in each
    part. The slot holds x + i x', the readings of an event and of its partner half a
    batch away, so x gets Re(n) x - Im(n) x'. With the noise r of a reading a form is
    off by a normal number of variance ``v^2 (|x|^2 + |x'|^2) + r^2 (|w|^2 + 2 d v^2)``,
    and by the rounding of its weights, at most ``|x|_1 2^-(weight_bits + 1)``; v and
    the latter are divided by the factor of the form.
    """

    def __init__(self, circuit: Circuit, key: ModelKey, factors: Floats) -> None:
        self._half = key.shape.events // 2
        # Encrypted as readings are, at another scale.
        noise = READING_NOISE["linear"]
        self._weight = noise * READING_SCALE / 2.0**key.weight_bits / factors
        lengths = np.square(circuit.weights).sum(axis=1) + 2.0 * circuit.features * self._weight**2
        self._readings = noise**2 * lengths
        self._rounding = math.ldexp(1.0, -key.weight_bits - 1) / factors

    def bounds(self, readings: Floats) -> Floats:
        """Return a bound for every form, from all readings of a batch in their places.

        Returns
        -------
        float64 array of shape (n_events, n_forms)
        """
        own = np.zeros(2 * self._half)
        own[: len(readings)] = np.square(readings).sum(axis=1)
        both = (own + np.roll(own, self._half))[: len(readings), None]
        deviation = np.sqrt(self._weight**2 * both + self._readings)
        return DEVIATIONS * deviation + self._rounding * np.abs(readings).sum(axis=1)[:, None]
