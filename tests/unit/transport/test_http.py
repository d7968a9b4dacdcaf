"""A connection ends when its client is slow, silent or greedy on purpose; what is left of it is bounded."""

from __future__ import annotations

import socket
import threading
from contextlib import ExitStack, contextmanager

import pytest

from fedanomaly.transport import serving
from fedanomaly.transport.http import MAX_PIPELINED, Http
from tests.unit.coordinator.conftest import until

REQUEST = b"GET /%s HTTP/1.1\r\nhost: a\r\n\r\n"


class App:
    """Answers /small with a little, /large with more than buffers hold, /wait once it may."""

    def __init__(self) -> None:
        self.begun = 0

    async def __call__(self, scope, receive, send) -> None:
        if scope["type"] != "http":
            return
        self.begun += 1
        if scope["path"] == "/wait":
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        body = bytes(64 << 20) if scope["path"] == "/large" else b"small"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(body))]})
        await send({"type": "http.response.body", "body": body})


@contextmanager
def served(**limits):
    app, protocol = App(), type("Limited", (Http,), limits)
    with serving.listen("127.0.0.1", 0, hint="") as listener:
        server = serving.Server(serving.options_of(app, http=protocol, lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        until(lambda: server.started)
        try:
            yield app, server, lambda: socket.create_connection(listener.getsockname(), timeout=20)
        finally:
            server.should_exit = server.force_exit = True
            thread.join(20)
            assert not thread.is_alive()


def rest_of(connection) -> bytes:
    """Return what comes until the connection ends."""
    received = bytearray()
    try:
        while piece := connection.recv(1 << 20):
            received += piece
    except ConnectionResetError:
        pass
    return bytes(received)


def answer_to(connection) -> bytes:
    """Ask for something small, and return the answer."""
    connection.sendall(REQUEST % b"small")
    received = b""
    while not received.endswith(b"small"):
        piece = connection.recv(1000)
        assert piece, "closed before an answer"
        received += piece
    return received


def is_over(server) -> bool:
    return not server.server_state.connections


@pytest.mark.parametrize("said", [b"", b"GET /sma", b"GET /small HTTP/1.1\r\nhost: a\r\nx"])
def test_a_head_must_come_in_time(said):
    with served(head_timeout_s=0.1) as (app, _, connect), connect() as connection:
        connection.sendall(said)
        assert rest_of(connection) == b""
    assert app.begun == 0


def test_the_next_head_must_come_in_time_as_well():
    with served(head_timeout_s=0.1) as (app, _, connect), connect() as connection:
        connection.sendall(REQUEST % b"small" + b"GET")
        assert rest_of(connection).endswith(b"small")
    assert app.begun == 1


def test_answers_must_be_read_in_time():
    with served(read_timeout_s=0.1) as (app, server, connect), connect() as connection:
        connection.sendall(REQUEST % b"large")
        until(lambda: app.begun)
        until(lambda: is_over(server))


def test_who_wants_the_connection_closed_must_read_in_time_too():
    with served(read_timeout_s=0.1) as (app, server, connect), connect() as connection:
        connection.sendall(b"GET /large HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        until(lambda: app.begun)
        until(lambda: is_over(server))


def test_a_body_that_nobody_wants_must_end_in_time():
    with served(linger_s=0.1) as (_, _, connect), connect() as connection:
        connection.sendall(b"POST /small HTTP/1.1\r\nhost: a\r\ncontent-length: 9999\r\n\r\nbegin")
        assert rest_of(connection).endswith(b"small")


def test_after_a_body_that_nobody_wanted_the_connection_goes_on():
    with served() as (_, _, connect), connect() as connection:
        connection.sendall(b"POST /small HTTP/1.1\r\nhost: a\r\ncontent-length: 100000\r\n\r\n")
        connection.sendall(bytes(100_000))
        connection.sendall(b"GET /small HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
        assert rest_of(connection).count(b"200 OK") == 2


def test_a_few_requests_may_wait_and_no_more():
    with served() as (app, _, connect), connect() as connection:
        connection.sendall(REQUEST % b"wait" + REQUEST % b"small" * (MAX_PIPELINED + 1))
        assert b"400 Bad Request" in rest_of(connection)
    assert app.begun == 1


def test_who_says_nothing_makes_place_before_who_was_served():
    with served(max_connections=10) as (_, server, connect), ExitStack() as stack:
        known = stack.enter_context(connect())
        assert answer_to(known)
        silent = [stack.enter_context(connect()) for _ in range(30)]
        assert rest_of(silent[0]) == b""
        assert answer_to(known)
        until(lambda: len(server.server_state.connections) <= 11)


def test_what_is_under_way_makes_no_place():
    with served(max_connections=5) as (app, server, connect), ExitStack() as stack:
        for n in range(8):
            stack.enter_context(connect()).sendall(REQUEST % b"wait")
            until(lambda n=n: app.begun == n + 1)
        until(lambda: len(server.server_state.connections) == 8)
