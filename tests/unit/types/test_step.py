import numpy as np
import pytest

from fedanomaly.errors import CapacityError, ConfigError, DataError, ShapeError
from fedanomaly.types import FieldSpec, Quantiser, Step


def field(**changes):
    return FieldSpec(**{"name": "x", "shape": (2,), "lower": 0, "upper": 10, **changes})


@pytest.mark.parametrize(
    "changes",
    [
        {"name": ""},
        {"name": "é"},
        {"lower": 10},
        {"lower": -(1 << 59), "upper": 1 << 59},
        {"resolution": 0.0},
        {"resolution": float("inf")},
        {"shape": (0,)},
    ],
)
def test_impossible_fields_are_refused(changes):
    with pytest.raises(ConfigError):
        field(**changes)


def test_steps_need_fields_with_different_names():
    for fields in ((), (field(), field())):
        with pytest.raises(ConfigError):
            Step(name="s", fields=fields)


def test_every_part_of_a_step_is_in_its_canonical_bytes():
    step = Step(name="s", fields=(field(),))
    others = [Step(name="t", fields=(field(),))] + [
        Step(name="s", fields=(field(**change),))
        for change in ({"name": "y"}, {"shape": (1, 2)}, {"lower": 1}, {"upper": 11}, {"resolution": 0.5})
    ]
    assert len({step.canonical(), *(other.canonical() for other in others)}) == len(others) + 1


def test_entries_that_need_more_than_60_bits_are_refused():
    step = Step(name="s", fields=(field(upper=1 << 58),))
    assert Quantiser(step=step, members=2).field_bits == 60
    with pytest.raises(CapacityError, match="61 bits"):
        Quantiser(step=step, members=3)


def test_the_clip_count_fits_even_where_the_entries_are_narrow():
    step = Step(name="s", fields=(field(shape=(1000,), upper=1),))
    quantiser = Quantiser(step=step, members=4)
    all_clipped = {"x": np.full(1000, 9)}
    sums = sum(quantiser.quantise(all_clipped) for _ in range(4))
    assert int(sums.max()) < 1 << quantiser.field_bits
    assert quantiser.total(sums, 4).clipped == 4000


def test_what_lies_outside_is_clipped_and_counted():
    quantiser = Quantiser(step=Step(name="s", fields=(field(lower=-5, upper=5),)), members=1)
    total = quantiser.total(quantiser.quantise({"x": np.array([-9, 5])}), 1)
    assert total["x"].tolist() == [-5, 5]
    assert total.clipped == 1


def test_statistics_of_another_form_are_refused():
    quantiser = Quantiser(step=Step(name="s", fields=(field(),)), members=1)
    for statistics in ({}, {"y": np.zeros(2)}, {"x": np.zeros(3)}):
        with pytest.raises(ShapeError):
            quantiser.quantise(statistics)
    with pytest.raises(DataError):
        quantiser.quantise({"x": np.array([0.0, np.nan])})
    with pytest.raises(ShapeError):
        quantiser.total(np.zeros(2, dtype=np.uint64), 1)
