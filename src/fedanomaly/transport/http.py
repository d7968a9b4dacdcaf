"""HTTP/1.1 as our services speak it: whoever is slow, endless or silent on purpose loses the connection.

Uvicorn's protocol has an end for idle connections and for nothing else.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fedanomaly.errors import MessageError
from fedanomaly.transport.failures import failure_of
from fedanomaly.transport.wire import JSON

MAX_CONNECTIONS = 1000
INTAKE = "fedanomaly.intake"
"""Extension of the ASGI scope: called with what shall take the rest of the body, piece by piece."""
MAX_PIPELINED = 8
"""Requests that a client may send before the first is answered; ours send one. Uvicorn would queue any number."""
MAX_HEADER_BYTES = 16 * 1024
"""Size of a request line and its header lines; what members send has about 1 KiB."""


class Http(HttpToolsProtocol):
    """HTTP/1.1 with an end to everything, and with a code of ours also where no request could be read.

    The parser itself takes in header lines, and trailers behind a body, without
    end. A client may be slow with its head, with reading answers and, once it was
    answered, with the rest of its body; each has its seconds. If there are too many
    connections, one that waits for nothing goes: silence keeps nobody out.
    """

    head_timeout_s = 15.0
    read_timeout_s = 30.0
    linger_s = 10.0
    max_connections = MAX_CONNECTIONS

    _header_bytes = 0
    _gets_on = _has_headers = _is_whole = False
    _take: Callable[[bytes], None] | None = None
    _due: asyncio.TimerHandle | None = None
    _read_due: asyncio.TimerHandle | None = None
    _idle_since_s = 0.0

    def connection_made(self, transport: Any) -> None:  # noqa: ANN401 - uvicorn narrows it as well
        """Begin with a connection; its first request must come soon."""
        super().connection_made(transport)
        self._idle_since_s = self.loop.time()
        self._expect(self.head_timeout_s)
        if len(self.connections) >= self.max_connections:
            others = (each for each in self.connections if isinstance(each, Http) and each is not self)
            idle = [each for each in others if each.is_idle and not each.transport.is_closing()]
            if idle:
                min(idle, key=lambda each: each.precedence).transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End with a connection."""
        self._expect(None)
        self._unset_read_due()
        self._take = None
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way on this connection."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def precedence(self) -> tuple[bool, float]:
        """How much this connection is worth if one must go: who never asked for anything goes first."""
        return self.cycle is not None, self._idle_since_s

    def data_received(self, data: bytes) -> None:
        """Take the next bytes; what is neither body nor the end of anything must end soon."""
        self._gets_on = False
        super().data_received(data)
        self._header_bytes = 0 if self._gets_on else self._header_bytes + len(data)
        if self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin with a request."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise MessageError("too many requests at once")  # ends in send_400_response
        self._has_headers = self._is_whole = False
        self._take = None
        self._expect(self.head_timeout_s)
        super().on_message_begin()
        extensions: Any = {INTAKE: self.divert}  # uvicorn knows extensions that are data alone
        self.scope["extensions"] = extensions

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header line; not one that comes behind the body, when everything is checked."""
        if not self._has_headers:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """Let the request be answered; from here its body is the application's to time."""
        self._has_headers = self._gets_on = True
        self._expect(None)
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._gets_on = True
        if self._take is not None and not self.is_idle:
            self._take(body)
        else:
            super().on_body(body)

    def divert(self, take: Callable[[bytes], None]) -> None:
        """Hand the body of the request under way over as it comes, when its size is settled: `take` must not raise.

        Else a body of a megabyte is copied twice more, and its task is woken for every piece.
        """
        if self.pipeline:
            return  # the request that is read now is a later one
        if self.cycle.body:
            take(bytes(self.cycle.body))
            self.cycle.body = bytearray()
        self._take = take
        self.flow.resume_reading()

    def on_message_complete(self) -> None:
        """End a request."""
        self._gets_on = self._is_whole = True
        self._expect(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """End an answer. What is left of the body is thrown away as it comes, so the answer arrives, for a while."""
        self._idle_since_s = self.loop.time()
        super().on_response_complete()
        if self.transport.is_closing():
            self._expect(self.read_timeout_s)
        elif not self._is_whole:
            self._expect(self.linger_s)

    def pause_writing(self) -> None:
        """Give a client that does not read its seconds."""
        super().pause_writing()
        self._read_due = self.loop.call_later(self.read_timeout_s, self.transport.abort)

    def resume_writing(self) -> None:
        """Go on with one that does."""
        self._unset_read_due()
        super().resume_writing()

    def timeout_keep_alive_handler(self) -> None:
        """Close what is idle; a close that waits for a client to read would wait for ever."""
        if self.transport.get_write_buffer_size():
            self.transport.abort()
        super().timeout_keep_alive_handler()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, and close."""
        del msg
        body = msgspec.json.encode(failure_of(MessageError("not an HTTP request")))
        head = f"HTTP/1.1 400 Bad Request\r\ncontent-type: {JSON}\r\ncontent-length: {len(body)}\r\n"
        self.transport.write(head.encode() + b"connection: close\r\n\r\n" + body)
        self.transport.close()
        self._expect(self.read_timeout_s)

    def _expect(self, within_s: float | None) -> None:
        if self._due is not None:
            self._due.cancel()
        self._due = None if within_s is None else self.loop.call_later(within_s, self.transport.abort)

    def _unset_read_due(self) -> None:
        if self._read_due is not None:
            self._read_due.cancel()
            self._read_due = None
