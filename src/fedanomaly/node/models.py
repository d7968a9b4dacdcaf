"""Trained models on disk: each version sealed, with where it came from."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from pathlib import Path

import msgspec

from fedanomaly.errors import DataError, KeystoreError, MessageError, NotFoundError
from fedanomaly.node.durable import make_folder
from fedanomaly.node.keystore import Keystore, Sealer
from fedanomaly.storage import write_durably
from fedanomaly.types import Reader, State, item

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_FILE = re.compile(r"(\d{6})-([0-9a-f]{32})\.model")


class RoundLineage(msgspec.Struct, frozen=True, kw_only=True):
    """One round that a model was trained in.

    Parameters
    ----------
    step : int
        Number of the step.
    members : list of str
        Organisations whose contributions are in the sum.
    message_bytes : int
        Size of every contribution.
    step_name : str or None
        What was summed; None where it was not noted.
    seconds : float or None
        From its announcement to its outcome, by the coordinator's clock.
    clipped : int or None
        Entries, over all members, that lay outside their bounds.
    progress_name, progress : str, float or None
        A figure that settles while an iterative detector learns.
    """

    step: int
    members: list[str]
    message_bytes: int
    step_name: str | None = None
    seconds: float | None = None
    clipped: int | None = None
    progress_name: str | None = None
    progress: float | None = None


class ParentLineage(msgspec.Struct, frozen=True, kw_only=True):
    """The version that a refreshed model began with.

    Parameters
    ----------
    version : int
        At this node.
    request : str
        The job request that it came from (hex); the same at every node.
    keep : float
        Share of its rows that still counts.
    """

    version: int
    request: str
    keep: float


class Lineage(msgspec.Struct, frozen=True, kw_only=True):
    """Where a model came from.

    Parameters
    ----------
    name : str
        Name of the model.
    version : int
        Version at this node, from 1.
    request : str
        The job request that asked for it (hex).
    epoch : str
        Key epoch of the job (hex).
    job : int
        Number of the job within its key epoch.
    detector : str
        Registered name of the detector.
    detector_version : int
        Version of its algorithm.
    params : dict
        Declared parameters.
    dataset : str
        Local data set.
    schema : str
        Feature schema, as JSON.
    schema_digest : str
        Its digest (hex).
    requested_by : str
        Organisation that asked for the job.
    rounds : list of RoundLineage
        The rounds whose sums it was merged from.
    started_at, ended_at : float
        Unix seconds by the coordinator's clock.
    generation : int or None
        Number of this node's training rows up to which the model knows them; 0:
        it knows none. None: kept before this was noted.
    parent : ParentLineage or None
        What it was refreshed from; None: trained anew.
    sample : int or None
        Rows that it was to take of each member's; None: all.
    """

    name: str
    version: int
    request: str
    epoch: str
    job: int
    detector: str
    detector_version: int
    params: dict[str, object]
    dataset: str
    schema: str
    schema_digest: str
    requested_by: str
    rounds: list[RoundLineage]
    started_at: float
    ended_at: float
    generation: int | None = None
    parent: ParentLineage | None = None
    sample: int | None = None


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """A trained model.

    Parameters
    ----------
    lineage : Lineage
        Where it came from.
    state : State
        What was learnt.
    """

    lineage: Lineage
    state: State


class ModelStore:
    """The models of a node.

    Parameters
    ----------
    folder : Path
        Where they lie.
    keystore : Keystore
        Gives the key that seals them.
    kind : str, default="model"
        What lies there: models, or the evaluations of models under their names.
    """

    def __init__(self, folder: Path, keystore: Keystore, kind: str = "model") -> None:
        make_folder(folder)
        self._folder = folder
        self._kind = kind
        self._sealer = Sealer(keystore, f"{kind}s")
        self._lock = threading.Lock()

    def add(self, lineage: Lineage, state: State) -> Lineage:
        """Keep a model as the next version of its name, durably; once for each job.

        Parameters
        ----------
        lineage : Lineage
            Its version is set here.
        state : State
            What was learnt.
        """
        name = check_model_name(lineage.name)
        with self._lock:
            make_folder(self._folder / name)
            known = self._versions(name)
            for version, request in known:
                if request == lineage.request:
                    return msgspec.structs.replace(lineage, version=version)
            version = max((version for version, _ in known), default=0) + 1
            kept = msgspec.structs.replace(lineage, version=version)
            path = self._path(name, version, lineage.request)
            plain = item("lineage", msgspec.json.encode(kept)) + item("state", state.to_bytes())
            write_durably(path, self._sealer.seal(f"{name}/{path.name}", plain))
            return kept

    def has(self, name: str, request: str) -> bool:
        """Whether the model of a job is kept."""
        return any(known == request for _, known in self._versions(name))

    def newest(self) -> list[Lineage]:
        """Return the newest version of every model, by name."""
        names = sorted(path.name for path in self._folder.iterdir() if path.is_dir())
        return [self.load(name).lineage for name in names if self._versions(name)]

    def all(self, name: str) -> Iterator[Model]:
        """Yield every version of a model, the newest first; none if there is no such model."""
        for version, _ in reversed(self._versions(name)):
            yield self.load(name, version)

    def load(self, name: str, version: int | None = None) -> Model:
        """Return a model, the newest version unless another is asked for.

        Raises
        ------
        NotFoundError
            If there is no such model.
        KeystoreError
            If its file was changed, or is of another keystore.
        """
        known = dict(self._versions(name))
        chosen = version or max(known, default=0)
        if chosen not in known:
            raise NotFoundError(f"this node has no {self._kind} {name}" + (f" of version {version}" if version else ""))
        path = self._path(name, chosen, known[chosen])
        try:
            reader = Reader(self._sealer.open(f"{name}/{path.name}", path.read_bytes()))
            lineage = msgspec.json.decode(reader.item("lineage"), type=Lineage)
            state = State.from_bytes(reader.item("state"))
            reader.end()
        except (MessageError, msgspec.DecodeError, UnicodeDecodeError):
            raise KeystoreError(f"the model {name} is of a form that is not known here") from None
        return Model(lineage=lineage, state=state)

    def _versions(self, name: str) -> list[tuple[int, str]]:
        folder = self._folder / check_model_name(name)
        if not folder.is_dir():
            return []
        found = (_FILE.fullmatch(path.name) for path in folder.iterdir())
        return sorted((int(match[1]), match[2]) for match in found if match)

    def _path(self, name: str, version: int, request: str) -> Path:
        return self._folder / name / f"{version:06d}-{request}.model"


def check_model_name(name: str) -> str:
    """Return a name of a model or a data set that is safe as a file name.

    Raises
    ------
    DataError
        If it is not.
    """
    if not _NAME.fullmatch(name):
        raise DataError(
            "a name has 1 to 64 letters, digits, dots, dashes and underscores, and starts with a letter or digit",
            hint="choose another name for the data set or the model",
        )
    return name
