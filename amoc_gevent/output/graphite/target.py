"""The address of Graphite. The import is cheap: the command line needs it."""

from base64 import b64encode
from dataclasses import dataclass
from hashlib import sha256
from urllib.parse import unquote, urlsplit

from amoc_gevent.addresses import host_and_port
from amoc_gevent.errors import UsageError


@dataclass(frozen=True, slots=True)
class EventsAddress:
    """The URL for annotations, `given`, in parts; user and password become a header."""

    secure: bool
    host: str
    port: int | None
    path: str
    authorization: str
    given: str = ""

    @classmethod
    def of(cls, url: str) -> "EventsAddress":
        """Parse `url`. Raises UsageError unless it is an http or https URL."""
        try:
            parts = urlsplit(url)
            port = parts.port
        except ValueError as error:
            raise UsageError(f"--graphite-events {url}: {error}") from error
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise UsageError(
                f"--graphite-events {url}: write it as http://HOST:PORT/events/, or none"
            )
        user = ""
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
            user = "Basic " + b64encode(pair.encode()).decode()
        return cls(
            parts.scheme == "https", parts.hostname, port, parts.path or "/events/", user, url
        )

    def __str__(self) -> str:
        port = f":{self.port}" if self.port else ""
        return f"{'https' if self.secure else 'http'}://{self.host}{port}{self.path}"


@dataclass(frozen=True, slots=True)
class Target:
    """Carbon's `address`, the prefix for metric names, and the `interval` in seconds.

    `events` is the address for annotations, or None.
    """

    address: tuple[str, int]
    prefix: str = ""
    interval: int = 10
    events: EventsAddress | None = None

    @property
    def file(self) -> str:
        """The name of the file in which `amoc run` stores the intervals that it sent last."""
        host, port = self.address
        mark = sha256(f"{host} {port} {self.prefix}".encode(errors="replace")).hexdigest()[:12]
        return f"graphite-{mark}.db"

    def arguments(self) -> list[str]:
        """Return the equivalent command-line options."""
        found = [
            "--graphite",
            host_and_port(*self.address),
            "--graphite-interval",
            f"{self.interval}s",
        ]
        found += ["--graphite-prefix", self.prefix] if self.prefix else []
        return [*found, "--graphite-events", self.events.given if self.events else "none"]
