"""The compared load generators: how to start and end each, and how to read its results."""

import json
import re
import signal
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from amoc_gevent.errors import AmocError
from benchmarks.machine import ROOT, cores, package, private_port_mapper, program
from benchmarks.process import Child

BENCHMARKS = ROOT / "benchmarks"
SUMMARY = "summary.json"
RAMP = 500  # users a second


@dataclass(frozen=True)
class Load:
    """The load that a generator makes.

    `users` do rounds of `gets` requests and after each answer `turns` of peers.busy.work. A
    generator that cannot be stopped early ends after `expected` requests.
    """

    users: int
    url: str
    gets: int = 100
    turns: int = 0
    ca: str = ""
    expected: int = 0


@dataclass(frozen=True)
class Generator:
    """One load generator.

    `command` returns its command line for a load and an empty directory. `ended_by` is the signal
    that stops it gracefully (None: it ends by itself). `outcome` reads its results afterwards.
    """

    name: str
    command: Callable[[Load, Path], list[str]]
    ended_by: signal.Signals | None
    outcome: Callable[[Path], "Outcome"]
    environment: Callable[[Load], Mapping[str, str]]

    def start(self, load: Load, directory: Path) -> Child:
        """Start the generator on the generators' core."""
        command, environment = self.command(load, directory), self.environment(load)
        return Child(command, directory, cores()[0], environment)

    def end(self, child: Child, directory: Path) -> "Outcome":
        """Stop the generator gracefully and return its results."""
        if self.ended_by is None:
            child.wait()
        else:
            child.end(self.ended_by)
        try:
            return self.outcome(directory)
        except (OSError, ValueError, LookupError) as error:
            raise AmocError(f"{self.name} left no result ({error}):\n{child.said()}") from error


@dataclass(frozen=True)
class Outcome:
    """The results of a generator: requests (failed ones included), latency p50 and p99, lag p50."""

    requests: int
    failed: int
    p50_us: float = 0.0
    p99_us: float = 0.0
    lag_p50_us: float | None = None


def amoc_run(
    scenario: str, users: int, directory: Path, given: Mapping[str, object], rate: int = RAMP
) -> list[str]:
    """Return the command that runs one of scenarios/ in one worker at `rate` users a second."""
    path = str(BENCHMARKS / "scenarios" / f"{scenario}.py")
    run = [sys.executable, "-m", "amoc_gevent", "run", path, "1", str(users), "--workers", "1"]
    how = ["--user-rate", f"{rate}/s", "--quiet", "--summary", str(directory / SUMMARY)]
    return [
        *run,
        *how,
        *(word for pair in given.items() for word in ("--set", f"{pair[0]}={pair[1]}")),
    ]


def locust_run(file: str, user: str, users: int, rate: int = RAMP) -> list[str]:
    """Return the command that runs a user class of a file in peers/ in one process."""
    package("locust")
    path = str(BENCHMARKS / "peers" / f"{file}.py")
    run = [sys.executable, "-m", "locust", "-f", path, user, "--headless", "--only-summary"]
    return [*run, "--users", str(users), "--spawn-rate", str(rate), "--loglevel", "WARNING"]


def amoc(name: str, client: str) -> Generator:
    """Return amoc: `amoc run` with one worker and one of our two HTTP clients."""

    def command(load: Load, directory: Path) -> list[str]:
        given = {"url": load.url, "client": client, "ca": load.ca}
        counts = {"gets": load.gets, "turns": load.turns}
        run = amoc_run("rounds", load.users, directory, {**given, **counts})
        return [*run, "--repeat-interval", "0s", "--on-user-error", "stop"]

    return Generator(name, command, signal.SIGTERM, _amoc_outcome, lambda _: {})


def locust(name: str, user: str) -> Generator:
    """Return Locust, headless in one process, with one class of peers/locust_rounds.py."""

    def command(load: Load, directory: Path) -> list[str]:
        ends = ["--stop-timeout", "20", "--json-file", str(directory / Path(SUMMARY).stem)]
        return [*locust_run("locust_rounds", user, load.users), "--host", load.url, *ends]

    def environment(load: Load) -> Mapping[str, str]:
        return {"GETS": str(load.gets), "TURNS": str(load.turns)}

    return Generator(name, command, signal.SIGTERM, _locust_outcome, environment)


def tsung(name: str) -> Generator:
    """Return Tsung in its controller's VM. Each user sends the same fixed number of requests."""
    path = program("tsung", "tsung")

    def command(load: Load, directory: Path) -> list[str]:
        template = (BENCHMARKS / "peers/tsung.xml").read_text()
        each, port = max(1, load.expected // load.users), urlsplit(load.url).port
        configuration = directory / "tsung.xml"
        configuration.write_text(template.format(port=port, users=load.users, each=each))
        return [
            path,
            "-n",
            "-w",
            "0",
            "-f",
            str(configuration),
            "-l",
            str(directory / "log"),
            "start",
        ]

    return Generator(name, command, None, _tsung_outcome, lambda _: private_port_mapper())


def _amoc_outcome(directory: Path) -> Outcome:
    summary = json.loads((directory / SUMMARY).read_text())
    operations = summary["operations"].values()
    busiest = max(operations, key=lambda operation: operation["count"])
    return Outcome(
        requests=sum(each["count"] + each["interrupted"] for each in operations),
        failed=sum(each["errors"] for each in operations),
        p50_us=busiest["latency_us"]["p50"],
        p99_us=busiest["latency_us"]["p99"],
        lag_p50_us=summary["health"]["pickup_lag_us"]["p50"],
    )


def _locust_outcome(directory: Path) -> Outcome:
    entries = json.loads((directory / SUMMARY).read_text())
    busiest = max(entries, key=lambda entry: entry["num_requests"])
    times = {float(ms): count for ms, count in busiest["response_times"].items()}
    return Outcome(
        requests=sum(entry["num_requests"] for entry in entries),
        failed=sum(entry["num_failures"] for entry in entries),
        p50_us=_percentile(times, 0.5) * 1000,
        p99_us=_percentile(times, 0.99) * 1000,
    )


def _percentile(counts: dict[float, int], fraction: float) -> float:
    rank = max(1.0, fraction * sum(counts.values()))
    for value in sorted(counts):
        rank -= counts[value]
        if rank <= 0:
            return value
    raise ValueError("no values")


def _tsung_outcome(directory: Path) -> Outcome:
    text = next((directory / "log").glob("*/tsung.log")).read_text()
    found = re.findall(r"^stats: (\w+) (\d+) (\d+)$", text, re.MULTILINE)
    done = {name: int(total) for name, _, total in found}
    requests = re.findall(r"^stats: request (\d+)", text, re.MULTILINE)
    total = sum(map(int, requests))
    return Outcome(requests=total, failed=total - done.get("200", 0))
