"""What a step costs is known before the round."""

import pytest

from fedanomaly.errors import CapacityError, ConfigError, CryptoError, FedAnomalyError
from fedanomaly.fhe import EPOCH_QUOTA_COEFFICIENTS, Preset, best_layout, layout, least_contributors


def test_a_million_parameters_cost_two_thirds_of_float32():
    found = best_layout(members=16, threshold=4, field_bits=20, fields=1_000_000)
    assert found.preset is Preset.N8192
    assert found.value_bits == 16
    assert found.message_bytes <= 0.70 * 4 * 1_000_000


def test_small_statistics_fit_one_small_message():
    full = best_layout(members=16, threshold=4, field_bits=20, fields=8000)
    assert (full.ciphertexts, full.message_bytes <= 32 * 1024) == (1, True)
    assert best_layout(members=16, threshold=4, field_bits=20, fields=100).message_bytes <= 1024


def test_the_layout_says_how_entries_lie():
    found = layout(Preset.N8192, members=16, threshold=4, field_bits=20, fields=65528)
    assert (found.coefficient_bits, found.fields_per_coefficient, found.coefficients) == (160, 8, 8192)
    assert (found.ciphertexts, found.message_bytes, found.max_decryptors) == (1, 168_960, 6)


def test_wide_fields_fall_to_the_large_ring():
    assert best_layout(members=3, threshold=2, field_bits=60, fields=1).preset is Preset.N8192


@pytest.mark.parametrize("field_bits", [2, 61])
def test_what_fits_no_ring_is_said_beforehand(field_bits):
    with pytest.raises(CapacityError, match="no preset holds"):
        best_layout(members=3, threshold=2, field_bits=field_bits, fields=1)


def test_impossible_parameters_are_refused():
    with pytest.raises(ConfigError):
        layout(Preset.N4096, members=2, threshold=2, field_bits=20, fields=1)
    with pytest.raises(CryptoError):
        layout(Preset.N4096, members=3, threshold=2, field_bits=20, fields=0)
    with pytest.raises(CapacityError):
        layout(Preset.N4096, members=3, threshold=2, field_bits=31, fields=1)


def test_a_step_beyond_the_quota_of_an_epoch_is_refused():
    most = (EPOCH_QUOTA_COEFFICIENTS - 1) * 8
    assert layout(Preset.N8192, members=3, threshold=2, field_bits=20, fields=most).coefficients == 1 << 27
    with pytest.raises(FedAnomalyError):
        layout(Preset.N8192, members=3, threshold=2, field_bits=20, fields=most + 1)


@pytest.mark.parametrize(("threshold", "least"), [(2, 3), (3, 4), (10, 11)])
def test_a_sum_never_has_fewer_than_three_contributors(threshold, least):
    assert least_contributors(threshold) == least
