"""Scores of encrypted events: server and tenant, against TenSEAL and Lattigo's own calls, in one run.

The model is a sum of squares of affine forms, as PCA and Mahalanobis have it; one row
is of degree 4, an autoencoder with square activation. Ours goes through the package
as a service and a tenant use it: residues are checked, batches and answers are the
bytes that travel. One core, one process a side. Of several runs the fastest counts,
for every side alike: what other users of the processor take is no property of ours
or of a peer.

TenSEAL is given the same layout (a vector for each feature, an event in each
slot) and, as its tutorials do it, a vector for each event. Lattigo's own calls
work on our ring.

Then a service runs as a process of its own, and a client scores through HTTP on
this machine, both on the same cores: one batch after the other for the latency,
then as many at a time as a scorer has under way.
"""

from __future__ import annotations

import os
import re
import resource
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from benchmarks.report import OUTPUT, Budget, at_least, at_most, print_budgets, print_table, write_json
from benchmarks.workers import Worker
from fedanomaly.detectors import PCA
from fedanomaly.fhe.memory import aligned
from fedanomaly.fhe.scoring import Instructions, PreparedCircuit, seed
from fedanomaly.fhe.tenant import Tenant
from fedanomaly.scoring import EncryptedScorer, HttpExchange
from fedanomaly.scoring.config import ScoringConfig
from fedanomaly.scoring.home import init_home
from fedanomaly.types import Circuit, Layer
from fedanomaly.types.circuit import LAYER_BITS, MIX_BITS, rounded

ENGINE = Path(__file__).parent.parent / "engine"
FEATURES, FORMS = 30, 10
SHAPES = ((30, 10), (30, 30), (100, 20))
EVENTS = 4096
BATCHES = 8
"""In a row: more than a core's own caches hold, and no pause in which it slows down."""
REPETITIONS = 40
PEER_REPETITIONS = 3
SINGLE_EVENTS = 4
SUSTAINED_S = float(os.environ.get("FEDANOMALY_SCORING_SECONDS", "60"))
FEDERATION = bytes(range(32))
SEED = seed(b"benchmark", b"model", b"tenant")
BUDGETS = {Instructions.AVX512: 25e6, Instructions.AVX2: 12e6, Instructions.PORTABLE: 1.5e6}
BUDGETS[Instructions.AMX] = BUDGETS[Instructions.AVX512]
"""Events a second and core of the server at 30 features and 10 forms."""


