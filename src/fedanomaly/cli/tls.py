"""`fedanomaly coordinator tls …`: its own certificate authority, and certificates that expire."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from fedanomaly.cli.options import COORDINATOR_HOME, CoordinatorHome, Json
from fedanomaly.cli.output import done, print_json

app = typer.Typer(help="The coordinator's own certificate authority, and its certificate.", no_args_is_help=True)

RELOAD = "reload the coordinator: systemctl reload fedanomaly-coordinator, or send it SIGHUP"
Days = Annotated[int, typer.Option("--valid-days", min=1, max=825, help="Days until the certificate expires.")]


@app.command()
def create(
    names: Annotated[list[str], typer.Argument(help="Host names and addresses under which nodes reach it.")],
    valid_days: Days = 365,
    replace: Annotated[
        bool, typer.Option("--replace", help="Also if there is an authority: nodes must get the new one by hand.")
    ] = False,
    home: CoordinatorHome = COORDINATOR_HOME,
) -> None:
    """Make a certificate authority for these hosts, and a first certificate.

    The authority can vouch for these hosts alone. `coordinator init --tls-name`
    does this for a new coordinator; here it is for one that exists.

    [bold]Example[/bold]

    $ fedanomaly coordinator tls create coordinator.example 192.0.2.10
    """
    from fedanomaly.coordinator import Home
    from fedanomaly.coordinator.certificates import AUTHORITY, SERVER
    from fedanomaly.coordinator.certificates import create as make

    found = Home(home.expanduser())
    config = found.config
    make(found.folder, names, days=valid_days, replace=replace)
    tell_certificates(found.folder)
    if (config.tls_certificate, config.tls_key, config.tls_ca) == (SERVER, SERVER, AUTHORITY):
        done(f"next         {RELOAD}; then hand {AUTHORITY} to every member that is enrolled")
        return
    done("next         set in coordinator.toml, then start the coordinator again:")
    done(f'             tls_certificate = "{SERVER}"')
    done(f'             tls_key = "{SERVER}"')
    done(f'             tls_ca = "{AUTHORITY}"')
    done(f'             url = "{own_url(names, config.listen_port)}"')


@app.command()
def renew(
    valid_days: Days = 365,
    ca_key: Annotated[
        Path | None, typer.Option("--ca-key", help="Key of the authority, if it does not lie in the home.")
    ] = None,
    home: CoordinatorHome = COORDINATOR_HOME,
) -> None:
    """Replace the certificate; the authority stays, so nodes notice nothing.

    [bold]Example[/bold]

    $ fedanomaly coordinator tls renew
    """
    from fedanomaly.coordinator import Home
    from fedanomaly.coordinator.certificates import renew as again

    found = Home(home.expanduser())
    _ = found.config  # it is a home
    again(found.folder, authority_key=ca_key, days=valid_days)
    tell_certificates(found.folder)
    done(f"next         {RELOAD}")


@app.command()
def show(home: CoordinatorHome = COORDINATOR_HOME, as_json: Json = False) -> None:
    """Show the certificate, when it expires, and fingerprints to compare.

    [bold]Example[/bold]

    $ fedanomaly coordinator tls show
    """
    from fedanomaly.coordinator import Home
    from fedanomaly.errors import NotFoundError
    from fedanomaly.transport.certificates import read_certificate

    found = Home(home.expanduser())
    config = found.config
    if not config.tls_certificate:
        raise NotFoundError("this coordinator speaks plain HTTP", hint="run: fedanomaly coordinator tls create HOST")
    if not as_json:
        tell_certificates(found.folder, config.tls_certificate, config.tls_ca)
        return
    shown = {}
    for name, file in (("certificate", config.tls_certificate), ("authority", config.tls_ca)):
        view = read_certificate(found.folder / file) if file else None
        shown[name] = view and {
            "file": file,
            "hosts": view.hosts,
            "expires": view.not_after.isoformat(),
            "days_left": int(view.days_left()),
            "sha256": view.fingerprint,
        }
    print_json(shown)


def own_url(names: Sequence[str], port: int) -> str:
    """Return the address that a coordinator has under the first of its names."""
    host = names[0].strip("[]")
    return f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}"


def check_named(origin: str, names: Sequence[str]) -> None:
    """Refuse a certificate that is not for the host that nodes are told to call.

    Raises
    ------
    ConfigError
        If the origin's host is none of the names, or a name cannot be one.
    """
    from urllib.parse import urlsplit

    from fedanomaly.coordinator.certificates import host_of
    from fedanomaly.errors import ConfigError

    host = urlsplit(origin).hostname or ""
    if host_of(host) not in map(host_of, names):
        raise ConfigError(f"nodes are told to call {host}, but no --tls-name is that", hint=f"add --tls-name {host}")


def tell_certificates(folder: Path, certificate: str = "", authority: str = "") -> None:
    """Print what the certificates of a home are; its own ones unless others are named."""
    from fedanomaly.coordinator.certificates import AUTHORITY, SERVER
    from fedanomaly.transport.certificates import read_certificate

    if not certificate:
        certificate, authority = SERVER, AUTHORITY
    view = read_certificate(folder / certificate)
    done(f"certificate  for {', '.join(view.hosts)}, {_until(view.not_after, view.days_left())}")
    if authority:
        view = read_certificate(folder / authority)
        done(f"authority    {authority}, {_until(view.not_after, view.days_left())}")
        done(f"             SHA-256 {view.fingerprint}")


def _until(not_after: dt.datetime, days: float) -> str:
    return f"valid until {not_after:%Y-%m-%d}" if days > 0 else f"EXPIRED on {not_after:%Y-%m-%d}"
