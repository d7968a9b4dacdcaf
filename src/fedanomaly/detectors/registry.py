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


def declared() -> tuple[str, ...]:
    """Return the names of detectors that other installed packages declare, sorted; none of their code runs."""
    return tuple(sorted({point.name for point in entry_points(group=GROUP)} - registry().keys()))


def third_party() -> dict[str, type[Detector]]:
    """Return the detectors that other installed packages declare, by name, sorted.

    Raises
    ------
    ConfigError
        If one cannot be loaded, is no detector, or has a name that is taken.
    """
    return {name: _declared_as(name) for name in sorted({point.name for point in entry_points(group=GROUP)})}


def _declared_as(name: str) -> type[Detector]:
    """Load the one detector that is declared under a name, and nothing else."""
    points = [point for point in entry_points(group=GROUP) if point.name == name]
    if len(points) > 1 or name in registry():
        raise ConfigError(f"two detectors are called {name!r}", hint="remove one of the packages")
    (point,) = points
    try:
        kind = point.load()
    except Exception as error:  # noqa: BLE001 - whatever somebody else's module raises
        raise ConfigError(f"the detector {point.value} cannot be loaded: {type(error).__name__}") from None
    if not (inspect.isclass(kind) and issubclass(kind, Detector) and not inspect.isabstract(kind)):
        raise ConfigError(f"{point.value} is no detector", hint="it must be a subclass of Detector")
    if kind.name != name:
        raise ConfigError(f"{point.value} is called {kind.name!r}, but declared as {name!r}")
    return kind


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
    if name not in registry() and name not in declared():
        raise NotFoundError(
            f"no detector is called {name!r}", hint=f"there are {', '.join([*registry(), *declared()])}"
        )
    kind = registry().get(name) or _declared_as(name)
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
