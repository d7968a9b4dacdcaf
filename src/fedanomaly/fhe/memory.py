"""Memory that kernels read and write fast."""

from __future__ import annotations

from fedanomaly.fhe._engine import ffi

LINE_BYTES = 64


def aligned(size: int) -> bytearray:
    """Return so many bytes, all 0, that begin where a cache line does.

    Kernels take 64 bytes at a time; elsewhere, every time is two lines. CPython
    cuts bytes off the front without moving the others: where one does not, bytes
    begin anywhere, which is slower and no less right.
    """
    data = bytearray(size + LINE_BYTES)
    with ffi.from_buffer(data) as view:
        beyond = -int(ffi.cast("uintptr_t", view)) % LINE_BYTES
    del data[:beyond]
    del data[size:]
    return data
