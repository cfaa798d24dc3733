"""A line every ten seconds, for where no terminal shows the live table."""

from typing import TextIO

from amoc_gevent.core.results import LAG_LIMIT_US
from amoc_gevent.core.run import Run
from amoc_gevent.core.units import format_count, format_duration, format_us
from amoc_gevent.output.figures import latency_of_all

INTERVAL_S = 10.0
MARKS = {
    "lag": f"lag above {LAG_LIMIT_US / 1000:.0f} ms",
    "cpu": "CPU above 90 %",
    "clock": "the clock was stepped",
}


class Lines:
    """Writes to `stream` how a run goes: when it starts and stops, and every ten seconds."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._status = ""
        self._due = INTERVAL_S

    def update(self, run: Run, now: float) -> None:
        """Write what is due at `now` (seconds of the master's steady clock)."""
        if run.status != self._status:
            self._status = run.status
            self._announce(run)
        elapsed = run.elapsed(now)
        if run.active and elapsed >= self._due:
            self._due = (elapsed // INTERVAL_S + 1) * INTERVAL_S
            self._write(progress(run, elapsed))

    def _announce(self, run: Run) -> None:
        if run.status == "starting":
            workers = f"{run.workers} worker" + ("" if run.workers == 1 else "s")
            self._write(f"starting {workers} for {run.scenario}, users {run.first} to {run.last}")
        elif run.status == "running":
            limit = f" for {format_duration(run.duration)}" if run.duration else ""
            self._write(f"running{limit}")
        elif run.status == "stopping":
            self._write("stopping by force" if run.plan.force else "stopping")

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def progress(run: Run, elapsed: float) -> str:
    """Return how the run stands in one line; rate and p95 are of the last ten seconds."""
    users, total = run.users, run.results.total
    recent, seconds = run.results.recent(run.started_at)
    count = sum(operation.count for operation in recent.operations.values())
    errors = sum(operation.errors for operation in total.operations.values()) + total.failed
    states = ("running", "resting", "waiting", "done")
    parts = [
        f"{format_duration(float(int(elapsed))):>7}",
        "users: " + ", ".join(f"{format_count(getattr(users, s))} {s}" for s in states),
        f"{format_count(round(count / seconds, 1) if seconds else 0)} operations/s",
        f"{format_count(errors)} errors",
    ]
    latency = latency_of_all(recent)
    if latency.count:
        parts.append(f"p95 {format_us(latency.percentiles((0.95,))[0])}")
    parts.extend(f"generator: {MARKS[mark]}" for mark in run.results.recent_marks(run.started_at))
    return " | ".join(parts)
