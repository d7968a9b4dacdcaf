import numpy as np

from fedanomaly.detectors import COPOD, ECOD


def test_the_long_tail_counts_in_full_and_the_short_one_by_half():
    rows = np.random.default_rng(0).exponential(size=(4000, 1))
    rare = [[9.0], [-3.0]]

    copod = COPOD(reach=0.0)
    long, short = copod.fit(rows).anomaly_scores(rare) / ECOD(reach=0.0).fit(rows).anomaly_scores(rare)

    assert long == 1
    assert short == 0.5
    mirrored = COPOD(reach=0.0).fit(-rows).anomaly_scores(-np.array(rare))
    np.testing.assert_allclose(mirrored, copod.anomaly_scores(rare))


def test_a_column_without_skewness_counts_both_tails():
    # As many rows at -2 as at 2, so that no tail is longer, to the last row.
    rows = np.repeat([-2.0, -1.0, 0.0, 1.0, 2.0], [1, 10, 30, 10, 1])[:, None]
    low, high = COPOD(reach=0.0).fit(rows).anomaly_scores([[-2.0], [2.0]])
    assert low == high
    np.testing.assert_allclose(high, np.log(52), atol=1e-9)


def test_one_row_too_many_decides_the_tail():
    rows = np.repeat([-2.0, -1.0, 0.0, 1.0, 2.0], [1, 10, 30, 10, 2])[:, None]
    low, high = COPOD(reach=0.0).fit(rows).anomaly_scores([[-2.0], [2.0]])
    np.testing.assert_allclose(high, np.log(53 / 2), atol=1e-9)
    np.testing.assert_allclose(low, np.log(53) / 2, atol=1e-9)


def test_skewness_is_about_the_mean_not_the_median():
    # The mean lies far below the median, 0; about it the few readings of 3 are the long tail.
    rows = np.repeat([-2.0, -1.0, 0.0, 3.0], [40, 5, 52, 3])[:, None]
    low, high = COPOD(reach=0.0).fit(rows).anomaly_scores([[-2.0], [3.0]])
    np.testing.assert_allclose(high, np.log(100 / 3), atol=1e-9)
    np.testing.assert_allclose(low, np.log(100 / 40) / 2, atol=1e-9)
