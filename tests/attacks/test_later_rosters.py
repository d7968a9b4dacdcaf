"""A colluder that speaks from the seats that later rosters give it."""

import dataclasses
import hashlib

from fedanomaly.protocol.messages import KINDS, Abandon, JobEnd, Outcome, Statement
from tests.attacks.fork import Fork
from tests.unit.protocol.driving import asked, signed_by, until

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, P - 2, P) % P
G = (
    15112221349535400772501151409588531511454012693041857206046113283949847762202,
    46316835694926478169428394003475163141307993866256225615783033603165251855960,
)


def _add(a, b):
    product = D * a[0] * b[0] * a[1] * b[1]
    return (
        (a[0] * b[1] + b[0] * a[1]) * pow(1 + product, P - 2, P) % P,
        (a[1] * b[1] + a[0] * b[0]) * pow(1 - product, P - 2, P) % P,
    )


def _times(k):
    total, power = (0, 1), G
    for bit in range(k.bit_length()):
        if k >> bit & 1:
            total = _add(total, power)
        power = _add(power, power)
    return (total[1] | (total[0] & 1) << 255).to_bytes(32, "little")


def sign_again(seed: bytes, data: bytes, r: int) -> bytes:
    """Return another Ed25519 signature of the same bytes: RFC 8032 with a nonce of the signer's choice."""
    expanded = hashlib.sha512(seed).digest()
    a = (int.from_bytes(expanded[:32], "little") & (1 << 254) - 8) | 1 << 254
    commitment = _times(r)
    k = int.from_bytes(hashlib.sha512(commitment + _times(a) + data).digest(), "little")
    return commitment + ((r + k * a) % L).to_bytes(32, "little")


def test_a_colluder_does_not_certify_a_sum_void_from_seats_of_later_rosters(federation):
    """The victim's guard must not believe that the sum over its rows was never opened."""
    fed = federation(4, 2)
    asked(fed)
    opened = until(fed, "opened")
    manifest = opened.posted.hash
    shown = [entry.envelope for entry in fed.log if not _tells(fed, entry.envelope)]
    fork = Fork(fed, "org-0", shown)  # it has opened, and is told that nobody else has
    job = fork.log.jobs[-1]
    assert fork.say(Abandon(manifest=manifest, reason="")) is None
    assert fork.say(Outcome(ask=opened.ask.digest, outcome="void", reason="")) is None
    assert fork.say(JobEnd(epoch=job.epoch.id, job=job.number, outcome="void", reason="")) is None
    void = signed_by(fed, 4, Statement(manifest=manifest, opens=False, contributors=())).envelope
    seed = fed.parties[3].identity._identity.private_bytes_raw()
    call, colluder = job.epoch.call, job.epoch.call.identities[3]
    others = [identity for identity in call.identities if identity != colluder]
    assert fork.show(void) is None  # a lie from its own seat: one of the three that a certificate needs
    for number, seat in enumerate((2, 3), 2):
        order = (*others[: seat - 1], colluder, *others[seat - 1 :])
        assert fork.say(dataclasses.replace(call, number=number, identities=order)) is None
        again = dataclasses.replace(void, signature=sign_again(seed, void._signed(), number))
        again.verify()
        assert fork.show(again) is not None
    assert fork.log.rounds[manifest].certificate() is None


def _tells(fed, envelope):
    message = KINDS[envelope.kind].from_bytes(envelope.body)
    if envelope.kind not in ("statement", "opened"):
        return False
    return fed.coordinator.transcript.rounds[message.manifest].ask.kind == "sum"
