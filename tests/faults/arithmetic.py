"""Where a node's epoch secrets come from: the stand-in or the engine, each watched."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, cast

import numpy as np

from fedanomaly.fhe import Contribution, DecryptionShare, Manifest
from fedanomaly.fhe.secret import EpochSecrets
from fedanomaly.protocol import Secrets
from tests.faults.ring import FastSecrets

if TYPE_CHECKING:
    from tests.faults.invariants import Watch
    from tests.faults.node import Node


class Watched:
    """Epoch secrets that tell the watch what goes into each pseudo-random function, and what comes out."""

    def __init__(self, secrets: Secrets, index: int, watch: Watch) -> None:
        self._secrets, self._index, self._watch = secrets, index, watch

    def __getattr__(self, name: str) -> Any:
        return getattr(self._secrets, name)

    def contribution(self, manifest: Manifest, values: np.ndarray) -> Contribution:
        made = self._secrets.contribution(manifest, values)
        payload = b"" if manifest.ask.kind == "test" else values.tobytes()
        self._log(manifest, "error and public polynomial", (), payload, made.residues)
        return made

    def share(self, manifest: Manifest, contributors: tuple[int, ...]) -> DecryptionShare:
        made = self._secrets.share(manifest, contributors)
        self._log(manifest, "smudging, zero masks and pad", contributors, b"", made.residues)
        return made

    def _log(self, manifest: Manifest, purpose: str, contributors: tuple[int, ...], *payload: bytes) -> None:
        for ciphertext in range(manifest.ask.layout.ciphertexts):
            key = (manifest.ask.epoch, self._index, manifest.hash, ciphertext, contributors, purpose)
            self._watch.drew(key, payload)


class Source:
    """Draws and reads the secrets of one start of one node."""

    def __init__(self, ring: Ring, watch: Watch, entropy: Callable[[int], bytes]) -> None:
        self._ring, self._watch, self._entropy = ring, watch, entropy

    def generate(self, *, members: int, threshold: int, index: int) -> Secrets:
        if self._ring.real:
            secrets: Secrets = EpochSecrets.generate(members=members, threshold=threshold, index=index)
        else:
            secrets = FastSecrets.generate(self._entropy, members=members, threshold=threshold, index=index)
        return cast("Secrets", Watched(secrets, index, self._watch))

    def unseal(self, label: bytes, sealed: bytes, *, members: int, threshold: int, index: int) -> Secrets:
        if self._ring.real:
            key = bytes(32)
            secrets: Secrets = EpochSecrets.unseal(
                key, label, sealed, members=members, threshold=threshold, index=index
            )
        else:
            secrets = FastSecrets.unseal(self._entropy, sealed, index=index)
        return cast("Secrets", Watched(secrets, index, self._watch))


class Ring:
    """The arithmetic of a world.

    Parameters
    ----------
    name : {"fast", "real"}
        Stand-in or engine.
    """

    def __init__(self, name: str) -> None:
        if name not in ("fast", "real"):
            raise ValueError(f"no ring {name!r}: fast or real")
        self.name, self.real = name, name == "real"

    def secrets_of(self, node: Node, entropy: Callable[[int], bytes]) -> Source:
        return Source(self, node.world.watch, entropy)

    def shown(self, digest: bytes) -> str:
        """Return what a trace shows of a digest: nothing under the engine, which draws its own randomness."""
        return "" if self.real else digest.hex()[:8]
