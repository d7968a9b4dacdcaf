"""A few of the seeds that `make faults` runs by the thousand; and a seed does the same again."""

from __future__ import annotations

import pytest

from fedanomaly.errors import RejectedError
from fedanomaly.fhe import MaskedSum
from tests.faults import run
from tests.faults.ring import FastSecrets
from tests.faults.speed import remembered_signatures
from tests.faults.world import World


def world_of(seed: int, ring: str = "fast") -> World:
    world = World(seed, ring)
    with remembered_signatures():
        world.run()
    return world


@pytest.mark.parametrize("first", range(1, 51, 10))
def test_nothing_breaks_a_rule_and_all_jobs_end_under_faults(first):
    batch = run.run_seeds((first, 10, "fast"))
    assert batch.failures == ()
    assert batch.accepted >= 10


def test_nothing_breaks_a_rule_with_the_real_arithmetic():
    batch = run.run_seeds((1, 3, "real"))
    assert batch.failures == ()
    assert batch.accepted


@pytest.mark.parametrize("ring", ["fast", "real"])
def test_a_seed_does_the_same_again(ring):
    assert world_of(5, ring).trace_hash == world_of(5, ring).trace_hash
    assert world_of(6, ring).trace_hash != world_of(5, ring).trace_hash


def test_a_failing_seed_is_told_with_its_last_steps_and_how_to_replay_it(monkeypatch, capsys):
    def fail(_world):
        raise AssertionError("a rule was broken")

    class Inline:
        def __init__(self, *_args: object, **_kwargs: object) -> None:
            pass

        def __enter__(self):
            return self

        def __exit__(self, *_args: object) -> None:
            pass

        def map(self, function, tasks):
            return map(function, tasks)

        def shutdown(self, **_kwargs: object) -> None:
            pass

    monkeypatch.setattr(World, "calm_down", fail)
    monkeypatch.setattr(run, "ProcessPoolExecutor", Inline)
    assert run.main(["--seeds", "1", "--first", "7"]) == 1
    told = capsys.readouterr().out
    assert "a rule was broken" in told
    assert "last steps:" in told
    assert "replay: make faults SEEDS=1 FIRST=7 RING=fast" in told


def test_the_stand_in_opens_what_was_closed_and_rejects_everything_else():
    world = world_of(3)
    log = world.hub.running.transcript
    last = next(entry for entry in reversed(list(log.rounds.values())) if entry.opened)
    sealed = world.nodes[0].home.vault[log.epochs[-1].live_label]
    secrets = FastSecrets.unseal(bytes, sealed, index=1)
    secrets._kept["floor"] = 0  # the keys of finished jobs, for this once
    masked = MaskedSum.from_bytes(world.hub.archive.blobs[last.published.attachment], last.posted)
    bent = MaskedSum(masked.manifest, bytes([masked.residues[0] ^ 1]) + masked.residues[1:])
    assert len(secrets.open(last.posted, last.contributors, masked)) == last.ask.fields
    for contributors, attempt in ((last.contributors, bent), (last.contributors[1:], masked)):
        with pytest.raises(RejectedError):
            secrets.open(last.posted, contributors, attempt)
