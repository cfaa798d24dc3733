"""`amoc try`: one iteration of one user, in this process, each operation shown as it happens."""

import os
import signal
import sys
from collections.abc import Iterable
from pathlib import Path

import click
import gevent
from gevent.event import Event as Flag

from amoc_gevent import http, metrics, settings
from amoc_gevent.cli.options import SET
from amoc_gevent.cli.params import pairs
from amoc_gevent.core.units import counted, format_us
from amoc_gevent.errors import EXIT_FAILED, EXIT_FINISHED, EXIT_INTERRUPTED
from amoc_gevent.http import Exchange
from amoc_gevent.loading.catalogue import find
from amoc_gevent.loading.loader import Scenario, load, place_of, trimmed_traceback
from amoc_gevent.printable import printable_lines
from amoc_gevent.user import UserGreenlet
from amoc_gevent.worker.scheduler import run_start
from amoc_gevent.worker.watchdog import Blocking, Watchdog

XML_SHOWN = 2000
"""Characters shown of the XML that is sent or received at once."""

BODY_SHOWN = 1024
"""Bytes shown of a response's body."""


@click.command(name="try")
@click.argument("scenario")
@click.argument("user_id", metavar="[ID]", type=click.IntRange(min=1), default=1)
@SET
@click.option(
    "--headers/--no-headers",
    default=True,
    help="Show the headers of each exchange, and the XML of an XMPP stream.",
)
@click.option("--bodies", is_flag=True, help="Show all bodies of responses, not only of errors.")
def try_(
    scenario: str, user_id: int, given: tuple[str, ...], *, headers: bool, bodies: bool
) -> int:
    """Run start() of SCENARIO once for the user ID (1), and show what it does.

    Ctrl-C asks a session that polls user.leaving to end. Otherwise, and the second time, it exits
    at once. The exit code is 1 if start raised an exception or an operation failed.
    """
    before = gevent.signal_handler(signal.SIGINT, _end)
    loaded = load(Path(find(scenario)))
    settings.registry.configure(pairs(given), os.environ)
    state = loaded.init()
    http.observe(lambda exchange: _show_exchange(exchange, headers=headers, bodies=bodies))
    metrics.observe(_show_block)
    if headers and "amoc_gevent.xmpp" in sys.modules:
        from amoc_gevent import xmpp  # noqa: PLC0415  # slow to import, and here it already is

        xmpp.observe(_show_xml)
    before.cancel()
    raised = _start(loaded, state, user_id)
    loaded.terminate(state)
    taken = metrics.recorder.take()
    for name, value in taken.counters.items():
        click.echo(f"counter {name} = {value}")
    for name, gauge in taken.gauges.items():
        click.echo(f"gauge {name} = {gauge.value:g} {gauge.unit}".rstrip())
    for name, (unit, histogram) in taken.histograms.items():
        values = counted(histogram.count, "value")
        click.echo(f"histogram {name}: {values}, mean {histogram.mean:g} {unit}")
    operations = taken.operations.values()
    count, errors = sum(o.count for o in operations), sum(o.errors for o in operations)
    click.echo(f"user {user_id}: {count} operations, {errors} with errors")
    if raised is not None:
        kind, place = type(raised).__name__, place_of(raised, loaded.path)
        click.echo(f"start raised {kind} at {place}: {raised}", err=True)
        click.echo(trimmed_traceback(raised, loaded), err=True)
    return EXIT_FAILED if raised is not None or errors else EXIT_FINISHED


def _interrupted(user: UserGreenlet) -> None:
    """Ask the user to end, once, if it polls `leaving`. Otherwise end the process at once."""
    if user.polls_leaving and not user.end_requested.is_set():
        click.echo("asked the user to end; a second Ctrl-C ends it at once", err=True)
        user.ask_to_end()
        return
    _end()


def _end() -> None:
    """End the process at once, wherever the scenario is."""
    click.echo("amoc: interrupted", err=True)
    os._exit(EXIT_INTERRUPTED)


def _start(scenario: Scenario, state: object, user_id: int) -> BaseException | None:
    """Run one iteration in a user's greenlet; return what it raised."""
    raised: list[BaseException | None] = []

    def start(user_id: int) -> None:
        scenario.start(*((user_id, state) if scenario.has_state else (user_id,)))

    def iteration() -> None:
        raised.append(run_start(start, user_id))
        raised.append(greenlet.end_helpers())
        done.set()

    done = Flag()
    greenlet = UserGreenlet(iteration, gevent.get_hub())
    greenlet.user_id = user_id
    gevent.signal_handler(signal.SIGINT, _interrupted, greenlet)
    watchdog = Watchdog(_show_blocked)
    gevent.get_hub().loop.run_callback(greenlet.switch)
    done.wait()
    watchdog.stop()
    return next((error for error in raised if error is not None), None)


def _show_blocked(found: Blocking) -> None:
    click.echo(found.described("did not yield").rstrip(), err=True)


def _show_exchange(exchange: Exchange, *, headers: bool, bodies: bool) -> None:
    outcome = f"{exchange.status} {exchange.reason}" if exchange.status else "no answer"
    click.echo(f"{exchange.method} {exchange.url} → {outcome}, {len(exchange.content)} bytes")
    label = "" if exchange.name == f"{exchange.method} {exchange.url}" else f"  {exchange.name}: "
    click.echo(f"{label or '  '}{_timings(exchange)}")
    if exchange.error is not None:
        click.secho(f"  error: {exchange.error}", fg="red")
    if headers:
        _show_headers(">", exchange.request_headers)
        _show_headers("<", exchange.response_headers or [])
    if exchange.content and (bodies or exchange.error is not None):
        _show_body(exchange.content)


def _show_body(content: bytes) -> None:
    """Show the beginning of a body that is text; of others their size is shown already."""
    try:
        text = content[:BODY_SHOWN].decode()
    except UnicodeDecodeError as error:
        if error.start < min(len(content), BODY_SHOWN) - 3:  # not just cut within a character
            return
        text = content[: error.start].decode()
    for line in printable_lines(text).splitlines():
        click.echo(f"  | {line}")
    if len(content) > BODY_SHOWN:
        click.echo(f"  | ... {len(content) - BODY_SHOWN:,} more bytes")


def _timings(exchange: Exchange) -> str:
    parts = {
        "connect": exchange.timings.connect,
        "TLS": exchange.timings.tls,
        "first byte": exchange.timings.first_byte,
        "total": exchange.timings.total,
    }
    return ", ".join(f"{name} {format_us(us)}" for name, us in parts.items() if us is not None)


def _show_headers(mark: str, headers: Iterable[tuple[str, str]]) -> None:
    for name, value in headers:
        click.echo(f"  {mark} {name}: {value}")


def _show_block(name: str, us: int, error: str | None) -> None:
    click.echo(f"{name}: {format_us(us)}" + (f", error: {error}" if error else ""))


def _show_xml(mark: str, data: bytes) -> None:
    text = data.decode(errors="backslashreplace")
    more = f"... {len(text) - XML_SHOWN:,} more characters" if len(text) > XML_SHOWN else ""
    for line in f"{text[:XML_SHOWN]}{more}".splitlines():
        click.echo(f"  {mark} {line}")
