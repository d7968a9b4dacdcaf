"""The Python API and the node's service: the same tables, the same codes, no value in any text."""

import io
from contextlib import suppress

import httpx2
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

import fedanomaly as fa
from fedanomaly.errors import (
    ConfigError,
    DataError,
    FedAnomalyError,
    InUseError,
    NotFoundError,
    SchemaError,
    ShapeError,
    UnavailableError,
)
from fedanomaly.features import encode
from fedanomaly.node.home import Home
from tests.bad_input.tables import SCHEMA, TABLES, table
from tests.unit.node.federation import free_port, payments

ROWS = np.random.default_rng(5).normal(size=(90, 3))
DETECTORS = [fa.detectors.Loda, fa.detectors.Mahalanobis]


@pytest.mark.parametrize("name", TABLES)
def test_a_table_that_does_not_fit_is_refused(name):
    rows, text = TABLES[name]
    with pytest.raises(SchemaError, match=text) as caught:
        encode(SCHEMA, rows)
    assert caught.value.hint
    assert "private" not in str(caught.value)


def test_a_table_that_fits_is_taken():
    assert encode(SCHEMA, table(amount=[None, float("nan")])).shape == (2, SCHEMA.n_features)


@pytest.mark.parametrize("frame", [None, 3, "text", [[1.0]], {"amount": [1.0]}])
def test_what_is_no_table_is_refused(frame):
    with pytest.raises(SchemaError, match="no table"):
        encode(SCHEMA, frame)


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize(
    "rows",
    [np.empty((0, 3)), np.empty((3, 0)), np.ones(3), np.full((9, 3), np.inf), [["a", "b"]], ROWS[:, :, None]],
    ids=["no rows", "no columns", "one dimension", "infinite", "text", "three dimensions"],
)
def test_an_estimator_refuses_what_are_no_rows(detector, rows):
    with pytest.raises(ValueError, match=r"\S"):
        detector().fit(rows)


@pytest.mark.parametrize("detector", DETECTORS)
def test_an_estimator_refuses_other_columns_than_it_was_fitted_on(detector):
    with pytest.raises(ValueError, match="features"):
        detector().fit(ROWS).predict(ROWS[:, :2])


@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("rows", [np.ones((1, 3)), np.ones((50, 3)), np.full((9, 3), np.nan)])
def test_one_row_and_columns_that_never_change_give_finite_scores_or_a_data_error(detector, rows):
    with suppress(DataError):
        scores = detector().fit(rows).score_samples(rows)
        assert np.isfinite(scores).all()


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        ([ROWS, ROWS], ConfigError),
        ([], ConfigError),
        ([ROWS, ROWS, ROWS[:, :2]], ShapeError),
        ([ROWS, ROWS, ROWS[:, 0]], ShapeError),
        ([ROWS, ROWS, np.full((9, 3), np.inf)], DataError),
        ([ROWS, ROWS, np.empty((0, 3))], DataError),
        ([ROWS, ROWS, [["a", "b", "c"]]], DataError),
    ],
)
def test_a_simulation_refuses_parts_that_do_not_fit(parts, kind):
    with pytest.raises(kind):
        fa.simulate(fa.detectors.Mahalanobis(), parts=parts)


def test_a_detector_that_was_trained_together_takes_a_data_frame_without_a_warning():
    run = fa.simulate(fa.detectors.Mahalanobis(), parts=[ROWS[:30], ROWS[30:60], ROWS[60:]])
    frame = pd.DataFrame(ROWS, columns=["a", "b", "c"])

    np.testing.assert_array_equal(run.detector.predict(frame), run.detector.predict(ROWS))


def test_two_nodes_on_one_home_are_no_reason_to_try_again(node):
    home = Home(node)
    with home.locked(), pytest.raises(InUseError, match="another process runs") as caught, home.locked():
        pass
    assert isinstance(caught.value, ConfigError)
    assert not caught.value.retry_is_safe


def test_a_node_that_is_not_there_is_said_to_python():
    with (
        fa.Client(f"http://127.0.0.1:{free_port()}", token="t") as client,
        pytest.raises(UnavailableError, match="does not answer") as caught,
    ):
        client.status()
    assert caught.value.hint == "run: fedanomaly node run"


@pytest.mark.parametrize(
    ("asked", "kind"),
    [
        ({"dataset": "unknown"}, NotFoundError),
        ({"dataset": ""}, DataError),
        ({"dataset": "payments", "detector": "unknown"}, FedAnomalyError),
        ({"dataset": "payments", "params": {"contamination": 7}}, FedAnomalyError),
        ({"dataset": "payments", "params": {"unknown": 7}}, FedAnomalyError),
        ({"dataset": "payments", "model": "../x"}, DataError),
        ({"dataset": 7}, DataError),
    ],
)
def test_a_job_that_cannot_be_is_refused_before_anybody_hears_of_it(trained, asked, kind):
    with trained.client() as client:
        before = client.jobs()
        with pytest.raises(kind):
            client.train(**asked)
        assert client.jobs() == before


@pytest.mark.parametrize(
    ("changed", "text"),
    [
        ({"amount": None}, "'amount' is missing"),
        ({"amount": pa.array(["private"] * 4)}, "'amount' is numeric, but holds text"),
        ({"amount": pa.array([float("inf")] * 4)}, "infinite"),
    ],
)
def test_rows_that_do_not_fit_are_refused_by_the_service_and_by_the_client_alike(trained, changed, text):
    rows = payments(7, 4)
    for name, values in changed.items():
        at = rows.column_names.index(name)
        rows = rows.remove_column(at) if values is None else rows.set_column(at, name, values)
    body = io.BytesIO()
    with pa.ipc.new_stream(body, rows.schema) as writer:
        writer.write_table(rows)

    answer = httpx2.post(
        f"{trained.address}/v1/models/payments/score",
        content=body.getvalue(),
        headers={"authorization": f"Bearer {trained.home.token}"},
        trust_env=False,
    )
    with trained.client() as client, pytest.raises(SchemaError, match=text) as caught:
        client.model("payments").score(rows)

    assert (answer.status_code, answer.json()["code"]) == (422, "FA202")
    assert text in answer.json()["message"]
    assert "private" not in answer.text + str(caught.value)


@pytest.mark.parametrize(("method", "path", "status"), [("GET", "/nowhere", 404), ("PUT", "/v1/status", 405)])
def test_what_the_node_does_not_know_has_a_code_as_well(trained, method, path, status):
    answer = httpx2.request(
        method, trained.address + path, headers={"authorization": f"Bearer {trained.home.token}"}, trust_env=False
    )

    assert (answer.status_code, answer.json()["code"]) == (status, "FA404")
