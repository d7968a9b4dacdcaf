"""Bodies land where they are wanted, however they are cut on their way, and nowhere once that is over."""

from __future__ import annotations

import asyncio
import hashlib

from hypothesis import given, settings
from hypothesis import strategies as st
from uvicorn.server import ServerState

from fedanomaly.transport import serving
from fedanomaly.transport.http import INTAKE, READ_BYTES, Http


class Wire:
    """What a transport is to a protocol: takes answers, and can be told to read no further."""

    def __init__(self) -> None:
        self.written = b""
        self.closing = self.paused = False

    def get_extra_info(self, _name):
        return None

    def write(self, data):
        self.written += data

    def is_closing(self):
        return self.closing

    def close(self):
        self.closing = True

    abort = close

    def pause_reading(self):
        self.paused = True

    def resume_reading(self):
        self.paused = False

    def get_write_buffer_size(self):
        return 0


class App:
    """Answers /plain and /past with a body's digest; /enough once some of the body is there, when it wants no more."""

    def __init__(self) -> None:
        self.memory = []

    async def __call__(self, scope, receive, send) -> None:
        length = int(dict(scope["headers"]).get(b"content-length", b"0"))
        memory, at, enough = bytearray(length), 0, asyncio.Event()

        def arrived(nbytes):
            nonlocal at
            at += nbytes
            enough.set()

        divert = scope["extensions"][INTAKE]
        if scope["path"] != "/plain":
            divert(memoryview(memory), arrived)
        if scope["path"] == "/enough" and length:
            # A request that waited behind another has its body already, and not in this memory.
            waits = [asyncio.ensure_future(enough.wait()), asyncio.ensure_future(receive())]
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
            divert(None)
            self.memory.append((memory, bytes(memory)))
            for _ in range(5):  # more may come before the answer is out
                await asyncio.sleep(0)
        else:
            more = True
            while more:
                message = await receive()
                piece, more = message.get("body", b""), message.get("more_body", False)
                memory[at : at + len(piece)] = piece
                at += len(piece)
            assert at == length
        said = hashlib.sha256(memory).hexdigest().encode() if scope["path"] != "/enough" else b"enough"
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"%d" % len(said))]})
        await send({"type": "http.response.body", "body": said})


async def sent(app, data, cuts):
    """Feed a connection in pieces, each as large as its buffer allows, and return what it answered."""
    config = serving.options_of(app, lifespan="off")
    config.load()
    wire = Wire()
    protocol = Http(config, ServerState(), {}, asyncio.get_running_loop())
    protocol.connection_made(wire)
    at, cuts = 0, iter(cuts)
    while at < len(data) and not wire.closing:
        if wire.paused:
            await asyncio.sleep(0)
            continue
        buffer = protocol.get_buffer(-1)
        size, pauses = next(cuts, (READ_BYTES, 1))
        piece = data[at : at + min(size, len(buffer))]
        buffer[: len(piece)] = piece
        protocol.buffer_updated(len(piece))
        at += len(piece)
        for _ in range(pauses):
            await asyncio.sleep(0)
    while tasks := list(protocol.tasks):
        await asyncio.gather(*tasks)
        await asyncio.sleep(0)  # what waited behind them begins
    assert protocol._into is protocol._arrived is None  # else an idle connection held the memory of its last body
    protocol.connection_lost(None)
    return wire.written


REQUESTS = st.lists(
    st.tuples(st.sampled_from(["/plain", "/past", "/enough"]), st.integers(0, 3 * READ_BYTES), st.integers(0, 255)),
    min_size=1,
    max_size=4,
)
CUTS = st.lists(st.tuples(st.integers(1, 2 * READ_BYTES), st.integers(0, 3)), max_size=40)


@settings(max_examples=100)
@given(requests=REQUESTS, cuts=CUTS)
def test_each_body_arrives_whole_and_the_next_request_is_read(requests, cuts):
    app, data, wanted = App(), b"", []
    for path, size, value in requests:
        body = bytes([value]) * size
        data += b"POST %s HTTP/1.1\r\nhost: a\r\ncontent-length: %d\r\n\r\n" % (path.encode(), size) + body
        wanted.append(b"enough" if path == "/enough" else hashlib.sha256(body).hexdigest().encode())
    answers = asyncio.run(sent(app, data, cuts)).split(b"\r\n\r\n")[1:]
    assert [answer.partition(b"HTTP/1.1")[0] for answer in answers] == wanted
    # Memory that was taken back is not written to any more: it may serve another body.
    assert all(memory == then for memory, then in app.memory)