def model(features: int, forms: int) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return weights of rows of length 1, and a bias."""
    generator = np.random.default_rng(features)
    return generator.normal(size=(forms, features)) / np.sqrt(features), 0.1 * generator.normal(size=forms)


def events(features: int, count: int = EVENTS) -> npt.NDArray[np.float64]:
    """Return standard normal readings."""
    return np.random.default_rng(1).normal(size=(count, features))


class Ours:
    """Both sides of one circuit, with one instruction set."""

    features, forms, instructions = FEATURES, FORMS, Instructions.best()

    def __init__(self, cores: int) -> None:
        del cores  # every call uses one
        self.circuit = self.make()
        self.service = PreparedCircuit(self.circuit, SEED, instructions=self.instructions)
        self.tenant = Tenant(self.service.shape, SEED, self.service.constants())
        self.rows = events(self.features)[: self.service.shape.events]
        self.memory = [aligned(self.service.shape.batch_bytes) for _ in range(BATCHES)]

    def make(self) -> Circuit:
        """Return the model."""
        return Circuit("quadratic", (self.forms,), *model(self.features, self.forms))

    def encrypt(self) -> None:
        """Turn readings into the bytes of batches."""
        self.sealed = [self.tenant.encrypt(self.rows, memory) for memory in self.memory]

    def score(self) -> None:
        """Check batches and answer them; an answer is gone once it is sent."""
        for batch, _ in self.sealed:
            self.service.score(batch)

    def answer(self) -> None:
        """Do so once more, and keep what there is to decrypt."""
        self.answers = [self.service.score(batch) for batch, _ in self.sealed]

    def decrypt(self) -> None:
        """Turn answers into scores."""
        both = zip(self.sealed, self.answers, strict=True)
        self.scores = [key.decrypt(answer)[:, 0] for (_, key), answer in both]

    def facts(self) -> dict[str, Any]:
        """Return sizes and the largest error."""
        wanted = self.circuit.evaluate(self.rows)[:, 0]
        return {
            "events": len(self.rows),
            "bytes_up_per_event": len(self.memory[0]) / len(self.rows),
            "bytes_down_per_event": len(self.answers[0]) / len(self.rows),
            "max_relative_error": float(np.max(np.abs(self.scores - wanted) / np.maximum(1.0, wanted))),
        }


class OursAvx512(Ours):
    """The AVX-512 kernels."""

    instructions = Instructions.AVX512


class OursAvx2(Ours):
    """The AVX2 kernels."""

    instructions = Instructions.AVX2


class OursPortable(Ours):
    """The kernels in Go."""

    instructions = Instructions.PORTABLE


SLOWER: dict[Instructions, type[Ours]] = {
    Instructions.AVX512: OursAvx512,
    Instructions.AVX2: OursAvx2,
    Instructions.PORTABLE: OursPortable,
}
"""Measured beside the best instructions, if they are other ones."""


class OursSquare(Ours):
    """As many forms as features."""

    features, forms = SHAPES[1]


class OursWide(Ours):
    """More features."""

    features, forms = SHAPES[2]


class OursAutoencoder(Ours):
    """Squares of forms, mixed with the readings, and squared again."""

    def make(self) -> Circuit:
        """Return a network as `Autoencoder` has it: its weights are computed as they are."""
        weights, bias = model(self.features, self.forms)
        mix, shift = (part / 2 for part in model(self.forms, self.features))
        none = np.empty((0, self.features))
        direct = np.ones(self.features)
        layer = Layer(rounded(mix, MIX_BITS), direct, shift, of_forms=False, weights=none, bias=np.empty(0))
        return Circuit("polynomial", (self.forms,), rounded(weights, LAYER_BITS), bias + 2.0, layer)


class TenSeal:
    """CKKS with evaluation keys, as its makers recommend for one multiplication of ciphertexts."""

    def __init__(self, cores: int) -> None:
        _send_output_to("tenseal.log")
        import tenseal  # noqa: PLC0415 - only the peer's workers load it

        self.tenseal = tenseal
        self.context = tenseal.context(
            tenseal.SCHEME_TYPE.CKKS,
            poly_modulus_degree=8192,
            coeff_mod_bit_sizes=[60, 40, 40, 60],
            n_threads=cores,
        )
        self.context.global_scale = 2**40
        self.context.generate_galois_keys()
        self.weights, self.bias = model(FEATURES, FORMS)
        self.rows = events(FEATURES)

    def encrypt(self) -> None:
        """Encrypt a vector of all events for each feature."""
        self.batch = [self.tenseal.ckks_vector(self.context, column) for column in self.rows.T.tolist()]

    def score(self) -> None:
        """Add up the squares of all forms."""
        total = None
        for weights, bias in zip(self.weights.tolist(), self.bias.tolist(), strict=True):
            form = self.batch[0] * weights[0]
            for column, weight in zip(self.batch[1:], weights[1:], strict=True):
                form += column * weight
            form += bias
            form.square_()
            total = form if total is None else total + form
        self.answer = total

    def decrypt(self) -> None:
        """Decrypt all scores."""
        assert self.answer is not None
        self.scores = np.asarray(self.answer.decrypt())

    def encrypt_each(self) -> None:
        """Encrypt a vector for each of a few events."""
        self.single = [self.tenseal.ckks_vector(self.context, row) for row in self.rows[:SINGLE_EVENTS].tolist()]

    def score_each(self) -> None:
        """Score them one by one: matrix product, square, sum."""
        matrix, bias = self.weights.T.tolist(), self.bias.tolist()
        for event in self.single:
            form = event.matmul(matrix) + bias
            form.square_()
            form.sum_()

    def facts(self) -> dict[str, Any]:
        """Return sizes and the largest error."""
        wanted = np.square(self.rows @ self.weights.T + self.bias).sum(axis=1)
        return {
            "bytes_up_per_event": sum(len(column.serialize()) for column in self.batch) / EVENTS,
            "max_relative_error": float(np.max(np.abs(self.scores - wanted) / np.maximum(1.0, wanted))),
        }


def _send_output_to(name: str) -> None:
    # TenSEAL warns on the C level.
    OUTPUT.mkdir(parents=True, exist_ok=True)
    log = os.open(OUTPUT / name, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o644)
    os.dup2(log, 1)
    os.dup2(log, 2)


class _Identity:
    """A tenant's key."""

    def __init__(self) -> None:
        self._key = Ed25519PrivateKey.generate()
        self.public_key = self._key.public_key().public_bytes_raw()

    def sign(self, data: bytes) -> bytes:
        """Return the signature of 64 bytes."""
        return self._key.sign(data)


