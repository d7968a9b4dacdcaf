"""How the coordinator checks who sent a request.

The signature is checked before the body is read: a stranger cannot make us take
in more than headers. What comes out is the member's key and the digest that its
body must have; the body is held against it while it streams in.
"""

from __future__ import annotations

import base64
import datetime as dt
import math
import re
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from http_message_signatures.algorithms import ED25519  # pyright: ignore[reportPrivateImportUsage] - its public name
from http_message_signatures.exceptions import HTTPMessageSignaturesException
from http_message_signatures.resolvers import HTTPSignatureKeyResolver
from http_message_signatures.signatures import HTTPMessageVerifier
from starlette.requests import Request

from fedanomaly.errors import MessageError, UnauthenticatedError, UnavailableError
from fedanomaly.transport.signing import COMPONENTS, LABEL, params_of, signature_base, tag_of
from fedanomaly.transport.wire import parse_digest

MAX_AGE_S = 60
MAX_SKEW_S = 30
MAX_NONCES_OF_ONE_MEMBER = 20_000
_NONCE = re.compile(r"[A-Za-z0-9_=-]{22,64}", re.ASCII)
_DIGEST = re.compile(r"sha-256=:([A-Za-z0-9+/]{43}=):", re.ASCII)
_TARGET = re.compile(r"(/[A-Za-z0-9._~/-]*)(\?[A-Za-z0-9._~=&-]*)", re.ASCII)
"""Paths and queries that are the same however they are normalised."""
_SIGNATURE = re.compile(LABEL + r"=:([A-Za-z0-9+/]{86}==):", re.ASCII)
_SIGNED_HEADERS = ("content-digest", "signature-input", "signature")


@dataclass(frozen=True)
class Caller:
    """Who sent a request, and what its body must be.

    Parameters
    ----------
    member : bytes
        Ed25519 public key of 32 bytes.
    content_digest : bytes
        SHA-256 of the body.
    """

    member: bytes
    content_digest: bytes


class NonceTable:
    """Remembers the nonces of signatures that are still young enough to be replayed.

    Only nonces of valid signatures get here, and each member has its own share of
    the table, so nobody can fill it up for the others.

    Parameters
    ----------
    of_one : int
        Nonces of one member that are remembered.
    """

    def __init__(self, of_one: int = MAX_NONCES_OF_ONE_MEMBER) -> None:
        self._of_one = of_one
        self._seen: set[tuple[bytes, str]] = set()
        self._due: deque[tuple[float, bytes, str]] = deque()
        self._of_member: Counter[bytes] = Counter()
        self._lock = threading.Lock()

    def use(self, member: bytes, nonce: str, now_s: float) -> None:
        """Take a nonce in.

        Raises
        ------
        UnauthenticatedError
            If it was used before.
        UnavailableError
            If the member has sent more than the table holds.
        """
        with self._lock:
            while self._due and self._due[0][0] <= now_s:
                _, old_member, old_nonce = self._due.popleft()
                self._seen.discard((old_member, old_nonce))
                self._of_member[old_member] -= 1
            if (member, nonce) in self._seen:
                raise UnauthenticatedError("a signature came twice", hint="sign every request anew")
            if self._of_member[member] >= self._of_one:
                raise UnavailableError("a member sends too many requests", retry_after_s=float(MAX_AGE_S))
            self._seen.add((member, nonce))
            self._of_member[member] += 1
            self._due.append((now_s + MAX_AGE_S + 2 * MAX_SKEW_S, member, nonce))


