"""The engine, loaded once for each process.

Calls are coarse: a whole vector or window each, on buffers that the caller owns, with the
GIL released. Errors come back as numbers and become our exceptions here, with
texts that hold no key, plaintext or score.
"""

from __future__ import annotations

import os
import re
from functools import cache
from pathlib import Path
from typing import Any

import cffi

from fedanomaly.errors import (
    CapacityError,
    ConfigError,
    CryptoError,
    DataError,
    FedAnomalyError,
    MessageError,
    RangeError,
    RefusedError,
    RejectedError,
)

ABI_VERSION = 7
LIBRARY = Path(__file__).parent.parent / "_native" / "libfedanomaly.so"

_DECLARATIONS = """
int32_t fa_abi_version(void);
int32_t fa_set_threads(int32_t n);
int32_t fa_free(int64_t handle);
int32_t fa_layout(int32_t preset, int32_t members, int32_t threshold, int32_t field_bits, int64_t fields, int64_t *out);
int32_t fa_manifest_check(const uint8_t *manifest, int64_t n, uint8_t *hash_out);
int32_t fa_message_check(const uint8_t *manifest, int64_t n, int64_t first, int64_t count, const uint8_t *part,
                         int64_t n_part);

int32_t fa_member_new(int32_t members, int32_t threshold, int32_t index, int64_t *handle);
int32_t fa_member_facts(int64_t h, int64_t *out);
int32_t fa_member_hello(int64_t h, uint8_t *out, int64_t cap, int64_t *out_len);
int32_t fa_member_deal_bytes(int64_t *out);
int32_t fa_member_deal(int64_t h, int32_t to, const uint8_t *hello, int64_t n_hello, const uint8_t *info,
                       int64_t n_info, uint8_t *out, int64_t cap, int64_t *out_len);
int32_t fa_member_receive(int64_t h, int32_t from, const uint8_t *hello, int64_t n_hello, const uint8_t *info,
                          int64_t n_info, const uint8_t *envelope, int64_t n_envelope);
int32_t fa_member_finish(int64_t h, const uint8_t *epoch_id, const uint8_t *roster_hash, uint8_t *confirm_out);
int32_t fa_member_seal_bytes(int64_t h, int64_t *out);
int32_t fa_member_seal(int64_t h, const uint8_t *key, const uint8_t *aad, int64_t n_aad, uint8_t *out, int64_t cap,
                       int64_t *out_len);
int32_t fa_member_unseal(const uint8_t *key, const uint8_t *aad, int64_t n_aad, const uint8_t *blob, int64_t n_blob,
                         int64_t *handle);
int32_t fa_member_forget(int64_t h, uint64_t job);
int32_t fa_member_nonce(int64_t h, const uint8_t *ask, int64_t n, uint64_t gen, const uint8_t *frozen_hash,
                        const uint8_t *random, uint8_t *out);
int32_t fa_member_tag(int64_t h, uint64_t job, const uint8_t *data, int64_t n, uint8_t *out);

int32_t fa_contribution(int64_t h, const uint8_t *manifest, int64_t n, const uint64_t *values, int64_t n_values,
                        uint8_t *out, int64_t n_out);
int32_t fa_share(int64_t h, const uint8_t *manifest, int64_t n, const uint16_t *u, int32_t n_u, uint8_t *out,
                 int64_t n_out);
int32_t fa_open(int64_t h, const uint8_t *manifest, int64_t n, const uint16_t *u, int32_t n_u, const uint8_t *sum,
                int64_t n_sum, uint64_t *out, int64_t n_out);
int32_t fa_sum_new(const uint8_t *manifest, int64_t n, int64_t first, int64_t count, int64_t *handle);
int32_t fa_sum_add(int64_t handle, const uint8_t *part, int64_t n);
int32_t fa_sum_result(int64_t handle, uint8_t *out, int64_t n);

int32_t fa_kernel_facts(int32_t set, int64_t *out);
int32_t fa_shape(int32_t kind, int32_t features, int32_t outputs, int32_t weight_bits, int64_t *out, double *out_range);
int32_t fa_circuit_new(int32_t kind, int32_t features, int32_t outputs, const int32_t *rows, int64_t forms,
                       const double *weights, const double *bias, int32_t of_forms, int64_t layer_rows,
                       const double *mix, const double *direct, const double *shift, int64_t plain,
                       const double *plain_weights, const double *plain_bias, const uint8_t *seed, int32_t set,
                       int64_t *out);
int32_t fa_circuit_constants(int64_t handle, uint32_t *out, int64_t n);
int32_t fa_circuit_score(int64_t handle, const uint32_t *batch, int64_t n_batch, uint32_t *answer, int64_t n);
int32_t fa_squares_score(int64_t outputs, int32_t count, const uint32_t *batch, int64_t n_batch, uint32_t *answer,
                         int64_t n_answer);
int32_t fa_standardise(const double *readings, int64_t n, const double *center, const double *width,
                       const double *unit, int64_t features, double grid, double usual, double *out, int64_t n_out,
                       uint8_t *far, int64_t events);
int32_t fa_tenant_new(int32_t kind, int32_t features, int32_t outputs, int32_t weight_bits, const uint8_t *seed,
                      const uint32_t *constants, int64_t n, int64_t *handle);
int32_t fa_tenant_encrypt(int64_t handle, const double *readings, int64_t n, uint32_t *out, int64_t n_out,
                          int64_t *key);
int32_t fa_tenant_decrypt(int64_t handle, int64_t key, const uint32_t *answer, int64_t n, double *scores,
                          int64_t n_scores);

int32_t fa_hidden_shape(int32_t features, int32_t forms, int64_t *out);
int32_t fa_hidden_new(int32_t features, int32_t forms, const uint8_t *seed, const uint32_t *words, int64_t n,
                      int32_t set, int64_t *handle);
int32_t fa_hidden_score(int64_t handle, const uint32_t *batch, int64_t n_batch, uint32_t *answer, int64_t n);
int32_t fa_model_key_new(int32_t features, int32_t forms, const double *weights, uint32_t *words, int64_t n,
                         uint8_t *seed, int64_t *out);
int32_t fa_model_key_encrypt(int64_t handle, const double *readings, int64_t n, uint32_t *out, int64_t n_out,
                             int64_t *key);
int32_t fa_model_key_decrypt(int64_t handle, int64_t key, const uint32_t *answer, int64_t n, double *forms,
                             int64_t n_forms);
"""

