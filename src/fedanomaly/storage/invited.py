"""Whether there is such an invitation: asked by every stranger, so it must cost next to nothing."""

from __future__ import annotations

import sqlite3
from pathlib import Path


class Invited:
    """Looks invitations up on a connection of its own, which can only read.

    It spares a stranger's guess the transaction that spends an invitation; what
    it finds is asked again in there.

    Parameters
    ----------
    path : Path
        The coordinator's database; it exists.
    """

    def __init__(self, path: Path) -> None:
        self._database = sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, check_same_thread=False)

    def has(self, secret_hash: bytes) -> bool:
        """Whether there is an invitation with this hash, spent or not."""
        query = "SELECT 1 FROM invitations WHERE secret_hash = ?"
        return self._database.execute(query, (secret_hash,)).fetchone() is not None

    def close(self) -> None:
        """Let the database go."""
        self._database.close()
