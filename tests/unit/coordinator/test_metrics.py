"""The coordinator's metrics are on a loopback port of their own, and say what the log says."""

from __future__ import annotations

import socket

import httpx2
import msgspec
import pytest

from fedanomaly.coordinator import Home
from fedanomaly.coordinator.metrics import Metrics, exposed
from fedanomaly.errors import ConfigError
from tests.unit.coordinator.conftest import free_port, serve


def with_metrics(home, port):
    config = msgspec.structs.replace(home.config, metrics_port=port)
    home.config_path.write_text(config.to_toml())
    return Home(home.folder)


def read(port):
    return httpx2.get(f"http://127.0.0.1:{port}/metrics", trust_env=False).text


def test_the_metrics_tell_members_log_and_requests_and_survive_a_restart(federation):
    port = free_port()
    home = with_metrics(federation.home, port)
    with serve(home):
        federation.enrol("north")
        httpx2.get(f"{federation.url}/v1/status", trust_env=False)
        text = read(port)
        lines = text.splitlines()
        assert "fedanomaly_members 1.0" in lines
        assert "fedanomaly_log_head 2.0" in lines
        assert 'fedanomaly_envelopes_total{kind="enrol"} 1.0' in lines
        assert any(line.startswith('fedanomaly_requests_total{method="POST",route="/v1/enrol"') for line in lines)
        assert any(line.startswith('fedanomaly_refusals_total{code="FA4') for line in lines)
        assert any(line.startswith("process_resident_memory_bytes ") for line in lines)
        assert "north" not in text
    with serve(home):
        assert 'fedanomaly_envelopes_total{kind="enrol"} 1.0' in read(port).splitlines()


def test_the_port_of_the_federation_has_no_metrics(standing):
    assert httpx2.get(f"{standing.url}/metrics", trust_env=False).status_code == 404


def test_the_metrics_are_off_unless_a_port_is_set(standing):
    assert standing.home.config.metrics_port == 0


def test_a_taken_port_of_metrics_is_named():
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ConfigError, match=f"port {port} for metrics"), exposed(Metrics(), port):
            raise AssertionError
