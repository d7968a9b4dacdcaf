"""Fitted detectors in files: opened integers and JSON, never a pickle."""

from __future__ import annotations

import json
import os
import zlib
from pathlib import Path
from typing import TYPE_CHECKING

from fedanomaly.detectors.registry import from_params
from fedanomaly.errors import DataError, MessageError, VersionError
from fedanomaly.types import Reader, State, item, item_int
from fedanomaly.types.canonical import begin

if TYPE_CHECKING:
    from fedanomaly.detectors.base import Detector

FORMAT = 1
MOST_BYTES = 1 << 30
"""A state is no larger; a small file must not fill the memory."""


def save(detector: Detector, path: str | os.PathLike[str]) -> None:
    """Write a fitted detector to a file, all of it or nothing.

    Parameters
    ----------
    detector : Detector
        Fitted.
    path : path
        What is there is replaced.

    Raises
    ------
    DataError
        If the detector is not fitted, or the file cannot be written.
    """
    state = getattr(detector, "state_", None)
    if state is None:
        raise DataError("the detector is not fitted", hint="call fit, or train it with the federation")
    names = getattr(detector, "feature_names_in_", None)
    told = json.dumps({"feature_names": None if names is None else list(names)}, separators=(",", ":"))
    data = begin("detector") + item_int("format", FORMAT) + item("told", told.encode())
    data += item("state", zlib.compress(state.to_bytes()))
    target = Path(path)
    new = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        new.write_bytes(data)
        new.replace(target)
    except OSError as error:
        new.unlink(missing_ok=True)
        raise DataError(f"{target.name} cannot be written: {error.strerror}") from None


def load(path: str | os.PathLike[str]) -> Detector:
    """Return the fitted detector that `Detector.save` wrote.

    Parameters
    ----------
    path : path
        Nothing in the file is run; a damaged one is refused.

    Raises
    ------
    DataError
        If there is no such file, or it holds no detector.
    VersionError
        If it was written by a newer version, or its detector has another one here.
    NotFoundError
        If no detector of that name is installed.

    Examples
    --------
    >>> import numpy as np, pathlib, tempfile
    >>> from fedanomaly.detectors import Loda, load
    >>> X = np.random.default_rng(0).normal(size=(200, 3))
    >>> file = pathlib.Path(tempfile.mkdtemp()) / "payments.detector"
    >>> detector = Loda().fit(X)
    >>> detector.save(file)
    >>> bool((load(file).anomaly_scores(X) == detector.anomaly_scores(X)).all())
    True
    """
    source = Path(path)
    try:
        reader = Reader(source.read_bytes())
    except OSError as error:
        raise DataError(f"{source.name} cannot be read: {error.strerror}") from None
    try:
        if reader.item("version") + reader.item("label") != b"fedanomaly/1detector":
            raise DataError(f"{source.name} holds no detector", hint="write one with Detector.save")
        if reader.int("format") != FORMAT:
            raise VersionError(f"{source.name} was written by another version", hint="upgrade fedanomaly")
        names = json.loads(reader.item("told"))["feature_names"]
        packed = reader.item("state")
        reader.end()
        state = State.from_bytes(_unpacked(packed))
    except (MessageError, zlib.error, ValueError, KeyError, TypeError):
        raise DataError(f"{source.name} holds no detector", hint="the file is damaged, or something else") from None
    return from_params(state.detector, state.params).with_state(state, names)


def _unpacked(packed: bytes) -> bytes:
    machine = zlib.decompressobj()
    data = machine.decompress(packed, MOST_BYTES)
    if not machine.eof or machine.unused_data:
        raise MessageError("the state is cut off, or too large")
    return data
