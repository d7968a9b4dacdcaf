"""A bar for work that takes long, where somebody looks on."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

LONG = 64
"""Batches: some seconds over a network."""


@contextmanager
def shown(
    progress: bool | Callable[[int], None] | None, events: int | None, batches: int
) -> Iterator[Callable[[int], None]]:
    """Give what is to be called with the number of events that are done.

    Parameters
    ----------
    progress : bool or callable, optional
        Whether to show a bar on the error stream; by default, if that is a
        terminal and there are at least `LONG` batches. A callable is given back.
    events : int or None
        How many there are; None: that is not known.
    batches : int
        How many they fill.
    """
    if callable(progress):
        yield progress
        return
    if progress is False or (progress is None and not (batches >= LONG and sys.stderr.isatty())):
        yield lambda _events: None
        return
    from rich.console import Console  # noqa: PLC0415 - for terminals
    from rich.progress import Progress  # noqa: PLC0415

    with Progress(console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("encrypted scoring", total=events)
        yield lambda done: bar.advance(task, done)
