"""Other parameters for a trained detector, where its opened sums serve them as well."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sklearn.utils._param_validation import InvalidParameterError

from fedanomaly.detectors.base import Detector
from fedanomaly.detectors.fading import without
from fedanomaly.detectors.learning import learnt
from fedanomaly.errors import ConfigError
from fedanomaly.types import Floats, State


def resettled(detector: Detector, rows: Floats, params: Mapping[str, Any]) -> Detector:
    """Return a fitted copy of a detector with other parameters; the threshold is that of `rows`.

    Parameters
    ----------
    detector : Detector
        Fitted.
    rows : float64 array of shape (n_samples, n_features)
        What the threshold is taken from.
    params : mapping
        New values of free parameters.

    Raises
    ------
    ConfigError
        If a parameter is not free, a value is not allowed, or there is no row.
    """
    if not len(rows):
        raise ConfigError("a threshold needs rows")
    bound = sorted(set(params) - detector.free)
    if bound:
        free = ", ".join(sorted(detector.free))
        raise ConfigError(
            f"{bound[0]} of {detector.name} says what is summed: another value takes a training",
            hint=f"without one, {free} may change",
        )
    made = type(detector)(**{**detector.get_params(deep=False), **params})
    try:
        made.initial_state(1)
    except InvalidParameterError as error:
        raise ConfigError(f"{detector.name}: {error}") from None
    old = without(detector.state_, ["score/threshold"])
    state = State(old.detector, old.version, made.params(), old.arrays)
    return made.with_state(learnt(made, rows, state=state), getattr(detector, "feature_names_in_", None))
