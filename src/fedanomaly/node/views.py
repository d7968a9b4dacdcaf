"""What the node shows of its federation: plain records, made from the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

import msgspec
from pydantic import BaseModel, ConfigDict

from fedanomaly.node.models import Lineage, Model
from fedanomaly.protocol import Job, JobRequest, Round, Transcript
from fedanomaly.transport import plain_text

if TYPE_CHECKING:
    from fedanomaly.detectors.drift import Drift
    from fedanomaly.node.notes import StepNote

MAX_REASON = 4000
"""Room for the reasons of many members."""


class View(BaseModel):
    """Base of all records of the loopback API."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class RoundView(View):
    """One round as the log tells it; members by name, sizes in bytes."""

    round: int
    step: int
    step_name: str | None
    state: str
    reason: str
    fields: int
    message_bytes: int
    joined: list[str]
    contributed: list[str]
    contributors: list[str]
    decryptors: list[str]
    opened_by: list[str]
    votes: int
    sent_bytes: int
    received_bytes: int
    seconds: float | None
    clipped: int | None
    progress_name: str | None
    progress: float | None


class JobView(View):
    """One job as the log tells it; its id is that of the request."""

    id: str
    model: str
    dataset: str
    detector: str
    params: dict[str, Any]
    state: str
    reason: str
    requested_by: str
    ready: list[str]
    declined: dict[str, str]
    rounds: list[RoundView]
    sent_bytes: int


class StatusView(View):
    """The node and its federation at a glance."""

    version: str
    organisation: str
    identity: str
    coordinator_url: str
    connected: bool
    federation: str | None
    head: int
    members: list[str]
    members_wanted: int | None
    threshold: int | None
    epoch: int | None
    epoch_state: str | None
    open_job: str | None
    quota_used: float
    last_contact_at: float | None
    trouble: str | None
    held_back: list[str]


class DatasetView(View):
    """A local data set; it tells no value and no statistic but the row counts."""

    name: str
    generation: int
    rows: int
    holdout_rows: int
    columns: list[str]
    label: str | None
    schema_digest: str
    added_at: float


class RoundLineageView(View):
    """One round that a model was trained in."""

    step: int
    members: list[str]
    message_bytes: int
    step_name: str | None
    seconds: float | None
    clipped: int | None
    progress_name: str | None
    progress: float | None


class ParentView(View):
    """The version that a refreshed model began with, and the share of its rows that still counts."""

    version: int
    request: str
    keep: float


class ModelView(View):
    """A trained model and where it came from."""

    name: str
    version: int
    detector: str
    detector_version: int
    params: dict[str, Any]
    dataset: str
    requested_by: str
    job: int
    epoch: str
    request: str
    feature_schema: str
    schema_digest: str
    rounds: list[RoundLineageView]
    started_at: float
    ended_at: float
    generation: int | None
    parent: ParentView | None
    sample: int | None


class ScoresView(View):
    """Scores of rows in their order: high is anomalous, -1 is an outlier.

    `remote` tells whether a service computed them on ciphertexts, as the policy says; `uncertain`, row by row,
    whether its noise could have put the score on this side of the threshold; `scored_here` how many rows were
    scored on this machine, in the clear; `bytes_up` and `bytes_down` what travelled.
    """

    scores: list[float]
    predictions: list[int]
    threshold: float
    remote: bool
    uncertain: list[bool]
    scored_here: int
    bytes_up: int
    bytes_down: int


class FigureView(View):
    """A figure; the exact one is at most `bound` from `value`."""

    value: float
    bound: float


class BandView(View):
    """The share of anomalies between two quantiles of the score."""

    above: float
    upto: float
    rows: int
    share: FigureView


class DriftView(View):
    """How far this node's held-out rows are from those of all others, in one feature or in the score."""

    name: str
    psi: float | None
    wasserstein: float | None
    word: str


class EvaluationView(View):
    """What an evaluation has opened, over the labelled rows of all members; null where a class is missing.

    `drift` holds this node's rows against the others', `drift_since` the rows of all
    against those of the last evaluation of the same model before, which ended at `since`.
    """

    model: str
    model_state: str
    requested_by: str
    members: list[str]
    request: str
    ended_at: float
    rows: int
    anomalies: int
    budget: float
    alerts: int
    auroc: FigureView | None
    average_precision: FigureView | None
    precision: FigureView | None
    recall: FigureView | None
    calibration: list[BandView]
    drift: list[DriftView] | None
    since: float | None
    drift_since: list[DriftView] | None


class EventView(View):
    """One line of the feed."""

    cursor: int
    at: float
    name: str
    details: dict[str, Any]


class EventsView(View):
    """Events after a cursor, and the cursor to go on from."""

    events: list[EventView]
    cursor: int


class TrainView(View):
    """The id of a job that was asked for."""

    id: str


class FailureView(View):
    """What every answer that is no success holds."""

    code: str
    message: str
    hint: str | None
    retry_after_s: float | None


