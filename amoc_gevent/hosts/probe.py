"""Measures the resources of a few users of a scenario, in a short run with one worker."""

import json
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from math import inf
from pathlib import Path
from typing import Any, NamedTuple

from amoc_gevent.core.units import counted
from amoc_gevent.daemon.child import command_line, environment
from amoc_gevent.errors import EXIT_FAILED, EXIT_FINISHED, EXIT_USAGE, AmocError, UsageError

FEW = 1
MANY = 40
SPARE_S = 60.0


PROBE_REST_S = 1.0
"""The rest of the probe's users between two iterations."""


class ProbeError(AmocError):
    """A probe could not run."""


class Probe(NamedTuple):
    """The resources of a probe's users together, and their failures in words.

    `figures` has users, memory (bytes), descriptors, cpu (cores), connections (new ones a second).
    """

    figures: dict[str, float]
    trouble: str


def probe(scenario: str, users: int, seconds: float, settings: Sequence[str]) -> Probe:
    """Run `users` of `scenario` on one worker for `seconds`.

    Raises ProbeError if the run fails, and UsageError for an unknown scenario or a bad setting.
    """
    sets = [word for given in settings for word in ("--set", given)]
    with tempfile.TemporaryDirectory(prefix="amoc-doctor-") as directory:
        target = Path(directory) / "summary.json"
        words = ["run", scenario, "1", str(users), "--workers", "1", "--user-rate", "100/s"]
        words += [
            "--repeat-interval",
            f"{PROBE_REST_S:g}s",
            "--duration",
            f"{seconds:g}s",
            "--quiet",
        ]
        try:
            done = subprocess.run(  # noqa: S603  # our own interpreter and arguments
                command_line(*words, "--summary", str(target), *sets),
                env=environment(),
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds + SPARE_S,
                check=False,
            )
        except subprocess.TimeoutExpired:
            raise ProbeError(f"a probe of {users} users did not end in time") from None
        ended = target.exists() and done.returncode in {EXIT_FINISHED, EXIT_FAILED}
        summary = json.loads(target.read_text()) if ended else None
        if summary is None or not summary["users"]["started"]:
            lines = [line for line in done.stderr.splitlines() if line.startswith("amoc: ")]
            why = lines[-1].removeprefix("amoc: ") if lines else done.stderr.strip()[-200:]
            if done.returncode == EXIT_USAGE:
                raise UsageError(why)
            raise ProbeError(f"a probe of {users} users failed: {why}")
        return Probe(figures(summary, users), trouble_of(summary))


def figures(summary: Mapping[str, Any], users: int) -> dict[str, float]:
    """Return the resources of a worker from a summary, from the seconds in which all users work."""
    rows = summary["rows"]
    busy = [row for row in rows if row["users"]["running"] + row["users"]["resting"] == users]
    loads = [row["cpu"] for row in (busy or rows)[1:] or rows]
    operations = summary["operations"].values()
    connects = (one["phases_us"].get("connect", {"count": 0})["count"] for one in operations)
    duration = summary["run"]["load_s"] or 1.0
    iterations = summary["users"]["iterations"]
    return {
        "users": float(users),
        # without a whole iteration, the rest between two does not matter
        "cycle": users * duration / iterations if iterations else inf,
        "memory": float(summary["health"]["worst"]["rss"]),
        "descriptors": float(summary["health"]["worst"]["descriptors"]),
        "cpu": sum(loads) / len(loads) if loads else 0.0,
        "connections": max(0.0, sum(connects) - users) / duration,
    }


def trouble_of(summary: Mapping[str, Any]) -> str:
    """Return the failures of a run in words, with the most frequent kind; "" for none."""
    operations = summary["operations"].values()
    groups = [group for one in operations for group in one["error_groups"].items()]
    if groups:
        count, errors = (sum(one[name] for one in operations) for name in ("count", "errors"))
        kind = max(groups, key=lambda group: group[1])[0]
        return f"{errors} of {count} operations failed, mostly with {kind!r}"
    interrupted = sum(one["interrupted"] for one in operations)
    if interrupted and not any(one["count"] for one in operations):
        return f"no operation ended, {interrupted} were interrupted"
    if summary["errors"]:
        error = summary["errors"][0]
        failed = counted(summary["users"]["failed"], "iteration")
        return f"{failed} failed: {error['type']} at {error['place']}"
    return ""
