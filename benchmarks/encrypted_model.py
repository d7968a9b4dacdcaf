"""What it costs to encrypt the model as well: service and owner, beside the model in the clear, in one run.

The same sums of squares of affine forms, the same events; workers take turns, one
core each. The owner's side ends with scores: for an encrypted model it squares and
adds up forms itself. The last column is what the owner would need without any
service, since it has both model and events.
"""

from __future__ import annotations

import time
from typing import Any

import numpy as np

from benchmarks.encrypted_scoring import EVENTS, SHAPES, Ours, events, model
from benchmarks.report import Budget, at_least, at_most, print_budgets, print_table, write_json
from benchmarks.workers import Worker
from fedanomaly.fhe.hidden import EncryptedModel, PreparedModel
from fedanomaly.fhe.model_key import encrypt_model
from fedanomaly.types import Circuit

REPETITIONS = 40
STEPS = ("encrypt", "score", "decrypt")


class Plain(Ours):
    """The model in the clear, and scores without a service."""

    def locally(self) -> None:
        """Score the events here."""
        self.circuit.evaluate(self.rows)


class PlainSquare(Plain):
    """As many forms as features."""

    features, forms = SHAPES[1]


class PlainWide(Plain):
    """More features."""

    features, forms = SHAPES[2]


class Hidden:
    """Both sides of an encrypted model."""

    features, forms = SHAPES[0]

    def __init__(self, cores: int) -> None:
        del cores  # every call uses one
        weights, self.bias = model(self.features, self.forms)
        self.circuit = Circuit("quadratic", (self.forms,), weights, self.bias)
        self.rows = events(self.features)
        begun = time.perf_counter()
        sent, self.key = encrypt_model(weights)
        self.body = sent.to_bytes()
        self.hide_s = time.perf_counter() - begun
        begun = time.perf_counter()
        self.service = PreparedModel(EncryptedModel.from_bytes(self.body))
        self.prepare_s = time.perf_counter() - begun

    def encrypt(self) -> None:
        """Turn readings into the bytes of a batch."""
        self.batch, self.batch_key = self.key.encrypt(self.rows)

    def score(self) -> None:
        """Check a batch and answer it."""
        self.answer = self.service.score(self.batch)

    def decrypt(self) -> None:
        """Turn an answer into scores."""
        self.scores = np.square(self.batch_key.decrypt(self.answer) + self.bias).sum(axis=1)

    def facts(self) -> dict[str, Any]:
        """Return sizes, the largest error, and what the upload took."""
        wanted = self.circuit.evaluate(self.rows)[:, 0]
        return {
            "bytes_up_per_event": len(self.batch) / EVENTS,
            "bytes_down_per_event": len(self.answer) / EVENTS,
            "max_relative_error": float(np.max(np.abs(self.scores - wanted) / np.maximum(1.0, wanted))),
            "upload_mib": len(self.body) / 2**20,
            "hide_s": self.hide_s,
            "prepare_s": self.prepare_s,
        }


class HiddenSquare(Hidden):
    """As many forms as features."""

    features, forms = SHAPES[1]


class HiddenWide(Hidden):
    """More features."""

    features, forms = SHAPES[2]


PAIRS = dict(zip(SHAPES, ((Plain, Hidden), (PlainSquare, HiddenSquare), (PlainWide, HiddenWide)), strict=True))


def measure(plain: type[Plain], hidden: type[Hidden]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return events a second of every step, and facts, of both."""
    workers = (Worker(plain, 1), Worker(hidden, 1))
    for _ in range(REPETITIONS + 1):
        for step in STEPS:
            for worker in workers:
                worker.time(step)
        workers[0].time("locally")
    found = []
    for worker in workers:
        run = {f"{step}_s": worker.median_s(step) for step in STEPS} | worker.facts()
        run["service_events_per_s"] = EVENTS / run["score_s"]
        run["owner_events_per_s"] = EVENTS / (run["encrypt_s"] + run["decrypt_s"])
        found.append(run)
    found[0]["local_events_per_s"] = EVENTS / workers[0].median_s("locally")
    for worker in workers:
        worker.close()
    return found[0], found[1]


def main() -> None:
    """Measure, print and write what came out."""
    runs = {shape: measure(*pair) for shape, pair in PAIRS.items()}
    rows = []
    for (features, forms), (plain, hidden) in runs.items():
        for name, run in (("in the clear", plain), ("encrypted", hidden)):
            rows.append(
                (
                    f"{features} features, {forms} forms, {name}",
                    f"{run['service_events_per_s']:,.0f}",
                    f"{run['owner_events_per_s']:,.0f}",
                    f"{run['bytes_up_per_event']:,.0f}",
                    f"{run['bytes_down_per_event']:,.0f}",
                    f"{run['max_relative_error']:.1e}",
                    f"{run['upload_mib']:.1f}" if "upload_mib" in run else "",
                    f"{run['local_events_per_s']:,.0f}" if "local_events_per_s" in run else "",
                )
            )
    print_table(
        "Events a second, one core",
        ("model", "service", "owner", "bytes up", "down", "error", "upload, MiB", "no service"),
        rows,
    )
    print_budgets(budgets(runs))
    write_json("encrypted_model", {f"{d}x{k}": {"plain": a, "hidden": b} for (d, k), (a, b) in runs.items()})


def budgets(runs: dict[tuple[int, int], tuple[dict[str, Any], dict[str, Any]]]) -> list[Budget]:
    """Return what was promised beside what was measured, for the first shape."""
    plain, hidden = runs[SHAPES[0]]
    both = hidden["bytes_up_per_event"] + hidden["bytes_down_per_event"]
    in_the_clear = plain["bytes_up_per_event"] + plain["bytes_down_per_event"]
    return [
        at_least("service, events/s", 1e6, hidden["service_events_per_s"]),
        at_least("owner, encrypts and decrypts, events/s", 0.4e6, hidden["owner_events_per_s"]),
        at_most("bytes per event over those of the model in the clear", 1.0, both / in_the_clear, "x"),
        at_most("relative error", 5e-4, max(run["max_relative_error"] for _, run in runs.values())),
        at_most("upload, MiB", 10, hidden["upload_mib"]),
    ]


if __name__ == "__main__":
    main()
