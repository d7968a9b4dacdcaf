"""A pair of model and tenant is made ready once, however many ask, and not kept for ever."""

from __future__ import annotations

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from fedanomaly.errors import CapacityError
from fedanomaly.scoring.prepared import Prepared, PreparedModels, prepare
from fedanomaly.types import Circuit, Layer
from tests.unit.scoring.conftest import FEDERATION, circuit


class Maker:
    def __init__(self) -> None:
        self.go_on, self.made, self.fails = threading.Event(), [], False
        self.go_on.set()

    def __call__(self, model, federation, tenant):
        assert self.go_on.wait(20)
        self.made.append((model.digest, tenant))
        if self.fails:
            raise CapacityError("too large")
        return Prepared(SimpleNamespace(), b"", 100)


def model(n):
    return SimpleNamespace(digest=bytes([n]) * 32)


@pytest.fixture
def run():
    maker = Maker()
    with ThreadPoolExecutor(4) as pool:

        async def body(test):
            return await test(PreparedModels(FEDERATION, limit_bytes=250, pool=pool, make=maker), maker)

        yield lambda test: asyncio.run(body(test))


def test_many_who_ask_at_once_wait_for_one_computation(run):
    async def test(prepared, maker):
        maker.go_on.clear()
        asking = [asyncio.create_task(prepared.of(model(1), b"north")) for _ in range(20)]
        await asyncio.sleep(0)
        asking[0].cancel()  # who goes away does not take it from the others
        maker.go_on.set()
        found = await asyncio.gather(*asking[1:])
        return len(set(map(id, found))), len(maker.made)

    assert run(test) == (1, 1)


def test_tenants_do_not_share(run):
    async def test(prepared, maker):
        return await prepared.of(model(1), b"north") is await prepared.of(model(1), b"south")

    assert run(test) is False


def test_what_was_used_longest_ago_goes_first(run):
    async def test(prepared, maker):
        for n in (1, 2, 1, 3, 1):
            await prepared.of(model(n), b"north")
        assert prepared.size_bytes == 200
        return [digest[0] for digest, _ in maker.made]

    assert run(test) == [1, 2, 3]


def test_a_failure_is_everybodys_and_is_not_kept(run):
    async def test(prepared, maker):
        maker.fails = True
        for _ in range(2):
            with pytest.raises(CapacityError):
                await prepared.of(model(1), b"north")
        maker.fails = False
        await prepared.of(model(1), b"north")
        return len(maker.made)

    assert run(test) == 3


def test_what_is_forgotten_is_made_again(run):
    async def test(prepared, maker):
        await prepared.of(model(1), b"north")
        prepared.forget(model(1).digest)
        assert prepared.size_bytes == 0
        await prepared.of(model(1), b"north")
        return len(maker.made)

    assert run(test) == 2


def test_the_memory_of_a_model_is_counted_about_right():
    made = prepare(SimpleNamespace(circuit=circuit(1, features=30, forms=10), digest=bytes(32)), FEDERATION, bytes(32))
    assert 500_000 < made.size_bytes < 800_000


def test_the_size_of_a_polynomial_counts_what_its_layer_needs():
    """10 forms, 30 rows twice, 2 plain forms and a square of 196,608 bytes each, and the constants twice."""
    layer = Layer(
        np.zeros((30, 10)), np.ones(30), np.zeros(30), of_forms=False, weights=np.zeros((2, 30)), bias=np.zeros(2)
    )
    polynomial = Circuit("polynomial", (10,), np.zeros((10, 30)), np.zeros(10), layer)
    made = prepare(SimpleNamespace(circuit=polynomial, digest=bytes(32)), FEDERATION, bytes(32))
    assert made.size_bytes == (10 + 2 * 30 + 2 + 1 + 2) * 6 * 8192 * 4 + polynomial.size_bytes
