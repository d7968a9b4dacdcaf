"""Record a federation from its first envelope to the end of a job, with one member's secrets.

    python scripts/record_federation.py FILE [MEMBER]

Five organisations in one process, threshold 2, real cryptography; the fifth one
joins the first step and then stays away, so the sum is over fewer than joined.
The three steps use both rings and narrow and wide fields. The file holds what
any member of such a federation has: the log, the attachments that it may read,
its own sealed secrets with their key, what it froze, and what it opened. The
second implementation in tests/independent replays it.
"""

from __future__ import annotations

import base64
import json
import sys
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from fedanomaly.fhe import MaskedSum
from fedanomaly.fhe.secret import EpochSecrets
from fedanomaly.protocol import Entry, JobRequest, Relation, Settings
from fedanomaly.protocol.rounds import Round
from fedanomaly.simulation import Federation, Party
from fedanomaly.types import FieldSpec, State, Statistics, Step, Total
from fedanomaly.types.canonical import Reader

SCHEMA = bytes(range(32))
MEMBERS, THRESHOLD = 5, 2


class Moments:
    """Counts rows, then sums them and, scaled, their squares.

    Parameters
    ----------
    rows : int64 array of shape (n_samples, n_features)
        One organisation's rows.
    """

    generation = 1
    schema = SCHEMA

    def __init__(self, rows: np.ndarray[Any, Any]) -> None:
        self._rows = rows

    def start(self) -> State:
        """Return the state before the first step."""
        return State("moments", 1, {})

    def next_step(self, state: State) -> Step | None:
        """Return the next of three steps."""
        columns = self._rows.shape[1]
        if "rows" not in state:
            return Step(name="count", fields=(FieldSpec(name="rows", shape=(1,), lower=0, upper=1 << 12),))
        bound = int(state["rows"][0]) * 100
        if "sums" not in state:
            spec = FieldSpec(name="sums", shape=(columns,), lower=-bound, upper=bound)
            return Step(name="sums", fields=(spec, FieldSpec(name="flags", shape=(2, 2), lower=0, upper=1)))
        if "squares" not in state:
            spec = FieldSpec(name="squares", shape=(columns,), lower=0, upper=bound << 24, resolution=0.5)
            return Step(name="squares", fields=(spec,))
        return None

    def relations(self, summed: Collection[int], copied: int) -> Sequence[Relation]:  # noqa: ARG002 (its face)
        """Return none: all members have other rows every time."""
        return ()

    def local(self, step: Step, state: State) -> Statistics:  # noqa: ARG002 (the learner's face)
        """Return the statistic of these rows."""
        if step.name == "count":
            return {"rows": np.array([len(self._rows)])}
        if step.name == "sums":
            return {"sums": self._rows.sum(axis=0), "flags": np.array([[1, 0], [2, 0]])}
        return {"squares": (self._rows.astype(np.float64) ** 2).sum(axis=0)}

    def merge(self, step: Step, total: Total, state: State) -> State:
        """Keep the opened integers."""
        return state.with_arrays(**{field.name: total[field.name] for field in step.fields})

    def scores_are_finite(self, state: State) -> bool:  # noqa: ARG002 (the learner's face)
        """Nothing is scored."""
        return True