class RequestVerifier:
    """Checks the signatures of requests of one federation's members.

    Parameters
    ----------
    federation : bytes
        Identifier of the federation, 32 bytes.
    is_member : callable
        Whether a public key belongs to an enrolled member.
    clock : callable
        Seconds since the Unix epoch.
    max_nonces : int
        Requests of one member while a signature may be replayed; beyond, it is told to wait.
    """

    def __init__(
        self,
        federation: bytes,
        is_member: Callable[[bytes], bool],
        clock: Callable[[], float] = time.time,
        *,
        max_nonces: int = MAX_NONCES_OF_ONE_MEMBER,
    ) -> None:
        self._tag = tag_of(federation)
        self._is_member = is_member
        self._params = _pattern_of(self._tag)
        self._clock = clock
        # Nonces that were used before a restart are forgotten, so signatures of
        # that time are not taken any more.
        self._started_at = math.floor(clock())
        self._nonces = NonceTable(max_nonces)
        self._library = _Library(clock, signature_algorithm=ED25519, key_resolver=_Members(is_member))

    async def __call__(self, request: Request) -> Caller:
        """Check a request; to be used as a FastAPI dependency.

        Raises
        ------
        UnauthenticatedError
            Unless an enrolled member signed this very request, just now.
        """
        scope = request.scope
        headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw]
        target = scope["raw_path"].decode("latin-1") + "?" + scope["query_string"].decode("latin-1")
        return self.verify(request.method, target, headers)

    def verify(self, method: str, target: str, headers: Iterable[tuple[str, str]]) -> Caller:
        """Check a request line and its headers; `target` is path, question mark, query."""
        lines = tuple(headers)
        signed = self._as_ours(method, target, lines) or self._by_library(method, target, lines)
        if not _NONCE.fullmatch(signed.nonce):
            raise UnauthenticatedError("a request signature has no nonce of ours")
        if signed.created < self._started_at:
            raise UnavailableError("a request was signed before this service started")
        self._nonces.use(signed.member, signed.nonce, self._clock())
        return Caller(signed.member, _content_digest(signed.content_digest))

    def _by_library(self, method: str, target: str, lines: tuple[tuple[str, str], ...]) -> _Signed:
        """Check a signature in any of the forms that the standard leaves to who signs."""
        message = _Message(method, f"https://any{target}", _Headers(lines))
        try:
            (result,) = self._library.verify(
                message, max_age=dt.timedelta(seconds=MAX_AGE_S), expect_tag=self._tag, require_components=COMPONENTS
            )
        except (HTTPMessageSignaturesException, ValueError) as error:
            raise UnauthenticatedError(f"a request signature does not hold: {error}") from None
        return _Signed(
            parse_digest(str(result.parameters["keyid"])),
            int(result.parameters["created"]),
            result.nonce or "",
            result.covered_components['"content-digest"'],
        )

    def _as_ours(self, method: str, target: str, lines: tuple[tuple[str, str], ...]) -> _Signed | None:
        """Check a signature in the form in which `RequestSigner` writes it; None: it has another one.

        The library takes longer to read a signature than a batch of events takes to be scored.
        """
        values = [[value for other, value in lines if other.lower() == name] for name in _SIGNED_HEADERS]
        found = _TARGET.fullmatch(target)
        if not found or not method.isupper() or [len(each) for each in values] != [1, 1, 1]:
            return None
        (digest,), (params,), (signature,) = values
        said, bits = self._params.fullmatch(params), _SIGNATURE.fullmatch(signature)
        if not said or not bits or not _DIGEST.fullmatch(digest):
            return None
        created, keyid, nonce = int(said[1]), bytes.fromhex(said[2]), said[3]
        check_age(self._clock() - created)
        if not self._is_member(keyid):
            raise UnauthenticatedError("a request signature does not hold: nobody here has its key")
        base = signature_base(method, found[1], found[2], digest, params.removeprefix(f"{LABEL}="))
        try:
            Ed25519PublicKey.from_public_bytes(keyid).verify(base64.b64decode(bits[1]), base)
        except (InvalidSignature, ValueError):
            raise UnauthenticatedError("a request signature does not hold") from None
        return _Signed(keyid, created, nonce, digest)


class _Signed(NamedTuple):
    """What a signature that holds says."""

    member: bytes
    created: int
    nonce: str
    content_digest: str


@dataclass(frozen=True)
class _Headers:
    lines: tuple[tuple[str, str], ...]

    def items(self) -> Iterable[tuple[str, str]]:
        return self.lines


@dataclass(frozen=True)
class _Message:
    method: str
    url: str
    headers: _Headers


class _Members(HTTPSignatureKeyResolver):
    def __init__(self, is_member: Callable[[bytes], bool]) -> None:
        self._is_member = is_member

    def resolve_public_key(self, key_id: str) -> Ed25519PublicKey | None:
        try:
            key = parse_digest(key_id)
        except MessageError:
            return None
        return Ed25519PublicKey.from_public_bytes(key) if self._is_member(key) else None


class _Library(HTTPMessageVerifier):
    """The library's verifier with our clock, and an answer that helps when clocks differ."""

    def __init__(self, clock: Callable[[], float], **options: Any) -> None:  # noqa: ANN401 - passed on
        super().__init__(**options)
        self._clock = clock

    def validate_created_and_expires(self, sig_input: Any, max_age: dt.timedelta | None = None) -> None:  # noqa: ANN401
        created = sig_input.params.get("created")
        del max_age
        if type(created) is not int:
            raise UnauthenticatedError("a request signature has no time")
        check_age(self._clock() - created)


def check_age(age_s: float) -> None:
    """Refuse signatures that are too old, or from too far in the future.

    Raises
    ------
    UnauthenticatedError
        With the age, since a clock may be wrong.
    """
    if not -MAX_SKEW_S <= age_s <= MAX_AGE_S + MAX_SKEW_S:
        raise UnauthenticatedError(
            f"a request was signed {age_s:.0f} s ago",
            hint=f"by this service's clock the request was signed {age_s:.0f} s ago: set your clock",
        )


def _pattern_of(tag: str) -> re.Pattern[str]:
    """Return how `RequestSigner` says what it signs: time, key and nonce are groups."""
    fixed = re.escape(f"{LABEL}=" + params_of("KEY", tag))
    fixed = fixed.replace(re.escape("{:d}"), r"(0|[1-9][0-9]{0,14})").replace("KEY", r"([0-9a-f]{64})")
    return re.compile(fixed.replace(re.escape("{}"), r"([A-Za-z0-9_=-]*)"), re.ASCII)


def _content_digest(text: str) -> bytes:
    found = _DIGEST.fullmatch(text)
    if not found:
        raise UnauthenticatedError("the digest of a request body must be one SHA-256")
    return base64.b64decode(found[1])
