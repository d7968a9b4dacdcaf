"""Detectors by name, found by looking at the files of this package."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from sklearn.utils._param_validation import InvalidParameterError

import fedanomaly.detectors as package
from fedanomaly.detectors.base import Detector
from fedanomaly.errors import ConfigError, NotFoundError


@lru_cache(maxsize=1)
def registry() -> dict[str, type[Detector]]:
    """Return every detector of this package by its name, sorted."""
    found: dict[str, type[Detector]] = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(kind, Detector) and not inspect.isabstract(kind):
                found[kind.name] = kind
    return dict(sorted(found.items()))


def from_params(name: str, params: Mapping[str, Any] | None = None) -> Detector:
    """Return an untrained detector.

    Parameters
    ----------
    name : str
        Registered name, such as ``"loda"``.
    params : mapping of str to JSON value, optional
        What `Detector.params` returned; what is left out has its default.

    Raises
    ------
    NotFoundError
        If no detector has that name.
    ConfigError
        If a parameter is unknown or not allowed.
    """
    if name not in registry():
        raise NotFoundError(f"no detector is called {name!r}", hint=f"there are {', '.join(registry())}")
    kind = registry()[name]
    known = sorted(kind().get_params(deep=False))
    unknown = sorted(set(params or {}) - set(known))
    if unknown:
        raise ConfigError(f"{name} has no parameter {unknown[0]!r}", hint=f"it has {', '.join(known)}")
    try:
        detector = kind(**(params or {}))
        detector.initial_state(1)
    except (TypeError, InvalidParameterError) as error:
        raise ConfigError(f"{name}: {error}") from None
    return detector
