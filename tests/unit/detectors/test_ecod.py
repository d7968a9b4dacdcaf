import numpy as np
import pytest

from fedanomaly.detectors import ECOD, from_params
from fedanomaly.detectors.marginals import Histograms
from fedanomaly.errors import ConfigError


def test_without_reach_tails_are_the_shares_of_rows_as_far_out():
    # Whole readings, each in a cell of its own: -5 .. 5, as often as the binomial law says.
    counts = [1, 10, 45, 120, 210, 252, 210, 120, 45, 10, 1]
    rows = np.repeat(np.arange(-5.0, 6.0), counts)[:, None]

    scores = ECOD(reach=0.0).fit(rows).anomaly_scores(np.arange(-5.0, 6.0)[:, None])

    tail = np.cumsum(counts) / 1024
    np.testing.assert_allclose(scores, -np.log(np.minimum(tail, tail[::-1])), atol=1e-9)


def test_reach_counts_rows_that_are_nearly_as_far_out():
    histograms = Histograms(np.arange(-2.5, 3.0), np.array([[1.0, 2.0, 10.0, 2.0, 1.0]]))

    left, right = histograms.tails(reach=1.0)

    np.testing.assert_allclose(np.exp(-right[0]) * 16, [16, 16, 15, 13, 3])
    np.testing.assert_allclose(left[0], right[0, ::-1])


def test_a_tail_without_rows_is_as_rare_as_one_row():
    rows = np.random.default_rng(0).normal(size=(1000, 1))
    assert ECOD(reach=0.0).fit(rows).anomaly_scores([[1e9]]) == pytest.approx(np.log(1000))


def test_rows_high_in_one_feature_and_low_in_another_are_found():
    rows = np.random.default_rng(1).normal(size=(2000, 2))
    detector = ECOD().fit(rows)
    scores = detector.anomaly_scores([[3.0, 3.0], [3.0, -3.0], [-3.0, -3.0]])
    np.testing.assert_allclose(scores, scores[0], rtol=0.15)
    assert detector.predict([[3.0, -3.0]]) == [-1]


@pytest.mark.parametrize("name", ["ecod", "copod"])
@pytest.mark.parametrize("reach", [-0.1, 17, None])
def test_a_reach_out_of_bounds_is_refused(name, reach):
    with pytest.raises(ConfigError, match="reach"):
        from_params(name, {"reach": reach})
