"""`amoc do`, `add`, `status` and the other verbs: each sends a request to this home's daemon."""

from typing import Any

import click

from amoc_gevent.cli.steering.execution import carry_out
from amoc_gevent.cli.steering.verb_parser import Invocation, verbs
from amoc_gevent.control.client import Control
from amoc_gevent.daemon.home import Home
from amoc_gevent.daemon.pidfile import holder
from amoc_gevent.errors import EXIT_INTERRUPTED

STORED = {"runs", "summary"}
"""The verbs that the run store answers if no master runs."""


def master_of(home: Home) -> Control:
    """Return the control socket of the home's master."""
    hint = f"no master runs in {home.path}: start one with `amoc master`"
    return Control(home.socket("master"), hint)


def _daemon_of(home: Home, verb: str) -> Control:
    """Return the master's control, or that of the run store or the node if these can answer."""
    if verb in STORED and not _has_master(home):
        from amoc_gevent.control.stored import StoredRuns  # noqa: PLC0415  # two verbs need it

        return StoredRuns(home)
    if verb == "status" and not home.socket("master").exists() and home.socket("node").exists():
        return Control(home.socket("node"), f"no daemon runs in {home.path}")
    return master_of(home)


def _has_master(home: Home) -> bool:
    return holder(home.pid_file("master")) is not None or master_of(home).listens()


def _shell(verb: str) -> click.Command:
    """Return the shell command for a verb, with the same arguments, options and help."""
    inner = verbs.commands[verb]

    def callback(**given: Any) -> int:
        asked: Invocation = click.get_current_context().invoke(inner, **given)
        try:
            return carry_out(asked, _daemon_of(Home.current(), verb))
        except KeyboardInterrupt:
            goes_on = " the run goes on, `amoc stop` ends it" if verb == "do" else ""
            click.echo(f"amoc: stopped waiting;{goes_on}".rstrip(";"), err=True)
            return EXIT_INTERRUPTED

    return click.Command(verb, params=inner.params, callback=callback, help=inner.help)


do = _shell("do")
add = _shell("add")
remove = _shell("remove")
set_ = _shell("set")
pause = _shell("pause")
resume = _shell("resume")
rebalance = _shell("rebalance")
stop = _shell("stop")
status = _shell("status")
nodes = _shell("nodes")
runs = _shell("runs")
describe_run = _shell("describe")
summary = _shell("summary")
watch = _shell("watch")
