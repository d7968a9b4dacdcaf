import numpy as np
import pandas as pd
import pytest

from fedanomaly.detectors import ECOD, HBOS, Ensemble, Loda
from fedanomaly.detectors.reasons import sentences
from fedanomaly.errors import ConfigError, ShapeError
from fedanomaly.types import State

NAMES = ["amount", "shop=jewels", "shop=food", "time:hour_sin", "time:hour_cos", "customer:count:1h"]
NIGHT = 3.2 / 24 * 2 * np.pi


@pytest.fixture(scope="module")
def rows():
    rng = np.random.default_rng(0)
    hour = rng.normal(14, 2, 10_000) / 24 * 2 * np.pi
    shop = rng.permutation(10_000)
    out = np.stack(
        [rng.normal(61, 5, 10_000), shop < 30, shop >= 1000, np.sin(hour), np.cos(hour), rng.poisson(1.0, 10_000)],
        axis=1,
    )
    out[:100, 0] = np.nan
    return out


@pytest.fixture(scope="module")
def detector(rows):
    return ECOD().fit(rows)


def odd(**readings):
    """Return one usual row with some readings of its own."""
    usual = dict(zip(NAMES, [61.0, 0.0, 1.0, np.sin(3.7), np.cos(3.7), 1.0], strict=True))
    return np.array([list({**usual, **readings}.values())])


def told(state, row, *features, names=NAMES):
    """Return the sentences on some features, as if only they had shares."""
    shares = np.zeros(row.shape)
    shares[0, [names.index(feature) for feature in features]] = np.arange(len(features), 0, -1)
    return sentences(state, row, shares, names)[0]


def test_a_reading_is_told_in_its_unit_beside_the_median_and_its_percentile(detector):
    state = detector.state_
    center, width = 61, 5
    (high,) = told(state, odd(amount=center + 2.9 * width), "amount")
    (low,) = told(state, odd(amount=center - 2.9 * width), "amount")
    assert high.startswith("amount 75.5 is 2.9 robust deviations above the median of 61")
    assert high.split()[-2] == "percentile"
    assert 99.5 <= float(high.split()[-1]) < 100
    assert low.startswith("amount 46.5 is 2.9 robust deviations below the median of 61")
    assert 0 < float(low.split()[-1]) <= 0.5


def test_a_reading_beyond_all_rows_has_no_percentile(detector):
    (said,) = told(detector.state_, odd(amount=940.0), "amount")
    assert said.startswith("amount 940 is 17")
    assert said.endswith(", beyond all rows of the training")
    (said,) = told(detector.state_, odd(amount=1e300), "amount")
    assert said.startswith("amount 1e+300 is over 1000 robust deviations above the median of 61")


def test_rows_with_the_same_reading_count_by_half_in_a_percentile():
    rows = np.repeat([0.0, 1.0, 2.0, 4.0, 5.0], [260, 400, 300, 30, 10])[:, None]
    state = ECOD().fit(rows).state_
    ends = [told(state, np.array([[reading]]), "x", names=["x"])[0].split(", ")[-1] for reading in (4.0, 5.0, 6.0)]
    assert ends == ["percentile 97.5", "percentile 99.5", "beyond all rows of the training"]


def test_levels_are_told_with_the_share_of_rows_that_have_them(detector):
    row = odd(**{"shop=jewels": 1.0, "shop=food": 0.0})
    assert told(detector.state_, row, "shop=jewels", "shop=food") == [
        "shop=jewels holds, as in 0.3 % of all rows",
        "shop=food does not hold, as in 10 % of all rows",
    ]
    assert told(detector.state_, odd(), "shop=food") == ["shop=food holds, unusual beside the rest of the row"]


def test_of_a_level_that_many_rows_have_no_share_is_told():
    state = ECOD().fit(np.repeat([0.0, 1.0], [600, 400])[:, None]).state_
    assert told(state, np.ones((1, 1)), "kind#7", names=["kind#7"]) == [
        "kind#7 holds, as in less than half of all rows"
    ]


def test_an_hour_is_one_sentence(detector):
    row = odd(**{"time:hour_sin": np.sin(NIGHT), "time:hour_cos": np.cos(NIGHT)})
    assert told(detector.state_, row, "time:hour_sin", "time:hour_cos") == ["time is at 03:12, an unusual hour"]


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("card:count:1h", "700 events of one card within 1h (card:count:1h) are "),
        ("card+shop@7d:sum:7d", "a sum of 700 over one card+shop@7d within 7d (card+shop@7d:sum:7d) is "),
        ("card:mean:7d", "a mean of 700 over one card within 7d (card:mean:7d) is "),
        ("card:max:7d", "a maximum of 700 over one card within 7d (card:max:7d) is "),
        ("card:ratio:7d", "700 times the mean of one card within 7d (card:ratio:7d) is "),
        ("card:since_last:7d", "700 s since the last event of one card (card:since_last:7d) are "),
        ("card:distinct:shop:1d", "700 different values of shop for one card within 1d (card:distinct:shop:1d) are "),
        ("shop:surprise", "a surprise of 700 at the level of shop (shop:surprise) is "),
        ("odd:count", "odd:count 700 is "),
        ("two\nlines {value}", "two\nlines {value} 700 is "),
    ],
)
def test_kinds_of_features_have_words_of_their_own(name, subject):
    state = ECOD().fit(np.arange(9.0)[:, None]).state_
    (said,) = told(state, np.array([[700.0]]), name, names=[name])
    assert said == f"{subject}234.7 robust deviations above the median of 4, beyond all rows of the training"


