"""Models made ready for a tenant: computed once for each pair, kept while there is room."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass

from fedanomaly.fhe.hidden import PreparedModel
from fedanomaly.fhe.scoring import PreparedCircuit, seed
from fedanomaly.scoring.models import Model


@dataclass(frozen=True)
class Prepared:
    """A model ready for the batches of one tenant.

    Parameters
    ----------
    circuit : PreparedCircuit or PreparedModel
        What scores.
    constants : bytes
        What the tenant needs once; of an encrypted model nothing.
    size_bytes : int
        Memory that both take, about.
    """

    circuit: PreparedCircuit | PreparedModel
    constants: bytes
    size_bytes: int


def prepare(model: Model, federation: bytes, tenant: bytes) -> Prepared:
    """Compute what depends on a model and a tenant; some ten milliseconds of one core."""
    if isinstance(model.circuit, PreparedModel):
        return Prepared(model.circuit, b"", 0)
    circuit = PreparedCircuit(model.circuit, seed(federation, model.digest, tenant))
    shape = circuit.shape
    # The engine keeps products with the public polynomials, each as large as one reading of a batch: one of every
    # form, and where there is a layer above it two of every row, one of every plain form and another. The constants
    # are there twice.
    layer, products = model.circuit.layer, len(model.circuit.bias)
    if layer is not None:
        products += 2 * len(layer.direct) + len(layer.bias) + 1
    size = products * (shape.batch_bytes // shape.features) + 2 * shape.constant_bytes + model.circuit.size_bytes
    return Prepared(circuit, circuit.constants(), size)


class PreparedModels:
    """The pairs that are ready; used on the event loop alone.

    Parameters
    ----------
    federation : bytes
        Whose seeds are used.
    limit_bytes : int
        Memory for them together; what was used longest ago goes first. The one that
        was asked for last stays, whatever its size.
    pool : Executor
        Where they are computed.
    make : callable
        What computes them.
    """

    def __init__(
        self,
        federation: bytes,
        *,
        limit_bytes: int,
        pool: Executor,
        make: Callable[[Model, bytes, bytes], Prepared] = prepare,
    ) -> None:
        self._federation = federation
        self._limit_bytes = limit_bytes
        self._pool = pool
        self._make = make
        self._ready: OrderedDict[tuple[bytes, bytes], Prepared] = OrderedDict()
        self._under_way: dict[tuple[bytes, bytes], asyncio.Future[Prepared]] = {}
        self.size_bytes = 0

    async def of(self, model: Model, tenant: bytes) -> Prepared:
        """Return a model made ready; many who ask at once wait for one computation.

        Raises
        ------
        CapacityError, DataError
            If the engine does not take the model.
        """
        pair = (model.digest, tenant)
        if (found := self._ready.get(pair)) is not None:
            self._ready.move_to_end(pair)
            return found
        if (future := self._under_way.get(pair)) is None:
            loop = asyncio.get_running_loop()
            future = loop.run_in_executor(self._pool, self._make, model, self._federation, tenant)
            self._under_way[pair] = future
            future.add_done_callback(lambda done: self._keep(pair, done))
        # Shielded: one who goes away does not take it from the others.
        return await asyncio.shield(future)

    def forget(self, digest: bytes) -> None:
        """Give up what is ready of a model that is not served any more."""
        for pair in [pair for pair in self._ready if pair[0] == digest]:
            self.size_bytes -= self._ready.pop(pair).size_bytes

    def _keep(self, pair: tuple[bytes, bytes], done: asyncio.Future[Prepared]) -> None:
        del self._under_way[pair]
        if done.cancelled() or done.exception() is not None:
            return
        self._ready[pair] = done.result()
        self.size_bytes += done.result().size_bytes
        while self.size_bytes > self._limit_bytes and len(self._ready) > 1:
            self.size_bytes -= self._ready.popitem(last=False)[1].size_bytes
