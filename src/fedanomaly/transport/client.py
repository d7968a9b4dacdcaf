"""What a node says to its coordinator."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType
from typing import Self

from fedanomaly.errors import CapacityError, DivergedError, ProtocolError, VersionError
from fedanomaly.protocol import Entry, Envelope
from fedanomaly.transport.connection import Connection, Patience
from fedanomaly.transport.invitations import Invitation
from fedanomaly.transport.signing import RequestSigner, Signer
from fedanomaly.transport.wire import (
    API_VERSION,
    JSON,
    MAX_ENVELOPE_BYTES,
    MAX_FEED_BYTES,
    MAX_HEAD_BYTES,
    MSGPACK,
    PART_BYTES,
    Enrolment,
    FederationInfo,
    Feed,
    Parts,
    Posted,
    Status,
    decode,
    encode,
)

MAX_STATUS_BYTES = 8 * 1024 * 1024
DEFAULT_PATIENCE = Patience()
DIVERGED_HINT = "if the coordinator was restored: restore a newer backup of it, or found a new federation"
"""What its members can do about a log that went back."""


class CoordinatorClient:
    """A member's connection to its coordinator; safe to share between threads.

    Every call is idempotent and is repeated on its own when nobody answers.

    Parameters
    ----------
    url : str
        Origin of the coordinator.
    signer : Signer
        The member's identity.
    coordinator, federation : bytes
        Its public key and the federation's identifier, as pinned at enrolment.
    patience : Patience
        Timeouts and retries.
    max_blob_bytes : int
        Largest blob that is sent or taken.
    ca_file : Path, optional
        Certificates to trust instead of the system's.
    allow_http : bool
        Speak plain HTTP beyond this machine.
    clock : callable
        Seconds since the Unix epoch.
    """

    def __init__(
        self,
        url: str,
        *,
        signer: Signer,
        coordinator: bytes,
        federation: bytes,
        patience: Patience = DEFAULT_PATIENCE,
        max_blob_bytes: int = 256 * 1024 * 1024,
        ca_file: Path | None = None,
        allow_http: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._coordinator, self._federation = coordinator, federation
        self._max_blob_bytes = max_blob_bytes
        signing = RequestSigner(signer, federation, clock)
        self._connection = Connection(url, signer=signing, patience=patience, ca_file=ca_file, allow_http=allow_http)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections; a call under way fails."""
        self._connection.close()

    def federation(self) -> FederationInfo:
        """Return who answers, which must be who was pinned.

        Raises
        ------
        VersionError
            If the coordinator speaks another version.
        ProtocolError
            If another coordinator or federation answers.
        """
        info = decode(
            FederationInfo,
            self._connection.call("GET", "/v1/federation", limit_bytes=MAX_HEAD_BYTES, signed=False),
        )
        if info.version != API_VERSION:
            raise VersionError("the coordinator speaks another version", hint="upgrade the older side")
        if (info.coordinator, info.federation) != (self._coordinator, self._federation):
            raise ProtocolError("another coordinator answers at this URL", hint="ask it for a new invitation")
        return info

    def enrol(self, invitation: Invitation, envelope: Envelope) -> int:
        """Spend an invitation on the enrolment in `envelope`; returns its position.

        Raises
        ------
        RefusedError
            If the invitation is unknown, has expired, or is for another name.
        ReplayError
            If it was used before.
        """
        body = encode(Enrolment(secret=invitation.secret, envelope=envelope.to_bytes()))
        return self._posted("/v1/enrol", body, MSGPACK, signed=False)

    def post(self, envelope: Envelope) -> int:
        """Append an envelope, its attachment being uploaded; returns its position in the log."""
        return self._posted("/v1/envelopes", envelope.to_bytes(), "application/octet-stream", signed=True)

    def feed(self, after: int, wait_s: float = 0.0, *, chain: bytes | None = None) -> tuple[list[Entry], int]:
        """Return what follows position `after`, and the position of the log's last entry.

        Parameters
        ----------
        after : int
            Position of the last entry that the caller has.
        wait_s : float
            How long to wait for something new if there is nothing.
        chain : bytes, optional
            Hash of the log up to there, as the caller knows it.

        Raises
        ------
        DivergedError
            If the coordinator's log is shorter, or another one up to there.
        ProtocolError
            If entries are missing or out of order, or nobody signed one: it was
            changed on the way, and must not become part of what this node has seen.
        MessageError
            If an entry is not an envelope.
        """
        params = {"after": after, "wait_s": wait_s}
        limit = MAX_FEED_BYTES + MAX_ENVELOPE_BYTES
        answer = self._connection.call("GET", "/v1/envelopes", limit_bytes=limit, params=params, wait_s=wait_s)
        feed = decode(Feed, answer)
        if [entry.seq for entry in feed.entries] != list(range(after + 1, after + 1 + len(feed.entries))):
            raise ProtocolError("the coordinator left entries of the log out")
        if chain is not None and (feed.head < after or feed.chain != chain):
            what = f"has {feed.head} entries" if feed.head < after else "is another one up to there"
            raise DivergedError(
                f"this node has seen {after} entries of the log; the coordinator's {what}", hint=DIVERGED_HINT
            )
        entries = [Entry(entry.seq, entry.received_at, Envelope.from_bytes(entry.data)) for entry in feed.entries]
        for entry in entries:
            entry.envelope.verify()
        return entries, feed.head

    def status(self) -> Status:
        """Return the federation at a glance."""
        return decode(Status, self._connection.call("GET", "/v1/status", limit_bytes=MAX_STATUS_BYTES), JSON)

    def upload(self, data: bytes, progress: Callable[[int], None] | None = None) -> bytes:
        """Send a blob, or what is missing of it, and return its digest.

        A blob of one part takes one request: the coordinator has all of it then.

        Parameters
        ----------
        data : bytes
            The blob.
        progress : callable, optional
            Called with the bytes of each part that has arrived.
        """
        if len(data) > self._max_blob_bytes:
            raise CapacityError(f"a blob may have {self._max_blob_bytes} bytes at most")
        digest = hashlib.sha256(data).digest()
        path, params = f"/v1/blobs/{digest.hex()}", {"size": len(data)}
        in_one = 0 < len(data) <= PART_BYTES
        present = Parts(whole=False)
        if not in_one:
            answer = self._connection.call("GET", f"{path}/parts", limit_bytes=MAX_HEAD_BYTES, params=params)
            present = decode(Parts, answer)
        if present.whole:
            return digest
        for number, part in enumerate(_cut(data)):
            if present.parts.get(number) != hashlib.sha256(part).digest():
                self._connection.call(
                    "PUT", f"{path}/parts/{number}", limit_bytes=MAX_HEAD_BYTES, params=params, body=(part,)
                )
            if progress:
                progress(len(part))
        if not in_one:
            self._connection.call("POST", path, limit_bytes=MAX_HEAD_BYTES, params=params)
        return digest

    def download(self, digest: bytes) -> bytes:
        """Return a blob; when the connection breaks, only the rest is asked for again.

        Raises
        ------
        NotFoundError
            If there is no such blob.
        ProtocolError
            If what comes is not what the digest says.
        """
        data = bytearray()
        for attempt in self._connection.attempts():
            with attempt:
                if data and hashlib.sha256(data).digest() == digest:  # it broke after the last byte
                    break
                room = self._max_blob_bytes - len(data)
                path = f"/v1/blobs/{digest.hex()}"
                for piece in self._connection.stream(path, start=len(data), limit_bytes=room):
                    data += piece
        if hashlib.sha256(data).digest() != digest:
            raise ProtocolError("the blob is not what its digest says")
        return bytes(data)

    def _posted(self, path: str, body: bytes, media_type: str, *, signed: bool) -> int:
        answer = self._connection.call(
            "POST", path, limit_bytes=MAX_HEAD_BYTES, body=(body,), media_type=media_type, signed=signed
        )
        return decode(Posted, answer).seq


def _cut(data: bytes) -> Iterator[bytes]:
    for start in range(0, len(data), PART_BYTES):
        yield data[start : start + PART_BYTES]
