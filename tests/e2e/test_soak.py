"""The rule of `make soak`: what it calls growth."""

from __future__ import annotations

import pytest

from tests.e2e.soak import GROWTH_MIB, growth_mib


def test_a_peak_and_noise_are_no_growth():
    readings = [100.0 + at % 7 for at in range(300)]
    readings[150] = 900.0
    assert growth_mib(readings) < 1.0


@pytest.mark.parametrize("length", [10, 60, 360])
def test_a_leak_is_growth(length):
    assert growth_mib([100.0 + 2 * GROWTH_MIB * at / length for at in range(length)]) > GROWTH_MIB
