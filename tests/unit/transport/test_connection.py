"""What a hostile, broken or unreachable coordinator can do to a node."""

from __future__ import annotations

import hashlib
import socket
import threading

import msgspec
import pytest

from fedanomaly.errors import CapacityError, ConfigError, MessageError, ProtocolError, ReplayError, UnavailableError
from fedanomaly.protocol import Enrol, seal
from fedanomaly.transport import Connection, CoordinatorClient, Patience, is_loopback
from fedanomaly.transport import client as client_module
from fedanomaly.transport.wire import FederationInfo, Feed, FeedEntry, Parts, Posted, encode

QUICK = Patience(connect_timeout_s=2, io_timeout_s=2, attempts=3, retry_for_s=5)
AT_ONCE = msgspec.json.encode({"code": "FA500", "message": "busy", "retry_after_s": 0.001})
INFO = FederationInfo(
    version=1, federation=b"f" * 32, coordinator=b"c" * 32, name="n", members=3, threshold=2, enrolled=0,
    max_blob_bytes=9,
)  # fmt: skip


@pytest.fixture
def open_client(identity):
    opened = []

    def open_client(url, *, patience=QUICK, **options):
        client = CoordinatorClient(
            url, signer=identity, coordinator=b"c" * 32, federation=b"f" * 32, patience=patience, **options
        )
        opened.append(client)
        return client

    yield open_client
    for client in opened:
        client.close()


@pytest.fixture
def client(open_client, scripted):
    return open_client(scripted.url)


@pytest.fixture
def at_once(monkeypatch):
    """Retry without the pause."""
    again = Connection._again
    monkeypatch.setattr(Connection, "_again", lambda self, error: again(self, error) and 0.001)


def envelope_of(identity):
    return seal(identity, b"f" * 32, "enrol", Enrol(name="north").to_bytes()).envelope


def entry(seq, data):
    return FeedEntry(seq=seq, received_at=1.0, data=data)


def test_plain_http_is_spoken_on_this_machine_only(open_client):
    for url in ("http://federation.example", "http://10.0.0.1:7400", "http://127.0.0.1.example"):
        with pytest.raises(ConfigError):
            open_client(url)
        open_client(url, allow_http=True)
    open_client("https://federation.example")


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1", "127.9.9.9", "::1", "[::1]"])
def test_loopback_is_recognised(host):
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["", "0.0.0.1", "::", "10.0.0.1", "localhost.example", "127.0.0.1.example"])
def test_what_is_not_loopback_is_not_taken_for_it(host):
    assert not is_loopback(host)


def test_certificates_that_cannot_be_read_are_an_error_of_the_settings(open_client, tmp_path):
    with pytest.raises(ConfigError):
        open_client("https://federation.example", ca_file=tmp_path / "missing.pem")


def test_a_server_that_cannot_be_verified_is_not_spoken_to(open_client, scripted):
    client = open_client(scripted.url.replace("http:", "https:"), patience=Patience(attempts=1, connect_timeout_s=2))
    with pytest.raises(UnavailableError):
        client.federation()
    assert scripted.asked == []


def test_without_an_identity_nothing_is_signed(scripted):
    with Connection(scripted.url, signer=None, patience=QUICK) as connection, pytest.raises(ConfigError):
        connection.call("GET", "/", limit_bytes=10)


def test_nobody_there_may_be_retried(open_client):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        client = open_client(f"http://127.0.0.1:{bound.getsockname()[1]}", patience=Patience(attempts=1))
        with pytest.raises(UnavailableError):
            client.feed(0)


def test_a_busy_coordinator_is_asked_again_with_a_fresh_signature(client, scripted, identity):
    scripted.answers = [(503, AT_ONCE), (503, AT_ONCE), (200, encode(Posted(seq=4)))]
    assert client.post(envelope_of(identity)) == 4
    inputs = [headers["Signature-Input"] for _, _, headers, _ in scripted.asked]
    assert len(set(inputs)) == 3
    assert len({body for *_, body in scripted.asked}) == 1


