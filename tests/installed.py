"""Detectors of somebody else: a real distribution in a folder, with metadata and entry points."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

MODULE = '''\
"""Detectors of another package."""

from fedanomaly.detectors import HBOS


class Theirs(HBOS):
    __doc__ = HBOS.__doc__
    name = "theirs"


class Careless(HBOS):
    """Remembers what it should forget."""

    name = "careless"

    def local(self, step, X, state, y=None):
        self.seen = X
        return super().local(step, X, state, y)
'''


@contextmanager
def installed_distribution(folder: Path) -> Iterator[Path]:
    """Install a package with two detectors, `theirs` and `careless`, for as long as the block lasts."""
    (folder / "somebody_else.py").write_text(MODULE)
    metadata = folder / "somebody_else-1.0.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: somebody-else\nVersion: 1.0\n")
    names = {"theirs": "Theirs", "careless": "Careless"}
    points = "".join(f"{name} = somebody_else:{kind}\n" for name, kind in names.items())
    (metadata / "entry_points.txt").write_text(f"[fedanomaly.detectors]\n{points}")
    sys.path.insert(0, str(folder))
    try:
        yield folder
    finally:
        sys.path.remove(str(folder))
        sys.modules.pop("somebody_else", None)
