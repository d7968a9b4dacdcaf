"""The engine scales usual rows to the last bit as detectors do, and leaves the others to them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedanomaly.detectors.scaling import Scale
from fedanomaly.errors import ShapeError
from fedanomaly.fhe.readings import Standardiser

ANY = st.floats(allow_nan=True, allow_infinity=True)
NEAR = st.floats(-20.0, 20.0)


def standardiser(scale, divisors):
    return Standardiser(scale.center, scale.width, grid=scale.grid, usual=scale.usual, divisors=divisors)


@settings(deadline=None)
@given(
    data=st.data(),
    features=st.integers(1, 9),
    grid=st.sampled_from([1, 16, 256]),
    order=st.sampled_from(["C", "F"]),
)
def test_usual_rows_become_what_the_detector_makes_of_them(data, features, grid, order):
    one = arrays(np.float64, features, elements=NEAR)
    width = np.abs(data.draw(one)) * data.draw(arrays(np.bool_, features))
    scale = Scale(data.draw(one), width, grid)
    divisors = np.exp2(data.draw(arrays(np.int64, features, elements=st.integers(0, 12))))
    elements = data.draw(st.sampled_from([NEAR, ANY]))
    rows = np.array(
        data.draw(arrays(np.float64, (data.draw(st.integers(1, 40)), features), elements=elements)), order=order
    )
    scaled, far = standardiser(scale, divisors)(rows)
    with np.errstate(all="ignore"):
        # In a column without weight any number is usual; what is none still has to be told from one.
        z = np.where(width > 0, (rows - scale.center) / np.where(width > 0, width, 1.0), (rows - scale.center) / np.inf)
    assert np.array_equal(far, ~(np.abs(z) <= scale.usual).all(axis=1))
    assert np.array_equal(scaled[~far], (scale.readings(rows) / divisors)[~far])


def test_rows_of_another_width_are_refused():
    scale = standardiser(Scale(np.zeros(3), np.ones(3), 256), np.ones(3))
    for shape in ((0, 3), (5, 2), (3,), (1, 1, 3)):
        with pytest.raises(ShapeError):
            scale(np.zeros(shape))