def test_it_is_asked_a_few_times_only(client, scripted):
    scripted.answers = [(503, AT_ONCE)]
    with pytest.raises(UnavailableError):
        client.feed(0)
    assert len(scripted.asked) == QUICK.attempts


@pytest.mark.parametrize("status", [400, 404, 409, 302])
def test_a_refusal_is_not_repeated(client, scripted, status):
    scripted.answers = [(status, b'{"code": "FA401", "message": "used"}', ("location", "http://127.0.0.1:1/"))]
    with pytest.raises(ReplayError):
        client.feed(0)
    assert len(scripted.asked) == 1


def test_an_endless_answer_is_cut(client, scripted):
    scripted.answers = [(200, bytes(10_000_000))]
    with pytest.raises(ProtocolError, match="exceeds"):
        client.feed(0)


def test_an_endless_refusal_is_cut(client, scripted):
    scripted.answers = [(404, b'{"code": "FA401", "message": "' + b"x" * 1_000_000 + b'"}')]
    with pytest.raises(ProtocolError):
        client.feed(0)


def test_a_silent_coordinator_is_given_up(open_client):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        patience = Patience(attempts=1, io_timeout_s=0.05)
        client = open_client(f"http://127.0.0.1:{silent.getsockname()[1]}", patience=patience)
        with pytest.raises(UnavailableError):
            client.feed(0)


def test_closing_ends_what_comes_after_without_retries(open_client, scripted):
    with open_client(scripted.url, patience=Patience(attempts=1000, retry_for_s=1000)) as client:
        pass
    with pytest.raises(UnavailableError):
        client.feed(0)


def test_closing_ends_a_call_under_way(open_client):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        client = open_client(f"http://127.0.0.1:{silent.getsockname()[1]}", patience=Patience(io_timeout_s=1000))
        outcome = []

        def ask():
            try:
                client.feed(0)
            except UnavailableError as error:
                outcome.append(error)

        asking = threading.Thread(target=ask)
        asking.start()
        with silent.accept()[0] as asked:
            assert asked.recv(4)  # the question is out
            client.close()
            asking.join(20)
        assert len(outcome) == 1


def test_what_is_not_there_is_told_in_a_few_words(open_client):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        client = open_client(f"http://127.0.0.1:{bound.getsockname()[1]}", patience=Patience(attempts=1))
        with pytest.raises(UnavailableError) as caught:
            client.feed(0)
    assert "cannot be reached: ConnectionRefusedError: " in str(caught.value)
    assert "port=" not in str(caught.value)


def test_the_pinned_coordinator_is_recognised(client, scripted):
    scripted.answers = [(200, encode(INFO))]
    assert client.federation() == INFO


@pytest.mark.parametrize("changed", [{"version": 2}, {"coordinator": b"x" * 32}, {"federation": b"x" * 32}])
def test_another_coordinator_is_refused(client, scripted, changed):
    scripted.answers = [(200, encode(msgspec.structs.replace(INFO, **changed)))]
    with pytest.raises(ProtocolError):
        client.federation()


@pytest.mark.parametrize("seqs", [[4], [6], [5, 7], [6, 5], [5, 5]])
def test_a_feed_with_gaps_is_refused(client, scripted, identity, seqs):
    data = envelope_of(identity).to_bytes()
    scripted.answers = [(200, encode(Feed(head=9, entries=tuple(entry(seq, data) for seq in seqs))))]
    with pytest.raises(ProtocolError):
        client.feed(4)


def test_a_feed_of_anything_but_envelopes_is_refused(client, scripted):
    scripted.answers = [(200, encode(Feed(head=9, entries=(entry(1, b"garbage"),))))]
    with pytest.raises(MessageError):
        client.feed(0)


