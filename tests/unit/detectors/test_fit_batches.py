import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from fedanomaly.detectors import Mahalanobis, from_params, registry
from fedanomaly.detectors.contract import marks, sample, taught
from fedanomaly.errors import DataError, ShapeError


def batched(rows, cuts, *, labelled=False):
    """Return a callable that gives the rows in batches, with their `marks` if wanted."""
    parts = np.split(rows, cuts)
    return lambda: ((part, marks(part)) if labelled else part for part in parts)


@pytest.mark.parametrize("name", registry())
def test_batches_teach_what_the_whole_teaches_bit_for_bit(name):
    rows = sample(240)
    whole = taught(from_params(name), rows)
    detector = from_params(name)
    detector.fit_batches(batched(rows, (0, 1, 90), labelled=detector.learns_from_labels))
    assert detector.state_.to_bytes() == whole.state_.to_bytes()
    assert np.array_equal(detector.anomaly_scores(rows), whole.anomaly_scores(rows))


def test_record_batches_of_a_parquet_file_are_read_as_they_come(tmp_path):
    rows = sample()
    file = tmp_path / "rows.parquet"
    pq.write_table(pa.table({f"c{at}": pa.array(column, from_pandas=True) for at, column in enumerate(rows.T)}), file)
    detector = Mahalanobis().fit_batches(lambda: pq.ParquetFile(file).iter_batches(batch_size=77))
    assert detector.state_.to_bytes() == Mahalanobis().fit(rows).state_.to_bytes()


def test_names_of_columns_are_kept_and_held_against_later_batches():
    first, other = pa.table({"a": [1.0, 2.0], "b": [3.0, 5.0]}), pa.table({"b": [1.0], "a": [2.0]})
    assert Mahalanobis().fit_batches(lambda: [first]).feature_names_in_.tolist() == ["a", "b"]
    with pytest.raises(ValueError, match="feature names"):
        Mahalanobis().fit_batches(lambda: [first, other])


def test_batches_that_cannot_be_learnt_from_are_refused():
    rows = sample(60)
    with pytest.raises(DataError, match="no batch"):
        Mahalanobis().fit_batches(list)
    with pytest.raises(DataError, match="no member has a row"):
        Mahalanobis().fit_batches(lambda: [rows[:0]])
    with pytest.raises((ShapeError, ValueError), match="features"):
        Mahalanobis().fit_batches(lambda: [rows, rows[:, :3]])


def test_an_iterator_that_is_used_up_is_refused():
    once = iter(np.array_split(sample(60), 3))
    with pytest.raises(DataError, match="same rows in every step") as refused:
        Mahalanobis().fit_batches(lambda: once)
    assert "fresh iterator" in str(refused.value.hint)
