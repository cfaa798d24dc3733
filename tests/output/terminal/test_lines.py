"""The lines of a run that no terminal shows."""

from dataclasses import replace
from io import StringIO

import pytest

from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import UserCounts
from amoc_gevent.core.run.run import Run
from amoc_gevent.output.terminal.lines import Lines, progress
from tests.output.runs import START, add, full_run, measured, run_of


def with_status(run: Run, status: str, *, force: bool = False) -> Run:
    run.plan = replace(run.plan, status=status, force=force)  # type: ignore[arg-type]
    return run


def written(run: Run, *times: float) -> list[str]:
    """Return what is written when the run is shown at these times after its begin."""
    stream = StringIO()
    lines = Lines(stream)
    for after in times:
        lines.update(run, START + after)
    return stream.getvalue().splitlines()


def test_a_line_comes_every_ten_seconds_of_the_run() -> None:
    lines = written(run_of(), *(second + 0.25 for second in range(31)))
    assert [line.split("|")[0].strip() for line in lines] == ["running", "10s", "20s", "30s"]


def test_a_late_update_shifts_no_later_line() -> None:
    lines = written(run_of(), 0, 10.2, 24.0, 25.0, 30.1)
    assert [line.split("|")[0].strip() for line in lines] == ["running", "10s", "24s", "30s"]


def test_start_and_stop_are_announced_once() -> None:
    run, stream = run_of(duration=90.0), StringIO()
    run.started_at = 0.0
    lines = Lines(stream)
    for status in ("starting", "starting", "running", "running", "stopping", "finished"):
        lines.update(with_status(run, status), START)
    assert stream.getvalue().splitlines() == [
        "starting 2 workers: shop, users 1 to 10",
        "running for 1m 30s",
        "stopping",
    ]


def test_a_forced_stop_is_called_so() -> None:
    assert written(with_status(run_of(), "stopping", force=True), 1) == ["stopping by force"]


def test_a_run_that_ended_writes_no_line() -> None:
    assert written(full_run(), 20) == []


def test_a_line_says_users_rate_errors_and_p95() -> None:
    run = run_of()
    for after in range(10):
        add(run, after, measured({"a": [1000] * 95, "b": [80_000] * 5}, {"b": {"timeout": 1}}))
    run.results.total.failed = 3
    assert progress(run, 10.25) == (
        "    10s | users: 2 running, 3 resting, 1 waiting, 4 done | 100 operations/s | 10 errors"
        " | p95 1.00 ms | 3 failed iterations"
    )


@pytest.mark.parametrize(
    ("users", "after", "note"),
    [
        (UserCounts(resting=4, done=6), 15, "the next one starts in 51s (--repeat-interval 1m)"),
        (UserCounts(resting=10), 15, "the next one starts in 45s (--repeat-interval 1m)"),
        (UserCounts(resting=10), 59.5, ""),
        (UserCounts(resting=9, running=1), 15, ""),
        (UserCounts(resting=9, waiting=1), 15, ""),
        (UserCounts(done=10), 15, ""),
        (UserCounts(resting=11), 15, ""),  # as more rest than iterations are known to have ended
    ],
)
def test_when_all_users_rest_the_line_says_until_when(
    users: UserCounts, after: float, note: str
) -> None:
    run = run_of()
    run.users = users
    for second, iterations in ((0, 3), (5, 3), (6, 4)):
        snapshot = Snapshot()
        snapshot.iterations = iterations
        add(run, second, snapshot)
    (line,) = written(run, after)[1:]
    assert ("all users rest" in line) is bool(note)
    assert line.endswith(note)


def test_an_overload_is_said_in_the_line() -> None:
    run = run_of()
    add(run, 0, cpu=0.99)
    assert progress(run, 1.0).endswith(" | the generator is overloaded (CPU above 90%)")


def test_a_run_without_operations_has_no_p95() -> None:
    assert "p95" not in progress(run_of(), 10.0)
