"""A relay in front of a coordinator that understands its HTTP: it keeps what members post, and may hold it back.

What is held has left its sender and has not reached the coordinator: both are
certainly in the state that this message leads out of, for as long as it takes.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections import defaultdict
from collections.abc import Callable
from io import BufferedReader

from fedanomaly.errors import FedAnomalyError
from fedanomaly.protocol import Envelope
from fedanomaly.protocol.messages import KINDS

HOLD_POLL_S = 0.05
POST = b"POST /v1/envelopes "

ONCE = {
    "hello": "call", "roster-accept": "roster", "deal": "roster", "confirm": "epoch", "contribution": "manifest",
    "statement": "manifest", "vote": "manifest",
}  # fmt: skip
"""Kinds that a member says once, and the field that says about what."""


class Recorder:
    """Relays HTTP requests to one loopback port, one at a time on each connection.

    Parameters
    ----------
    target_port : int
        Where the coordinator listens.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.posted: list[Envelope] = []
        self.holds: Callable[[Envelope], bool] = lambda _envelope: False
        self._closed = threading.Event()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        """Take no more connections, and let go of what is held."""
        self._closed.set()
        self._listener.close()

    def differing(self) -> list[str]:
        """Return what one member said in two ways where it may say one thing, ever."""
        said: defaultdict[tuple[str, str, bytes], set[bytes]] = defaultdict(set)
        for envelope in list(self.posted):
            if envelope.kind in ONCE:
                body = KINDS[envelope.kind].from_bytes(envelope.body)
                about = getattr(body, ONCE[envelope.kind])
                if envelope.kind == "deal":
                    about += body.receiver.to_bytes(2, "little")
                said[envelope.sender.hex()[:8], envelope.kind, about].add(envelope.to_bytes())
        return [f"{sender}: {len(ways)} of {kind}" for (sender, kind, _), ways in said.items() if len(ways) > 1]

    def resent(self) -> int:
        """Return how many of the posts were there before."""
        return len(self.posted) - len({envelope.digest for envelope in self.posted})

    def _accept(self) -> None:
        while True:
            try:
                near, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(near,), daemon=True).start()

    def _serve(self, near: socket.socket) -> None:
        with near, contextlib.suppress(OSError, ValueError):
            far = socket.create_connection(("127.0.0.1", self.target_port))
            with far, near.makefile("rb") as asked, far.makefile("rb") as answered:
                while request := _message(asked):
                    self._note(request)
                    far.sendall(request)
                    if not (answer := _message(answered)):
                        return  # so that who asked hears at once that nobody will answer
                    near.sendall(answer)

    def _note(self, request: bytes) -> None:
        if not request.startswith(POST):
            return
        try:
            envelope = Envelope.from_bytes(request.partition(b"\r\n\r\n")[2])
        except FedAnomalyError:
            return
        self.posted.append(envelope)
        while self.holds(envelope) and not self._closed.wait(HOLD_POLL_S):
            pass


def _message(stream: BufferedReader) -> bytes:
    """Return one HTTP message, head and body; nothing at the end of the stream."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        line = stream.readline()
        if not line:
            return b""
        head += line
    fields = dict(line.lower().split(b":", 1) for line in head.split(b"\r\n")[1:-2])
    size = int(fields.get(b"content-length", b"0"))
    body = stream.read(size)
    return head + body if len(body) == size else b""
