"""What a request says of a trained model that is to learn new rows, besides the detector's parameters."""

from __future__ import annotations

import dataclasses
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from fedanomaly.errors import RefusedError
from fedanomaly.node.learner import canonical_params
from fedanomaly.protocol import JobRequest

KEY = "refresh"
"""No detector may have a parameter of this name."""


@dataclass(frozen=True, kw_only=True)
class Renewal:
    """Which model learns, and what it keeps.

    Parameters
    ----------
    of : str
        The job request that its present state came from (hex): versions are
        numbers of each node, this is the same at all.
    keep : float
        Share of the old rows that still count, in [0, 1].
    """

    of: str
    keep: float


def params_with(params: Mapping[str, Any], renewal: Renewal) -> str:
    """Return the parameters of a request that refreshes, as canonical JSON."""
    return canonical_params({**params, KEY: dataclasses.asdict(renewal)})


def refreshes(request: JobRequest) -> bool:
    """Whether a request asks for a refresh, well or badly."""
    return KEY in _params(request)


def split(request: JobRequest) -> tuple[JobRequest, Renewal]:
    """Return the request to train the same detector, and what makes it a refresh.

    Raises
    ------
    RefusedError
        If it is of a form that is not known here, or not the canonical one.
    """
    params = _params(request)
    told = params.pop(KEY, None)
    if not isinstance(told, dict) or told.keys() != {"of", "keep"}:
        raise RefusedError("the refresh is of a form that is not known here", hint="upgrade the older side")
    of, keep = told["of"], told["keep"]
    if not isinstance(of, str) or not isinstance(keep, float) or not (math.isfinite(keep) and 0 <= keep <= 1):
        raise RefusedError("the refresh names no model, or keeps no share of its rows")
    renewal = Renewal(of=of, keep=keep)
    if params_with(params, renewal) != request.params:
        raise RefusedError("the parameters of the job are not in their canonical form")
    return dataclasses.replace(request, params=canonical_params(params)), renewal


def _params(request: JobRequest) -> dict[str, Any]:
    try:
        params = json.loads(request.params)
    except (ValueError, RecursionError):
        return {}
    return params if isinstance(params, dict) else {}
