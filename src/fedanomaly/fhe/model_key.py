"""The owner's side of an encrypted model: weights and batches are encrypted here, and only here answers are read.

A batch has a secret of its own, as for a model in the clear. The weights have some
that live as long as the encrypted model is used. So what a service could learn of
them adds up, and the first answer that no honest service gives ends them.
"""

from __future__ import annotations

from typing import NoReturn

import numpy as np

from fedanomaly.errors import CapacityError, ConfigError, CryptoError, DataError, ShapeError
from fedanomaly.fhe._engine import call, ffi
from fedanomaly.fhe.hidden import EncryptedModel, HiddenShape
from fedanomaly.fhe.scoring import WORD_BYTES
from fedanomaly.fhe.tenant import Encryptor
from fedanomaly.types import Floats


class ModelKey(Encryptor[HiddenShape]):
    """The secrets of one encrypted model. Only `encrypt_model` makes one.

    It encrypts batches for the model, and their keys decrypt forms without biases,
    one column each. An answer out of range (`RangeError`) closes it: forms of
    readings that it encrypted are in range, whatever they are.

    Parameters
    ----------
    shape : HiddenShape
        Of the model.
    handle : int
        Of the engine.
    weight_bits : int
        A weight of 1 was encrypted as 2^weight_bits.
    """

    encrypting, decrypting = "fa_model_key_encrypt", "fa_model_key_decrypt"

    def __init__(self, shape: HiddenShape, handle: int, weight_bits: int) -> None:
        super().__init__(shape, handle)
        self.weight_bits = weight_bits

    def close(self) -> None:
        """Forget the secrets; repeating it does no harm."""
        self._finalizer()

    def __reduce__(self) -> NoReturn:
        raise CryptoError("the key of an encrypted model is neither copied nor stored")

    def __repr__(self) -> str:
        return f"<ModelKey, {self.shape.features} features, {self.shape.forms} forms>"


def hidden_shape(features: int, forms: int) -> HiddenShape:
    """Return the shape of an encrypted model.

    Raises
    ------
    CapacityError
        If there are too many weights.
    """
    shape = HiddenShape(features, forms)
    try:
        _ = shape.model_bytes
    except ConfigError:
        raise CapacityError(
            f"a model of {forms} forms of {features} weights is too large to be encrypted",
            hint="a detector with fewer components, or on fewer columns, has fewer",
        ) from None
    return shape


def encrypt_model(weights: Floats) -> tuple[EncryptedModel, ModelKey]:
    """Encrypt the weights of affine forms under fresh secrets.

    Parameters
    ----------
    weights : float64 array of shape (n_forms, n_features)
        Finite. Biases are added by the owner, after decrypting.

    Returns
    -------
    EncryptedModel
        For the service.
    ModelKey
        For everything else.

    Raises
    ------
    ShapeError
        If there are no weights, or not in rows.
    DataError
        If a weight is NaN or infinite.
    CapacityError
        If there are too many weights, or those of a form are too large to be computed with.
    """
    if weights.ndim != 2 or 0 in weights.shape:
        raise ShapeError(f"weights have a row for each form and a column for each feature, not shape {weights.shape}")
    rows = np.ascontiguousarray(weights, dtype=np.float64)
    forms, features = rows.shape
    shape = hidden_shape(features, forms)
    size = shape.model_bytes
    words, seed, out = bytearray(size), bytearray(32), ffi.new("int64_t[2]")
    try:
        call(
            "fa_model_key_new",
            features,
            forms,
            ffi.from_buffer("double[]", rows.data),
            ffi.from_buffer("uint32_t[]", words),
            size // WORD_BYTES,
            ffi.from_buffer("uint8_t[]", seed),
            out,
        )
    except DataError:
        raise DataError("a weight is NaN or infinite") from None
    except CapacityError:
        raise CapacityError(
            "the weights of this model are too large to be computed with when encrypted",
            hint="columns that nearly repeat each other make them so: leave one out, or use a larger ridge",
        ) from None
    return EncryptedModel(shape, bytes(seed), bytes(words)), ModelKey(shape, int(out[0]), int(out[1]))
