"""`amoc shutdown`: stops the daemons of a home."""

import json

import click

from amoc_gevent.control.background import end
from amoc_gevent.daemon.home import KINDS, Home, Kind
from amoc_gevent.daemon.pidfile import holder
from amoc_gevent.errors import AmocError


@click.command()
@click.argument("kind", type=click.Choice(KINDS), required=False)
@click.option("--force", is_flag=True, help="Stop an active run at once, and kill hung daemons.")
@click.option("--json", "as_json", is_flag=True, help="Write the answer as JSON.")
def shutdown(kind: Kind | None, force: bool, as_json: bool) -> None:
    """Stop the master and the node of this home, or only the one named.

    This fails while a run is active, unless --force is given.
    """
    home = Home.current()
    running = [one for one in KINDS if holder(home.pid_file(one)) is not None]
    if kind is not None and kind not in running:
        raise AmocError(f"no {kind} runs in {home.path}")
    if not running:
        raise AmocError(f"no daemon runs in {home.path}")
    lost: list[str] = []
    which = [kind] if kind else running
    ended = {one: end(home, one, force=force, on_warning=lost.append) for one in which}
    for warning in lost:
        click.echo(f"amoc: {warning}", err=True)
    if as_json:
        click.echo(json.dumps({**ended, **({"warning": lost[0]} if lost else {})}, indent=2))
        return
    for one, pid in ended.items():
        click.echo(f"the {one} has ended, pid {pid}")
