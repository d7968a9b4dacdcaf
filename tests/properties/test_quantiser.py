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


@given(st.integers(1, 5), st.integers(1, 70), st.integers(1, 3), st.data())
def test_the_clip_count_is_exact_however_narrow_the_entries(members, size, bits, data):
    field = FieldSpec(name="x", shape=(size,), lower=0, upper=(1 << bits) - 1)
    quantiser = Quantiser(step=Step(name="s", fields=(field,)), members=members)
    over = [data.draw(st.integers(0, size)) for _ in range(members)]
    parts = [quantiser.quantise({"x": np.where(np.arange(size) < count, 100, 0)}) for count in over]
    assert all(int(part.max()) < 1 << quantiser.value_bits for part in parts)
    sums = np.sum(parts, axis=0, dtype=np.uint64)
    assert int(sums.max()) < 1 << quantiser.field_bits
    assert quantiser.total(sums, members).clipped == sum(over)


def test_a_million_entries_of_16_bits_stay_16_bits_wide():
    field = FieldSpec(name="x", shape=(1_000_000,), lower=-32768, upper=32767)
    quantiser = Quantiser(step=Step(name="s", fields=(field,)), members=16)
    assert (quantiser.value_bits, quantiser.field_bits, quantiser.entries) == (16, 20, 1_000_002)
