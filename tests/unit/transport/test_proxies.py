"""A proxy of the environment is used where it was meant to be, and nowhere else."""

from __future__ import annotations

import base64
import os

import pytest

from fedanomaly.errors import ConfigError
from fedanomaly.transport import checks
from fedanomaly.transport.proxies import pools_through, proxy_of

PROXY = "http://proxy.example:3128"


@pytest.fixture
def environment(monkeypatch):
    for name in [name for name in os.environ if name.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    return monkeypatch


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("http_proxy", "http://service.example"),
        ("https_proxy", "https://service.example:7400"),
        ("HTTPS_PROXY", "https://service.example"),
        ("all_proxy", "https://service.example"),
    ],
)
def test_a_proxy_is_named_by_the_scheme(environment, name, url):
    environment.setenv(name, PROXY)

    assert proxy_of(url) == PROXY


def test_without_a_proxy_for_the_scheme_there_is_none(environment):
    environment.setenv("http_proxy", PROXY)

    assert proxy_of("https://service.example") is None


def test_a_proxy_may_be_named_without_a_scheme(environment):
    environment.setenv("https_proxy", "proxy.example:3128")

    assert proxy_of("https://service.example") == PROXY


@pytest.mark.parametrize(
    ("exempt", "url", "around"),
    [
        ("*", "https://service.example", True),
        ("other.example, service.example", "https://service.example:7400", True),
        (".example", "https://service.example", True),
        ("vice.example", "https://service.example", False),
        ("service.example:7400", "https://service.example:7400", True),
        ("service.example:7401", "https://service.example:7400", False),
        ("10.1.0.0/16", "https://10.1.2.3:7400", True),
        ("10.1.0.0/16", "https://10.2.2.3:7400", False),
        ("10.1.0.0/16", "https://service.example", False),
        ("fd00::/8,", "https://[fd00::1]:7400", True),
        ("fd00::1", "https://[fd00::1]:7400", True),
    ],
)
def test_hosts_domains_and_networks_are_reached_without_it(environment, exempt, url, around):
    environment.setenv("https_proxy", PROXY)
    environment.setenv("no_proxy", exempt)

    assert (proxy_of(url) is None) == around


def test_a_check_goes_through_the_proxy_and_tells_it_who_asks(environment, scripted):
    environment.setenv("http_proxy", scripted.url.replace("//", "//north:p%40ss@"))

    check, response = checks.answer_of("http://service.invalid:7400", "/health", trust=None)

    assert check.level == "ok"
    assert response is not None
    (asked,) = scripted.asked
    assert asked[:2] == ("GET", "http://service.invalid:7400/health")
    assert base64.b64decode(asked[2]["proxy-authorization"].removeprefix("Basic ")) == b"north:p@ss"


def test_a_check_of_this_machine_asks_no_proxy(environment, scripted):
    environment.setenv("http_proxy", "http://127.0.0.1:1")

    assert checks.answer_of(scripted.url, "/health", trust=None)[0].level == "ok"
    assert scripted.asked[0][1] == "/health"


def test_a_proxy_that_does_not_answer_is_said(environment):
    environment.setenv("https_proxy", "http://127.0.0.1:1")

    check, response = checks.answer_of("https://service.invalid", "/health", trust=None)

    assert (check.level, response) == ("fail", None)
    assert check.found.startswith("ProxyError")


@pytest.mark.parametrize("proxy", ["socks5://north:secret@proxy.example", "http://north:secret/@proxy.example:x"])
def test_a_proxy_that_cannot_be_used_is_said_without_its_password(environment, proxy):
    environment.setenv("http_proxy", proxy)

    with pytest.raises(ConfigError):
        pools_through(proxy, trust=None)
    check, _ = checks.answer_of("http://service.invalid", "/health", trust=None)
    assert check.level == "fail"
    assert "FA100" in check.found
    assert "secret" not in check.found + check.step
