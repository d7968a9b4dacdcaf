"""What happens when much comes at once, slowly, or while the service stops, and what it does to others."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack

import msgspec
import pytest

from fedanomaly.errors import NotFoundError, UnavailableError
from fedanomaly.scoring.receiving import Pace
from fedanomaly.transport.http import Http
from tests.unit.coordinator.conftest import until
from tests.unit.scoring.conftest import MODEL, batch_id, batch_path, circuit, frame, home_in, readings, serve


def connect(service) -> socket.socket:
    return socket.create_connection(("127.0.0.1", service.home.config.listen_port), timeout=20)


def read_answer(connection) -> tuple[bytes, bytes]:
    """Return head and body of an answer on a raw connection."""
    received = b""
    while b"\r\n\r\n" not in received:
        piece = connection.recv(65536)
        assert piece, "closed before an answer"
        received += piece
    head, _, body = received.partition(b"\r\n\r\n")
    (length,) = [int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")]
    while len(body) < length:
        body += connection.recv(65536)
    return head, body


def is_closed(connection) -> bool:
    """Wait for the end of a connection, whatever came before."""
    try:
        while connection.recv(65536):
            pass
    except ConnectionResetError:
        pass
    return True


@pytest.fixture
def busy(tmp_path):
    """A service with few places, and a batch for it."""
    with home_in(tmp_path, max_in_flight_batches=3, max_in_flight_per_tenant=2) as service:
        service.release(MODEL)
        with serve(service):
            batch, key = service.tenant(MODEL).encrypt(readings(5))
            service.batch, service.key = bytes(batch), key
            until(lambda: service.held.slots.taken == 0)  # a place is given back after the answer is sent
            yield service


def begin(stack, service, identity):
    """Begin a batch that does not go on: its head and a part of its body."""
    request = service.signed("POST", batch_path(MODEL), frame(MODEL, service.batch), identity)
    connection = stack.enter_context(connect(service))
    taken = service.held.slots.taken
    connection.sendall(service.head_of(request) + request.content[:1000])
    until(lambda: service.held.slots.taken > taken)
    return connection, request.content[1000:]


def refused(service, identity):
    with pytest.raises(UnavailableError):
        service.exchange(identity).answer(MODEL.digest, service.batch, batch_id())


def test_one_tenant_takes_no_more_than_its_places_and_the_other_keeps_its_own(busy):
    with ExitStack() as stack:
        begin(stack, busy, busy.north)
        begin(stack, busy, busy.north)
        refused(busy, busy.north)
        assert busy.exchange(busy.south).answer(MODEL.digest, busy.batch, batch_id())
    until(lambda: busy.held.slots.taken == 0)
    assert busy.exchange(busy.north).answer(MODEL.digest, busy.batch, batch_id())


def test_without_a_place_the_answer_comes_before_the_body_is_read(busy):
    with ExitStack() as stack:
        for identity in (busy.north, busy.north, busy.south):
            begin(stack, busy, identity)
        request = busy.signed("POST", batch_path(MODEL), frame(MODEL, busy.batch), busy.south)
        connection = stack.enter_context(connect(busy))
        connection.sendall(busy.head_of(request))
        head, body = read_answer(connection)
    assert head.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1" in head
    assert msgspec.json.decode(body)["code"] == "FA500"


def test_what_was_begun_is_answered_once_it_goes_on(busy):
    with ExitStack() as stack:
        connection, rest = begin(stack, busy, busy.north)
        connection.sendall(rest)
        head, body = read_answer(connection)
    assert head.startswith(b"HTTP/1.1 200 ")
    assert busy.key.decrypt(body[64:]).shape == (5, 1)


def test_requests_sent_ahead_do_not_mix_their_bodies(busy):
    ids = [bytes([n]) * 16 for n in range(3)]
    requests = [busy.signed("POST", batch_path(MODEL), frame(MODEL, busy.batch, each)) for each in ids]
    with connect(busy) as connection:
        ahead = b"".join(busy.head_of(request) + request.content for request in requests)
        sender = threading.Thread(target=connection.sendall, args=(ahead,))
        sender.start()
        received = b""
        while received.count(b"HTTP/1.1 200 ") < 3 or len(received) < 3 * 172_096:
            piece = connection.recv(1 << 20)
            assert piece, received[:300]
            received += piece
        sender.join(20)
    assert [received.count(each) >= 1 for each in ids] == [True] * 3


def test_a_body_that_only_trickles_gives_its_place_back(busy):
    busy.held.pace = Pace(grace_s=0.1, bytes_per_s=1 << 30)
    with ExitStack() as stack:
        connection, _ = begin(stack, busy, busy.north)
        head, _ = read_answer(connection)
        assert head.startswith(b"HTTP/1.1 503 ")
        until(lambda: busy.held.slots.taken == 0)


def test_who_goes_away_in_the_middle_leaves_no_place_taken(busy):
    with ExitStack() as stack:
        begin(stack, busy, busy.north)
    until(lambda: busy.held.slots.taken == 0)


class Hasty(Http):
    head_timeout_s = linger_s = 0.2


@pytest.fixture
def hasty(service):
    service.release(MODEL)
    with serve(service, http=Hasty):
        yield service


@pytest.mark.parametrize("said", [b"", b"GET /hea", b"POST /v1/models HTTP/1.1\r\nhost: a\r\nx: "])
def test_a_connection_that_says_no_whole_head_ends(hasty, said):
    with connect(hasty) as connection:
        connection.sendall(said)
        assert is_closed(connection)


def test_the_rest_of_a_refused_body_is_not_awaited_for_ever(hasty):
    with connect(hasty) as connection:
        connection.sendall(b"POST /v1/models HTTP/1.1\r\nhost: a\r\ncontent-length: 1000000\r\n\r\nbegin")
        assert is_closed(connection)
    request = hasty.signed("POST", batch_path(circuit(9)), bytes(100_000))
    with connect(hasty) as connection:
        connection.sendall(hasty.head_of(request))
        assert read_answer(connection)[0].startswith(b"HTTP/1.1 404 ")
        assert is_closed(connection)


class Crowded(Http):
    max_connections = 20


def test_silent_connections_keep_nobody_out(service):
    service.release(MODEL)
    with serve(service, http=Crowded), ExitStack() as stack:
        exchange = service.exchange()
        batch, _ = service.tenant(MODEL, exchange=exchange).encrypt(readings(5))
        silent = [stack.enter_context(connect(service)) for _ in range(100)]
        assert exchange.answer(MODEL.digest, batch, batch_id())
        assert service.exchange(service.south).models()
        assert is_closed(silent[0])  # the oldest made place


def test_a_thousand_silent_connections_and_slow_ones_beside_a_batch(service):
    service.release(MODEL)
    with serve(service), ExitStack() as stack:
        for n in range(1100):
            connection = stack.enter_context(connect(service))
            if n % 2:
                connection.sendall(b"P")
        exchange = service.exchange()
        batch, key = service.tenant(MODEL, exchange=exchange).encrypt(readings(5))
        assert key.decrypt(exchange.answer(MODEL.digest, batch, batch_id())).shape == (5, 1)


# --- swap, drain ---------------------------------------------------------------


def test_models_are_swapped_while_batches_come(served):
    """Every batch is scored with the model that it names, or not at all."""
    first, second = circuit(1), circuit(2)
    served.release(first)
    exchange = served.exchange()
    until(exchange.models)
    x, failures, stop, scored = readings(20), [], threading.Event(), []

    def work():
        tenant = served.tenant(first)
        while not stop.is_set():
            batch, key = tenant.encrypt(x)
            try:
                scores = key.decrypt(exchange.answer(first.digest, batch, batch_id()))
            except NotFoundError:
                scored.append("gone")
                return
            if abs(scores - first.evaluate(x)).max() > 0.01:
                failures.append(scores)
            scored.append("scored")

    worker = threading.Thread(target=work)
    worker.start()
    until(lambda: scored)
    served.release(second)  # in place of the first: the same file
    until(lambda: [view.digest for view in exchange.models()] == [second.digest.hex()])
    worker.join(20)
    stop.set()
    assert failures == []
    assert scored[-1] == "gone"
    batch, key = served.tenant(second).encrypt(x)
    assert abs(key.decrypt(exchange.answer(second.digest, batch, batch_id())) - second.evaluate(x)).max() < 0.01


def test_a_stop_answers_what_is_under_way_and_sends_others_away(busy):
    with ExitStack() as stack:
        connection, rest = begin(stack, busy, busy.north)
        late = stack.enter_context(connect(busy))
        busy.server.should_exit = True
        until(lambda: busy.held.draining)
        request = busy.signed("GET", "/v1/models", identity=busy.south)
        late.sendall(busy.head_of(request))
        head, body = read_answer(late)
        assert head.startswith(b"HTTP/1.1 503 ")
        assert msgspec.json.decode(body)["code"] == "FA500"
        connection.sendall(rest)
        head, body = read_answer(connection)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert busy.key.decrypt(body[64:]).shape == (5, 1)


def test_health_says_that_it_drains(busy):
    with ExitStack() as stack:
        begin(stack, busy, busy.north)
        late = stack.enter_context(connect(busy))
        busy.server.should_exit = True
        until(lambda: busy.held.draining)
        late.sendall(b"GET /health HTTP/1.1\r\nhost: a\r\n\r\n")
        head, body = read_answer(late)
    assert head.startswith(b"HTTP/1.1 503 ")
    assert msgspec.json.decode(body) == {"ready": False, "draining": True}
