from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from fedanomaly.errors import ConfigError, FedAnomalyError, MessageError, VersionError
from fedanomaly.transport import Invitation, check_origin
from fedanomaly.transport import invitations as module

GIVEN = {"url": "https://north.example:7400", "coordinator": b"c" * 32, "federation": b"f" * 32, "name": "Bank Ä"}
INVITATION = Invitation(**GIVEN, secret=b"s" * 32)


def test_an_invitation_is_one_line_that_reads_back():
    text = INVITATION.to_text()
    assert text.startswith("fedanomaly-invite-")
    assert text.isascii()
    assert not any(letter in text for letter in " \n=+/")
    assert Invitation.from_text(f"  {text}\n") == INVITATION


def test_the_secret_is_neither_shown_nor_recoverable_from_what_is_stored():
    assert "s" * 8 not in repr(INVITATION)
    assert repr(b"s" * 8)[2:-1] not in repr(INVITATION)
    assert INVITATION.secret not in INVITATION.secret_hash
    assert INVITATION.secret_hash != Invitation(**GIVEN, secret=b"t" * 32).secret_hash


@given(st.data())
def test_a_damaged_line_is_refused(data):
    text = INVITATION.to_text()
    at = data.draw(st.integers(len("fedanomaly-invite-"), len(text) - 1))
    letter = data.draw(st.sampled_from("ABCxyz019-_=+ "))
    damaged = data.draw(st.sampled_from([text[:at], text[:at] + letter + text[at + 1 :], text + letter.strip() + "A"]))
    if damaged.strip() != text:
        with pytest.raises(MessageError):
            Invitation.from_text(damaged)


@pytest.mark.parametrize("text", ["", "fedanomaly-invite-", "fedanomaly-invite-AAAA", "something else", "invite-" * 9])
def test_what_is_no_invitation_is_refused(text):
    with pytest.raises(MessageError):
        Invitation.from_text(text)


@given(st.text(max_size=80))
def test_any_text_is_read_or_refused(text):
    with pytest.raises(FedAnomalyError):
        Invitation.from_text("fedanomaly-invite-" + text)


def test_a_line_has_one_spelling_only():
    # A last letter with other unused bits decodes to the same bytes, and is another line.
    lines = [Invitation(**{**GIVEN, "name": "n" * n}, secret=b"s" * 32).to_text() for n in (1, 2, 3)]
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    for text in lines:
        for letter in set(alphabet) - {text[-1]}:
            with pytest.raises(MessageError):
                Invitation.from_text(text[:-1] + letter)


def line(body: bytes) -> str:
    return module.PREFIX + base64.urlsafe_b64encode(body + module._check(body)).decode().rstrip("=")


def test_an_unknown_version_says_so():
    with pytest.raises(VersionError):
        Invitation.from_text(line(b"\3" + bytes(120)))


def test_an_authority_travels_with_the_invitation():
    carrying = Invitation(**GIVEN, secret=b"s" * 32, ca=b"\x30" * 600)
    assert Invitation.from_text(carrying.to_text()) == carrying
    assert carrying.to_text() != INVITATION.to_text()


@pytest.mark.parametrize("ca", [b"\0\0", b"\xff\xff" + bytes(9), b"\1"])
def test_an_authority_of_no_length_or_a_wrong_one_is_refused(ca):
    url = GIVEN["url"].encode()
    with pytest.raises(FedAnomalyError):
        Invitation.from_text(line(b"\2" + bytes(96) + bytes([len(url)]) + url + ca))


def test_an_authority_is_not_larger_than_a_certificate():
    with pytest.raises(ConfigError):
        Invitation(**GIVEN, secret=b"s" * 32, ca=bytes(4097))


@pytest.mark.parametrize(
    "tail", [b"\x05https", b"\xffhttps://h", b"\x09https://h", b"\x09https://h\xff\xfe", b"\x09https:\xff/hname"]
)
def test_a_line_whose_inside_is_wrong_is_refused(tail):
    with pytest.raises(FedAnomalyError):
        Invitation.from_text(line(b"\1" + bytes(96) + tail))


@pytest.mark.parametrize("field", ["coordinator", "federation"])
def test_keys_have_32_bytes(field):
    with pytest.raises(MessageError):
        Invitation(**{**GIVEN, field: b"short"}, secret=b"s" * 32)


@pytest.mark.parametrize("name", ["", "a" * 101, "two\nlines", "\x1b[2J"])
def test_a_name_is_short_and_printable(name):
    with pytest.raises(ConfigError):
        Invitation(**{**GIVEN, "name": name}, secret=b"s" * 32)


@pytest.mark.parametrize("url", ["http://127.0.0.1:7400", "https://h", "https://[::1]:1", "http://localhost"])
def test_an_origin_is_scheme_host_and_perhaps_port(url):
    assert check_origin(url) == url


@pytest.mark.parametrize(
    "url",
    [
        "", "h", "//h", "ftp://h", "https://", "https://h/", "https://h/p", "https://h?q", "https://h#f", "HTTPS://h",
        "https://u:p@h", "https://h:0", "https://h:99999", "https://h:x", "https://h h", "https://ä", "https://[::1",
        "https://" + "h" * 300, "https://h\n",
    ],
)  # fmt: skip
def test_what_is_no_origin_is_refused(url):
    with pytest.raises(ConfigError):
        check_origin(url)
