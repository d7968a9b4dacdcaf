"""What a doctor says, and what it can check on any machine: disk, permissions, clock, a way to a server."""

from __future__ import annotations

import email.utils
import os
import platform
import shutil
import socket
import sqlite3
import ssl
import stat
import time
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import urlsplit

import urllib3

from fedanomaly import __version__
from fedanomaly.errors import FedAnomalyError
from fedanomaly.fhe import ABI_VERSION
from fedanomaly.transport.certificates import read_certificate
from fedanomaly.transport.connection import is_loopback
from fedanomaly.transport.proxies import pools_through, proxy_of
from fedanomaly.transport.wire import API_VERSION
from fedanomaly.types.canonical import VERSION

GIB, MIB = 1 << 30, 1 << 20
FREE_WARN_BYTES, FREE_FAIL_BYTES = GIB, 100 * MIB
INODES_WARN, INODES_FAIL = 10_000, 1_000
CONNECT_TIMEOUT_S = 5.0
DAY_S = 86_400.0
EXPIRY_WARN_DAYS = 21


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of a doctor.

    Parameters
    ----------
    name : str
        What was checked.
    level : {"ok", "warn", "fail"}
        ``"fail"`` needs action.
    found : str
        What was found; no secret.
    step : str
        What to do next; empty if there is nothing to do.
    """

    name: str
    level: Literal["ok", "warn", "fail"]
    found: str
    step: str = ""


def ok(name: str, found: str) -> Check:
    """Return that something is as it must be."""
    return Check(name=name, level="ok", found=found)


def warn(name: str, found: str, step: str) -> Check:
    """Return something that an operator should know."""
    return Check(name=name, level="warn", found=found, step=step)


def fail(name: str, found: str, step: str) -> Check:
    """Return something that needs action."""
    return Check(name=name, level="fail", found=found, step=step)


def failed(name: str, error: FedAnomalyError, step: str = "see docs/reference/errors.md") -> Check:
    """Return what an error says."""
    return fail(name, f"{error.code}: {Exception.__str__(error)}", error.hint or step)


def versions() -> Check:
    """Say which versions speak here; that the engine fits the package was checked when it was loaded."""
    found = f"fedanomaly {__version__}, protocol {VERSION.decode()}, API {API_VERSION}, engine ABI {ABI_VERSION}"
    return ok("versions", f"{found}, Python {platform.python_version()}")


def disk(folder: Path) -> Iterator[Check]:
    """Check that there is room: bytes and inodes."""
    free = shutil.disk_usage(folder).free
    found = f"{free / GIB:.1f} GiB free at {folder}"
    step = "make room before the disk is full: what cannot be written durably is not sent"
    level = fail if free < FREE_FAIL_BYTES else warn
    yield ok("disk", found) if free >= FREE_WARN_BYTES else level("disk", found, step)
    volume = os.statvfs(folder)
    if volume.f_files:  # some file systems have no fixed number of them
        level = fail if volume.f_favail < INODES_FAIL else warn
        found = f"{volume.f_favail} inodes free"
        yield ok("inodes", found) if volume.f_favail >= INODES_WARN else level("inodes", found, step)


def permissions(folder: Path, secrets: Iterable[str]) -> Iterator[Check]:
    """Check that a home is its owner's, nobody else writes in it, and nobody else reads its secret files."""
    mode = folder.stat()
    if mode.st_uid != os.geteuid():
        yield fail("owner", f"{folder} belongs to another user", "run this as the user that runs the service")
    elif mode.st_mode & 0o022:
        yield fail("home", f"others may write in {folder}", f"chmod 700 {folder}")
    else:
        yield ok("home", f"{folder}, mode {stat.S_IMODE(mode.st_mode):o}")
    for name in secrets:
        path = folder / name
        if not path.exists():
            yield fail(name, "missing", "restore it from a backup")
        elif path.stat().st_mode & 0o077:
            yield fail(name, "others may read it", f"chmod 600 {path}")
        else:
            yield ok(name, "only its owner may read it")


def clock(date: str | None, *, bound_s: float, now_s: float | None = None) -> Check:
    """Check this clock against the `Date` of an answer.

    Parameters
    ----------
    date : str or None
        The header.
    bound_s : float
        By how much a signature may lie in the future.
    now_s : float, optional
        Unix seconds; the clock's, if not given.
    """
    now_s = time.time() if now_s is None else now_s
    try:
        apart_s = now_s - email.utils.parsedate_to_datetime(date or "").timestamp()
    except ValueError:
        return warn("clock", "the coordinator did not tell its time", "compare the clocks by hand")
    found = f"{abs(apart_s):.0f} s {'ahead of' if apart_s > 0 else 'behind'} the coordinator's; {bound_s:.0f} s allowed"
    # The header has whole seconds.
    if abs(apart_s) > bound_s + 1:
        return fail("clock", found, "set both clocks by NTP: requests are refused until then")
    return ok("clock", found) if abs(apart_s) <= bound_s / 2 else warn("clock", found, "set both clocks by NTP")


