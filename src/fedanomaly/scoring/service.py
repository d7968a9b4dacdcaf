"""What a scoring service holds and does, without HTTP. It runs on one event loop; kernels run in threads beside it."""

from __future__ import annotations

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import structlog

from fedanomaly.errors import FedAnomalyError, MessageError, NotFoundError, UnavailableError
from fedanomaly.fhe.hidden import EncryptedModel
from fedanomaly.scoring.buffers import Buffers
from fedanomaly.scoring.config import MIB, load_config
from fedanomaly.scoring.home import Home
from fedanomaly.scoring.metrics import Metrics
from fedanomaly.scoring.models import Model, ReleaseFolder, Uploads, admit, admit_encrypted
from fedanomaly.scoring.prepared import Prepared, PreparedModels
from fedanomaly.scoring.receiving import Pace
from fedanomaly.scoring.slots import Slots
from fedanomaly.scoring.wire import HEAD_BYTES, ModelView
from fedanomaly.transport.verification import RequestVerifier
from fedanomaly.types import Circuit

RESCAN_S = 2.0
MAX_REQUESTS_OF_ONE_TENANT = 100_000
"""Signed requests within two minutes: a micro-batch every other millisecond."""

log = structlog.get_logger("fedanomaly.scoring")


class ScoringService:
    """Scores batches with the models of its folder and those that tenants sent.

    Parameters
    ----------
    home : Home
        Its settings and its folder; read here, written never.
    metrics : Metrics
        Where things are counted.
    """

    def __init__(self, home: Home, metrics: Metrics) -> None:
        config = home.config
        self._home, self.metrics = home, metrics
        self._folder = ReleaseFolder(home.models_path, config.federation_id, max_batch_bytes=config.max_batch_mib * MIB)
        self._scanning = asyncio.Lock()
        self._releasers = config.releaser_keys
        self._max_batch_bytes = config.max_batch_mib * MIB
        self.pool = ThreadPoolExecutor(config.worker_threads, thread_name_prefix="scoring")
        self.max_upload_bytes = config.max_upload_mib * MIB
        self.takes_uploads = config.max_uploads_per_tenant > 0
        self.tenants = config.tenant_names
        self.released: dict[bytes, Model] = {}
        self.uploads = Uploads(number=config.max_uploads_per_tenant, limit_bytes=self.max_upload_bytes)
        self.prepared = PreparedModels(config.federation_id, limit_bytes=config.prepared_mib * MIB, pool=self.pool)
        self.slots = Slots(config.max_in_flight_batches, config.max_in_flight_per_tenant)
        self.buffers = Buffers(2 * config.worker_threads)
        self.pace = Pace()
        self.verifier = RequestVerifier(
            config.federation_id, lambda key: key in self.tenants, max_nonces=MAX_REQUESTS_OF_ONE_TENANT
        )
        self.draining = False
        self.queued = 0
        metrics.watch(self)

    async def rescan(self) -> None:
        """Take in what changed in the folder: all at once, so nobody meets half of it."""
        async with self._scanning:
            # In the default pool: the kernels' own may be full of batches.
            found = await asyncio.to_thread(self._folder.scan, self._releasers)
            gone = self.released.keys() - found.keys()
            self.released = found
        for digest in gone:
            self.prepared.forget(digest)

    async def reload(self) -> None:
        """Read tenants and releasers again, and the folder; settings that cannot be used change nothing."""
        try:
            config = await asyncio.to_thread(load_config, self._home.config_path)
        except FedAnomalyError as error:
            log.error("settings-kept", error=str(error))  # noqa: TRY400 - the text says it all
        else:
            self.tenants, self._releasers = config.tenant_names, config.releaser_keys
            self.uploads.keep_only(self.tenants)
            log.info("reloaded", tenants=len(self.tenants), releasers=len(self._releasers))
        await self.rescan()

    def check_open(self) -> None:
        """Raise once nothing new is taken.

        Raises
        ------
        UnavailableError
            After `draining` was set.
        """
        if self.draining:
            raise UnavailableError("this service is stopping", retry_after_s=1.0)

    def models(self, tenant: bytes) -> list[ModelView]:
        """Return what a tenant may score with."""
        own = [model.view(private=True) for model in self.uploads.of(tenant)]
        return [model.view(private=False) for model in self.released.values()] + own

    def find(self, tenant: bytes, digest: bytes) -> Model:
        """Return a model that the tenant may use.

        Raises
        ------
        NotFoundError
            If there is none; another tenant's is none.
        """
        # Its own first: it stays while it is used, whatever is released.
        model = self.uploads.find(tenant, digest) or self.released.get(digest)
        if model is None:
            raise NotFoundError(f"there is no model {digest.hex()[:16]} for this tenant")
        return model

    async def ready(self, tenant: bytes, model: Model) -> Prepared:
        """Return a model made ready for a tenant."""
        return await self.prepared.of(model, tenant)

    async def upload(self, tenant: bytes, digest: bytes, body: bytearray) -> None:
        """Keep a circuit, or an encrypted model, for the tenant that sent it.

        Raises
        ------
        MessageError
            If the bytes are not the one of that digest.
        CapacityError, DataError
            If the engine does not compute it, or it is too large.
        """
        model = await asyncio.get_running_loop().run_in_executor(self.pool, self._admit, bytes(body))
        if model.digest != digest:
            raise MessageError("the circuit is another one than its name says")
        for gone in self.uploads.add(tenant, model):
            self.prepared.forget(gone.digest)

    def _admit(self, body: bytes) -> Model:
        if EncryptedModel.recognises(body):
            return admit_encrypted(EncryptedModel.from_bytes(body), max_batch_bytes=self._max_batch_bytes)
        return admit(Circuit.from_bytes(body), max_batch_bytes=self._max_batch_bytes)

    def score(self, prepared: Prepared, words: memoryview) -> asyncio.Future[bytearray]:
        """Begin with the answer to a batch.

        Returns
        -------
        Future
            Of the answer, behind room for its head; a MessageError, if a residue is not below its prime.
        """
        self.queued += 1
        answer = asyncio.get_running_loop().run_in_executor(self.pool, self._timed, prepared, words)
        answer.add_done_callback(self._done)
        return answer

    def _done(self, answer: asyncio.Future[bytearray]) -> None:
        self.queued -= 1
        if not answer.cancelled():
            answer.exception()  # looked at, in case nobody else does

    def _timed(self, prepared: Prepared, words: memoryview) -> bytearray:
        started_s = time.perf_counter()
        answer = prepared.circuit.score(words, room=HEAD_BYTES)
        self.metrics.observe("fedanomaly_scoring_kernel_seconds", time.perf_counter() - started_s)
        return answer

    def close(self) -> None:
        """Let the threads go."""
        self.pool.shutdown(wait=False, cancel_futures=True)
