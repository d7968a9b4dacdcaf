"""What a federation agrees on, and what a node insists on."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from fedanomaly.errors import ConfigError
from fedanomaly.fhe import EPOCH_QUOTA_COEFFICIENTS, Ask, least_contributors
from fedanomaly.protocol.messages import EpochCall, Founded, JobRequest
from fedanomaly.types.canonical import begin, item_int

MAX_MEMBERS = 250


@dataclass(frozen=True, kw_only=True)
class Settings:
    """Settings of a federation, fixed when its log is opened.

    Parameters
    ----------
    name : str
        Name of the federation.
    members : int
        How many organisations take part, at least 3.
    threshold : int
        Decryption threshold t, 2 <= t < members: up to t - 1 members may
        collude with the coordinator and learn nothing.
    join_s, contribute_s, statement_s, vote_s : float
        Seconds that the coordinator waits in each phase of a round.
    attempts : int
        Rounds that one step may take before its job ends void.
    quota : int
        Coefficients that a key epoch may use.
    """

    name: str
    members: int
    threshold: int = 2
    join_s: float = 60.0
    contribute_s: float = 120.0
    statement_s: float = 60.0
    vote_s: float = 120.0
    attempts: int = 3
    quota: int = EPOCH_QUOTA_COEFFICIENTS

    def __post_init__(self) -> None:
        if not self.name:
            raise ConfigError("a federation needs a name")
        if not 3 <= self.members <= MAX_MEMBERS:
            raise ConfigError(
                f"a federation has 3 to {MAX_MEMBERS} members", hint="a sum of fewer than three hides nobody"
            )
        if not 2 <= self.threshold < self.members:
            raise ConfigError("the decryption threshold must be at least 2 and below the number of members")
        if min(self.join_s, self.contribute_s, self.statement_s, self.vote_s) <= 0 or self.attempts < 1:
            raise ConfigError("deadlines and attempts must be positive")
        if not 0 < self.quota <= EPOCH_QUOTA_COEFFICIENTS:
            raise ConfigError(f"the quota of a key epoch is at most {EPOCH_QUOTA_COEFFICIENTS} coefficients")

    @property
    def least(self) -> int:
        """The smallest set whose sum may be opened."""
        return least_contributors(self.threshold)

    def founded(self) -> Founded:
        """Return the message that opens the log."""
        return Founded(
            name=self.name,
            members=self.members,
            threshold=self.threshold,
            quota=self.quota,
            attempts=self.attempts,
            join_ms=round(self.join_s * 1000),
            contribute_ms=round(self.contribute_s * 1000),
            statement_ms=round(self.statement_s * 1000),
            vote_ms=round(self.vote_s * 1000),
        )

    @classmethod
    def of(cls, founded: Founded) -> Settings:
        """Return the settings that a log was opened with."""
        return cls(
            name=founded.name,
            members=founded.members,
            threshold=founded.threshold,
            quota=founded.quota,
            attempts=founded.attempts,
            join_s=founded.join_ms / 1000,
            contribute_s=founded.contribute_ms / 1000,
            statement_s=founded.statement_ms / 1000,
            vote_s=founded.vote_ms / 1000,
        )


def policy_hash(members: int, threshold: int, quota: int) -> bytes:
    """Return the hash of what every manifest of an epoch must keep to."""
    body = item_int("members", members) + item_int("threshold", threshold) + item_int("quota", quota)
    return hashlib.sha256(begin("policy") + body).digest()


@dataclass(frozen=True, kw_only=True)
class Policy:
    """What a node accepts, whatever it is told.

    Parameters
    ----------
    min_members : int
        Smallest roster.
    min_threshold : int
        Smallest decryption threshold.
    identities : tuple of bytes
        Public keys that a roster may hold; empty: whoever the coordinator
        enrolled. Pin them where the coordinator is not trusted to invite: t
        members that it made up itself could open a contribution together.
    detectors : tuple of str
        Detectors that may be trained, and ``"evaluation"`` where models may be
        evaluated; empty: all that are known here, but for those of other
        packages, which a node takes part in by name only.
    datasets : tuple of str
        Local data sets that may take part; empty: all.
    max_message_bytes : int
        Largest contribution to one round.
    """

    min_members: int = 3
    min_threshold: int = 2
    identities: tuple[bytes, ...] = ()
    detectors: tuple[str, ...] = ()
    datasets: tuple[str, ...] = ()
    max_message_bytes: int = 256_000_000

    def __post_init__(self) -> None:
        if self.min_members < 3 or self.min_threshold < 2:
            raise ConfigError("a policy cannot go below 3 members and a threshold of 2")

    def refuses_epoch(self, call: EpochCall) -> str | None:
        """Return why a roster is not acceptable, or None."""
        if len(call.identities) < self.min_members:
            return f"the roster has fewer than {self.min_members} members"
        if call.threshold < self.min_threshold:
            return f"the decryption threshold is below {self.min_threshold}"
        strangers = [identity.hex()[:16] for identity in call.identities if identity not in self.identities]
        if self.identities and strangers:
            return f"the roster holds identities that are not pinned here: {', '.join(strangers)}"
        return None

    def refuses_job(self, request: JobRequest) -> str | None:
        """Return why a job is not acceptable, or None."""
        if self.detectors and request.detector not in self.detectors:
            return f"the policy does not allow the detector {request.detector}"
        if self.datasets and request.dataset not in self.datasets:
            return f"the policy does not allow the data set {request.dataset}"
        return None

    def refuses_ask(self, ask: Ask) -> str | None:
        """Return why a round is not acceptable, or None."""
        if ask.layout.message_bytes > self.max_message_bytes:
            return f"a contribution would have {ask.layout.message_bytes} bytes"
        return None
