"""Sum a million parameters of ten members: ours against TenSEAL CKKS, in one run.

The peer is what NVFlare does by default: TenSEAL CKKS, public key, N = 8192,
[60, 40, 40], scale 2^40, one vector for the whole update. Each side has worker
processes, on one core and on all; they take turns, and medians are reported.

Ours includes what the protocol adds: quantisation, SHA-256 and signature of an
upload, and their check. Every repetition has its own manifest, so nothing that
depends on it can be reused.
"""

from __future__ import annotations

import hashlib
import os
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks import epoch
from benchmarks.report import OUTPUT, at_least, at_most, print_budgets, print_table, write_json
from benchmarks.workers import Worker
from fedanomaly.fhe import Contribution, DecryptionShare, InMemory, MaskedSum, add_up
from fedanomaly.types import FieldSpec, Quantiser, Step

PARAMETERS = 1_000_000
UPLOADS = 10
MEMBERS = 16
THRESHOLD = 4
REPETITIONS = 5
FIELD = FieldSpec(name="update", shape=(PARAMETERS,), lower=-32768, upper=32767, resolution=2.0**-15)
QUANTISER = Quantiser(step=Step(name="update", fields=(FIELD,)), members=MEMBERS)
PHASES = ("encrypt", "aggregate", "open")


def updates() -> list[npt.NDArray[np.float32]]:
    """Return the plaintext updates of the ten members."""
    generator = np.random.default_rng(7)
    return [generator.normal(0.0, 0.1, PARAMETERS).astype(np.float32) for _ in range(UPLOADS)]


class Ours:
    """Packed integers under key-homomorphic RLWE, opened by a quorum."""

    def __init__(self, cores: int) -> None:
        del cores  # the engine uses those that the process may use
        self.updates = updates()
        self.secrets = epoch.set_up(members=MEMBERS, threshold=THRESHOLD)
        self.identity = Ed25519PrivateKey.generate()
        self.frozen = {at + 1: QUANTISER.quantise({"update": update}) for at, update in enumerate(self.updates)}
        self.contributors = tuple(sorted(self.frozen))
        self.round = 0

    def prepare(self) -> None:
        """Announce and join a new round; the members after the first contribute."""
        self.round += 1
        self.manifest = epoch.manifest(
            self.secrets, self.frozen, threshold=THRESHOLD, field_bits=QUANTISER.field_bits, round_number=self.round
        )
        self.uploads = {index: self._upload(index, self.frozen[index]) for index in self.contributors[1:]}

    def encrypt(self) -> None:
        """Turn the first member's floats into its signed upload."""
        values = QUANTISER.quantise({"update": self.updates[0]})
        self.uploads[1] = self._upload(1, values)

    def aggregate(self) -> None:
        """Check and add ten uploads."""
        public_key = self.identity.public_key()
        for index in self.contributors:
            data, signature = self.uploads[index]
            public_key.verify(signature, hashlib.sha256(data).digest())
        uploads = [(Contribution, InMemory(self.uploads[index][0])) for index in self.contributors]
        self.summed = b"".join(add_up(self.manifest, uploads))

    def share(self) -> None:
        """Make the share of one decryptor; the peer has no counterpart."""
        index = self.manifest.decryptors[0]
        self.shares = [self.secrets[index].share(self.manifest, self.contributors).to_bytes()]

    def other_shares(self) -> None:
        """Make the shares of the other decryptors."""
        for index in self.manifest.decryptors[1:]:
            self.shares.append(self.secrets[index].share(self.manifest, self.contributors).to_bytes())

    def add_shares(self) -> None:
        """Check and add the shares of all decryptors; the peer has no counterpart."""
        shares = [(DecryptionShare, InMemory(data)) for data in self.shares]
        self.masked = b"".join(add_up(self.manifest, [(MaskedSum, InMemory(self.summed)), *shares]))

    def open(self) -> None:
        """Remove the group mask, decode, check and scale at one member."""
        masked = MaskedSum.from_bytes(self.masked, self.manifest)
        self.opened = self.secrets[1].open(self.manifest, self.contributors, masked)
        self.floats = QUANTISER.total(self.opened, len(self.contributors)).float("update")

    def facts(self) -> dict[str, Any]:
        """Return sizes, and whether the opened integers are the sum of the frozen ones."""
        layout = self.manifest.ask.layout
        return {
            "upload_bytes": len(self.uploads[1][0]),
            "exact": bool(np.array_equal(self.opened, np.sum(list(self.frozen.values()), axis=0, dtype=np.uint64))),
            "max_abs_error": float(np.abs(self.floats - np.sum(self.updates, axis=0, dtype=np.float64)).max()),
            "preset": layout.preset.name,
            "ciphertexts": layout.ciphertexts,
            "field_bits": layout.field_bits,
            "fields_per_coefficient": layout.fields_per_coefficient,
            "decryptors": len(self.manifest.decryptors),
        }

    def _upload(self, index: int, values: npt.NDArray[np.uint64]) -> tuple[bytes, bytes]:
        data = self.secrets[index].contribution(self.manifest, values).to_bytes()
        return data, self.identity.sign(hashlib.sha256(data).digest())


