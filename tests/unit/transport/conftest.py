"""Identities, and a real HTTP server that says whatever a test wants it to say."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


class Identity:
    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        return self._key.sign(data)


@pytest.fixture
def identity():
    return Identity()


@pytest.fixture
def stranger():
    return Identity()


class Scripted(BaseHTTPRequestHandler):
    """Answers each request with the next of the server's answers; None breaks the connection."""

    protocol_version = "HTTP/1.1"

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        self.server.asked.append((self.command, self.path, self.headers, body))
        answer = self.server.answers.pop(0) if len(self.server.answers) > 1 else self.server.answers[0]
        if answer is None:
            self.close_connection = True
            return
        status, body, *headers = answer
        promised = len(body)
        self.send_response(status)
        for name, value in headers:
            if name == "content-length":
                promised = value
            else:
                self.send_header(name, value)
        self.send_header("content-length", str(promised))
        self.end_headers()
        self.wfile.write(body)
        self.close_connection = promised != len(body)

    do_GET = do_POST = do_PUT = _answer  # noqa: N815 - the names that the library looks for

    def log_message(self, *_args) -> None:
        """Say nothing."""


@pytest.fixture
def scripted():
    server = ThreadingHTTPServer(("127.0.0.1", 0), Scripted)
    server.daemon_threads = True
    server.handle_error = lambda *_: None  # clients that hang up are part of the tests
    server.asked, server.answers = [], [(200, b"")]
    server.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()