class Recorder:
    """Runs the federation and keeps what one member sees.

    Parameters
    ----------
    member : int
        Roster index of the member whose secrets are recorded.
    """

    def __init__(self, member: int) -> None:
        rng = np.random.default_rng(5)
        learners = [Moments(rng.integers(-100, 100, size=(6 + index, 3))) for index in range(MEMBERS)]
        parties = [Party(f"org-{index}", lambda _, own=own: own) for index, own in enumerate(learners)]
        settings = Settings(name="recorded", members=MEMBERS, threshold=THRESHOLD)
        self.federation = Federation(settings, parties, watch=self._watch)
        self.all_parties = list(parties)
        self.party = parties[member - 1]
        self.member = member
        self.sealed: dict[bytes, bytes] = {}
        self.rows: dict[tuple[str, bytes], bytes] = {}
        self.frozen: dict[bytes, list[tuple[int, list[int]]]] = {}

    def run(self) -> dict[str, Any]:
        """Return the recording."""
        federation = self.federation
        federation.enrol()
        request = JobRequest(
            request=bytes(16), model="m", dataset="d", detector="moments", version=1, params="{}", schema=SCHEMA
        )
        federation.train(request)
        federation.now_s += 1000.0  # who stayed away is not waited for
        federation.pump()
        job = federation.coordinator.transcript.jobs[-1]
        if job.state.value != "accepted" or job.rounds[0].contributors != (1, 2, 3, 4):
            raise SystemExit(f"the recording did not come out as planned: {job.state} {federation.errors}")
        recording = self._recording()
        federation.close()
        return recording

    def _watch(self, entry: Entry) -> None:
        for label, blob in self.party.vault._sealed.items():  # noqa: SLF001 (what lies on a node's disk)
            self.sealed.setdefault(label, blob)
        if entry.envelope.kind == "manifest":
            for index, party in enumerate(self.all_parties, 1):
                self._keep_frozen(index, party)
            log = self.federation.coordinator.transcript
            if log.jobs and log.jobs[-1].request and len(self.federation.parties) == MEMBERS:
                self.federation.parties.pop()
        self.rows.update(dict(self.party.rows._rows))  # noqa: SLF001 (what lies in a node's ledger)

    def _keep_frozen(self, index: int, party: Party) -> None:
        for key, value in party.rows.all("frozen"):
            values = [int(v) for v in np.frombuffer(value, dtype="<u8")]
            known = self.frozen.setdefault(key[:32], [])
            if all(other != index for other, _ in known):
                known.append((index, values))

    def _recording(self) -> dict[str, Any]:
        log = self.federation.coordinator.transcript
        label = log.epochs[0].digest
        live = EpochSecrets.unseal(
            self.party.vault._key,  # noqa: SLF001 (a recording holds one member's secrets)
            label + b"live",
            self.sealed[label + b"live"],
            members=MEMBERS,
            threshold=THRESHOLD,
            index=self.member,
        )
        rounds = [self._round(entry, live) for job in log.jobs for entry in job.rounds]
        live.close()
        kinds = ("contribution", "statement", "opened")
        wanted = {entry.envelope.attachment for entry in self.federation.log if entry.envelope.kind in kinds}
        wanted |= {envelope.attachment for (_, to), envelope in log.epochs[0].deals.items() if to == self.member}
        wanted.discard(bytes(32))
        return {
            "federation": self.federation._federation.hex(),  # noqa: SLF001 (public)
            "coordinator": self.federation._identity.public_key.hex(),  # noqa: SLF001 (public)
            "member": self.member,
            "identity": self.party.identity.public_key.hex(),
            "log": [_text(entry.envelope.to_bytes()) for entry in self.federation.log],
            "attachments": {digest.hex(): _text(self.federation.blobs[digest]) for digest in sorted(wanted)},
            "sealing_key": self.party.vault._key.hex(),  # noqa: SLF001 (as above)
            "sealed": {name.hex(): _text(blob) for name, blob in self.sealed.items()},
            "rounds": rounds,
        }

    def _round(self, entry: Round, live: EpochSecrets) -> dict[str, Any]:
        manifest = entry.posted
        boot = next(key for kind, key in self.rows if kind == "join" and key.startswith(entry.ask.digest))
        join = Reader(self.rows["join", boot])
        join.hash("nonce")
        random = join.hash("random")
        masked = MaskedSum.from_bytes(self.federation.blobs[entry.published.attachment], manifest)
        state = self.rows.get(("state", manifest.hash))
        values = dict(self.frozen[entry.ask.digest])
        return {
            "manifest": manifest.hash.hex(),
            "random": random.hex(),
            "frozen": values[self.member],
            "plain_sum": [sum(column) for column in zip(*(values[i] for i in entry.contributors), strict=True)],
            "opened": [int(v) for v in live.open(manifest, entry.contributors, masked)],
            "state": _text(state) if state else None,
            "step": _text(self._step(state)) if state else None,
        }

    def _step(self, state: bytes) -> bytes:
        """Return the canonical bytes of the step that led to a state."""
        reached = State.from_bytes(state)
        order = [("rows",), ("sums", "flags"), ("squares",)]
        done = sum(names[0] in reached for names in order)
        before = State("moments", 1, {}, {n: reached[n] for names in order[: done - 1] for n in names})
        step = Moments(np.zeros((1, 3), dtype=np.int64)).next_step(before)
        if step is None:
            raise SystemExit("no such step")
        return step.canonical()


def _text(data: bytes) -> str:
    return base64.b64encode(data).decode()


if __name__ == "__main__":
    recorded = Recorder(int(sys.argv[2]) if len(sys.argv) > 2 else 1).run()
    Path(sys.argv[1]).write_text(json.dumps(recorded), encoding="utf-8")
