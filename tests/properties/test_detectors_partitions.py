"""However rows are dealt out to members, the sums give what all rows together give."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from fedanomaly.detectors import from_params, registry
from fedanomaly.detectors.contract import federated, marks, same_as_whole

READINGS = st.one_of(
    st.just(0.0),
    st.integers(-3, 3).map(float),
    st.floats(-1e3, 1e3, allow_subnormal=True),
    st.floats(allow_nan=True, allow_infinity=False, width=64),
)


FEW_TREES = {"n_trees": 4}
LIGHT = {
    "random_trees": FEW_TREES,
    "gradient_boosting": FEW_TREES,
    "ensemble": {"detectors": ["gaussian_mixture", "robust_mahalanobis", {"detector": "random_trees", **FEW_TREES}]},
}
"""More trees are more of the same; the contract has them all."""


@st.composite
def dealt(draw):
    """Return the rows of one to five members, some with none."""
    n, d = draw(st.integers(1, 25)), draw(st.integers(1, 4))
    rows = draw(arrays(np.float64, (n, d), elements=READINGS))
    member = draw(arrays(np.int64, n, elements=st.integers(0, draw(st.integers(0, 4)))))
    return [rows[member == at] for at in range(int(member.max()) + 1)]


def can_learn(detector, parts):
    """Whether the labels hold both classes, where there are any: of one class alone nothing can be learnt."""
    return not detector.learns_from_labels or len(set(marks(np.concatenate(parts)).tolist())) == 2


@pytest.mark.parametrize("name", registry())
@settings(max_examples=40, deadline=None)
@given(parts=dealt())
def test_any_partition_equals_the_whole_bit_for_bit(name, parts):
    detector = from_params(name, {"contamination": 0.2, **LIGHT.get(name, {})})
    assume(can_learn(detector, parts))
    same_as_whole(detector, parts)


@pytest.mark.parametrize("name", registry())
@settings(max_examples=25, deadline=None)
@given(parts=dealt())
def test_scores_of_any_rows_are_finite_and_explained(name, parts):
    detector = from_params(name, LIGHT.get(name, {}))
    assume(can_learn(detector, parts))
    detector = federated(detector, parts)
    rows = np.concatenate(parts)
    scores = detector.anomaly_scores(rows)
    assert np.isfinite(scores).all()
    assert (scores >= 0).all()
    assert np.allclose(detector.explain(rows).sum(axis=1), scores, rtol=1e-9, atol=1e-9)
