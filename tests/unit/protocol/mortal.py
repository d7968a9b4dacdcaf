"""A machine that stops at its nth durable write."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from fedanomaly.protocol import Rows
from fedanomaly.protocol.capabilities import Row
from fedanomaly.simulation import Federation, Party
from fedanomaly.simulation.federation import MemoryVault


class StoppedError(Exception):
    """The machine stopped."""


class Machine:
    """Counts the durable writes of a party, and stops before one of them.

    Parameters
    ----------
    party : Party
        Its rows and vault are put under the count.
    stops_before : int, optional
        Which write does not happen, from 0; none if not given.
    """

    def __init__(self, party: Party, stops_before: int | None = None) -> None:
        self.writes: list[str] = []
        self.stops_before = stops_before
        party.rows = _Rows(party.rows, self.write)
        party.vault = _Vault(party.vault, self.write)

    def write(self, what: str) -> None:
        if self.stops_before == len(self.writes):
            self.stops_before = None
            raise StoppedError
        self.writes.append(what)


class _Rows:
    def __init__(self, rows: Rows, write: Callable[[str], None]) -> None:
        self.get, self.all = rows.get, rows.all
        self._rows, self._write = rows, write

    def put(self, rows: Sequence[Row]) -> None:
        self._write("put " + " ".join(kind for kind, _, _ in rows))
        self._rows.put(rows)

    def erase(self, kind: str, key: bytes) -> None:
        self._write(f"erase {kind}")
        self._rows.erase(kind, key)


class _Vault(MemoryVault):
    def __init__(self, vault: MemoryVault, write: Callable[[str], None]) -> None:
        self._key, self._sealed, self._write = vault._key, vault._sealed, write

    def save(self, label, secrets) -> None:
        self._write("save")
        super().save(label, secrets)

    def destroy(self, label) -> None:
        self._write("destroy")
        super().destroy(label)


def pump(fed: Federation, name: str) -> bool:
    """Run on; if the party's machine stops, start it again and say so."""
    try:
        fed.pump()
    except StoppedError:
        fed.restart(name)
        return True
    return False
