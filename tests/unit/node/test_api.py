import io
from pathlib import Path

import httpx2
import pyarrow as pa
import pytest

from fedanomaly.node.api import ARROW_STREAM, MAX_ROWS_BYTES
from fedanomaly.node.openapi import document
from fedanomaly.node.scoring import Scorer
from tests.unit.node.federation import payments

OPENAPI = Path(__file__).parents[3] / "docs" / "reference" / "openapi-node.json"


@pytest.fixture
def http(trained):
    headers = {"authorization": f"Bearer {trained.home.token}"}
    with httpx2.Client(base_url=trained.address, headers=headers, trust_env=False) as client:
        yield client


def stream_of(table):
    body = io.BytesIO()
    with pa.ipc.new_stream(body, table.schema) as writer:
        writer.write_table(table)
    return body.getvalue()


def score(http, content, name="payments"):
    return http.post(f"/v1/models/{name}/score", content=content, headers={"content-type": ARROW_STREAM})


@pytest.mark.parametrize("header", [None, "Bearer wrong", "Basic dXNlcjpwdw=="])
@pytest.mark.parametrize("path", ["/v1/status", "/v1/models/payments/state", "/nowhere", "/openapi.json", "/docs"])
def test_nothing_is_answered_without_the_token(trained, header, path):
    headers = {} if header is None else {"authorization": header}

    answer = httpx2.get(trained.address + path, headers=headers, trust_env=False)

    assert answer.status_code == 401
    assert answer.json()["code"] == "FA406"
    assert trained.home.token not in answer.text


def test_two_tokens_are_none(trained):
    token = ("authorization", f"Bearer {trained.home.token}")

    answer = httpx2.get(f"{trained.address}/v1/status", headers=[token, token], trust_env=False)

    assert answer.status_code == 401


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:7420", "127.0.0.1.evil.example", "[::1]:80", "", "10.0.0.1"]
)
def test_a_page_whose_name_was_bound_to_this_machine_gets_nothing(http, host):
    answer = http.get("/v1/status", headers={"host": host})

    assert answer.status_code in {400, 421}


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost:9", "127.0.0.1:7420"])
def test_our_own_names_are_answered(http, host):
    assert http.get("/v1/status", headers={"host": host}).status_code == 200


def test_the_status_tells_the_federation(http):
    told = http.get("/v1/status").json()

    assert (told["organisation"], told["federation"], told["epoch_state"]) == ("north", "test", "live")
    assert told["members"] == ["north", "east", "south"]
    assert told["connected"]


def test_the_data_sets_are_told_without_a_value(http):
    (told,) = [entry for entry in http.get("/v1/datasets").json() if entry["name"] == "payments"]

    assert told["columns"] == ["amount", "age", "kind"]
    assert told["rows"] + told["holdout_rows"] == 600
    assert set(told) == {
        "name", "generation", "rows", "holdout_rows", "columns", "label", "schema_digest", "added_at",
    }  # fmt: skip


def test_a_job_is_found_by_its_id(http):
    (first, *_) = http.get("/v1/jobs").json()

    assert http.get(f"/v1/jobs/{first['id']}").json() == first
    assert http.get("/v1/jobs/unknown").status_code == 404


def test_a_model_has_its_lineage_and_its_state(http):
    told = http.get("/v1/models/payments").json()
    state = http.get("/v1/models/payments/state", params={"version": told["version"]})

    assert told["detector"] == "mahalanobis"
    assert state.headers["content-type"] == "application/octet-stream"
    assert b"mahalanobis" in state.content
    assert "payments" in [entry["name"] for entry in http.get("/v1/models").json()]


@pytest.mark.parametrize("path", ["/v1/models/unknown", "/v1/models/unknown/state", "/v1/models/payments?version=99"])
def test_an_unknown_model_is_not_found(http, path):
    answer = http.get(path)

    assert (answer.status_code, answer.json()["code"]) == (404, "FA404")


def test_rows_are_scored_as_the_detector_scores_them(trained, http):
    rows = payments(9, 200)
    model = trained.services[0].models.load("payments")
    scorer = Scorer.of(model.lineage.schema, model.state)

    told = score(http, stream_of(rows)).json()

    assert told["scores"] == scorer.scores(rows).tolist()
    assert told["predictions"] == [-1 if value > told["threshold"] else 1 for value in told["scores"]]
    assert told["threshold"] == scorer.threshold


@pytest.mark.parametrize("content", [b"", b"no Arrow stream", stream_of(payments(1, 5))[:-200]])
def test_what_is_no_stream_of_rows_is_refused(http, content):
    answer = score(http, content)

    assert (answer.status_code, answer.json()["code"]) == (422, "FA200")


def test_rows_that_do_not_fit_the_schema_are_refused_without_a_value(http):
    answer = score(http, stream_of(pa.table({"amount": ["PRIVATE"], "age": [1.0], "kind": ["card"]})))

    assert (answer.status_code, answer.json()["code"]) == (422, "FA202")
    assert "PRIVATE" not in answer.text


def test_too_many_rows_are_refused_while_they_come(http, monkeypatch):
    monkeypatch.setattr("fedanomaly.node.api.MAX_ROWS_BYTES", 1000)

    answer = score(http, stream_of(payments(1, 500)))

    assert MAX_ROWS_BYTES == 256 << 20
    assert (answer.status_code, answer.json()["code"]) == (413, "FA303")


@pytest.mark.parametrize(
    "body",
    [{}, {"dataset": 3}, {"dataset": "payments", "host": "x"}, {"dataset": "payments", "params": [1]}],
)
def test_a_request_of_another_form_is_refused_without_its_values(http, body):
    answer = http.post("/v1/jobs", json=body)

    assert (answer.status_code, answer.json()["code"]) == (422, "FA200")


def test_what_the_owner_asks_wrongly_is_explained_to_the_owner(http):
    answer = http.post("/v1/jobs", json={"dataset": "unknown"})

    assert answer.status_code == 404
    assert answer.json()["hint"] == "run: fedanomaly data add unknown FILE"


def test_the_feed_goes_on_from_its_cursor(http):
    first = http.get("/v1/events").json()
    then = http.get("/v1/events", params={"after": first["cursor"] - 1}).json()

    assert first["events"][0]["name"] == "node-started"
    assert then["events"][0]["cursor"] == first["cursor"]
    assert http.get("/v1/events", params={"after": 10**9}).json() == {"events": [], "cursor": 10**9}
    assert http.get("/v1/events", params={"after": -1}).status_code == 422


def test_the_committed_openapi_is_that_of_the_code():
    assert OPENAPI.read_text() == document(), "python -m fedanomaly.node.openapi > docs/reference/openapi-node.json"


def all_events(http):
    """Return the whole feed, page by page."""
    said, after = [], 0
    while page := http.get("/v1/events", params={"after": after}).json()["events"]:
        said += page
        after = page[-1]["cursor"]
    return said


def test_a_defect_answers_and_logs_its_kind_alone(trained, http, monkeypatch, caplog):
    """The text of an error of somebody else's code may quote a row."""

    def fail(*_):
        raise LookupError("the row PRIVATE")

    monkeypatch.setattr("fedanomaly.node.api._scores", fail)

    answer = score(http, stream_of(payments(1, 5)))

    with httpx2.Client(base_url=trained.address, headers=http.headers, trust_env=False) as anew:
        said = all_events(anew)
    assert (answer.status_code, answer.json()["code"]) == (500, "FA000")
    assert "unexpected LookupError" in [event["details"].get("error") for event in said]
    assert "PRIVATE" not in answer.text + str(said) + caplog.text
