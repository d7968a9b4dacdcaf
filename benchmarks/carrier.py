"""One member's transfers, in a process of its own: told on standard input, a line each."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import httpx2
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from fedanomaly.protocol import Envelope
from fedanomaly.transport import CoordinatorClient, Patience
from fedanomaly.transport.wire import PART_BYTES

PATIENCE = Patience(attempts=1, io_timeout_s=300.0)


class Identity:
    """Signs with a key of the benchmark.

    Parameters
    ----------
    seed : bytes
        Ed25519 seed.
    """

    def __init__(self, seed: bytes) -> None:
        self._key = Ed25519PrivateKey.from_private_bytes(seed)
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """Return the signature."""
        return self._key.sign(data)


def plain(url: str, file: Path) -> None:
    """Send a file to the peer in requests of the same size, unsigned."""
    with httpx2.Client(timeout=300.0, trust_env=False) as http, file.open("rb") as source:
        number = 0
        while part := source.read(PART_BYTES):
            http.put(f"{url}/{file.name}.{number}", content=part).raise_for_status()
            number += 1


def carry(client: CoordinatorClient, what: dict[str, Any]) -> None:
    """Do one thing."""
    match what["kind"]:
        case "upload":
            client.upload(Path(what["file"]).read_bytes())
        case "post":
            client.post(Envelope.from_bytes(bytes.fromhex(what["envelope"])))
        case "download":
            client.download(bytes.fromhex(what["digest"]))
        case "plain":
            plain(what["url"], Path(what["file"]))
        case _:
            raise ValueError(what["kind"])


def main() -> None:
    """Serve standard input."""
    told = json.loads(sys.stdin.readline())
    with CoordinatorClient(
        told["url"],
        signer=Identity(bytes.fromhex(told["seed"])),
        coordinator=bytes.fromhex(told["coordinator"]),
        federation=bytes.fromhex(told["federation"]),
        patience=PATIENCE,
    ) as client:
        print("done", flush=True)
        for line in sys.stdin:
            carry(client, json.loads(line))
            print("done", flush=True)


if __name__ == "__main__":
    main()
