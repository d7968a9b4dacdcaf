"""The coordinator cannot touch a secret or run a detector: not even the code for it is there."""

from __future__ import annotations

import subprocess
import sys


def test_neither_secrets_nor_detectors_are_loaded():
    code = """
import sys
import fedanomaly.coordinator
wrong = [name for name in sys.modules
         if name.split('.')[0] in {'sklearn', 'scipy', 'pandas'}
         or name.startswith(('fedanomaly.fhe.secret', 'fedanomaly.detectors', 'fedanomaly.node'))]
print(wrong)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == "[]"
