"""Which models a service has: those in its folder, for everybody, and those that tenants sent, for themselves."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import structlog

from fedanomaly.errors import CapacityError, FedAnomalyError
from fedanomaly.fhe.hidden import EncryptedModel, HiddenShape, PreparedModel
from fedanomaly.fhe.scoring import PreparedCircuit, Shape
from fedanomaly.scoring.release import MAX_RELEASE_BYTES, SUFFIX, read_release
from fedanomaly.scoring.wire import ModelView, frame_bytes
from fedanomaly.types import Circuit

log = structlog.get_logger("fedanomaly.scoring")


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model that can be scored with.

    Parameters
    ----------
    name : str
        Of the release; empty for an upload.
    version : int
        Of the release; 0 for an upload.
    digest : bytes
        Of the circuit, or of the encrypted model: what tenants call it.
    circuit : Circuit or PreparedModel
        What is computed. An encrypted model has one tenant, so it is ready for it.
    shape : Shape or HiddenShape
        What follows for batches.
    size_bytes : int
        Of its weights.
    """

    name: str
    version: int
    digest: bytes
    circuit: Circuit | PreparedModel
    shape: Shape | HiddenShape
    size_bytes: int

    def view(self, *, private: bool) -> ModelView:
        """Return what a tenant sees of it."""
        shape = self.shape
        return ModelView(
            name=self.name,
            version=self.version,
            digest=self.digest.hex(),
            kind="encrypted" if isinstance(shape, HiddenShape) else shape.kind,
            features=shape.features,
            outputs=shape.outputs,
            weight_bits=0 if isinstance(shape, HiddenShape) else shape.weight_bits,
            batch_bytes=shape.batch_bytes,
            answer_bytes=shape.answer_bytes,
            private=private,
        )


def admit(circuit: Circuit, *, max_batch_bytes: int, name: str = "", version: int = 0) -> Model:
    """Return a circuit as a model, if the engine computes it exactly and its batches are not too large.

    Raises
    ------
    CapacityError
        If they are, or its weights are.
    DataError
        If a bias is too large.
    """
    # The engine checks a circuit when it prepares it; the seed makes no difference to that.
    shape = PreparedCircuit(circuit, bytes(32)).shape
    _check_batches(shape, max_batch_bytes)
    return Model(
        name=name,
        version=version,
        digest=circuit.digest,
        circuit=circuit,
        shape=shape,
        size_bytes=circuit.size_bytes,
    )


def admit_encrypted(model: EncryptedModel, *, max_batch_bytes: int) -> Model:
    """Return an encrypted model made ready, if its batches are not too large.

    Raises
    ------
    CapacityError
        If they are.
    MessageError
        If a residue is not below its prime.
    """
    shape = model.shape
    _check_batches(shape, max_batch_bytes)
    prepared, size = PreparedModel(model), shape.model_bytes + shape.batch_bytes
    return Model(name="", version=0, digest=model.digest, circuit=prepared, shape=shape, size_bytes=size)


def _check_batches(shape: Shape | HiddenShape, max_batch_bytes: int) -> None:
    if frame_bytes(shape) > max_batch_bytes:
        raise CapacityError(f"a batch of this model has {frame_bytes(shape)} bytes; {max_batch_bytes} are taken")


Mark = tuple[int, int, int]
"""What tells that a file is another one: inode, size, time of change in nanoseconds."""


class ReleaseFolder:
    """The released models, read again when files come, change or go. One thread at a time.

    Parameters
    ----------
    folder : Path
        Where release files lie.
    federation : bytes
        The federation that they must be for.
    max_batch_bytes : int
        Models with larger batches are not served.
    """

    def __init__(self, folder: Path, federation: bytes, *, max_batch_bytes: int) -> None:
        self._folder, self._federation, self._max_batch_bytes = folder, federation, max_batch_bytes
        self._read: dict[str, tuple[Mark, Model | None]] = {}
        self._releasers: frozenset[bytes] = frozenset()

    def scan(self, releasers: Collection[bytes]) -> dict[bytes, Model]:
        """Return the models by digest; a file that does not verify is left out, and told of once."""
        if self._releasers != frozenset(releasers):
            self._read.clear()  # other keys count now
            self._releasers = frozenset(releasers)
        marks: dict[str, Mark] = {}
        for path in sorted(self._folder.glob(f"*{SUFFIX}")):
            try:
                stat = path.stat()
            except OSError:
                continue  # gone meanwhile
            marks[path.name] = (stat.st_ino, stat.st_size, stat.st_mtime_ns)
        for name in self._read.keys() - marks.keys():
            del self._read[name]
            log.info("release-gone", file=name)
        for name, mark in marks.items():
            if name not in self._read or self._read[name][0] != mark:
                self._read[name] = (mark, self._load(self._folder / name, mark[1]))
        models = sorted((model for _, model in self._read.values() if model), key=lambda model: model.version)
        return {model.digest: model for model in models}

    def _load(self, path: Path, size: int) -> Model | None:
        try:
            if size > MAX_RELEASE_BYTES:
                raise CapacityError(f"a release has {MAX_RELEASE_BYTES} bytes at most")
            release = read_release(path.read_bytes(), federation=self._federation, releasers=self._releasers)
            model = admit(
                release.circuit, max_batch_bytes=self._max_batch_bytes, name=release.name, version=release.version
            )
        except (FedAnomalyError, OSError) as error:
            log.error("release-refused", file=path.name, error=str(error))  # noqa: TRY400 - the text says it all
            return None
        log.info("release-loaded", file=path.name, model=model.name, version=model.version, digest=model.digest.hex())
        return model


class Uploads:
    """What tenants sent: in memory, each seen by its sender alone. Used on the event loop alone.

    Parameters
    ----------
    number : int
        Models of one tenant; beyond, the one that it used longest ago goes.
    limit_bytes : int
        Size of one tenant's circuits together.
    """

    def __init__(self, *, number: int, limit_bytes: int) -> None:
        self._number, self._limit_bytes = number, limit_bytes
        self._of: dict[bytes, OrderedDict[bytes, Model]] = {}

    @property
    def count(self) -> int:
        """Models of all tenants."""
        return sum(map(len, self._of.values()))

    def add(self, tenant: bytes, model: Model) -> list[Model]:
        """Keep a model; returns those that went for it.

        Raises
        ------
        CapacityError
            If it is too large alone.
        """
        if model.size_bytes > self._limit_bytes:
            raise CapacityError(f"the models of one tenant have {self._limit_bytes} bytes at most")
        own = self._of.setdefault(tenant, OrderedDict())
        own[model.digest] = model
        own.move_to_end(model.digest)
        gone = []
        while len(own) > self._number or sum(each.size_bytes for each in own.values()) > self._limit_bytes:
            gone.append(own.popitem(last=False)[1])
        return gone

    def of(self, tenant: bytes) -> list[Model]:
        """Return a tenant's models."""
        return list(self._of.get(tenant, {}).values())

    def find(self, tenant: bytes, digest: bytes) -> Model | None:
        """Return one of a tenant's models."""
        own = self._of.get(tenant, {})
        if digest in own:
            own.move_to_end(digest)  # pyright: ignore[reportAttributeAccessIssue] - the default is empty
        return own.get(digest)

    def keep_only(self, tenants: Collection[bytes]) -> None:
        """Forget the models of who is no tenant any more."""
        for tenant in self._of.keys() - set(tenants):
            del self._of[tenant]
