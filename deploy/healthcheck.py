"""Exit status 0 if the service of FEDANOMALY_HOME answers; for a container's health check.

A coordinator must be ready (`/healthz/ready`). A node must live (`/healthz/live`): that
its coordinator is away is nothing that a restart would mend.
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

TIMEOUT_S = 5


def coordinator_is_ready(home: Path) -> bool:
    """Ask the coordinator of this machine, whatever name its certificate is for."""
    config = load_config(home / "coordinator.toml")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(config.listen_host, config.listen_host)  # noqa: S104 - it binds nothing
    if not config.tls_certificate:
        connection = http.client.HTTPConnection(host, config.listen_port, timeout=TIMEOUT_S)
    else:
        # It asks itself, and nothing is sent: the certificate is the nodes' business.
        context = ssl._create_unverified_context()  # noqa: S323, SLF001 - as said above
        connection = http.client.HTTPSConnection(host, config.listen_port, timeout=TIMEOUT_S, context=context)
    connection.request("GET", "/healthz/ready")
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
        healthy = coordinator_is_ready(home) if (home / "coordinator.toml").exists() else node_answers(home)
    except (FedAnomalyError, OSError, http.client.HTTPException) as error:
        print(f"unhealthy: {error}", file=sys.stderr)
        return 1
    return 0 if healthy else 1


if __name__ == "__main__":
    sys.exit(main())
