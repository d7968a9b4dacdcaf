"""A coordinator and real node processes on this machine, each with its own home."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.members import wait_for
from fedanomaly.cli.demo.processes import Services, free_port
from fedanomaly.cli.running import running_node
from fedanomaly.client import Client
from fedanomaly.coordinator import CoordinatorConfig, create_invitation, init_home
from fedanomaly.features import infer_schema
from fedanomaly.node.datasets import Datasets, Plan
from fedanomaly.node.enrolment import enrol
from fedanomaly.node.home import Home
from fedanomaly.node.keystore import Cost
from fedanomaly.node.sources import FileSource

COST = Cost(memory_kib=19_456, iterations=2, lanes=1)
TIMEOUT_S = 600.0
POLL_S = 0.01


def matrix(seed: int, rows: int, features: int) -> np.ndarray:
    """Return correlated readings of one organisation, each column with its own unit."""
    rng = np.random.default_rng(seed)
    mixed = rng.normal(size=(rows, features)) @ np.random.default_rng(0).normal(size=(features, features))
    return mixed * np.geomspace(1e-2, 1e3, features)


class Nodes:
    """Node processes of one federation.

    Parameters
    ----------
    services : Services
        Starts and ends the processes.
    parts : sequence of arrays of shape (n_samples_i, n_features)
        The rows of each organisation.
    """

    def __init__(self, services: Services, parts: Sequence[np.ndarray]) -> None:
        self.services = services
        self.names = [f"org-{index}" for index in range(len(parts))]
        self.coordinator = services.folder / "coordinator"
        port = free_port()
        config = CoordinatorConfig(name="bench", members=len(parts), threshold=2, listen_port=port)
        init_home(self.coordinator, config)
        started = services.start("coordinator", self.coordinator, "coordinator", "run", "--home", str(self.coordinator))
        wait_for(lambda: b'"listening"' in started.log.read_bytes(), services)
        tables = [pa.table({f"x{at}": part[:, at] for at in range(part.shape[1])}) for part in parts]
        self.schema = infer_schema(pa.concat_tables(tables)).schema
        self.clients: list[Client] = []
        homes = [self._home(name, table) for name, table in zip(self.names, tables, strict=True)]
        begun = time.perf_counter()
        for name, home in zip(self.names, homes, strict=True):
            arguments = ("node", "run", "--home", str(home.root), "--passphrase-file", str(services.passphrase_file))
            services.start(name, home.root, *arguments)
        wait_for(lambda: all(home.address is not None for home in homes), services, TIMEOUT_S)
        self.start_s = time.perf_counter() - begun
        self.clients = [running_node(home) for home in homes]

    def _home(self, name: str, table: pa.Table) -> Home:
        root = self.services.folder / name
        passphrase = self.services.passphrase_file.read_text(encoding="ascii")
        home = Home.create(root, passphrase, cost=COST)
        keystore = home.unlock(passphrase)
        enrol(home, keystore, create_invitation(self.coordinator, name, ttl_s=600))
        file = Path(self.services.folder) / f"{name}.parquet"
        pq.write_table(table, file)
        plan = Plan(schema=self.schema, holdout=FileSource(file), holdout_fraction=0.0)
        Datasets(root / "data", keystore).add("readings", FileSource(file), plan)
        return home

    def live(self) -> bool:
        """Whether the key epoch is live at every node."""
        return all(client.status().get("epoch_state") == "live" for client in self.clients)

    def close(self) -> None:
        """Close the connections to the nodes; `Services` ends the processes."""
        for client in self.clients:
            client.close()
