"""Exit status 0 if the service of FEDANOMALY_HOME answers; for a container's health check.

A coordinator must be ready (`/healthz/ready`), and a scoring service (`/health`). A node
must live (`/healthz/live`): that its coordinator is away is nothing that a restart would mend.
"""

from __future__ import annotations

import http.client
import os
import ssl
import sys
from pathlib import Path
from urllib.parse import urlsplit

from fedanomaly.coordinator import load_config
from fedanomaly.errors import FedAnomalyError
from fedanomaly.node.home import Home
from fedanomaly.scoring.config import load_config as load_scoring_config

TIMEOUT_S = 5


def coordinator_is_ready(home: Path) -> bool:
    """Ask the coordinator of this machine."""
    config = load_config(home / "coordinator.toml")
    return is_ready(config.listen_host, config.listen_port, "/healthz/ready", tls=bool(config.tls_certificate))


def scoring_is_ready(home: Path) -> bool:
    """Ask the scoring service of this machine."""
    config = load_scoring_config(home / "scoring.toml")
    return is_ready(config.listen_host, config.listen_port, "/health", tls=bool(config.tls_certificate))


def is_ready(listen_host: str, port: int, path: str, *, tls: bool) -> bool:
    """Ask a service of this machine, whatever name its certificate is for."""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen_host, listen_host)  # noqa: S104 - it binds nothing
    if not tls:
        connection = http.client.HTTPConnection(host, port, timeout=TIMEOUT_S)
    else:
        # It asks itself, and nothing is sent: the certificate is the nodes' business.
        context = ssl._create_unverified_context()  # noqa: S323, SLF001 - as said above
        connection = http.client.HTTPSConnection(host, port, timeout=TIMEOUT_S, context=context)
    connection.request("GET", path)
    return connection.getresponse().status == http.client.OK


def node_answers(home: Path) -> bool:
    """Ask the loopback API."""
    address = Home(home).address
    if address is None:
        return False
    connection = http.client.HTTPConnection(urlsplit(address).netloc, timeout=TIMEOUT_S)
    connection.request("GET", "/healthz/live")
    return connection.getresponse().status == http.client.OK


def main() -> int:
    """Return the exit status."""
    home = Path(os.environ["FEDANOMALY_HOME"])
    try:
        if (home / "coordinator.toml").exists():
            healthy = coordinator_is_ready(home)
        elif (home / "scoring.toml").exists():
            healthy = scoring_is_ready(home)
        else:
            healthy = node_answers(home)
    except (FedAnomalyError, OSError, http.client.HTTPException) as error:
        print(f"unhealthy: {error}", file=sys.stderr)
        return 1
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
