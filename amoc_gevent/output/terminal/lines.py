"""Shows a run in plain lines, one every ten seconds, without a terminal."""

from typing import TextIO

from amoc_gevent.core.run.run import Run
from amoc_gevent.core.units import (
    counted,
    format_count,
    format_duration,
    format_us,
    format_users,
)
from amoc_gevent.output.terminal.figures import merged_latency, resting_note
from amoc_gevent.output.verdict import marks_in_words

INTERVAL_S = 10.0


class Lines:
    """Writes the progress of a run to `stream`: each change of status, and every ten seconds."""

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
            self._write(progress(run, elapsed, resting_note(run, now)))

    def _announce(self, run: Run) -> None:
        if run.status == "starting":
            users = f"users {run.first} to {run.last}"
            self._write(f"starting {counted(run.workers, 'worker')}: {run.scenario}, {users}")
        elif run.status == "running":
            self._write(
                f"running for {format_duration(run.duration)}" if run.duration else "running"
            )
        elif run.status == "stopping":
            self._write("stopping by force" if run.plan.force else "stopping")

    def _write(self, line: str) -> None:
        self._stream.write(line + "\n")
        self._stream.flush()


def progress(run: Run, elapsed: float, note: str = "") -> str:
    """Return the progress in one line; rate and p95 cover the last ten seconds."""
    total, recent = run.results.total, run.results.recent(run.started_at)
    errors = sum(operation.errors for operation in total.operations.values())
    users = ", ".join(format_users(run.users))
    rate = recent.count / recent.seconds if recent.seconds else 0.0
    parts = [
        f"{format_duration(float(int(elapsed))):>7}",
        f"users: {users}",
        f"{format_count(round(rate, 1))} operations/s",
        counted(errors, "error"),
    ]
    latency = merged_latency(recent.operations.values())
    if latency.count:
        parts.append(f"p95 {format_us(latency.percentiles((0.95,))[0])}")
    if total.failed:
        parts.append(counted(total.failed, "failed iteration"))
    parts.extend(marks_in_words(run.results.recent_marks(run.started_at)))
    if note:
        parts.append(note)
    return " | ".join(parts)
