"""`fedanomaly coordinator …`: make one, run it, invite organisations, look at it."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedanomaly.cli import tls
from fedanomaly.cli.options import COORDINATOR_HOME, CoordinatorHome, Json, at
from fedanomaly.cli.output import done, note, print_json, stdout, table
from fedanomaly.cli.tls import check_named, own_url, tell_certificates

app = typer.Typer(help="The coordinator of a federation: it runs the rounds and sees no data.", no_args_is_help=True)
app.add_typer(tls.app, name="tls")


@app.command()
def init(
    name: Annotated[str, typer.Option("--name", help="Name of the federation.")],
    members: Annotated[int, typer.Option("--members", min=3, help="How many organisations take part.")],
    threshold: Annotated[
        int,
        typer.Option(
            "--threshold", min=2, help="Decryption threshold: one member fewer may collude and learn nothing."
        ),
    ] = 2,
    listen: Annotated[str, typer.Option("--listen", help="Address and port to listen on.")] = "127.0.0.1:7400",
    url: Annotated[str, typer.Option("--url", help="Where nodes reach it, if not at that address.")] = "",
    tls_certificate: Annotated[
        str, typer.Option("--tls-certificate", help="PEM file; needed to listen beyond this machine.")
    ] = "",
    tls_key: Annotated[str, typer.Option("--tls-key", help="PEM file of its key.")] = "",
    tls_name: Annotated[
        list[str] | None,
        typer.Option(
            "--tls-name",
            help="Host name or address under which nodes reach it: makes a certificate authority and a certificate "
            "for it. May be given several times.",
        ),
    ] = None,
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy in front of it speaks TLS instead.")
    ] = False,
    home: CoordinatorHome = COORDINATOR_HOME,
    as_json: Json = False,
) -> None:
    r"""Make the home of a coordinator, with a fresh key.

    [bold]Example[/bold]

    $ fedanomaly coordinator init --name fraud-watch --members 3 --threshold 2
    $ fedanomaly coordinator init --name fraud-watch --members 3 \
        --listen 0.0.0.0:7400 --tls-name coordinator.example
    """
    from fedanomaly.coordinator import CoordinatorConfig, init_home
    from fedanomaly.coordinator.certificates import AUTHORITY, SERVER
    from fedanomaly.errors import ConfigError

    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError("--listen is an address and a port, such as 127.0.0.1:7400")
    own = tls_name or []
    if own and (tls_certificate or tls_key):
        raise ConfigError("either its own certificate with --tls-name, or yours with --tls-certificate and --tls-key")
    files = [str(Path(file).resolve()) if file else "" for file in (tls_certificate, tls_key)]
    config = CoordinatorConfig(
        name=name,
        members=members,
        threshold=threshold,
        listen_host=host.strip("[]"),
        listen_port=int(port),
        url=url or (own_url(own, int(port)) if own else ""),
        tls_certificate=SERVER if own else files[0],
        tls_key=SERVER if own else files[1],
        tls_ca=AUTHORITY if own else "",
        behind_proxy=behind_proxy,
    )
    if own:
        check_named(config.origin, own)
    made = init_home(home.expanduser(), config, tls_names=own)
    if as_json:
        print_json({"home": str(made.folder), "federation": made.federation.hex(), "url": config.origin})
        return
    done(f"federation {name}: {members} members, decryption threshold {threshold}")
    done(f"home       {made.folder}")
    done(f"address    {config.origin}")
    if own:
        tell_certificates(made.folder)
    done(f"next       fedanomaly coordinator invite ORGANISATION{at(home)}, for each of them")
    done(f"then       fedanomaly coordinator run{at(home)}")


@app.command()
def invite(
    organisation: Annotated[str, typer.Argument(help="Name that the organisation will have in the federation.")],
    valid_days: Annotated[float, typer.Option("--valid-days", min=0.001, help="Days until it expires.")] = 7.0,
    home: CoordinatorHome = COORDINATOR_HOME,
    as_json: Json = False,
) -> None:
    """Make a one-time invitation; also while the coordinator runs.

    The line is a secret: whoever has it can enrol once under that name. Hand it
    over through a channel that both sides trust.

    [bold]Example[/bold]

    $ fedanomaly coordinator invite "North Bank" > north-bank.invitation
    """
    from fedanomaly.coordinator import create_invitation

    invitation = create_invitation(home.expanduser(), organisation, ttl_s=valid_days * 86_400)
    if as_json:
        print_json({"organisation": organisation, "invitation": invitation.to_text()})
        return
    note(f"one-time invitation for {organisation}, valid for {valid_days:g} days:")
    print(invitation.to_text())


@app.command()
def run(home: CoordinatorHome = COORDINATOR_HOME) -> None:
    """Serve the federation until SIGTERM or Ctrl-C.

    Killed at any moment and started again, it goes on where it was.

    [bold]Example[/bold]

    $ fedanomaly coordinator run --home /srv/federation
    """
    from fedanomaly.coordinator import run as serve

    serve(home.expanduser())


@app.command("new-epoch")
def new_epoch(home: CoordinatorHome = COORDINATOR_HOME) -> None:
    """Replace all keys, after one is lost or suspected; stop the coordinator first.

    The members set the new epoch up as soon as the coordinator runs again; then
    the secrets of the old one are destroyed. A used-up quota does this by itself.

    [bold]Example[/bold]

    $ fedanomaly coordinator new-epoch
    """
    import asyncio
    import logging
    import sys

    import structlog

    from fedanomaly.coordinator import Home, call_new_epoch

    found = Home(home.expanduser())
    found.check()
    # One line says what was done; the log of the service is for its own run.
    structlog.configure(
        wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    asyncio.run(call_new_epoch(found))
    done(f"a new key epoch is called for; start the coordinator again: fedanomaly coordinator run{at(home)}")


@app.command()
def status(home: CoordinatorHome = COORDINATOR_HOME, as_json: Json = False) -> None:
    """Show members, key epoch and jobs; also while the coordinator runs.

    [bold]Example[/bold]

    $ fedanomaly coordinator status --json
    """
    import msgspec

    from fedanomaly.coordinator import read_status

    found = read_status(home.expanduser())
    if as_json:
        print_json(msgspec.to_builtins(found))
        return
    done(f"federation {found.name}: {len(found.members)} of {found.expected} members, threshold {found.threshold}")
    done(f"members    {', '.join(found.members) or 'none yet'}")
    done(f"key epoch  {found.epoch} ({found.epoch_state}), {found.head} entries in the log")
    for objection in found.objections:
        done(f"set-up     {objection}; either of the two may be wrong")
    rows = [
        (job.number, job.model, job.detector, job.requested_by, job.state, len(job.rounds), job.reason)
        for job in found.jobs
    ]
    if rows:
        stdout().print(table(["job", "model", "detector", "asked for by", "state", ">rounds", "reason"], rows))
