"""`fedanomaly scoring …`: make a scoring service, say who may ask it, run it."""

# ruff: noqa: PLC0415 - commands start fast: each imports what it needs

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from fedanomaly.cli.options import SCORING_HOME, Json
from fedanomaly.cli.output import done, print_json, stdout, table

app = typer.Typer(
    help="A service that scores encrypted events: it sees neither events nor scores.", no_args_is_help=True
)

ScoringHome = Annotated[Path, typer.Argument(help="Home folder of the service.", show_default=str(SCORING_HOME))]
Key = Annotated[str, typer.Argument(help="Public key of the organisation's identity, 64 hexadecimal digits.")]


@app.command()
def init(
    home: ScoringHome = SCORING_HOME,
    federation: Annotated[
        str, typer.Option("--federation", help="Identifier of the federation, 64 hexadecimal digits.")
    ] = "",
    listen: Annotated[str, typer.Option("--listen", help="Address and port to listen on.")] = "127.0.0.1:7430",
    releaser: Annotated[
        list[str] | None,
        typer.Option(
            "--releaser", help="Public key whose signature releases a model to all. May be given several times."
        ),
    ] = None,
    tls_certificate: Annotated[
        str, typer.Option("--tls-certificate", help="PEM file; needed to listen beyond this machine.")
    ] = "",
    tls_key: Annotated[str, typer.Option("--tls-key", help="PEM file of its key.")] = "",
    behind_proxy: Annotated[
        bool, typer.Option("--behind-proxy", help="A proxy in front of it speaks TLS instead.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make the home of a scoring service. It holds no secret.

    [bold]Example[/bold]

    $ fedanomaly scoring init /srv/scoring --federation 9f86d081…
    """
    from fedanomaly.errors import ConfigError
    from fedanomaly.scoring.config import ScoringConfig
    from fedanomaly.scoring.home import init_home

    host, _, port = listen.rpartition(":")
    if not host or not port.isdecimal():
        raise ConfigError("--listen is an address and a port, such as 127.0.0.1:7430")
    if not federation:
        raise ConfigError("--federation is missing", hint="a member reads it off: fedanomaly models release prints it")
    files = [str(Path(file).resolve()) if file else "" for file in (tls_certificate, tls_key)]
    config = ScoringConfig(
        federation=federation,
        listen_host=host.strip("[]"),
        listen_port=int(port),
        tls_certificate=files[0],
        tls_key=files[1],
        behind_proxy=behind_proxy,
        releasers=tuple(releaser or ()),
    )
    made = init_home(home.expanduser(), config)
    if as_json:
        print_json({"home": str(made.folder), "federation": federation, "url": config.origin})
        return
    done(f"home       {made.folder}")
    done(f"address    {config.origin}")
    done(f"next       fedanomaly scoring add-tenant {home} NAME KEY, for each organisation")
    done(f"then       fedanomaly scoring run {home}")


@app.command("add-tenant")
def add_tenant(
    home: ScoringHome,
    name: Annotated[str, typer.Argument(help="What the operator calls the organisation.")],
    key: Key,
    as_json: Json = False,
) -> None:
    """Let an organisation score here; a service that runs takes it in at SIGHUP.

    [bold]Example[/bold]

    $ fedanomaly scoring add-tenant /srv/scoring north 60303ae2…
    """
    from fedanomaly.scoring.home import add_tenant as add

    add(home.expanduser(), name, key)
    if as_json:
        print_json({"name": name, "key": key})
        return
    done(f"tenant     {name}; if the service runs, send it SIGHUP")


@app.command()
def tenants(home: ScoringHome = SCORING_HOME, as_json: Json = False) -> None:
    """List who may score here.

    [bold]Example[/bold]

    $ fedanomaly scoring tenants /srv/scoring
    """
    from fedanomaly.scoring.config import load_config

    found = load_config(home.expanduser() / "scoring.toml").tenants
    if as_json:
        print_json([{"name": name, "key": key} for name, key in found.items()])
        return
    stdout().print(table(["tenant", "public key"], found.items()))


@app.command()
def run(home: ScoringHome = SCORING_HOME) -> None:
    """Serve until SIGTERM or Ctrl-C; what is under way is answered first.

    SIGHUP makes it read tenants, releasers, models and certificate again. Models
    that are put into the folder are taken in without it.

    [bold]Example[/bold]

    $ fedanomaly scoring run /srv/scoring
    """
    from fedanomaly.scoring.server import run as serve

    serve(home.expanduser())
