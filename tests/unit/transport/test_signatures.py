"""A request is good once, soon, for one federation, from one member, as it was signed."""

from __future__ import annotations

import datetime as dt
import hashlib
import re

import httpx2
import pytest
from http_message_signatures.algorithms import ED25519
from http_message_signatures.httpx2 import adapt_message
from http_message_signatures.signatures import HTTPMessageSigner
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from fedanomaly.errors import UnauthenticatedError, UnavailableError
from fedanomaly.transport import RequestSigner
from fedanomaly.transport.signing import COMPONENTS, LABEL, tag_of
from fedanomaly.transport.verification import MAX_AGE_S, MAX_SKEW_S, RequestVerifier
from tests.signing import sign

NOW_S = 1_800_000_000.0
FEDERATION = b"f" * 32
SHORT_URL = "http://127.0.0.1:7400/v1/blobs/ab/parts/0?size=5"
LIBRARY_URL = f"{SHORT_URL}&x=%20y"
"""An escaped byte may be written in several ways, so such a request is read by the library."""
URL = SHORT_URL


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture(autouse=True, params=[SHORT_URL, LIBRARY_URL], ids=["short way", "library"])
def url(request, monkeypatch):
    """Run every test for both ways to read a signature."""
    monkeypatch.setattr(f"{__name__}.URL", request.param)
    return request.param


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def verifier(identity, clock):
    return RequestVerifier(FEDERATION, lambda key: key == identity.public_key, clock)


def signed(identity, *, method="PUT", url=None, body=b"hello", federation=FEDERATION, at=NOW_S):
    request = httpx2.Request(method, url or URL, content=body)
    sign(RequestSigner(identity, federation, lambda: at), request)
    return request


def sign_by_library(identity, request, *, created=NOW_S, digests=None, **changes):
    """Sign a request by the library that checks it."""
    library, message = HTTPMessageSigner(signature_algorithm=ED25519), adapt_message(request)
    if digests is not None:
        library.content_digest_class = digests
    wanted = {
        "key_id": identity.public_key.hex(),
        "nonce": "a" * 22,
        "tag": tag_of(FEDERATION),
        "covered_component_ids": COMPONENTS,
    } | changes
    body = request.content if "content-digest" in wanted["covered_component_ids"] else None
    created = dt.datetime.fromtimestamp(created, tz=dt.UTC)
    prepared = library.prepare(message, created=created, label=LABEL, body=body, **wanted)
    library.apply(message, prepared, identity.sign(prepared.signature_base))


def check(verifier, request, *, method=None, target=None, headers=None):
    raw = [(name.decode(), value.decode()) for name, value in request.headers.raw]
    path, _, query = (target or request.url.raw_path.decode()).partition("?")
    return verifier.verify(method or request.method, f"{path}?{query}", raw if headers is None else headers)


def test_a_signed_request_tells_who_sent_it_and_what_its_body_is(verifier, identity):
    caller = check(verifier, signed(identity))
    assert caller.member == identity.public_key
    assert caller.content_digest == hashlib.sha256(b"hello").digest()


@pytest.mark.parametrize("url", ["http://h/v1/status", "http://h/v1/envelopes?after=0&wait_s=1.5", "https://h:9/?"])
def test_requests_without_body_or_query_are_signed_as_well(verifier, identity, url):
    caller = check(verifier, signed(identity, method="GET", url=url, body=b""))
    assert caller.content_digest == hashlib.sha256(b"").digest()


TARGETS = st.text(st.sampled_from("abcXYZ019-._~/=&+ é"), max_size=30)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    method=st.sampled_from(["GET", "PUT", "POST"]),
    target=st.one_of(TARGETS, st.builds("{}?{}".format, TARGETS, TARGETS)),
    body=st.binary(max_size=100),
    at=st.floats(0, 4e9),
)
def test_it_is_signed_as_the_library_signs(identity, method, target, body, at):
    """Byte for byte, with the nonce that was drawn."""
    ours, theirs = (httpx2.Request(method, f"http://127.0.0.1:7400/v1/{target}", content=body) for _ in range(2))
    sign(RequestSigner(identity, FEDERATION, lambda: at), ours)
    (nonce,) = re.findall(r'nonce="([^"]*)"', ours.headers["signature-input"])
    sign_by_library(identity, theirs, created=int(at), nonce=nonce)
    assert dict(ours.headers) == dict(theirs.headers)