def way_to(url: str, *, trust: ssl.SSLContext | None) -> Iterator[Check]:
    """Check each step of the way to a server: its name, a connection, TLS; what follows a failure is left out.

    Parameters
    ----------
    url : str
        Its origin.
    trust : ssl.SSLContext or None
        For TLS; None: what the system trusts.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port or (443 if parts.scheme == "https" else 80)
    try:
        found = sorted({str(entry[4][0]) for entry in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)})
    except OSError as error:
        yield fail("name", f"{host}: {error.strerror or error}", "check the URL and this machine's DNS")
        return
    yield ok("name", f"{host} is {', '.join(found)}")
    try:
        connection = socket.create_connection((host, port), CONNECT_TIMEOUT_S)
    except OSError as error:
        step = "is the service running, and the port open in every firewall in between?"
        yield fail("connection", f"{host} port {port}: {error.strerror or error}", step)
        return
    with connection:
        yield ok("connection", f"{host} port {port} answers")
        if parts.scheme != "https":
            return
        try:
            with (trust or ssl.create_default_context()).wrap_socket(connection, server_hostname=host) as secured:
                certificate = secured.getpeercert() or {}
                protocol = secured.version()
        except OSError as error:
            reason = getattr(error, "verify_message", "") or str(error)
            yield fail("TLS", reason, "check the service's certificate, and what is trusted here (ca)")
            return
    yield expiry(f"TLS ({protocol})", ssl.cert_time_to_seconds(str(certificate.get("notAfter"))))


def expiry(name: str, not_after_s: float, now_s: float | None = None) -> Check:
    """Check how long a certificate is still good."""
    left = (not_after_s - (time.time() if now_s is None else now_s)) / DAY_S
    day = time.strftime("%Y-%m-%d", time.gmtime(not_after_s))
    if left <= 0:
        return fail(name, f"the certificate expired on {day}", "renew it")
    found = f"the certificate is good until {day}"
    return ok(name, found) if left > EXPIRY_WARN_DAYS else warn(name, f"{found}, {left:.0f} days", "renew it soon")


def certificate(file: Path, key: Path, *, settings: str) -> Iterator[Check]:
    """Check the certificate that a service shows, and who may read its key.

    Parameters
    ----------
    file, key : Path
        PEM files.
    settings : str
        Name of the file that names them.
    """
    try:
        yield expiry("certificate", read_certificate(file).not_after.timestamp())
        if key.stat().st_mode & 0o007:
            yield fail("TLS key", "everybody may read it", f"chmod o= {key}")
    except FedAnomalyError as error:
        yield failed("certificate", error)
    except OSError as error:
        yield fail("TLS key", f"{key}: {error.strerror}", f"set tls_key in {settings}")


def database(name: str, path: Path) -> Check:
    """Check that the pages of an SQLite file fit together; also while a service writes to it."""
    try:
        with closing(
            sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True, timeout=CONNECT_TIMEOUT_S)
        ) as file:
            (found,) = file.execute("PRAGMA integrity_check(1)").fetchone()
    except sqlite3.Error as error:
        found = str(error)
    if found != "ok":
        return fail(name, f"{path.name}: {found}", "stop the service and restore a backup")
    return ok(name, f"{path.name}: every page is in order")


def answer_of(url: str, path: str, *, trust: ssl.SSLContext | None) -> tuple[Check, urllib3.BaseHTTPResponse | None]:
    """Check that a service answers an unsigned request, and return what it answers."""
    try:
        # A proxy of the environment has no business between two processes of one machine.
        proxy = None if is_loopback(urlsplit(url).hostname or "") else proxy_of(url)
        with pools_through(proxy, trust=trust) as http:
            response = http.request("GET", url + path, timeout=CONNECT_TIMEOUT_S, retries=False, redirect=False)
    except FedAnomalyError as error:
        return failed("HTTP", error), None
    except urllib3.exceptions.HTTPError as error:
        return fail("HTTP", f"{type(error).__name__}: {error}", "does another program listen there?"), None
    if not 200 <= response.status < 300:
        step = "is this the service's URL, and does a proxy in between pass everything on?"
        return fail("HTTP", f"GET {path}: status {response.status}", step), None
    return ok("HTTP", f"GET {path}: status {response.status}"), response
