"""Every error we raise on purpose.

FedAnomalyError
├── ConfigError              FA100  the operator must change a setting
│   ├── KeystoreError        FA101  a keystore does not open, or is unsafe as it lies
│   └── InUseError           FA102  another process works on this home
├── DataError                FA200  the caller passed unusable data
│   ├── ShapeError           FA201  an array has the wrong shape
│   ├── SchemaError          FA202  a table does not fit its schema
│   └── RangeError           FA203  scores left the range that an encrypted batch can hold
├── CryptoError              FA300  a message holds no key, plaintext or score
│   ├── MessageError         FA301  bytes are not a message of ours
│   ├── RejectedError        FA302  a sum did not open; one answer for every cause
│   └── CapacityError        FA303  a step does not fit its ciphertexts or its quota
├── ProtocolError            FA400  a peer broke the rules; never retry
│   ├── ReplayError          FA401  something that may be used once came twice
│   ├── RefusedError         FA402  a rule or the policy of this node forbids it
│   │   └── DifferencingError  FA408  the difference from earlier sums would show rows of too few
│   ├── VersionError         FA403  a peer speaks a version that is not known here
│   ├── DivergedError        FA405  a log is not the one that was seen before
│   ├── UnauthenticatedError FA406  a request does not prove who sends it
│   ├── InvitationError      FA407  an invitation does not admit this node
│   └── WrongAnswerError     FA409  a scoring service answers with something else than the model's scores
├── NotFoundError            FA404  no such thing
├── UnavailableError         FA500  safe to retry after `retry_after_s`
│   ├── CertificateError     FA501  the certificate of the other side does not hold
│   └── StorageError         FA502  the disk of this machine does not take a write
└── JobError                 FA600  a job ended without a model

`str(error)` is for logs on this machine; `error.public` is what a peer may
read. Neither holds a key, a plaintext, a statistic or a score.
"""

from __future__ import annotations

from typing import ClassVar


class FedAnomalyError(Exception):
    """Base of every error that we raise on purpose.

    Parameters
    ----------
    message : str
        What went wrong, for the log of this machine.
    hint : str, optional
        The next step for whoever reads it.
    """

    code: ClassVar[str] = "FA000"
    public: ClassVar[str] = "the request could not be carried out"
    retry_is_safe: ClassVar[bool] = False
    hint_is_public: ClassVar[bool] = False
    """Whether the hint is written for a peer, and goes out with the public text."""

    def __init__(self, message: str, *, hint: str | None = None) -> None:
        super().__init__(message)
        self.hint = hint

    def __str__(self) -> str:
        text = f"{self.code}: {super().__str__()}"
        return f"{text} ({self.hint})" if self.hint else text


class ConfigError(FedAnomalyError):
    """The operator must change a setting."""

    code = "FA100"
    public = "the service is not configured for this"


class KeystoreError(ConfigError):
    """A keystore does not open, or is unsafe as it lies."""

    code = "FA101"
    public = "the keystore is not usable"


class InUseError(ConfigError):
    """Another process works on this home; two on one ledger could answer twice."""

    code = "FA102"
    public = "another process works on this home"


class DataError(FedAnomalyError, ValueError):
    """The caller passed unusable data; a ValueError as well, as scikit-learn's callers expect."""

    code = "FA200"
    public = "the data cannot be used"


class ShapeError(DataError):
    """An array has the wrong shape."""

    code = "FA201"
    public = "an array has the wrong shape"


class SchemaError(DataError):
    """A table does not fit its schema."""

    code = "FA202"
    public = "the data do not fit their schema"


class RangeError(DataError):
    """Scores left the range that an encrypted batch can hold, so there are none: a wrong one is never given."""

    code = "FA203"
    public = "the scores left the range of the batch"


class CryptoError(FedAnomalyError):
    """A cryptographic operation failed; the text holds no key and no plaintext."""

    code = "FA300"
    public = "a cryptographic check failed"


class MessageError(CryptoError):
    """Bytes are not a message of ours: size, range or padding is wrong."""

    code = "FA301"
    public = "the bytes are not a valid message"


class RejectedError(CryptoError):
    """A sum did not open. Every cause looks the same: anything else is an oracle."""

    code = "FA302"
    public = "rejected"


class CapacityError(CryptoError):
    """A step does not fit its ciphertexts, or a key epoch has used up its quota."""

    code = "FA303"
    public = "it does not fit: too large, or a quota is used up"


class ProtocolError(FedAnomalyError):
    """A peer broke the rules; a retry cannot help."""

    code = "FA400"
    public = "the message breaks the protocol"


class ReplayError(ProtocolError):
    """Something that may be used once came twice."""

    code = "FA401"
    public = "this was used before"


class RefusedError(ProtocolError):
    """A rule or the policy of this node forbids what was asked."""

    code = "FA402"
    public = "refused"


class DifferencingError(RefusedError):
    """The difference between this sum and earlier ones would show the rows of too few members."""

    code = "FA408"
    public = "earlier sums over these rows were over other members; new rows of everybody are needed"


class VersionError(ProtocolError):
    """A peer speaks a version that is not known here."""

    code = "FA403"
    public = "this version is not spoken here"


class DivergedError(ProtocolError):
    """A federation's log is shorter than, or differs from, what this node has seen of it before."""

    code = "FA405"
    public = "the log is not the one that was seen before"


class UnauthenticatedError(ProtocolError):
    """A request does not prove who sends it: its signature or its token is missing, wrong, old or used."""

    code = "FA406"
    public = "the request is not signed as it must be"
    hint_is_public = True


class InvitationError(ProtocolError):
    """An invitation does not admit this node: it is unknown, used, expired, or for another name."""

    code = "FA407"
    public = "the invitation does not admit this node"
    hint_is_public = True


class WrongAnswerError(ProtocolError):
    """A scoring service answers with something else than the model's scores."""

    code = "FA409"
    public = "the scores are not those of the model"


class NotFoundError(FedAnomalyError):
    """There is no such thing."""

    code = "FA404"
    public = "not found"


class UnavailableError(FedAnomalyError):
    """Nobody answers right now; the same request may be sent again.

    Parameters
    ----------
    retry_after_s : float
        Seconds to wait before the next try.
    """

    code = "FA500"
    public = "not available right now"
    retry_is_safe = True

    def __init__(self, message: str, *, hint: str | None = None, retry_after_s: float = 1.0) -> None:
        super().__init__(message, hint=hint)
        self.retry_after_s = retry_after_s


class CertificateError(UnavailableError):
    """The certificate of the other side does not hold; nothing was sent.

    A retry is safe, and helps only once somebody has changed a certificate or a clock.
    """

    code = "FA501"
    public = "the certificate of the other side does not hold"


class StorageError(UnavailableError):
    """The disk of this machine does not take a write: it is full, read-only or failing.

    Nothing of it is there; the services try again by themselves.
    """

    code = "FA502"
    public = "the disk does not take a write right now"


class JobError(FedAnomalyError):
    """A job of the federation ended without a model; asking again makes a new job."""

    code = "FA600"
    public = "the job ended without a model"