class TenSeal:
    """CKKS with one key pair, as NVFlare sets it up."""

    def __init__(self, cores: int) -> None:
        _send_output_to("tenseal.log")
        import tenseal  # noqa: PLC0415 - only the peer's workers load it

        self.tenseal = tenseal
        self.context = tenseal.context(
            tenseal.SCHEME_TYPE.CKKS,
            poly_modulus_degree=8192,
            coeff_mod_bit_sizes=[60, 40, 40],
            encryption_type=tenseal.ENCRYPTION_TYPE.ASYMMETRIC,
            n_threads=cores,
        )
        self.context.global_scale = 2**40
        self.updates = updates()
        self.uploads = [tenseal.ckks_vector(self.context, update).serialize() for update in self.updates]

    def prepare(self) -> None:
        """Do nothing: a public key encrypts anything at any time."""

    def encrypt(self) -> None:
        """Turn floats into wire bytes."""
        self.uploads[0] = self.tenseal.ckks_vector(self.context, self.updates[0]).serialize()

    def aggregate(self) -> None:
        """Parse and add ten uploads."""
        total = self.tenseal.ckks_vector_from(self.context, self.uploads[0])
        for data in self.uploads[1:]:
            total += self.tenseal.ckks_vector_from(self.context, data)
        self.summed = total.serialize()

    def open(self) -> None:
        """Decrypt with the one secret key."""
        self.floats = self.tenseal.ckks_vector_from(self.context, self.summed).decrypt()

    def facts(self) -> dict[str, Any]:
        """Return sizes and the error of the approximate sum."""
        error = np.abs(np.asarray(self.floats) - np.sum(self.updates, axis=0, dtype=np.float64)).max()
        return {"upload_bytes": len(self.uploads[0]), "max_abs_error": float(error)}


def _send_output_to(name: str) -> None:
    # TenSEAL warns on the C level, three lines for every vector.
    OUTPUT.mkdir(parents=True, exist_ok=True)
    log = os.open(OUTPUT / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)


def measure(cores: int) -> dict[str, dict[str, Any]]:
    """Let both sides take turns on so many cores; return their medians and facts."""
    ours, peer = Worker(Ours, cores), Worker(TenSeal, cores)
    for _ in range(REPETITIONS + 1):
        for phase in ("prepare", *PHASES):
            if phase == "open":
                for extra in ("share", "other_shares", "add_shares"):
                    ours.time(extra)
            for worker in (ours, peer):
                worker.time(phase)
    sides = {"ours": ours, "tenseal": peer}
    found = {
        side: {f"{phase}_s": worker.median_s(phase) for phase in PHASES} | worker.facts()
        for side, worker in sides.items()
    }
    found["ours"] |= {f"{extra}_s": ours.median_s(extra) for extra in ("share", "add_shares")}
    for worker in sides.values():
        worker.close()
    return found


def print_times(runs: dict[int, dict[str, dict[str, Any]]]) -> None:
    """Print the medians of every phase."""
    rows = []
    for cores, run in runs.items():
        ours, peer = run["ours"], run["tenseal"]
        for phase in PHASES:
            mine, theirs = ours[f"{phase}_s"], peer[f"{phase}_s"]
            rows.append((phase, str(cores), _ms(mine), _ms(theirs), f"{theirs / mine:.0f}x"))
        rows.append(("share of one decryptor", str(cores), _ms(ours["share_s"]), "", ""))
        rows.append((f"add {ours['decryptors']} shares", str(cores), _ms(ours["add_shares_s"]), "", ""))
    title = f"{PARAMETERS:,} parameters, {UPLOADS} uploads of a roster of {MEMBERS}, threshold {THRESHOLD}"
    print_table(title, ("phase", "cores", "ours, ms", "TenSEAL, ms", "faster"), rows)


def main() -> None:
    """Measure, print and write what came out."""
    runs = {cores: measure(cores) for cores in sorted({1, len(os.sched_getaffinity(0))})}
    print_times(runs)
    plain_bytes = 4 * PARAMETERS
    sizes = [
        (name, f"{side['upload_bytes']:,}", f"{side['upload_bytes'] / plain_bytes:.3f}", f"{side['max_abs_error']:.1e}")
        for name, side in runs[1].items()
    ]
    print_table("Upload", ("", "bytes", "over float32", "largest error of the sum"), sizes)

    def speedup(phase: str) -> float:
        return min(run["tenseal"][f"{phase}_s"] / run["ours"][f"{phase}_s"] for run in runs.values())

    figures = {
        "upload_over_float32": runs[1]["ours"]["upload_bytes"] / plain_bytes,
        "encrypt_speedup": speedup("encrypt"),
        "aggregate_speedup": speedup("aggregate"),
        "open_speedup": speedup("open"),
        "exact": all(run["ours"]["exact"] for run in runs.values()),
    }
    print_budgets(
        [
            at_most("upload over float32", 0.70, figures["upload_over_float32"], "x"),
            at_least("floats to wire bytes, faster than TenSEAL", 30, figures["encrypt_speedup"], "x"),
            at_least("ten uploads to summed bytes, faster", 30, figures["aggregate_speedup"], "x"),
            at_least("exact (1 = yes)", 1, float(figures["exact"])),
        ]
    )
    details = {f"cores_{cores}": run for cores, run in runs.items()}
    write_json("secure_sum", figures | {"parameters": PARAMETERS, "uploads": UPLOADS, "details": details})


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f}"


if __name__ == "__main__":
    main()
