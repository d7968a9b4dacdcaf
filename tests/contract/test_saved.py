"""Detectors in files: what was written yesterday loads today and scores the same."""

import json
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from fedanomaly.detectors import from_params, load, registry
from fedanomaly.detectors.contract import sample, taught
from fedanomaly.errors import DataError, NotFoundError, VersionError

FOLDER = Path(__file__).parent / "saved"
ROWS = sample(12)
SCORES = FOLDER / "scores.json"


def write_vectors() -> None:
    """Write the file and the scores of every detector that has none yet; kept ones are never written again."""
    told = json.loads(SCORES.read_text()) if SCORES.exists() else {}
    for name in registry():
        file = FOLDER / f"{name}.detector"
        if not file.exists():
            detector = taught(from_params(name), sample(120))
            detector.save(file)
            told[name] = detector.anomaly_scores(ROWS).tolist()
    SCORES.write_text(json.dumps(dict(sorted(told.items())), indent=1) + "\n")


@pytest.mark.parametrize("name", registry())
def test_a_stored_detector_scores_as_on_the_day_it_was_stored(name):
    scores = load(FOLDER / f"{name}.detector").anomaly_scores(ROWS)
    assert np.allclose(scores, json.loads(SCORES.read_text())[name], rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("name", ["loda", "mahalanobis"])
def test_names_of_columns_come_back(name, tmp_path):
    frame = pd.DataFrame(ROWS, columns=[f"c{at}" for at in range(ROWS.shape[1])])
    from_params(name).fit(frame).save(tmp_path / "one")
    again = load(tmp_path / "one")
    assert list(again.feature_names_in_) == list(frame.columns)
    with pytest.raises(ValueError, match="feature names"):
        again.anomaly_scores(frame.rename(columns={"c0": "other"}))


def test_what_is_no_detector_is_refused_and_nothing_is_half_written(tmp_path):
    good = tmp_path / "good"
    detector = from_params("mahalanobis").fit(ROWS)
    detector.save(good)
    data = good.read_bytes()
    for at in range(0, len(data), 97):
        (tmp_path / "bad").write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        with pytest.raises((DataError, VersionError, NotFoundError)):
            load(tmp_path / "bad")
    for bad in (b"", b"no", data[:-1], data + b"0"):
        (tmp_path / "bad").write_bytes(bad)
        with pytest.raises(DataError, match="holds no detector"):
            load(tmp_path / "bad")
    with pytest.raises(DataError, match="cannot be read"):
        load(tmp_path / "missing")
    with pytest.raises(DataError, match="cannot be written"):
        detector.save(tmp_path)
    with pytest.raises(DataError, match="not fitted"):
        from_params("loda").save(tmp_path / "unfitted")
    assert {path.name for path in tmp_path.iterdir()} == {"good", "bad"}


if __name__ == "__main__":
    write_vectors()
