"""Detectors by name: the files of this package, and what other packages declare.

Another package declares its detectors as entry points of the group
``fedanomaly.detectors``. They are run inside a node only where its policy names
them.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Mapping
from functools import lru_cache
from importlib.metadata import entry_points
from typing import Any

from sklearn.utils._param_validation import InvalidParameterError

import fedanomaly.detectors as package
from fedanomaly.detectors.base import Detector
from fedanomaly.errors import ConfigError, NotFoundError

GROUP = "fedanomaly.detectors"


@lru_cache(maxsize=1)
def registry() -> dict[str, type[Detector]]:
    """Return every detector of this package by its name, sorted."""
    found: dict[str, type[Detector]] = {}
    for module in pkgutil.iter_modules(package.__path__, f"{package.__name__}."):
        for _, kind in inspect.getmembers(importlib.import_module(module.name), inspect.isclass):
            if issubclass(kind, Detector) and not inspect.isabstract(kind):
                found[kind.name] = kind
    return dict(sorted(found.items()))


def third_party() -> dict[str, type[Detector]]:
    """Return the detectors that other installed packages declare, by name, sorted.

    Raises
    ------
    ConfigError
        If one cannot be loaded, is no detector, or has a name that is taken.
    """
    found: dict[str, type[Detector]] = {}
    for point in entry_points(group=GROUP):
        try:
            kind = point.load()
        except Exception as error:  # noqa: BLE001 - whatever somebody else's module raises
            raise ConfigError(f"the detector {point.value} cannot be loaded: {type(error).__name__}") from None
        if not (inspect.isclass(kind) and issubclass(kind, Detector) and not inspect.isabstract(kind)):
            raise ConfigError(f"{point.value} is no detector", hint="it must be a subclass of Detector")
        if kind.name != point.name:
            raise ConfigError(f"{point.value} is called {kind.name!r}, but declared as {point.name!r}")
        if kind.name in registry() or kind.name in found:
            raise ConfigError(f"two detectors are called {kind.name!r}", hint="remove one of the packages")
        found[kind.name] = kind
    return dict(sorted(found.items()))


def installed() -> dict[str, type[Detector]]:
    """Return all detectors by name: those of this package first, then those of others."""
    return registry() | third_party()


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
    kind = registry().get(name) or third_party().get(name)
    if kind is None:
        raise NotFoundError(f"no detector is called {name!r}", hint=f"there are {', '.join(installed())}")
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
