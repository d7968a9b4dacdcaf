from __future__ import annotations

import msgspec
import pytest

from fedanomaly.errors import MessageError
from fedanomaly.transport.wire import JSON, Enrolment, Parts, Posted, decode, encode, parse_digest


def test_heads_read_back():
    head = Parts(whole=False, parts={0: b"a" * 32, 7: b"b" * 32})
    assert decode(Parts, encode(head)) == head
    assert decode(Posted, encode(Posted(seq=3), JSON), JSON) == Posted(seq=3)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        msgspec.msgpack.encode({}),
        msgspec.msgpack.encode({"secret": b"s"}),
        msgspec.msgpack.encode({"secret": b"s", "envelope": 5}),
        msgspec.msgpack.encode({"secret": b"s", "envelope": b"e", "more": 1}),
        msgspec.msgpack.encode({"secret": b"s", "envelope": b"e"}) + b"\0",
        b"\x91" * 100_000,
    ],
)
def test_what_is_not_exactly_a_head_is_refused(data):
    with pytest.raises(MessageError):
        decode(Enrolment, data)


@pytest.mark.parametrize(
    "name", ["", "..", "../" * 21 + "x", "A" * 64, "a" * 63, "a" * 65, "a" * 63 + "/", "a" * 64 + "\n", "٣" * 64]
)
def test_what_is_no_digest_is_no_name(name):
    with pytest.raises(MessageError):
        parse_digest(name)


def test_a_digest_reads_back():
    assert parse_digest((b"\xab" * 32).hex()) == b"\xab" * 32