def measure_http() -> dict[str, float]:
    """Return events a second and latencies of whole batches, client to client through HTTP."""
    detector = PCA(n_components=FORMS, distance="whitened").fit(events(FEATURES))
    many = events(FEATURES, 32 * EVENTS)  # no two are equal: levelling those takes time
    rows = many[:EVENTS]
    identity = _Identity()
    with tempfile.TemporaryDirectory() as folder, _service(Path(folder), identity) as url:
        exchange = HttpExchange(url, identity, FEDERATION)
        alone, both = EncryptedScorer(detector, exchange, workers=1), EncryptedScorer(detector, exchange)
        alone.score(rows)
        unloaded = [_seconds(lambda: alone.score(rows)) for _ in range(100)]
        few = [_seconds(lambda: alone.score(rows[:1])) for _ in range(100)]
        both.score(many)
        done, begun = 0, time.perf_counter()
        memory = []
        while time.perf_counter() - begun < SUSTAINED_S:
            both.score(many)
            done += len(many)
            memory.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
        rate_of_all = done / (time.perf_counter() - begun)
        loaded, due = [], time.perf_counter()
        # Half of the load: a batch is due at even distances, and its latency counts from then.
        for _ in range(200):
            due += 2 * EVENTS / rate_of_all
            while time.perf_counter() < due:
                time.sleep(0.0002)
            alone.score(rows)
            loaded.append(time.perf_counter() - due)
        exchange.close()
    return {
        "end_to_end_events_per_s": rate_of_all,
        "latency_ms_median": 1e3 * float(np.median(unloaded)),
        "latency_of_one_event_ms_median": 1e3 * float(np.median(few)),
        "p99_latency_ms": 1e3 * float(np.quantile(loaded, 0.99)),
        "client_memory_growth_mib": (memory[-1] - memory[len(memory) // 4]) / 1024,
    }


@contextmanager
def _service(folder: Path, identity: _Identity) -> Iterator[str]:
    """Run a scoring service as a process, and yield its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    config = ScoringConfig(federation=FEDERATION.hex(), listen_port=port, tenants={"north": identity.public_key.hex()})
    home = init_home(folder / "home", config)
    command = [sys.executable, "-m", "fedanomaly", "scoring", "run", str(home.folder)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            HttpExchange(config.origin, identity, FEDERATION).models()
            yield config.origin
        finally:
            process.terminate()


def _seconds(work: Callable[[], object]) -> float:
    begun = time.perf_counter()
    work()
    return time.perf_counter() - begun


def go_benchmarks() -> dict[str, float]:
    """Run the engine's own benchmarks: Lattigo's calls, and the linear part against the peak of multiply-adds."""
    command = [
        os.environ.get("GO", "go"),
        "test",
        "-run",
        "xxx",
        "-bench",
        "Stock|Linear",
        "-cpu",
        "1",
        "./kernel",
        "./scoring",
    ]
    said = subprocess.run(command, cwd=ENGINE, capture_output=True, text=True, check=True).stdout
    found = {}
    for name, figures in re.findall(r"^Benchmark(\S+)\s+\d+\s+(.*)$", said, re.MULTILINE):
        for value, unit in re.findall(r"([\d.e+]+) (\S+)", figures):
            found[f"{name} {unit}"] = float(value)
    return found


def measure(build: type[Ours]) -> dict[str, Any]:
    """Return seconds of every step for a batch, and facts."""
    worker = Worker(build, 1)
    for _ in range(REPETITIONS + 1):
        for step in ("encrypt", "score", "answer", "decrypt"):
            worker.time(step)
    steps = ("encrypt", "score", "decrypt")
    found: dict[str, Any] = {f"{step}_s": worker.least_s(step) / BATCHES for step in steps}
    found |= {f"{step}_median_s": worker.median_s(step) / BATCHES for step in steps} | worker.facts()
    worker.close()
    return found


def measure_peer() -> dict[str, Any]:
    """Return the same of TenSEAL."""
    worker = Worker(TenSeal, 1)
    steps = ("encrypt", "score", "decrypt", "encrypt_each", "score_each")
    for _ in range(PEER_REPETITIONS + 1):
        for step in steps:
            worker.time(step)
    found = {f"{step}_s": worker.least_s(step) for step in steps} | worker.facts()
    worker.close()
    return found


def rate(seconds: float, count: int = EVENTS) -> float:
    """Return events a second."""
    return count / seconds


def main() -> None:
    """Measure, print and write what came out."""
    best = Instructions.best()
    kinds: dict[str, type[Ours]] = {f"{FEATURES} features, {FORMS} forms, {best.name.lower()}": Ours}
    kinds |= {f"the same, {of.name.lower()}": kind for of, kind in SLOWER.items() if of < best}
    kinds |= {f"{d} features, {k} forms": kind for (d, k), kind in zip(SHAPES[1:], (OursSquare, OursWide), strict=True)}
    ours = {name: measure(kind) for name, kind in kinds.items()}
    degree4 = measure(OursAutoencoder)
    peer, stock = measure_peer(), go_benchmarks()
    main_kind, http = next(iter(ours.values())), measure_http()
    rows = [
        (name, *(f"{rate(run[f'{step}_s']):,.0f}" for step in ("score", "encrypt", "decrypt")))
        for name, run in ours.items()
    ]
    polynomial = (f"{rate(degree4[f'{step}_s'], degree4['events']):,.0f}" for step in ("score", "encrypt", "decrypt"))
    rows.append((f"autoencoder d={FEATURES}, h={FORMS}", *polynomial))
    rows.append(
        ("Lattigo's own calls", f"{stock['Stock/server events/s']:,.0f}", f"{stock['Stock/tenant events/s']:,.0f}", "")
    )
    rows.append(("TenSEAL, batched", *(f"{rate(peer[f'{step}_s']):,.0f}" for step in ("score", "encrypt", "decrypt"))))
    each = (f"{rate(peer[f'{step}_each_s'], SINGLE_EVENTS):,.1f}" for step in ("score", "encrypt"))
    rows.append(("TenSEAL, event by event", *each, ""))
    title = "Events a second, one core, fastest of several runs"
    print_table(title, ("", "server", "tenant, encrypts", "decrypts"), rows)
    tenant = EVENTS / (main_kind["encrypt_s"] + main_kind["decrypt_s"])
    linear = f"Linear/{best.name.lower()}"
    figures = {
        "server_events_per_s": rate(main_kind["score_s"]),
        "tenant_events_per_s": tenant,
        "speedup_over_tenseal_batched": peer["score_s"] / main_kind["score_s"],
        "speedup_over_lattigo_stock": rate(main_kind["score_s"]) / stock["Stock/server events/s"],
        "bytes_up_per_event": main_kind["bytes_up_per_event"],
        "bytes_down_per_event": main_kind["bytes_down_per_event"],
        "max_relative_error": max(run["max_relative_error"] for run in ours.values()),
        "fma_peak_fraction": stock.get(f"{linear} %peak", 0.0) / 100,
        "degree4_server_events_per_s": rate(degree4["score_s"], degree4["events"]),
        "degree4_tenant_events_per_s": rate(degree4["encrypt_s"] + degree4["decrypt_s"], degree4["events"]),
        "degree4_bytes_up_per_event": degree4["bytes_up_per_event"],
        "degree4_bytes_down_per_event": degree4["bytes_down_per_event"],
        "degree4_max_relative_error": degree4["max_relative_error"],
        "instructions": best.name.lower(),
        **http,
    }
    print_table(
        f"Through HTTP on this machine, {os.cpu_count()} cores for both sides, {FEATURES} features",
        ("what", "measured"),
        [(name.replace("_", " "), f"{value:,.1f}") for name, value in http.items()],
    )
    print_table(
        f"Degree 4, autoencoder d={FEATURES}, h={FORMS}",
        ("bytes up per event", "bytes down", "relative error"),
        [
            (
                f"{degree4['bytes_up_per_event']:,.0f}",
                f"{degree4['bytes_down_per_event']:,.0f}",
                f"{degree4['max_relative_error']:.1e}",
            )
        ],
    )
    print_budgets(budgets(best, ours, figures))
    write_json(
        "encrypted_scoring", figures | {"details": {"ours": ours, "degree4": degree4, "tenseal": peer, "go": stock}}
    )


def budgets(best: Instructions, ours: dict[str, dict[str, Any]], figures: dict[str, Any]) -> list[Budget]:
    """Return what was promised beside what was measured."""
    runs = list(ours.values())
    found = [at_least(f"server, events/s, {best.name.lower()}", BUDGETS[best], figures["server_events_per_s"])]
    for of in (of for of in SLOWER if of < best):
        slower = ours[f"the same, {of.name.lower()}"]
        found.append(at_least(f"server, {of.name.lower()}", BUDGETS[of], rate(slower["score_s"])))
    if best is not Instructions.PORTABLE:
        found.append(at_least("linear part over the peak of multiply-adds", 0.8, figures["fma_peak_fraction"]))
    if best >= Instructions.AVX512:
        found.append(at_least("server, d = k = 30", 9e6, rate(runs[-2]["score_s"])))
        found.append(at_least("server, d = 100, k = 20", 5e6, rate(runs[-1]["score_s"])))
        found.append(at_least("server, autoencoder d = 30, h = 10", 2.5e6, figures["degree4_server_events_per_s"]))
    return [
        *found,
        at_least("server, faster than TenSEAL batched", 500, figures["speedup_over_tenseal_batched"], "x"),
        at_least("tenant, encrypts and decrypts, events/s", 0.7e6, figures["tenant_events_per_s"]),
        at_most("bytes up per event", 365, figures["bytes_up_per_event"]),
        at_most("bytes down per event", 48, figures["bytes_down_per_event"]),
        at_most("relative error", 5e-4, figures["max_relative_error"]),
        at_most("relative error, degree 4", 3e-3, figures["degree4_max_relative_error"]),
        at_least("end to end through HTTP, events/s", 400_000, figures["end_to_end_events_per_s"]),
        at_most("latency of a full batch, median, ms", 10, figures["latency_ms_median"]),
        at_most("latency at half of the load, p99, ms", 40, figures["p99_latency_ms"]),
    ]


if __name__ == "__main__":
    main()