def model_view(lineage: Lineage) -> ModelView:
    """Return what the API tells about a model."""
    told = msgspec.to_builtins(lineage)
    schema = told.pop("schema")
    return ModelView.model_validate({**told, "feature_schema": schema})


def evaluation_view(
    evaluation: Model, drift: list[Drift] | None, budget: float, earlier: Model | None
) -> EvaluationView:
    """Return what the API tells about an evaluation, and about the one before of the same model."""
    # Both only when they are needed: a node starts fast.
    from fedanomaly.detectors.evaluation import drift_since, quality_from  # noqa: PLC0415
    from fedanomaly.features import Schema  # noqa: PLC0415

    told = evaluation.lineage
    names = Schema.from_json(told.schema).feature_names
    moved = None if earlier is None else drift_since(earlier.state, evaluation.state, names)
    return EvaluationView.model_validate(
        {
            **quality_from(evaluation.state, budget=budget).to_dict(),
            "model": told.name,
            "model_state": evaluation.state.params["state"],
            "requested_by": told.requested_by,
            "members": told.rounds[0].members,
            "request": told.request,
            "ended_at": told.ended_at,
            "drift": None if drift is None else [row.to_dict() for row in drift],
            "since": None if earlier is None else earlier.lineage.ended_at,
            "drift_since": None if moved is None else [row.to_dict() for row in moved],
        }
    )


NotesOf: TypeAlias = "Callable[[bytes], Sequence[StepNote]]"
"""Gives the notes of a job's steps, in their order, by its request."""


def jobs_of(transcript: Transcript, me: bytes, notes_of: NotesOf) -> list[JobView]:
    """Return all jobs of the log that train something, waiting ones last."""
    started = [_job(job, transcript, me, notes_of) for job in transcript.jobs if job.request]
    return started + [_waiting(request, transcript.members, identity) for _, request, identity in transcript.waiting()]


def _job(job: Job, transcript: Transcript, me: bytes, notes_of: NotesOf) -> JobView:
    identities = job.epoch.call.identities
    seat = identities.index(me) + 1 if me in identities else 0
    names = {index: transcript.members.get(key, "?") for index, key in enumerate(identities, start=1)}
    request = job.request
    if request is None:
        raise ValueError("the self-test trains nothing")
    notes = dict(enumerate(notes_of(request.request)))
    rounds = [_round(entry, names, seat, notes.get(entry.ask.step)) for entry in job.rounds]
    return _view(
        request,
        state=job.state.value,
        reason=plain_text(job.reason, MAX_REASON),
        requested_by=transcript.members.get(job.requested_by, "?"),
        ready=_named(job.ready, names),
        declined={names[index]: plain_text(reason) for index, reason in sorted(job.declined.items())},
        rounds=rounds,
    )


def _waiting(request: JobRequest, members: dict[bytes, str], identity: bytes) -> JobView:
    by = members.get(identity, "?")
    return _view(request, state="waiting", reason="", requested_by=by, ready=[], declined={}, rounds=[])


def _view(request: JobRequest, *, rounds: list[RoundView], **told: Any) -> JobView:  # noqa: ANN401
    return JobView(
        id=request.request.hex(),
        model=plain_text(request.model),
        dataset=plain_text(request.dataset),
        detector=plain_text(request.detector),
        params=_params(request.params),
        rounds=rounds,
        sent_bytes=sum(entry.sent_bytes for entry in rounds),
        **told,
    )


def _round(entry: Round, names: dict[int, str], seat: int, note: StepNote | None) -> RoundView:
    sent = entry.contributions[seat].size if seat in entry.contributions else 0
    if seat in entry.statements:
        sent += entry.statements[seat][1].size
    return RoundView(
        round=entry.ask.round,
        step=entry.ask.step,
        step_name=note.name if note else None,
        state=entry.state.value,
        reason=plain_text(entry.reason, MAX_REASON),
        fields=entry.ask.fields,
        message_bytes=entry.ask.layout.message_bytes,
        joined=_named(entry.joins, names),
        contributed=_named(entry.contributions, names),
        contributors=_named(entry.contributors, names),
        decryptors=_named(entry.manifest.decryptors if entry.manifest else (), names),
        opened_by=_named((index for index, (said, _) in entry.statements.items() if said.opens), names),
        votes=len(entry.votes),
        sent_bytes=sent,
        received_bytes=entry.opened.size if entry.opened else 0,
        seconds=round(entry.ended - entry.began, 3) if entry.state.final else None,
        clipped=note.clipped if note and entry.opened else None,
        progress_name=note.progress_name if note and entry.opened else None,
        progress=note.progress if note and entry.opened else None,
    )


def _params(text: str) -> dict[str, Any]:
    # Another member wrote it: it may be anything, and the learner refuses what is no object.
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _named(indices: Iterable[int], names: dict[int, str]) -> list[str]:
    return [names[index] for index in sorted(indices)]
