"""The quantiser is exact for whole numbers, and honest about what it clips."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.types import FieldSpec, Quantiser, Step


@st.composite
def whole(draw):
    """Return a step of whole numbers and the statistics of some members within its bounds."""
    members = draw(st.integers(1, 6))
    fields, parts = [], [{} for _ in range(members)]
    for place in range(draw(st.integers(1, 3))):
        lower = draw(st.integers(-(1 << 40), 1 << 40))
        upper = lower + draw(st.integers(1, 1 << 45))
        shape = draw(st.sampled_from([(1,), (4,), (2, 3)]))
        fields.append(FieldSpec(name=f"f{place}", shape=shape, lower=lower, upper=upper))
        for part in parts:
            entries = draw(st.lists(st.integers(lower, upper), min_size=fields[-1].size, max_size=fields[-1].size))
            part[f"f{place}"] = np.array(entries, dtype=np.int64).reshape(shape)
    return Step(name="some/step", fields=tuple(fields)), parts


@given(whole())
def test_sums_of_whole_numbers_are_exact(case):
    step, parts = case
    quantiser = Quantiser(step=step, members=len(parts))
    sums = sum(quantiser.quantise(part) for part in parts)
    total = quantiser.total(sums, len(parts))
    for field in step.fields:
        assert np.array_equal(total[field.name], sum(part[field.name] for part in parts))
    assert total.clipped == 0
    assert int(sums.max()) < 1 << quantiser.field_bits


@given(st.lists(st.floats(-50, 50), min_size=3, max_size=3), st.sampled_from([0.5, 0.01, 1e-3]))
def test_rounding_is_within_half_a_step_and_clipping_is_counted(values, resolution):
    field = FieldSpec(name="x", shape=(3,), lower=-1000, upper=1000, resolution=resolution)
    quantiser = Quantiser(step=Step(name="s", fields=(field,)), members=1)
    total = quantiser.total(quantiser.quantise({"x": np.array(values)}), 1)
    limit = 1000 * resolution
    back, exact = total.float("x"), np.clip(values, -limit, limit)
    assert np.all(np.abs(back - exact) <= resolution * (0.5 + 1e-9))
    assert total.clipped == int(sum(abs(value) / resolution > 1000.5 for value in values))
