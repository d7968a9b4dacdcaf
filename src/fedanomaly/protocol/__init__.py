"""The protocol: one ordered log of signed envelopes, one fold, two roles.

Member and coordinator are pure state machines over the same `Transcript`. Keys,
durable rows, the detector and attachments come in as capabilities, so the same
code runs in services, in `fa.simulate` and under fault injection.
"""

from fedanomaly.protocol.capabilities import Blobs, Learner, Rows, Secrets, Signer, Stored, Vault
from fedanomaly.protocol.coordinator import Coordinator
from fedanomaly.protocol.envelope import NO_ATTACHMENT, Entry, Envelope, Post, seal
from fedanomaly.protocol.epochs import Epoch, EpochState
from fedanomaly.protocol.jobs import Job, JobState
from fedanomaly.protocol.member import Member
from fedanomaly.protocol.messages import Enrol, JobEnd, JobRequest, Message
from fedanomaly.protocol.relations import Relation
from fedanomaly.protocol.retention import unneeded
from fedanomaly.protocol.rounds import Round, RoundState
from fedanomaly.protocol.settings import Policy, Settings
from fedanomaly.protocol.transcript import Transcript

__all__ = [
    "NO_ATTACHMENT",
    "Blobs",
    "Coordinator",
    "Enrol",
    "Entry",
    "Envelope",
    "Epoch",
    "EpochState",
    "Job",
    "JobEnd",
    "JobRequest",
    "JobState",
    "Learner",
    "Member",
    "Message",
    "Policy",
    "Post",
    "Relation",
    "Round",
    "RoundState",
    "Rows",
    "Secrets",
    "Settings",
    "Signer",
    "Stored",
    "Transcript",
    "Vault",
    "seal",
    "unneeded",
]