def test_logarithms_are_told_as_readings():
    rows = np.log1p(np.random.default_rng(5).lognormal(4, 1, size=(2001, 1)))
    state = HBOS().fit(rows).state_
    far = np.log1p([[50_000.0]])
    (said,) = sentences(state, far, np.ones((1, 1)), ["amount"], logged={"amount"})[0]
    median = np.expm1(np.median(rows))
    assert said.startswith("amount 50000 is 7.1 ")
    assert f"above the median of {median:.2g}" in said
    (said,) = sentences(state, -far, np.ones((1, 1)), ["amount"], logged={"amount"})[0]
    assert said.startswith("amount -50000 is ")


@pytest.mark.parametrize(("day", "said"), [(0, "Monday"), (5, "Saturday"), (6, "Sunday")])
def test_a_weekday_is_told_by_its_name(day, said):
    angle = np.arange(70) % 7 / 7 * 2 * np.pi
    names = ["time:weekday_sin", "time:weekday_cos"]
    state = HBOS().fit(np.stack([np.sin(angle), np.cos(angle)], axis=1)).state_
    row = np.array([[np.sin(day / 7 * 2 * np.pi), np.cos(day / 7 * 2 * np.pi)]])
    assert told(state, row, names[1], names=names) == [f"time is on a {said}, an unusual weekday"]


def test_a_missing_reading_is_told_with_how_many_are(detector):
    row = odd(**{"amount": np.nan, "time:hour_sin": np.nan, "time:hour_cos": np.nan})
    assert told(detector.state_, row, "amount", "time:hour_sin", "time:hour_cos") == [
        "amount is missing, as in 1 % of all rows",
        "time is missing, as in none of all rows",
    ]


def test_half_an_hour_is_told_as_a_number(detector):
    row = odd(**{"time:hour_sin": np.nan})
    (said,) = told(detector.state_, row, "time:hour_cos")
    assert said.startswith("time:hour_cos ")
    assert "hour," not in said


def test_a_reading_in_a_gap_is_told_to_be_rare():
    rng = np.random.default_rng(1)
    rows = np.where(rng.random(2000) < 0.5, -4, 4)[:, None] + rng.normal(size=(2000, 1)) * 0.2
    (said,) = HBOS().fit(rows).reasons([[0.0]], ["gap"])[0]
    assert said.startswith("gap 0 is near the median of ")
    assert said.endswith(", where few rows lie")


def test_a_reading_that_is_usual_by_itself_is_told_to_be_unusual_beside_others(detector, rows):
    assert told(detector.state_, odd(amount=62.0), "amount")[0].endswith("but unusual beside the rest of the row")
    loda = Loda(n_projections=5).fit(rows).state_
    assert told(loda, odd(amount=62.0), "amount")[0].endswith("but unusual beside the rest of the row")


def test_a_column_that_never_varied_has_no_deviation_in_number():
    state = Loda(n_projections=5).fit(np.full((20, 1), 4.0)).state_
    (said,) = told(state, np.array([[5.0]]), "x", names=["x"])
    assert said == "x 5 is over 1000 robust deviations above the median of 4"
    assert told(state, np.array([[4.0]]), "x", names=["x"])[0].startswith("x 4 is near the median of 4")


def test_the_largest_shares_come_first_and_small_and_negative_ones_not_at_all(detector):
    shares = np.array([[5.0, 1.0, -9.0, 0.0, 0.8, 9.0]])
    said = sentences(detector.state_, odd(), shares, NAMES)[0]
    assert [name for one in said for name in NAMES if name in one] == ["customer:count:1h", "amount", "shop=jewels"]
    assert sentences(detector.state_, odd(), shares, NAMES, most=1) == [said[:1]]
    assert sentences(detector.state_, odd(), shares, NAMES, most=9) == [said]
    assert sentences(detector.state_, odd(), -np.abs(shares), NAMES) == [[]]


def test_an_ensemble_tells_percentiles_of_the_detectors_that_have_them(rows):
    detector = Ensemble(detectors=[{"detector": "loda", "n_projections": 5}, "ecod"]).fit(rows)
    assert "percentile 9" in told(detector.state_, odd(amount=70.0), "amount")[0]


def test_without_a_scale_position_and_share_are_told():
    state = State("letters", 1, {}, {"rows": np.array([3])})
    said = sentences(state, np.zeros((1, 3)), np.array([[0.0, 3.0, 1.0]]), most=1)
    assert said == [["x1, at position 2, adds 75 % of what is unusual"]]


def test_names_are_those_of_the_frame_unless_others_are_given(rows):
    frame = pd.DataFrame(rows[:, [0, 5]], columns=["amount", "visits"])
    detector = HBOS().fit(frame)
    far = pd.DataFrame({"amount": [500.0], "visits": [1.0]})
    assert detector.reasons(far)[0][0].startswith("amount 500 is ")
    assert detector.reasons(far, ["price", "visits"])[0][0].startswith("price 500 is ")
    assert HBOS().fit(rows).reasons(odd(amount=500.0))[0][0].startswith("x0 500 is ")


def test_what_cannot_be_told_is_refused(detector, rows):
    with pytest.raises(ShapeError, match="2 names for 6 features"):
        detector.reasons(rows, ["a", "b"])
    with pytest.raises(ConfigError, match="0 reasons"):
        detector.reasons(rows, most=0)
