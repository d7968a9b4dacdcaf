"""A log that an adversary shows to one member only, and what that member lets out."""

from __future__ import annotations

from collections.abc import Iterable

from fedanomaly.errors import FedAnomalyError
from fedanomaly.fhe import Ask, JoinPost
from fedanomaly.protocol import Entry, Envelope, Post, Transcript, seal
from fedanomaly.protocol.messages import ContributionPost, Message, Statement
from fedanomaly.simulation import Federation
from fedanomaly.types.canonical import VERSION, item, item_int
from tests.unit.protocol.driving import read


def private(posts: Iterable[Post]) -> list[str]:
    """Return the kinds of posts that carry anything made from a member's data: nothing else ever does."""
    found = []
    for post in posts:
        message = read(post)
        if isinstance(message, ContributionPost) or (isinstance(message, Statement) and message.opens):
            found.append(message.kind)
    return found


def raw_manifest(
    ask: Ask,
    *,
    joins: Iterable[JoinPost],
    decryptors: Iterable[int],
    fixed: Iterable[int] = (),
    ciphertexts: int | None = None,
    version: str = VERSION.decode(),
) -> bytes:
    """Return the bytes of a manifest that nobody has checked."""
    return (
        item("version", version.encode())
        + item("label", b"manifest")
        + ask.to_bytes()
        + item_int("ciphertexts", ask.layout.ciphertexts if ciphertexts is None else ciphertexts)
        + item("previous", bytes(32))
        + item("certificate", b"")
        + item("F", _listed(fixed))
        + item("J", b"".join(join.to_bytes() for join in joins))
        + item("D", _listed(decryptors))
    )


def _listed(indices: Iterable[int]) -> bytes:
    return b"".join(index.to_bytes(2, "little") for index in indices)


class Fork:
    """What one member is shown.

    Parameters
    ----------
    fed : Federation
        The others, and whose coordinator signs.
    name : str
        The member.
    entries : iterable of Envelope, optional
        A log from its start, shown after a restart; the common log to its end if not given.
    """

    def __init__(self, fed: Federation, name: str, entries: Iterable[Envelope] | None = None) -> None:
        if entries is not None:
            fed.restart(name)
        self.fed, self.member = fed, fed.members[name]
        self.blobs = fed.blobs
        self.errors: list[FedAnomalyError] = []
        self.seen: list[Envelope] = []
        shown = [entry.envelope for entry in fed.log] if entries is None else list(entries)
        for envelope in shown[self.member.transcript.head :]:
            assert self.show(envelope) is None

    @property
    def log(self) -> Transcript:
        return self.member.transcript

    def show(self, envelope: Envelope) -> FedAnomalyError | None:
        """Show the next entry; returns what the member has against it."""
        self.seen.append(envelope)
        try:
            self.member.accept(Entry(self.log.head + 1, self.fed.now_s, envelope))
        except FedAnomalyError as error:
            return error
        return None

    def say(self, message: Message, attachment: bytes | None = None) -> FedAnomalyError | None:
        """Show something that the coordinator signs."""
        post = seal(self.fed._identity, self.fed._federation, message.kind, message.to_bytes(), attachment)
        if post.attachment:
            self.blobs[post.envelope.attachment] = post.attachment
        return self.show(post.envelope)

    def answers(self) -> list[Post]:
        """Return everything that the member lets out; it is not in its log until it is shown."""
        posts: list[Post] = []
        try:
            for post in self.member.act(self.blobs.__getitem__):
                posts.append(post)
                if post.attachment:
                    self.blobs[post.envelope.attachment] = post.attachment
        except FedAnomalyError as error:
            self.errors.append(error)
        return posts

    def go_on(self) -> list[Post]:
        """Let the member act, and show it its own posts."""
        posts = self.answers()
        for post in posts:
            assert self.show(post.envelope) is None
        return posts
