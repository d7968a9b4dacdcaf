"""A file system of a few megabytes, to fill up: mounted by root, else in a user namespace of the test's own."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SIZE_MB = 32
INSIDE = "FEDANOMALY_SMALL_DISK"
ROOT = Path(__file__).parents[2]


class SmallDisk:
    """A mounted file system.

    Parameters
    ----------
    folder : Path
        Where it is mounted.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._ballast = folder / "ballast"

    def fill(self) -> None:
        """Leave not one byte of room."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 1 << 14, 1 << 12, 1):
                with contextlib.suppress(OSError):
                    while file.write(bytes(size)) == size:
                        pass

    def free(self) -> None:
        """Make room again."""
        self._ballast.unlink()


@contextmanager
def mounted(folder: Path, size_mb: int = SIZE_MB) -> Iterator[SmallDisk | None]:
    """Mount a small file system, if this process may."""
    folder.mkdir(mode=0o700)
    options = ["-t", "tmpfs", "-o", f"size={size_mb}m,mode=700", "none", str(folder)]
    if subprocess.run(["mount", *options], capture_output=True, check=False).returncode:
        yield None
        return
    try:
        yield SmallDisk(folder)
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def on_a_small_disk(test: Callable[[Path, SmallDisk], None]) -> Callable[[Path], None]:
    """Give a test a small disk; where only a user namespace can mount one, run it there."""

    def run(tmp_path: Path) -> None:
        with mounted(tmp_path / "small") as disk:
            if disk is not None:
                test(tmp_path, disk)
                return
        if os.environ.get(INSIDE) or subprocess.run(["unshare", "-rm", "true"], check=False).returncode:
            reason = "neither root nor a user namespace can mount a file system here"
            pytest.fail(reason) if os.environ.get("CI") == "true" else pytest.skip(reason)
        node = f"{Path(sys.modules[test.__module__].__file__ or '').relative_to(ROOT)}::{test.__name__}"
        command = ["unshare", "-rm", sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", node]
        done = subprocess.run(command, cwd=ROOT, env={**os.environ, INSIDE: "1"}, check=False)
        assert done.returncode == 0

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run
