"""Where a model of an accepted job came from, as this node saw it."""

from __future__ import annotations

import json
from collections.abc import Sequence

from fedanomaly.node import sampled
from fedanomaly.node.models import Lineage, ParentLineage, RoundLineage
from fedanomaly.node.notes import StepNote
from fedanomaly.node.registry import Snapshot
from fedanomaly.node.renewal import split
from fedanomaly.protocol import Job, Round, Transcript


def lineage_of(
    job: Job,
    transcript: Transcript,
    me: bytes,
    snapshot: Snapshot,
    *,
    parent: Lineage | None,
    notes: Sequence[StepNote],
) -> Lineage:
    """Return the lineage of what a job has learnt; the store gives it its version.

    Parameters
    ----------
    job : Job
        Accepted.
    transcript : Transcript
        Names the members.
    me : bytes
        Own identity.
    snapshot : Snapshot
        That the job began with at this node.
    parent : Lineage or None
        Of the version that it refreshed; None: it trained anew.
    notes : sequence of StepNote
        What was noted of its steps, in their order.
    """
    request, sample = sampled.split(job.asked)
    renewed = None
    if parent is not None:
        request, renewal = split(request)
        renewed = ParentLineage(version=parent.version, request=parent.request, keep=renewal.keep)
    names = [transcript.members.get(identity, "?") for identity in job.epoch.call.identities]
    return Lineage(
        name=request.model,
        version=0,
        request=request.request.hex(),
        epoch=job.epoch.id.hex(),
        job=job.number,
        detector=request.detector,
        detector_version=request.version,
        params=json.loads(request.params),
        dataset=request.dataset,
        schema=snapshot.schema,
        schema_digest=request.schema.hex(),
        requested_by=transcript.members.get(job.requested_by, "?"),
        rounds=[
            _round(entry, names, notes[step] if step < len(notes) else None) for step, entry in enumerate(job.accepted)
        ],
        started_at=job.rounds[0].since,
        ended_at=job.since,
        generation=_known(job, me, snapshot, parent),
        parent=renewed,
        sample=sample,
    )


def _round(entry: Round, names: Sequence[str], note: StepNote | None) -> RoundLineage:
    return RoundLineage(
        step=entry.ask.step,
        members=[names[index - 1] for index in entry.contributors],
        message_bytes=entry.ask.layout.message_bytes,
        step_name=note.name if note else None,
        seconds=round(entry.ended - entry.began, 3),
        clipped=note.clipped if note else None,
        progress_name=note.progress_name if note else None,
        progress=note.progress if note else None,
    )


def _known(job: Job, me: bytes, snapshot: Snapshot, parent: Lineage | None) -> int | None:
    """Return up to which rows of this node the model knows them: as before, where it did not contribute."""
    if job.epoch.index_of(me) in job.accepted[0].contributors:
        return snapshot.generation
    return 0 if parent is None else parent.generation