@st.composite
def requests_as_they_come(draw, identity, stranger):
    """A request of ours, with something changed: method, target, lines, or bytes in a line that is checked."""
    target = draw(st.one_of(TARGETS, st.builds("{}?{}".format, TARGETS, TARGETS)))
    who, tag = draw(st.sampled_from([identity, stranger])), draw(st.sampled_from([FEDERATION, b"g" * 32]))
    request = signed(
        who, url=f"http://127.0.0.1:7400/v1/{target}", federation=tag, at=NOW_S - draw(st.sampled_from([0, 59, 300]))
    )
    lines = [(name.decode(), value.decode()) for name, value in request.headers.raw]
    method, sent = request.method, request.url.raw_path.decode()
    change = draw(st.sampled_from(["nothing", "method", "target", "twice", "gone", "text", "cut", "case"]))
    at = draw(
        st.sampled_from(
            [at for at, line in enumerate(lines) if line[0] in ("content-digest", "signature-input", "signature")]
        )
    )
    name, value = lines[at]
    if change == "method":
        method = draw(st.sampled_from(["GET", "put", "POST"]))
    elif change == "target":
        sent = f"/v1/{draw(TARGETS)}"
    elif change == "twice":
        lines.append((draw(st.sampled_from([name, name.title()])), value))
    elif change == "gone":
        del lines[at]
    elif change == "cut":
        lines[at] = (name, value[: draw(st.integers(0, len(value)))])
    elif change == "text":
        place = draw(st.integers(0, len(value) - 1))
        lines[at] = (name, value[:place] + draw(st.sampled_from('aZ09+/=:;"( ,')) + value[place + 1 :])
    elif change == "case":
        lines[at] = (name.title(), value)
    path, _, query = sent.partition("?")
    return method, f"{path}?{query}", tuple(lines)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=400)
@given(data=st.data())
def test_what_is_read_the_short_way_is_what_the_library_reads(verifier, identity, stranger, data):
    method, target, lines = data.draw(requests_as_they_come(identity, stranger))
    try:
        theirs = verifier._by_library(method, target, lines)
    except UnauthenticatedError:
        theirs = None
    try:
        ours = verifier._as_ours(method, target, lines)
    except UnauthenticatedError:
        assert theirs is None
    else:
        assert ours is None or ours == theirs


def test_our_own_requests_are_read_the_short_way(verifier, identity):
    request = signed(identity, url="http://h/v1/models/ab/batches")
    lines = tuple((name.decode(), value.decode()) for name, value in request.headers.raw)
    assert verifier._as_ours("PUT", "/v1/models/ab/batches?", lines) is not None


def test_a_proxy_may_call_the_host_what_it_likes(verifier, identity):
    headers = [(n.decode(), v.decode()) for n, v in signed(identity).headers.raw if n.lower() != b"host"]
    check(verifier, signed(identity), headers=[*headers, ("host", "inner:1")])


def test_the_same_request_twice_is_refused(verifier, identity):
    request = signed(identity)
    check(verifier, request)
    with pytest.raises(UnauthenticatedError, match="twice"):
        check(verifier, request)
    check(verifier, signed(identity))


def test_a_stranger_is_refused(verifier, stranger):
    with pytest.raises(UnauthenticatedError):
        check(verifier, signed(stranger))


def test_a_request_for_another_federation_is_refused(verifier, identity):
    with pytest.raises(UnauthenticatedError):
        check(verifier, signed(identity, federation=b"g" * 32))


@pytest.mark.parametrize(
    "changed",
    [
        {"method": "POST"},
        {"target": "/v1/blobs/ab/parts/1?size=5&x=%20y"},
        {"target": "/v1/blobs/ab/parts/0?size=6&x=%20y"},
        {"target": "/v1/blobs/ab/parts/0"},
        {"target": "/v1/blobs/ab/parts/0?size=5&x=+y"},
        {"target": "/v1/blobs/%61b/parts/0?size=5&x=%20y"},
        {"target": "/ ?"},
        {"target": "/%zz?"},
        {"target": "/\xff?"},
    ],
)
def test_another_request_line_is_refused(verifier, identity, changed):
    with pytest.raises(UnauthenticatedError):
        check(verifier, signed(identity), **changed)


def headers_of(request) -> dict[str, str]:
    return {name.decode().lower(): value.decode() for name, value in request.headers.raw}


@pytest.mark.parametrize("name", ["content-digest", "signature", "signature-input"])
@pytest.mark.parametrize("how", ["gone", "empty", "garbage", "of another request", "twice"])
def test_without_its_own_headers_a_request_is_refused(verifier, identity, name, how):
    headers = headers_of(signed(identity))
    lines = [(key, value) for key, value in headers.items() if key != name]
    other = headers_of(signed(identity, body=b"other"))[name]
    lines += {
        "gone": [],
        "empty": [(name, "")],
        "garbage": [(name, "\x00\xff{]")],
        "of another request": [(name, other)],
        "twice": [(name, headers[name]), (name, other)],
    }[how]
    with pytest.raises(UnauthenticatedError):
        check(verifier, signed(identity), headers=lines)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"@method" ', ""),
        ('"@path" ', ""),
        ('"@query" ', ""),
        (' "content-digest"', ""),
        (";nonce=", ";nonsense="),
        (";created=", ";expires="),
        ("ed25519", "hmac-sha256"),
        ('"@method"', '"@method";req'),
    ],
)
def test_a_signature_over_less_is_refused(verifier, identity, old, new):
    headers = headers_of(signed(identity))
    assert old in headers["signature-input"]
    headers["signature-input"] = headers["signature-input"].replace(old, new)
    with pytest.raises(UnauthenticatedError):
        check(verifier, signed(identity), headers=list(headers.items()))


