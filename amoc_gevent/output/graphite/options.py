"""The command-line options of Graphite. The import is cheap."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from amoc_gevent.addresses import url_host
from amoc_gevent.errors import UsageError
from amoc_gevent.output.graphite.names import is_prefix
from amoc_gevent.output.graphite.target import EventsAddress, Target
from amoc_gevent.output.option_types import Option, OutputKind

if TYPE_CHECKING:
    from amoc_gevent.output.base import Output

PORT = 2003

OPTIONS = (
    Option("--graphite", metavar="HOST:PORT", help="Send metrics to carbon at this address."),
    Option(
        "--graphite-prefix",
        metavar="NAME",
        default="",
        help="Prefix for metric names.",
    ),
    Option(
        "--graphite-interval",
        unit="time",
        default=10.0,
        help="Time between two points; must match carbon's finest retention [10s].",
    ),
    Option(
        "--graphite-events",
        metavar="URL",
        help="URL for annotations, or `none` [http://HOST/events/].",
    ),
)


@dataclass(frozen=True, slots=True)
class ChosenGraphite:
    """The Graphite output for a target."""

    target: Target

    @property
    def file(self) -> str:
        """The file in which `amoc run` stores the data that Graphite may lack."""
        return self.target.file

    def arguments(self) -> list[str]:
        """Return the equivalent command-line options."""
        return self.target.arguments()

    def open(self, say: Callable[[str], None]) -> "Output":
        """Return the output; `say` prints a line for people."""
        from amoc_gevent.output.graphite.output import Graphite  # noqa: PLC0415  # loads gevent

        return Graphite(self.target, say)


def choose(given: Mapping[str, Any]) -> ChosenGraphite | None:
    """Return the output for the options, or None without --graphite. Raises UsageError.

    Keys are the options' names, such as `graphite_prefix`.
    """
    graphite, prefix = given["graphite"], given["graphite_prefix"]
    interval, events = given["graphite_interval"], given["graphite_events"]
    if graphite is None:
        if prefix or events:
            raise UsageError("--graphite-prefix and --graphite-events need --graphite HOST:PORT")
        return None
    host, port = _address(graphite)
    if prefix and not is_prefix(prefix):
        raise UsageError(
            f"--graphite-prefix {prefix}: write it as letters, digits, _ and -, or as "
            "parts of these separated by dots"
        )
    if interval < 1 or interval != int(interval):
        raise UsageError("--graphite-interval must be a whole number of seconds, 1 or more")
    where = (
        EventsAddress.of(events or f"http://{url_host(host)}/events/") if events != "none" else None
    )
    return ChosenGraphite(Target((host, port), prefix, int(interval), where))


def _address(text: str) -> tuple[str, int]:
    """Return host and port; the default is the port of carbon's plaintext protocol."""
    host, colon, port = text.rpartition(":")
    if not colon or text.endswith("]"):
        host, port = text, str(PORT)
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise UsageError(f"--graphite {text}: write it as HOST:PORT, for example graphite:{PORT}")
    return host, int(port)


GRAPHITE = OutputKind(OPTIONS, choose)
