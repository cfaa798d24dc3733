"""Options that say where Graphite is, for the commands that hold a run."""

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from amoc_gevent.cli.params import DURATION
from amoc_gevent.errors import UsageError
from amoc_gevent.output.graphite.names import is_prefix
from amoc_gevent.output.graphite.target import EventsAddress, Target

PORT = 2003


def graphite_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add `--graphite` and its like; the command gets what they say as `graphite`, or None."""
    options = (
        click.option("--graphite", metavar="HOST:PORT", help="Send metrics to carbon there."),
        click.option(
            "--graphite-prefix",
            metavar="NAME",
            default="",
            help="What precedes all metrics' names.",
        ),
        click.option(
            "--graphite-interval",
            type=DURATION,
            default=10.0,
            help="Time that a point stands for; carbon's finest retention must be the same [10s].",
        ),
        click.option(
            "--graphite-events",
            metavar="URL",
            help="Where annotations go, or none [http://HOST/events/].",
        ),
    )

    @wraps(command)
    def with_target(**given: Any) -> Any:
        named = {name: given.pop(name) for name in tuple(given) if name.startswith("graphite")}
        return command(graphite=target_of(**named), **given)

    wrapped: Callable[..., Any] = with_target
    for option in reversed(options):
        wrapped = option(wrapped)
    return wrapped


def target_of(
    graphite: str | None,
    graphite_prefix: str,
    graphite_interval: float,
    graphite_events: str | None,
) -> Target | None:
    """Return what the options say, None where there is no Graphite; UsageError for nonsense."""
    if graphite is None:
        if graphite_prefix or graphite_events:
            raise UsageError("--graphite-prefix and --graphite-events want --graphite HOST:PORT")
        return None
    host, port = _address(graphite)
    if graphite_prefix and not is_prefix(graphite_prefix):
        raise UsageError(
            f"--graphite-prefix {graphite_prefix}: write it as letters, digits, _ and -, or as "
            "parts of these with dots between them"
        )
    if graphite_interval < 1 or graphite_interval != int(graphite_interval):
        raise UsageError("--graphite-interval: a whole number of seconds, 1 or more")
    if graphite_events == "none":
        events = None
    else:
        shown = f"[{host}]" if ":" in host else host
        events = EventsAddress.of(graphite_events or f"http://{shown}/events/")
    return Target((host, port), graphite_prefix, int(graphite_interval), events)


def _address(text: str) -> tuple[str, int]:
    """Return host and port; the port of carbon's plaintext protocol where there is none."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--graphite {text}: write it as HOST:PORT, for example graphite:{PORT}")
    return host, int(port)
