"""What lies between members and coordinator: loses, delays, doubles, reorders, cuts and flips."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import TYPE_CHECKING

from fedanomaly.errors import FedAnomalyError, ProtocolError, UnauthenticatedError, UnavailableError
from fedanomaly.protocol import Post
from fedanomaly.transport.verification import MAX_SKEW_S
from tests.faults.speed import parsed

if TYPE_CHECKING:
    from tests.faults.node import Node
    from tests.faults.world import World


class Network:
    """The connections of all members to the coordinator."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.late: list[tuple[bytes, bytes | None]] = []

    def send(self, node: Node, post: Post) -> None:
        """Carry a post to the coordinator, or not."""
        self.world.watch.left(node, post)
        data, attachment = post.envelope.to_bytes(), post.attachment
        how = self.world.luck("lost", "late", "doubled", "damaged", "no answer")
        self.world.say(f"{node.label} sends {post.envelope.kind} {self.world.ring.shown(post.envelope.digest)} {how}")
        self._check_skew(node)
        if how == "lost":
            raise UnavailableError("the request was lost")
        if how == "late":
            self.late.append((data, attachment))
            raise UnavailableError("the request is on its way")
        if how == "damaged":
            if attachment and self.world.random.random() < 0.5:
                attachment = self.damaged(attachment)
            else:
                data = self.damaged(data)
        self.world.hub.post(data, attachment)
        if how == "doubled":
            self.world.hub.post(data, attachment)
        if how == "no answer":
            raise UnavailableError("the answer was lost")

    def deliver_late(self) -> None:
        """Let something arrive that was sent long ago, in any order; sometimes once more later."""
        if not self.late:
            return
        at = self.world.random.randrange(len(self.late))
        data, attachment = self.late[at] if self.world.random.random() < 0.2 else self.late.pop(at)
        self.quietly(lambda: self.world.hub.post(data, attachment))

    def quietly(self, deliver: Callable[[], None]) -> None:
        try:
            deliver()
        except FedAnomalyError as error:
            self.world.say(f"refused: {error}")

    def feed(self, node: Node, after: int, chain: bytes) -> tuple[list[tuple[bytes, float]], int]:
        """Return entries after a position, checked as the client checks them, and the head that is told."""
        self._check_skew(node)
        how = self.world.luck("lost", "damaged", "stale", "cut")
        if how == "lost":
            raise UnavailableError("the answer was lost")
        entries = self.world.hub.feed(after, chain)
        head = after + len(entries)
        if entries and how == "damaged":
            at = self.world.random.randrange(len(entries))
            entries = [*entries[:at], (self.damaged(entries[at][0]), entries[at][1]), *entries[at + 1 :]]
        for data, _ in entries:
            parsed(data).verify()
        if how in ("stale", "cut"):
            entries = entries[: self.world.random.randrange(len(entries) + 1)]
        return entries, after + len(entries) if how == "stale" else head

    def fetch(self, node: Node, digest: bytes) -> bytes:
        """Return an attachment, held against its digest as the client does."""
        self._check_skew(node)
        how = self.world.luck("lost", "damaged")
        if how == "lost":
            raise UnavailableError("the answer was lost")
        data = self.world.hub.blob(digest)
        if how == "damaged":
            data = self.damaged(data)
        if hashlib.sha256(data).digest() != digest:
            raise ProtocolError("the blob is not what its digest says")
        return data

    def damaged(self, data: bytes) -> bytes:
        """Return bytes with the end cut off, or a bit flipped."""
        at = self.world.random.randrange(len(data))
        if self.world.random.random() < 0.3:
            return data[:at]
        return data[:at] + bytes([data[at] ^ 1 << self.world.random.randrange(8)]) + data[at + 1 :]

    def _check_skew(self, node: Node) -> None:
        """Refuse a request whose time is far off, as signed requests are."""
        if abs(node.skew_s - self.world.hub_skew_s) > MAX_SKEW_S:
            raise UnauthenticatedError("the request is too old, or from the future")