@pytest.mark.parametrize(
    "changes",
    [
        {"covered_component_ids": ("@method", "@path", "content-digest")},
        {"covered_component_ids": ("@path", "@query", "content-digest")},
        {"covered_component_ids": ("@method", "@path", "@query")},
        {"nonce": None},
        {"nonce": "short"},
        {"nonce": "x" * 500},
        {"key_id": "AB" * 32},
        {"key_id": "../x"},
        {"key_id": "00" * 32},
    ],
)
def test_a_member_must_sign_all_of_it(verifier, identity, changes):
    """With other software, and validly."""
    request = httpx2.Request("PUT", URL, content=b"hello")
    sign_by_library(identity, request, **changes)
    with pytest.raises(UnauthenticatedError):
        check(verifier, request)


def test_a_digest_is_one_sha256(verifier, identity):
    class Sha512(HTTPMessageSigner.content_digest_class):
        algorithm = "sha-512"

    request = httpx2.Request("PUT", URL, content=b"hello")
    sign_by_library(identity, request, digests=Sha512)
    with pytest.raises(UnauthenticatedError, match="one SHA-256"):
        check(verifier, request)


@pytest.mark.parametrize("age_s", [0, MAX_AGE_S, MAX_AGE_S + MAX_SKEW_S, -MAX_SKEW_S])
def test_clocks_may_differ_a_little(identity, clock, age_s):
    clock.now_s -= 1000
    verifier = RequestVerifier(FEDERATION, lambda _: True, clock)
    clock.now_s = NOW_S
    check(verifier, signed(identity, at=NOW_S - age_s))


@pytest.mark.parametrize("age_s", [MAX_AGE_S + MAX_SKEW_S + 1, -MAX_SKEW_S - 1, 10**9, -(10**9)])
def test_clocks_that_differ_more_are_reported_with_by_how_much(verifier, identity, age_s):
    with pytest.raises(UnauthenticatedError, match=f"signed {age_s} s ago: set your clock"):
        check(verifier, signed(identity, at=NOW_S - age_s))


def test_a_nonce_is_remembered_as_long_as_its_signature_is_good(verifier, identity, clock):
    early = signed(identity, at=NOW_S + MAX_SKEW_S)
    check(verifier, early)
    clock.now_s = NOW_S + 2 * MAX_SKEW_S + MAX_AGE_S - 0.5
    with pytest.raises(UnauthenticatedError, match="twice"):
        check(verifier, early)
    clock.now_s += 2 * MAX_AGE_S + 2 * MAX_SKEW_S
    check(verifier, signed(identity, at=clock.now_s))
    assert len(verifier._nonces._seen) == 1


def test_a_signature_from_before_the_start_is_not_taken_but_may_be_renewed(identity, clock):
    request = signed(identity, at=NOW_S - 5)
    with pytest.raises(UnavailableError):
        check(RequestVerifier(FEDERATION, lambda _: True, clock), request)


def test_one_member_cannot_fill_the_table_for_the_others(identity, stranger, clock):
    verifier = RequestVerifier(FEDERATION, lambda _: True, clock, max_nonces=3)
    for _ in range(3):
        check(verifier, signed(stranger))
    with pytest.raises(UnavailableError):
        check(verifier, signed(stranger))
    check(verifier, signed(identity))
    clock.now_s += MAX_AGE_S + 2 * MAX_SKEW_S
    check(verifier, signed(stranger, at=clock.now_s))


PIECES = [
    'fedanomaly=("@method" "@path" "@query" "content-digest")', ";created=1800000000", ';keyid="', ';tag="', ";alg=1",
    "fedanomaly", ":AAAA:", "sha-256=:", '"', "(", ")", ",", "=", "?1", " ", ";", "%", "\t", "\x00", "\xff",
]  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_whatever_a_stranger_sends_is_refused_in_one_way(verifier, identity, data):
    headers = headers_of(signed(identity))
    name = data.draw(st.sampled_from(["content-digest", "signature", "signature-input"]))
    pieces = st.lists(st.sampled_from(PIECES), max_size=8).map("".join)
    value = data.draw(st.one_of(pieces, st.text(st.characters(max_codepoint=255), max_size=50)))
    place = data.draw(st.integers(0, len(headers[name])))
    headers[name] = data.draw(st.sampled_from([value, headers[name][:place] + value, value + headers[name][place:]]))
    try:
        caller = check(verifier, signed(identity), headers=list(headers.items()))
    except UnauthenticatedError:
        return
    # It was a change that means nothing, such as a space.
    assert (caller.member, caller.content_digest) == (identity.public_key, hashlib.sha256(b"hello").digest())


def test_a_refusal_says_nothing_of_what_was_wrong_in_its_public_text(verifier, stranger):
    with pytest.raises(UnauthenticatedError) as refused:
        check(verifier, signed(stranger))
    assert refused.value.public == "the request is not signed as it must be"
    assert refused.value.hint is None
