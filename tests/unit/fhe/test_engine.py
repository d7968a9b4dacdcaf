"""Loading the engine, and how its numbers become errors."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from fedanomaly.errors import ConfigError, CryptoError, FedAnomalyError
from fedanomaly.fhe import _engine
from fedanomaly.fhe._engine import call, ffi, set_threads

ENGINE = Path(__file__).parents[3] / "engine"


def test_every_declared_function_is_exported_and_the_reverse():
    declared = set(re.findall(r"\bfa_\w+", _engine._DECLARATIONS))
    sources = "".join(path.read_text() for path in (ENGINE / "cabi").glob("*.go"))
    exported = set(re.findall(r"^//export (\w+)", sources, re.MULTILINE))
    in_c = set(re.findall(r"^int32_t (fa_\w+)", (ENGINE / "kernel" / "kernel.h").read_text(), re.MULTILINE))
    library, _ = _engine._load()
    assert declared == exported | in_c
    assert all(hasattr(library, name) for name in declared)


def test_every_number_of_the_engine_has_an_error():
    source = (ENGINE / "fault" / "fault.go").read_text()
    numbers = {int(number) for number in re.findall(r"Code = (-\d+)", source)}
    assert numbers - {-13} == set(_engine._ERRORS)


@pytest.mark.parametrize(("code", "kind"), [*((c, k) for c, (k, _) in _engine._ERRORS.items()), (-13, CryptoError)])
def test_numbers_become_errors_of_their_kind(monkeypatch, code, kind):
    class Library:
        def fa_free(self, handle):
            return code

    library, pid = Library(), _engine._load()[1]
    monkeypatch.setattr(_engine, "_load", lambda: (library, pid))
    with pytest.raises(kind) as caught:
        call("fa_free", 1)
    assert type(caught.value) is kind


def test_threads_are_a_number_from_zero():
    set_threads(1)
    set_threads(0)
    with pytest.raises(CryptoError):
        set_threads(-1)


def test_null_buffers_and_stale_handles_are_refused():
    for name, arguments in (
        ("fa_sum_new", (ffi.NULL, 1, 0, 1, ffi.NULL)),
        ("fa_message_check", (ffi.NULL, 1, 0, 1, ffi.NULL, 1)),
        ("fa_free", (10**9,)),
        ("fa_sum_add", (10**9, b"", 0)),
        ("fa_layout", (4096, 3, 2, 20, 1, ffi.NULL)),
        ("fa_member_new", (3, 2, 1, ffi.NULL)),
        ("fa_member_deal_bytes", (ffi.NULL,)),
        ("fa_manifest_check", (b"x", -1, ffi.NULL)),
    ):
        with pytest.raises(FedAnomalyError):
            call(name, *arguments)


def test_a_missing_engine_says_how_to_build_it(monkeypatch, tmp_path):
    monkeypatch.setattr(_engine, "LIBRARY", tmp_path / "none.so")
    with pytest.raises(ConfigError, match=r"build_engine\.py"):
        _engine._load.__wrapped__()


def test_an_engine_of_another_version_is_refused(monkeypatch):
    monkeypatch.setattr(_engine, "ABI_VERSION", 0)
    with pytest.raises(ConfigError, match="version"):
        _engine._load.__wrapped__()


def test_another_process_may_not_use_what_this_one_loaded(monkeypatch):
    _engine._load()
    monkeypatch.setattr(_engine.os, "getpid", lambda: -1)
    with pytest.raises(CryptoError, match="fork"):
        set_threads(0)


def test_a_call_after_a_fork_is_refused_instead_of_hanging():
    script = """
import os
from fedanomaly.errors import CryptoError
from fedanomaly.fhe._engine import set_threads
set_threads(1)
if child := os.fork():
    os._exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
try:
    set_threads(1)
except CryptoError as error:
    os._exit(7 if "fork" in str(error) else 8)
os._exit(9)
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], check=False, timeout=30)
    assert done.returncode == 7


def test_a_handle_is_freed_while_its_own_thread_holds_the_lock_of_cffi():
    # As a finalizer does that a collection calls in the middle of parsing a type.
    program = """
import os
import numpy as np
from fedanomaly.fhe import _engine
from fedanomaly.fhe.scoring import PreparedCircuit
from fedanomaly.types import Circuit
circuit = PreparedCircuit(Circuit("linear", (1,), np.ones((1, 1)), np.zeros(1)), bytes(32))
with _engine.ffi._lock:
    _engine.free(circuit._handle, os.getpid())
print("freed", flush=True)
os._exit(0)
"""
    said = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout == "freed\n"
