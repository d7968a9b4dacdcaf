import socket
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import numpy as np
import pyarrow as pa
import pytest

import fedanomaly as fa
from fedanomaly.client import Client
from fedanomaly.client.connection import IDLE_S
from fedanomaly.client.models import Model
from fedanomaly.detectors import from_params
from fedanomaly.errors import (
    ConfigError,
    FedAnomalyError,
    JobError,
    NotFoundError,
    ProtocolError,
    UnauthenticatedError,
    UnavailableError,
)
from fedanomaly.features import Column, Schema, encode
from fedanomaly.transport.serving import KEEP_ALIVE_S
from tests.unit.node.federation import payments


@pytest.fixture
def node(trained):
    with trained.client() as client:
        yield client


class Scripted(BaseHTTPRequestHandler):
    """Answers with what the test says, the last answer for ever."""

    def do_GET(self):
        answers = self.server.answers
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        if status == 302:
            self.send_header("location", "http://node.example/v1/status")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args):
        pass


@pytest.fixture
def scripted():
    server = HTTPServer(("127.0.0.1", 0), Scripted)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    with Client(f"http://127.0.0.1:{server.server_address[1]}", token="t") as client:
        yield server, client
    server.shutdown()
    server.server_close()
    thread.join()


def test_it_is_the_client_of_the_package():
    assert fa.Client is Client


def test_a_trained_model_is_a_fitted_detector(node):
    model = node.model("payments")

    scores = model.score(payments(5, 100))

    assert model.lineage["version"] == 1
    assert scores.shape == (100,)
    assert np.isfinite(scores).all()
    np.testing.assert_array_equal(model.predict(payments(5, 100)) == -1, scores > model.threshold)
    assert model.detector.n_features_in_ == 4
    assert repr(model) == "<Model payments version 1>"


def test_a_score_is_explained_by_feature(node):
    model, rows = node.model("payments"), payments(5, 100)

    shares = model.explain(rows)

    assert shares.shape == (100, len(model.features))
    assert model.features[:2] == ("amount", "age")
    np.testing.assert_allclose(shares.sum(axis=1), model.score(rows))
    np.testing.assert_array_equal(model.detector.predict(model.encode(rows)), model.predict(rows))


def test_a_score_has_reasons_in_the_units_of_the_columns(node):
    model, rows = node.model("payments"), payments(5, 100)
    far = int(model.score(rows).argmax())

    told = model.reasons(rows, most=2)

    assert len(told) == 100
    assert any(sentence.startswith(f"amount {rows['amount'][far].as_py():.6g} is ") for sentence in told[far])
    assert max(map(len, told)) == 2


def test_readings_behind_logarithms_are_told_in_their_unit():
    schema = Schema((Column(name="amount", kind="numeric", transform="log"),))
    table = pa.table({"amount": np.random.default_rng(0).lognormal(4, 1, 999)})
    state = from_params("ecod").fit(encode(schema, table)).state_

    model = Model({"feature_schema": schema.to_json()}, state.to_bytes())

    assert model.reasons(pa.table({"amount": [90_000.0]}))[0][0].startswith("amount 90000 is 7.")


@pytest.mark.parametrize("library", ["to_pandas", "polars"])
def test_frames_of_other_libraries_score_the_same(node, library):
    import polars as pl

    table = payments(5, 50)
    frame = pl.from_arrow(table) if library == "polars" else table.to_pandas()

    np.testing.assert_array_equal(node.model("payments").score(frame), node.model("payments").score(table))


def test_a_job_is_watched_until_it_ends(node):
    seen = []

    job = node.train("payments", "mahalanobis", params={"contamination": 0.02}, model="watched")
    ended = job.wait(120, progress=seen.append)

    assert ended is job
    assert job.status == "accepted"
    assert seen[-1]["state"] == "accepted"
    assert len({told["state"] for told in seen}) > 1
    assert [entry["state"] for entry in job.rounds] == ["accepted"] * len(job.rounds)
    assert node.job(job.id).told() == job.told()
    assert node.model("watched").detector.contamination == 0.02


def test_a_wait_that_ends_early_leaves_the_job_alone(node):
    job = node.train("payments", "mahalanobis", model="slow")

    with pytest.raises(UnavailableError, match="still"):
        job.wait(timeout_s=0.0)

    assert job.wait(120).status == "accepted"


