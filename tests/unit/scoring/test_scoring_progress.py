"""A bar is shown where somebody looks on and the work is long, or where it is asked for."""

from __future__ import annotations

import io
import sys

import numpy as np
import pytest

from fedanomaly.scoring import EncryptedScorer, InProcess
from fedanomaly.scoring.progress import LONG, shown
from tests.unit.scoring.test_stream import DETECTOR, ROWS


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.mark.parametrize(
    ("screen", "progress", "batches", "drawn"),
    [
        (Terminal, None, LONG, True),
        (Terminal, None, LONG - 1, False),
        (Terminal, False, LONG, False),
        (Terminal, True, 1, True),
        (io.StringIO, None, LONG, False),
    ],
)
def test_a_bar_is_for_terminals_and_long_work(monkeypatch, screen, progress, batches, drawn):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", screen())
    with shown(progress, 100, batches) as advance:
        advance(50)
    assert ("encrypted scoring" in sys.stderr.getvalue()) == drawn


def test_the_rows_of_a_call_advance_the_bar(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(sys, "stderr", Terminal())
    EncryptedScorer(DETECTOR, InProcess()).score(np.concatenate([ROWS] * 3), progress=True)
    assert "100%" in sys.stderr.getvalue()
