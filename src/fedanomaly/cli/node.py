"""`fedanomaly node …`: make one, join a federation, run it, look at it."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from fedanomaly.cli.options import NODE_HOME, Json, NodeHome, PassphraseFile, at
from fedanomaly.cli.output import done, note, print_json, stdout, table
from fedanomaly.cli.passphrase import passphrase_of

if TYPE_CHECKING:
    from fedanomaly.client.jobs import Told

app = typer.Typer(help="The node of one organisation: it keeps the data and the keys.", no_args_is_help=True)


@app.command()
def init(home: NodeHome = NODE_HOME, passphrase_file: PassphraseFile = None, as_json: Json = False) -> None:
    """Make the home of a node: identity, data key, policy, token.

    [bold]Example[/bold]

    $ fedanomaly node init
    $ fedanomaly node init --home /srv/node --passphrase-file passphrase.txt
    """
    from fedanomaly.node.home import Home

    passphrase = passphrase_of(passphrase_file, confirm=True)
    made = Home.create(home.expanduser(), passphrase)
    identity = made.unlock(passphrase).public_key.hex()
    if as_json:
        print_json({"home": str(made.root), "identity": identity})
        return
    done(f"home       {made.root}")
    done(f"identity   {identity}")
    done(f"next       look at policy.toml, then fedanomaly node enrol INVITATION{at(home)}")


@app.command()
def enrol(
    invitation: Annotated[str, typer.Argument(help="The invitation, a file that holds it, or - for standard input.")],
    ca: Annotated[
        Path | None,
        typer.Option(
            "--ca", help="PEM file of the authority to trust, instead of the invitation's or those of the system."
        ),
    ] = None,
    home: NodeHome = NODE_HOME,
    passphrase_file: PassphraseFile = None,
    as_json: Json = False,
) -> None:
    """Join a federation with a one-time invitation.

    The coordinator's key is pinned from the invitation: from then on this node
    talks to nobody else. An authority for TLS in it is trusted for this alone.

    [bold]Example[/bold]

    $ fedanomaly node enrol north-bank.invitation
    """
    import stamina

    from fedanomaly.errors import CertificateError, UnavailableError
    from fedanomaly.node.enrolment import enrol as join
    from fedanomaly.node.home import Home
    from fedanomaly.transport import Invitation
    from fedanomaly.transport.trust import fingerprint_of

    found = Home(home.expanduser())
    line = Invitation.from_text(_line(invitation))
    keystore = found.unlock(passphrase_of(passphrase_file))
    stamina.instrumentation.set_on_retry_hooks([])  # the answer is one line, not a log
    try:
        membership = join(found, keystore, line, ca_file=ca)
    except CertificateError:  # says itself what to do
        raise
    except UnavailableError as error:
        raise UnavailableError(
            Exception.__str__(error), hint=f"is the coordinator running at {line.url}? the invitation is not used up"
        ) from None
    if as_json:
        told = {"organisation": membership.name, "url": membership.url, "federation": membership.federation.hex()}
        print_json(told)
        return
    done(f"enrolled as {membership.name} at {membership.url}")
    if found.authority:
        done(f"trusts      {found.authority}, SHA-256 {fingerprint_of(found.authority)}")
    done(f"next        fedanomaly data add NAME FILE{at(home)}, then fedanomaly node run{at(home)}")


@app.command()
def run(home: NodeHome = NODE_HOME, passphrase_file: PassphraseFile = None) -> None:
    """Run the node until SIGTERM or Ctrl-C.

    It only calls out, and answers on 127.0.0.1 to whoever has its token. Ended
    with SIGTERM or Ctrl-C it tells the others at once; killed, it makes them
    wait for a deadline before they try a step again.

    [bold]Example[/bold]

    $ fedanomaly node run --home /srv/node --passphrase-file passphrase.txt
    """
    from fedanomaly.node.home import Home
    from fedanomaly.node.run import run as serve
    from fedanomaly.transport.logs import configure

    found = Home(home.expanduser())
    config = found.config
    configure(config.log_format, config.log_level)
    keystore = found.unlock(passphrase_of(passphrase_file))
    serve(found, keystore, ready=lambda address: note(f"loopback API at {address}"))


@app.command()
def status(home: NodeHome = NODE_HOME, as_json: Json = False) -> None:
    """Show the node and its federation: members, keys, jobs.

    [bold]Example[/bold]

    $ fedanomaly node status
    """
    from fedanomaly.cli.running import running_node
    from fedanomaly.node.home import Home

    found = Home(home.expanduser())
    if not found.running:
        membership = found.membership
        told = {"running": False, "organisation": membership.name if membership else None}
        if as_json:
            print_json(told)
        else:
            done(f"not running; {'enrolled as ' + membership.name if membership else 'not enrolled'}")
            note(f"next: fedanomaly node {'run' if membership else 'enrol INVITATION'}{at(home)}")
        return
    with running_node(found) as node:
        told = {"running": True, **node.status(), "jobs": node.jobs()}
    if as_json:
        print_json(told)
    else:
        _show(told)


def _show(told: Told) -> None:
    reached = "reached" if told["connected"] else "NOT reached; it goes on by itself once it is"
    done(f"node         {told['organisation']}")
    done(f"coordinator  {told['coordinator_url']} ({reached})")
    done(f"federation   {told['federation'] or '?'}: {len(told['members'])} of {told['members_wanted'] or '?'} members")
    done(f"key epoch    {told['epoch'] or 'none yet'} ({told['epoch_state'] or 'waiting for members'})")
    if told["trouble"]:
        done(f"trouble      {told['trouble']}")
    if told["held_back"]:
        done(f"held back    {', '.join(told['held_back'])}: this node was restored or copied; add new rows")
    rows = [
        (job["id"][:12], job["model"], job["detector"], job["requested_by"], job["state"], len(job["rounds"]),
         job["reason"])
        for job in told["jobs"]
    ]  # fmt: skip
    if rows:
        columns = ["job", "model", "detector", "asked for by", "state", ">rounds", "reason"]
        stdout().print(table(columns, rows))


def _line(invitation: str) -> str:
    if invitation == "-":
        return sys.stdin.read()
    from fedanomaly.errors import NotFoundError

    try:
        path = Path(invitation)
        if path.is_file():
            return path.read_text("ascii")
    except (OSError, UnicodeDecodeError):  # too long for a path, for one
        return invitation
    if path.suffix or len(path.parts) > 1:
        raise NotFoundError(f"there is no file {invitation}", hint="give the invitation, its file, or - for stdin")
    note("an invitation typed out is seen by other users of this machine and kept by the shell; better its file, or -")
    return invitation