_ERRORS: dict[int, tuple[type[FedAnomalyError], str]] = {
    -1: (CryptoError, "an argument is out of range"),
    -2: (CryptoError, "a buffer has the wrong size"),
    -3: (CryptoError, "the object was closed before"),
    -4: (ConfigError, "no such parameters"),
    -5: (CapacityError, "the step does not fit its ciphertexts or its quota"),
    -6: (MessageError, "not a manifest, or not one for this member and key epoch"),
    -7: (MessageError, "not a message of this round"),
    -8: (RefusedError, "the engine refuses what the manifest asks"),
    -9: (RejectedError, "rejected"),
    -10: (MessageError, "an envelope or sealed blob does not open"),
    -11: (CryptoError, "the call comes out of order"),
    -12: (DataError, "a value does not fit its bits"),
    -14: (RangeError, "scores left the range that a batch can hold"),
}

ffi = cffi.FFI()
ffi.cdef(_DECLARATIONS)


@cache
def _load() -> tuple[Any, int]:
    if not LIBRARY.exists():
        raise ConfigError(
            "the engine is missing from this installation",
            hint="install a wheel, or build it in the project's folder: python scripts/build_engine.py",
        )
    library: Any = ffi.dlopen(str(LIBRARY))
    if library.fa_abi_version() != ABI_VERSION:
        raise ConfigError("the engine has another version than this package", hint="reinstall fedanomaly")
    # Looking a function up takes a lock of cffi, and so does parsing a type. A collection in the middle of that calls
    # finalizers, which call the engine: in the same thread, they would wait for ever. Found now, none is looked up.
    for name in re.findall(r"\bfa_\w+", _DECLARATIONS):
        getattr(library, name)
    return library, os.getpid()


def call(name: str, *arguments: object) -> None:
    """Call a function of the engine; anything but success raises.

    Raises
    ------
    CryptoError
        After a fork: one Go runtime serves one process, a call would hang.
    FedAnomalyError
        As the engine's number says.
    """
    library, pid = _load()
    if pid != os.getpid():
        raise CryptoError("the engine cannot be used after a fork", hint="start processes with the spawn method")
    code = getattr(library, name)(*arguments)
    if code:
        kind, text = _ERRORS.get(code, (CryptoError, "the engine failed"))
        raise kind(text)


def free(handle: int, pid: int) -> None:
    """Forget a handle that the process `pid` made, and erase what it stood for; after a fork it is the parent's."""
    if pid == os.getpid():
        call("fa_free", handle)


def set_threads(threads: int) -> None:
    """Let the engine use so many threads; 0 for all cores."""
    call("fa_set_threads", threads)
