"""Which proxy of the environment stands between this machine and a service.

The variables are those of curl: `https_proxy`, `http_proxy` and `all_proxy` name
a proxy, `no_proxy` the hosts, domains and networks (``10.0.0.0/8``) that are
reached without one.
"""

from __future__ import annotations

import base64
import ipaddress
import ssl
from urllib.parse import unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import urllib3
from urllib3.exceptions import LocationParseError, ProxySchemeUnknown
from urllib3.util import parse_url

from fedanomaly.errors import ConfigError


def proxy_of(url: str) -> str | None:
    """Return the URL of the proxy that the environment names for an origin; None: there is none."""
    parts = urlsplit(url)
    named = getproxies()
    proxy = named.get(parts.scheme) or named.get("all")
    if not proxy or proxy_bypass(parts.netloc) or _is_within(parts.hostname or "", named.get("no", "")):
        return None
    return proxy if "://" in proxy else f"http://{proxy}"


def pools_through(proxy: str | None, *, trust: ssl.SSLContext | None, kept: int = 1) -> urllib3.PoolManager:
    """Return connections that go through a proxy, or straight if there is none.

    Parameters
    ----------
    proxy : str or None
        Its URL, with user and password if it wants them.
    trust : ssl.SSLContext or None
        For TLS with the service, whose connection the proxy only carries; None:
        what the system trusts.
    kept : int
        Connections that stay open for the next request.

    Raises
    ------
    ConfigError
        If the proxy's URL cannot be used.
    """
    # Where a context leaves names alone, urllib3 would check them in its place.
    check_name = None if trust is None or trust.check_hostname else False
    if proxy is None:
        return urllib3.PoolManager(ssl_context=trust, assert_hostname=check_name, maxsize=kept)
    try:
        auth = parse_url(proxy).auth
        login = base64.b64encode(unquote(auth).encode()).decode() if auth else ""
        headers = {"proxy-authorization": f"Basic {login}"} if login else None
        return urllib3.ProxyManager(
            proxy, proxy_headers=headers, ssl_context=trust, assert_hostname=check_name, maxsize=kept
        )
    except (LocationParseError, ProxySchemeUnknown):  # their texts may hold its password
        raise ConfigError(
            "the proxy that the environment names cannot be used",
            hint="http_proxy, https_proxy and all_proxy are URLs such as http://proxy.example:3128",
        ) from None


def _is_within(host: str, networks: str) -> bool:
    """Whether a host is an address of one of some networks; entries that are none count for nothing."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return False
    for entry in networks.split(","):
        try:
            if address in ipaddress.ip_network(entry.strip().strip("[]"), strict=False):
                return True
        except ValueError:
            continue
    return False
