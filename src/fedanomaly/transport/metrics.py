"""Prometheus metrics of one service: each is declared once, with name, unit and meaning.

Labels take few values, all of them ours (routes, codes, states): nobody outside
can make a series, and none is about one member.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
    generate_latest,
)

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
KINDS: dict[str, type[Counter | Gauge | Histogram]] = {"counter": Counter, "gauge": Gauge, "histogram": Histogram}


@dataclass(frozen=True, kw_only=True)
class Declared:
    """One metric.

    Parameters
    ----------
    name : str
        Its name; that of a counter ends in ``_total``.
    kind : {"counter", "gauge", "histogram"}
        How it moves.
    unit : str
        Of its values.
    meaning : str
        What it says.
    labels : tuple of str
        Names of its labels.
    buckets : tuple of float
        Upper bounds of a histogram.
    """

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    unit: str
    meaning: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()


class Instruments:
    """The declared metrics of one service, in a registry of its own; safe to share between threads.

    Parameters
    ----------
    declared : sequence of Declared
        All of them; no other name can be counted.
    """

    def __init__(self, declared: Sequence[Declared]) -> None:
        disable_created_metrics()
        self.registry = CollectorRegistry()
        self._metrics: dict[str, Any] = {}
        for each in declared:
            more: dict[str, Any] = {"buckets": each.buckets} if each.kind == "histogram" else {}
            self._metrics[each.name] = KINDS[each.kind](
                each.name, each.meaning, each.labels, registry=self.registry, **more
            )
        ProcessCollector(registry=self.registry)

    def count(self, name: str, **labels: str) -> None:
        """Add one to a counter."""
        self._of(name, labels).inc()

    def add(self, name: str, amount: float, **labels: str) -> None:
        """Add to a counter."""
        self._of(name, labels).inc(amount)

    def set(self, name: str, value: float, **labels: str) -> None:
        """Set a gauge."""
        self._of(name, labels).set(value)

    def observe(self, name: str, value: float, **labels: str) -> None:
        """Add a value to a histogram."""
        self._of(name, labels).observe(value)

    def ask(self, name: str, value: Callable[[], float], **labels: str) -> None:
        """Let a gauge be asked for whenever the metrics are read."""
        self._of(name, labels).set_function(value)

    def text(self) -> bytes:
        """Return all metrics in Prometheus' text format."""
        return generate_latest(self.registry)

    def _of(self, name: str, labels: dict[str, str]) -> Any:  # noqa: ANN401 - three kinds of metrics
        metric = self._metrics[name]
        return metric.labels(**labels) if labels else metric
