"""What a simulated run tells of its rounds."""

import numpy as np

import fedanomaly as fa
from fedanomaly.detectors import KMeans

ROWS = np.random.default_rng(0).normal(size=(300, 3))
PARTS = np.split(ROWS, (80, 220))


def test_every_round_tells_its_step_its_parts_its_bytes_its_time_and_its_progress():
    run = fa.simulate(KMeans(n_clusters=2, n_rounds=3), PARTS)

    assert [entry.step for entry in run.history][:2] == ["rows/all", "scale/0"]
    assert len({entry.step for entry in run.history}) == len(run.history) == run.rounds
    assert all(entry.accepted and entry.contributors == (0, 1, 2) for entry in run.history)
    assert 0 < sum(entry.bytes_up for entry in run.history) < run.bytes_up
    assert all(0 < entry.bytes_down <= entry.bytes_up and entry.seconds > 0 for entry in run.history)
    assert [entry.step for entry in run.history if entry.progress] == ["kmeans/0", "kmeans/1", "kmeans/2"]

    lines = repr(run).splitlines()
    assert len(lines) == run.rounds + 2
    assert lines[-1].startswith(f"kmeans: {run.rounds} rounds, ")
    (line,) = (line for line in lines if line.startswith("kmeans/2"))
    assert "accepted" in line
    assert "variance within clusters 0." in line