def test_the_lists_tell_what_there_is(node):
    assert "payments" in [entry["name"] for entry in node.datasets()]
    assert "payments" in [entry["name"] for entry in node.models()]
    assert node.status()["organisation"] == "north"
    assert node.jobs()[0]["state"] == "accepted"
    events, cursor = node.events()
    assert events[-1]["cursor"] == cursor


@pytest.mark.parametrize(
    ("ask", "error"),
    [
        (lambda node: node.model("unknown"), NotFoundError),
        (lambda node: node.model("payments", version=99), NotFoundError),
        (lambda node: node.train("unknown"), NotFoundError),
        (lambda node: node.train("payments", "loda", params={"nonsense": 1}), ConfigError),
    ],
)
def test_errors_of_the_node_come_back_with_their_type(node, ask, error):
    with pytest.raises(error):
        ask(node)


def test_a_wrong_token_is_refused(trained):
    with Client(trained.address, token="wrong") as node, pytest.raises(UnauthenticatedError) as caught:
        node.status()

    assert "token" in str(caught.value)


def test_a_node_that_does_not_run_is_said_with_what_to_do():
    with Client("http://127.0.0.1:1", token="t") as node, pytest.raises(UnavailableError) as caught:
        node.status()

    assert caught.value.hint == "run: fedanomaly node run"


@pytest.mark.parametrize("url", ["http://node.example:7420", "http://10.0.0.1:7420", "http://127.0.0.1.example"])
def test_a_token_never_leaves_this_machine(url):
    with pytest.raises(ConfigError, match="not this machine"):
        Client(url, token="t")


def test_a_token_follows_no_redirect(scripted):
    server, client = scripted
    server.answers = [(302, b"")]

    with pytest.raises(ProtocolError, match="302"):
        client.status()


def test_a_token_passes_no_proxy(scripted, monkeypatch):
    server, client = scripted
    server.answers = [(200, b"[]")]
    for name in ("http_proxy", "all_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)

    assert client.jobs() == []


def test_the_token_is_not_shown():
    assert repr(Client("http://127.0.0.1:7420", token="secret")) == "<Client of http://127.0.0.1:7420>"


@pytest.mark.parametrize("token", ["secret\n", "secret\r\nx: y", "sécret"])
def test_a_token_that_no_header_can_hold_is_refused_and_not_shown(token):
    with pytest.raises(ConfigError, match="one line") as caught:
        Client("http://127.0.0.1:7420", token=token)

    assert "cret" not in str(caught.value)


def test_a_closed_client_says_that_it_does_not_ask(scripted):
    _, client = scripted
    client.close()

    with pytest.raises(UnavailableError, match="ClosedPoolError"):
        client.status()


def test_a_job_that_is_not_in_the_log_yet_is_waiting(scripted):
    server, client = scripted
    server.answers = [(404, b'{"code":"FA404","message":"no job"}')]

    assert client.job("x").status == "waiting"


def test_a_job_without_a_model_raises_its_reason(scripted):
    server, client = scripted
    server.answers = [(200, b'{"state":"void","reason":"too few members","rounds":[],"declined":{"east":"FA402"}}')]

    with pytest.raises(JobError, match="void: too few members") as caught:
        client.job("x").wait()

    assert "the log of the node of east" in str(caught.value.hint)


def test_any_other_server_is_no_node(scripted):
    server, client = scripted
    server.answers = [(500, b"<html>")]

    with pytest.raises(ProtocolError, match="500"):
        client.status()


def test_an_unknown_code_is_still_an_error_of_ours(scripted):
    server, client = scripted
    server.answers = [
        (400, b'{"code":"FA999","message":"new"}'),
        (503, b'{"code":"FA500","message":"busy","retry_after_s":7}'),
    ]

    with pytest.raises(FedAnomalyError, match="new"):
        client.status()
    with pytest.raises(UnavailableError) as caught:
        client.status()
    assert caught.value.retry_after_s == 7


def test_a_connection_that_the_node_may_close_any_moment_is_not_used_again(monkeypatch):
    # A node that closes what is idle, just when the next request comes.
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def serve():
            for _ in range(2):
                peer, _ = listener.accept()
                with peer:
                    peer.recv(65536)
                    peer.sendall(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
                    peer.recv(65536)  # and no answer

        threading.Thread(target=serve, daemon=True).start()
        with Client(f"http://127.0.0.1:{listener.getsockname()[1]}", token="t") as client:
            assert client.status() == {}
            now = time.monotonic()
            monkeypatch.setattr(time, "monotonic", lambda: now + IDLE_S)
            assert client.status() == {}
    assert IDLE_S < KEEP_ALIVE_S / 1.5