def test_an_entry_that_was_changed_on_the_way_is_refused_with_its_whole_answer(client, scripted, identity):
    """Folded it would be passed over, and this node's log another one than everybody's from there on."""
    good = envelope_of(identity).to_bytes()
    bent = good[:-1] + bytes([good[-1] ^ 1])
    scripted.answers = [(200, encode(Feed(head=9, entries=(entry(5, good), entry(6, bent)))))]
    with pytest.raises(ProtocolError, match="signature"):
        client.feed(4)


def test_a_feed_yields_entries_and_head(client, scripted, identity):
    envelope = envelope_of(identity)
    scripted.answers = [(200, encode(Feed(head=9, entries=(entry(5, envelope.to_bytes()),))))]
    entries, head = client.feed(4, 0.5)
    assert [(e.seq, e.received_at, e.envelope) for e in entries] == [(5, 1.0, envelope)]
    assert head == 9
    assert scripted.asked[0][1] == "/v1/envelopes?after=4&wait_s=0.5"


def test_only_missing_parts_are_sent(client, scripted, monkeypatch):
    monkeypatch.setattr(client_module, "PART_BYTES", 4)
    data = b"aaaabbbbcc"
    scripted.answers = [
        (200, encode(Parts(whole=False, parts={0: hashlib.sha256(b"aaaa").digest(), 1: b"x" * 32}))),
        (204, b""),
    ]
    seen = []
    assert client.upload(data, seen.append) == hashlib.sha256(data).digest()
    assert [(method, path.split("?")[0][-7:], body) for method, path, _, body in scripted.asked[1:-1]] == [
        ("PUT", "parts/1", b"bbbb"),
        ("PUT", "parts/2", b"cc"),
    ]
    assert scripted.asked[-1][0] == "POST"
    assert seen == [4, 4, 2]


def test_a_whole_blob_is_not_sent_again(client, scripted):
    scripted.answers = [(200, encode(Parts(whole=True)))]
    client.upload(b"data")
    assert len(scripted.asked) == 1


def test_a_blob_beyond_the_limit_is_not_sent(open_client, scripted):
    with pytest.raises(CapacityError):
        open_client(scripted.url, max_blob_bytes=3).upload(b"data")
    assert scripted.asked == []


def test_a_broken_download_goes_on_where_it_broke(client, scripted, at_once):
    scripted.answers = [
        (200, b"0123", ("content-length", 10)),
        None,
        (206, b"456789", ("content-range", "bytes 4-9/10")),
    ]
    assert client.download(hashlib.sha256(b"0123456789").digest()) == b"0123456789"
    assert [headers.get("Range") for _, _, headers, _ in scripted.asked] == [None, "bytes=4-", "bytes=4-"]


def test_a_download_that_broke_after_its_last_byte_is_whole(client, scripted, at_once):
    scripted.answers = [(200, b"0123", ("content-length", 10))]
    assert client.download(hashlib.sha256(b"0123").digest()) == b"0123"
    assert len(scripted.asked) == 1


def test_a_download_of_something_else_is_refused(client, scripted):
    scripted.answers = [(200, b"evil")]
    with pytest.raises(ProtocolError, match="digest"):
        client.download(hashlib.sha256(b"good").digest())


def test_an_endless_download_is_cut(open_client, scripted):
    scripted.answers = [(200, bytes(1000))]
    with pytest.raises(ProtocolError, match="exceeds"):
        open_client(scripted.url, max_blob_bytes=999).download(b"d" * 32)


def test_a_download_that_starts_over_is_refused(client, scripted, at_once):
    scripted.answers = [(200, b"0123", ("content-length", 10)), (200, b"0123456789")]
    with pytest.raises(ProtocolError, match="range"):
        client.download(hashlib.sha256(b"0123456789").digest())


def test_a_client_serves_many_threads(client, scripted, identity):
    scripted.answers = [(200, encode(Posted(seq=1)))]
    results = []
    threads = [threading.Thread(target=lambda: results.append(client.post(envelope_of(identity)))) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [1] * 6
