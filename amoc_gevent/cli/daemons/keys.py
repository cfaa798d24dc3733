"""`amoc keys`: manages a home's keys: its own pair, the allowed nodes' and the trusted master's."""

import json
import sys

import click

from amoc_gevent.cli.options import JSON
from amoc_gevent.daemon import keys as stored
from amoc_gevent.daemon.home import Home


@click.group(invoke_without_command=True)
@JSON
@click.pass_context
def keys(context: click.Context, as_json: bool) -> None:
    """List this home's public key, its trusted master, and the machines that may join.

    Keys contain characters that a shell interprets. Put them in single quotes, or pipe them in and
    write - for the key.

    \b
    On the master:   amoc keys make
    On each node:    amoc keys make
                     amoc keys trust-master 'KEY OF THE MASTER'
    On the master:   amoc keys allow NAME 'KEY OF THE NODE'
    """  # noqa: D301  # click looks for the character \b, which a raw string lacks
    if context.invoked_subcommand is not None:
        return
    home = Home.current()
    own, master = stored.own_keypair(home), stored.master_key(home)
    found = stored.allowed(home, lambda line: click.echo(f"amoc: warning: {line}", err=True))
    allowed = {name: key for key, name in found.items() if name != stored.THIS_MACHINE}
    if as_json:
        shown = {
            "own": own[0].decode() if own else None,
            "master": master.decode() if master else None,
            "allowed": allowed,
        }
        click.echo(json.dumps(shown, indent=2))
        return
    click.echo(f"own     {own[0].decode() if own else 'none: `amoc keys make` makes a pair'}")
    click.echo(f"master  {master.decode() if master else 'none is trusted yet'}")
    width = max(map(len, allowed), default=0)
    for name, key in allowed.items():
        click.echo(f"allowed {name:<{width}} {key}")


@keys.command("make")
def make_() -> None:
    """Create this home's key pair, and show the public key.

    An existing pair is kept, and its public key is shown.
    """
    home = Home.current()
    own = stored.own_keypair(home)
    if own is None:
        click.echo(stored.make(home).decode())
        return
    click.echo(f"amoc: {home.keys} has a pair of keys already", err=True)
    click.echo(own[0].decode())


@keys.command()
@click.argument("name")
@click.argument("public_key")
def allow(name: str, public_key: str) -> None:
    """Allow the machine NAME with PUBLIC_KEY to join the master of this home."""
    stored.allow(Home.current(), name, _given(public_key))
    click.echo(f"{name} may join the master of {Home.current().path}")


@keys.command()
@click.argument("name")
def revoke(name: str) -> None:
    """Remove the key of machine NAME. It can no longer join this home's master."""
    stored.revoke(Home.current(), name)
    click.echo(f"{name} may no longer join")


@keys.command("trust-master")
@click.argument("public_key")
def trust_master(public_key: str) -> None:
    """Trust the master with PUBLIC_KEY. The node of this home joins no other."""
    stored.trust_master(Home.current(), _given(public_key))
    click.echo(f"the node of {Home.current().path} joins only that master")


def _given(key: str) -> str:
    """Return the key; a dash reads it from standard input."""
    return sys.stdin.readline() if key == "-" else key
