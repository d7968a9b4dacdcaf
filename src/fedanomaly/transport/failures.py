"""Errors across HTTP: which status and body an error has, which error a body is.

Only the public text of an error leaves the machine. A hint leaves only with
a refusal that was written for the peer.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from fedanomaly.errors import (
    CapacityError,
    ConfigError,
    CryptoError,
    DataError,
    FedAnomalyError,
    InvitationError,
    JobError,
    NotFoundError,
    ProtocolError,
    RefusedError,
    StorageError,
    UnauthenticatedError,
    UnavailableError,
)

MAX_TEXT = 300
MAX_RETRY_AFTER_S = 60.0


# From the general to the special; the last one that fits stands.
_STATUS: tuple[tuple[type[FedAnomalyError], int], ...] = (
    (FedAnomalyError, 500),
    (ConfigError, 500),
    (DataError, 422),
    (CryptoError, 422),
    (CapacityError, 413),
    (ProtocolError, 409),
    (RefusedError, 403),
    (InvitationError, 403),
    (UnauthenticatedError, 401),
    (JobError, 409),
    (NotFoundError, 404),
    (UnavailableError, 503),
)


class Failure(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The body of every answer that is not a success; JSON."""

    code: str
    message: str
    hint: str | None = None
    retry_after_s: float | None = None


def status_of(error: FedAnomalyError) -> int:
    """Return the HTTP status of an error."""
    return next(status for kind, status in reversed(_STATUS) if isinstance(error, kind))


def failure_of(error: FedAnomalyError) -> Failure:
    """Return what a peer may read of an error."""
    return Failure(
        code=error.code,
        message=error.public,
        hint=error.hint if error.hint_is_public else None,
        retry_after_s=error.retry_after_s if isinstance(error, UnavailableError) else None,
    )


def error_of(status: int, body: bytes, peer: str = "coordinator") -> FedAnomalyError:
    """Return the error that an answer stands for; the peer's words are not trusted."""
    try:
        failure = msgspec.json.decode(body, type=Failure)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        # Not our own words: a proxy in between, or another program.
        if status >= 500 or status in {408, 429}:
            return UnavailableError(f"the {peer}'s side answered with HTTP status {status}")
        return ProtocolError(f"HTTP status {status} without a body of ours", hint=f"is this the {peer}'s URL?")
    kind = _by_code().get(failure.code, ProtocolError)
    message, hint = plain_text(failure.message), failure.hint and plain_text(failure.hint)
    if issubclass(kind, UnavailableError):
        if issubclass(kind, StorageError):  # its disk, not ours
            kind, message = UnavailableError, f"the {peer} answered: {message}"
        return kind(message, hint=hint, retry_after_s=min(max(failure.retry_after_s or 1.0, 0.0), MAX_RETRY_AFTER_S))
    return kind(f"the {peer} answered: {message}", hint=hint)


def _by_code() -> dict[str, type[FedAnomalyError]]:
    found: dict[str, type[FedAnomalyError]] = {}
    for kind in _descendants(FedAnomalyError):
        found.setdefault(kind.code, kind)
    return found


def _descendants(kind: type[FedAnomalyError]) -> Iterator[type[FedAnomalyError]]:
    yield kind
    for child in kind.__subclasses__():
        yield from _descendants(child)


def plain_text(text: str, limit: int = MAX_TEXT) -> str:
    """Return a peer's text, cut, and without control characters: they would act on our logs and terminals."""
    return "".join(letter if letter.isprintable() else " " for letter in text[:limit])
