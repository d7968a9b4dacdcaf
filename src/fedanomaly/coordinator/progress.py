"""What members may see of a federation's progress: names, states and sizes, all of it in the log."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from pathlib import Path

from fedanomaly.coordinator.home import Home
from fedanomaly.errors import ConfigError, FedAnomalyError, ProtocolError
from fedanomaly.protocol import Entry, Envelope, Job, Round, Transcript
from fedanomaly.storage.envelopes import EnvelopeLog
from fedanomaly.transport import plain_text, wire

FOLD_ENTRIES = 200
MAX_REASON = 4000
"""Room for the reasons of many members."""


def read_status(folder: Path) -> wire.Status:
    """Return the status of the federation in a home, read from its log; also while it is served.

    Raises
    ------
    ConfigError
        If the home is not usable, or was never served.
    """
    home = Home(folder)
    home.check()
    transcript = Transcript(home.federation, home.identity.public_key)
    if home.database_path.exists():
        asyncio.run(_fold(home, transcript))
    if transcript.settings is None:
        raise ConfigError("this coordinator has not run yet", hint="run: fedanomaly coordinator run")
    return status_of(transcript)


async def _fold(home: Home, transcript: Transcript) -> None:
    log = await EnvelopeLog.open(home.database_path)
    try:
        while records := await log.read(transcript.head, FOLD_ENTRIES):
            for record in records:
                entry = Entry(record.seq, record.received_at, Envelope.from_bytes(record.data))
                try:
                    transcript.add(entry)
                except FedAnomalyError:
                    transcript.skip(entry)  # as the service and every member do
    finally:
        await log.close()


def status_of(transcript: Transcript) -> wire.Status:
    """Return the federation at a glance.

    Raises
    ------
    ProtocolError
        If the log is not open yet.
    """
    if transcript.settings is None:
        raise ProtocolError("the log is not open yet")
    epoch = transcript.epoch
    return wire.Status(
        name=transcript.settings.name,
        head=transcript.head,
        members=tuple(transcript.members.values()),
        expected=transcript.settings.members,
        threshold=transcript.settings.threshold,
        epoch=len(transcript.epochs),
        epoch_state=epoch.state.value if epoch else "enrolling",
        jobs=tuple(_job(transcript, job) for job in transcript.jobs),
        objections=tuple(_objections(transcript)),
    )


def _objections(transcript: Transcript) -> Iterator[str]:
    """Yield what members could not use of each other in the two newest set-ups."""
    for epoch in transcript.epochs[-2:]:
        names = [transcript.members[identity] for identity in epoch.call.identities]
        for (member, about), what in sorted(epoch.objections.items()):
            text = f"epoch {epoch.call.number}: {names[member - 1]} cannot use the {what} of {names[about - 1]}"
            yield plain_text(text)


def _job(transcript: Transcript, job: Job) -> wire.Job:
    request = job.request
    names = {index: transcript.members[key] for index, key in enumerate(job.epoch.call.identities, 1)}
    return wire.Job(
        number=job.number,
        epoch=1 + transcript.epochs.index(job.epoch),
        model=plain_text(request.model) if request else "self-test",
        detector=plain_text(request.detector) if request else "",
        requested_by=transcript.members.get(job.requested_by, "coordinator"),
        state=job.state.value,
        reason=plain_text(job.reason, MAX_REASON),
        rounds=tuple(_round(round_, names) for round_ in job.rounds),
    )


def _round(round_: Round, names: dict[int, str]) -> wire.Round:
    def named(indices: Iterable[int]) -> tuple[str, ...]:
        return tuple(names[index] for index in sorted(indices))

    return wire.Round(
        state=round_.state.value,
        kind=round_.ask.kind,
        step=round_.ask.step,
        fields=round_.ask.fields,
        joined=named(round_.joins),
        contributed=named(round_.contributions),
        contributors=named(round_.contributors),
        stated=named(round_.statements),
        voted=named(round_.votes),
        reason=plain_text(round_.reason, MAX_REASON),
    )
