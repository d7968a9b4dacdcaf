"""HTTP/1.1 as our services speak it: whoever is slow, endless or silent on purpose loses the connection.

Uvicorn's protocol has an end for idle connections and for nothing else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from typing import Any

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from fedanomaly.errors import MessageError
from fedanomaly.transport.failures import failure_of
from fedanomaly.transport.wire import JSON

MAX_CONNECTIONS = 1000
INTAKE = "fedanomaly.intake"
"""Extension of the ASGI scope: `Http.divert` of the connection."""
MAX_PIPELINED = 8
"""Requests that a client may send before the first is answered; ours send one. Uvicorn would queue any number."""
READ_BYTES = 64 * 1024
"""Most that the parser is given at a time."""
MAX_HEADER_BYTES = 16 * 1024
"""Size of a request line and its header lines; what members send has about 1 KiB."""


class _Scratch(threading.local):
    """Where bytes arrive that go to the parser, which keeps none of it: one for all connections of an event loop."""

    def __init__(self) -> None:
        self.memory = memoryview(bytearray(READ_BYTES))


_scratch = _Scratch()


class Http(HttpToolsProtocol, asyncio.BufferedProtocol):
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
    _into: memoryview | None = None
    _arrived: Callable[[int], None] | None = None
    _past_parser = 0
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
        self.divert(None)
        super().connection_lost(exc)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is under way on this connection."""
        return self.cycle is None or self.cycle.response_complete

    @property
    def precedence(self) -> tuple[bool, float]:
        """How much this connection is worth if one must go: who never asked for anything goes first."""
        return self.cycle is not None, self._idle_since_s

    def get_buffer(self, sizehint: int) -> memoryview:
        """Return where the next bytes shall go: a body that is awaited lands where it is wanted."""
        del sizehint
        if not self._past_parser:
            return _scratch.memory
        return self._into if self._into is not None else _scratch.memory[: self._past_parser]

    def buffer_updated(self, nbytes: int) -> None:
        """Take the next bytes; what is neither body nor the end of anything must end soon."""
        if self._past_parser:
            self._past_parser -= nbytes
            self._land(nbytes)
            if not self._past_parser:
                # The old one still waits for this body.
                self.parser = httptools.HttpRequestParser(self)
                self.parser.set_dangerous_leniencies(lenient_data_after_close=True)  # as uvicorn's
                self.on_message_complete()
            return
        self._gets_on = False
        super().data_received(_scratch.memory[:nbytes])  # pyright: ignore[reportArgumentType] - the parser takes any
        self._header_bytes = 0 if self._gets_on else self._header_bytes + nbytes
        if self._header_bytes > MAX_HEADER_BYTES and not self.transport.is_closing():
            self.send_400_response("")

    def on_message_begin(self) -> None:
        """Begin with a request."""
        if len(self.pipeline) >= MAX_PIPELINED:
            raise MessageError("too many requests at once")  # ends in send_400_response
        self._has_headers = self._is_whole = False
        self.divert(None)
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
        super().on_body(body)

    def divert(self, into: memoryview | None, arrived: Callable[[int], None] | None = None) -> None:
        """Let the rest of the body under way land where it is wanted; None: nowhere any more.

        Else a body of a megabyte is copied three times more, into memory made anew each
        time, and its task is woken for every piece. `into` has the size that the request
        stated; `arrived`, called with how many bytes are new in it, must not raise.
        """
        if into is None:
            self._into = self._arrived = None
            return
        if self.pipeline:
            return  # the request that is read now is a later one
        self._into, self._arrived = into, arrived
        if self.cycle.body:
            known = self.cycle.body
            self.cycle.body = bytearray()
            self._into[: len(known)] = known
            self._land(len(known))
        if not self._is_whole:
            self._past_parser = len(self._into)
        self.flow.resume_reading()

    def _land(self, nbytes: int) -> None:
        if self._into is not None and self._arrived is not None:
            self._into = self._into[nbytes:]
            self._arrived(nbytes)

    def on_message_complete(self) -> None:
        """End a request."""
        self._gets_on = self._is_whole = True
        self._expect(None)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """End an answer. What is left of the body is thrown away as it comes, so the answer arrives, for a while."""
        self._idle_since_s = self.loop.time()
        self.divert(None)
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
