"""The live table, drawn on terminals of several sizes."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from amoc_gevent.core.measure.results import Results
from amoc_gevent.core.measure.snapshot import Snapshot
from amoc_gevent.core.messages import Event, UserCounts
from amoc_gevent.core.run.run import Run
from amoc_gevent.output.terminal.table import LiveTable, table_lines
from tests.output.runs import START, add, full_run, health, measured, run_of


def drawn(run: Run, after: float = 12.0, width: int = 80, height: int = 40) -> str:
    return "\n".join(line.plain for line in table_lines(run, START + after, width, height))


def line_with(text: str, part: str) -> str:
    (line,) = (line for line in text.splitlines() if part in line)
    return line


def running() -> Run:
    """Return the full run while its last seconds are open."""
    source, run = full_run(), run_of(duration=60.0)
    run.results = Results()
    run.results.events.extend(source.events)
    for after in range(12):
        snapshot = measured(
            {"GET /a": [1000] * 40, "GET /b": [20_000] * 2}, {"GET /b": {"status 503": 1}}
        )
        snapshot.counters["logins"] = 1
        add(run, after, snapshot)
    return run


@pytest.mark.parametrize("width", [30, 80, 120])
@pytest.mark.parametrize("height", [5, 24, 50])
def test_no_line_is_wider_and_no_table_higher_than_the_terminal(width: int, height: int) -> None:
    run = running()
    for n in range(60):
        run.results.total.counters[f"a counter with a long name {n}"] = 12_345_678
    lines = table_lines(run, START + 12.0, width, height)
    assert max(line.cell_len for line in lines) <= width
    assert len(lines) < height


def test_it_begins_with_the_scenario_its_status_and_how_far_it_is() -> None:
    head = drawn(running(), after=15.0).splitlines()[0]
    assert head.startswith("shop  running  15s of 1m  ━")
    assert head.endswith(" 25%")


def test_without_a_duration_there_is_no_bar() -> None:
    assert drawn(run_of(), after=75.4).splitlines()[0] == "shop  running  1m 15s"


def test_while_workers_start_it_says_so() -> None:
    run = run_of("starting", duration=60.0)
    run.started_at = 0.0
    assert drawn(run).splitlines()[0] == "shop  starting 2 workers ..."


def test_while_all_users_rest_it_says_until_when() -> None:
    run, snapshot = run_of(), Snapshot()
    assert "all users rest" not in drawn(run)
    run.users, snapshot.iterations = UserCounts(resting=10), 10
    add(run, 2, snapshot)
    assert "all users rest: the next one starts in 50s (--repeat-interval 1m)" in drawn(run)
    assert "all users rest" in drawn(run, width=40)


def test_users_are_shown_by_state() -> None:
    assert drawn(running()).splitlines()[1] == ("users  2 running · 3 resting · 1 waiting · 4 done")


@pytest.mark.parametrize("width", [80, 120])
def test_rate_and_latencies_are_recent_and_counts_total(width: int) -> None:
    text = drawn(running(), width=width)
    assert line_with(text, "GET /a").split() == [
        "GET", "/a", "40", "480", "0", "1.00", "1.00", "1.00", "1.00",
    ]  # fmt: skip
    assert line_with(text, "GET /b").split()[2:5] == ["2", "24", "12"]
    assert line_with(text, "all ").split() == ["all", "42", "504", "12"]
    assert "cover the last 10 s" in text


def test_an_operation_that_has_stopped_keeps_its_counts_and_has_no_latencies() -> None:
    run = running()
    run.results.total.operation("login").count = 7
    assert line_with(drawn(run), "login ").split() == [
        "login", "0", "7", "0", "-", "-", "-", "-",
    ]  # fmt: skip


def test_operations_beyond_the_height_are_the_least_busy_and_are_counted() -> None:
    run = run_of()
    add(run, 0, measured({f"op-{n:02}": [1] * (n + 1) for n in range(50)}))
    text = drawn(run, height=24)
    assert len(text.splitlines()) == 23
    shown = [n for n in range(50) if f"op-{n:02} " in text]
    assert shown == list(range(50 - len(shown), 50))
    assert f"all, with {50 - len(shown)} more" in text
    assert line_with(text, "all, with").split()[-2] == f"{sum(range(51)):,}"


def test_kinds_of_errors_and_exceptions_are_shown() -> None:
    run = running()
    run.results.total.errors = full_run().results.total.errors
    text = drawn(run)
    assert "errors  status 503 12" in text
    assert "exceptions  ValueError at shop.py:12 20" in text


def test_counters_and_gauges_are_shown_only_where_there_are_any() -> None:
    assert "counters  logins 12" in drawn(running())
    assert "gauges" not in drawn(running())
    assert "counters" not in drawn(run_of())


def test_each_worker_has_its_line_of_health() -> None:
    text = drawn(running())
    assert line_with(text, "worker 1") == (
        "worker 1  CPU  25% · lag 1.00 ms · memory 50 MB · descriptors 20"
    )


def test_many_workers_are_reduced_to_the_busiest() -> None:
    run = run_of()
    workers = [health(START, worker, cpu=worker / 100) for worker in range(20)]
    run.results.add(START, Snapshot(), workers, run.users)
    text = drawn(run)
    assert "worker 20 " in text
    assert "worker 1 " not in text
    assert "and 13 more workers, less busy" in text


def test_workers_of_several_nodes_are_named_with_their_node() -> None:
    run = run_of()
    run.results.add(START, Snapshot(), [replace(health(START), node="b")], run.users)
    add(run, 0)
    assert "b 1  CPU" in drawn(run, after=1.2)
    assert "local 1  CPU" in drawn(run, after=1.2)


def test_a_worker_that_does_not_report_is_said_to_be_silent() -> None:
    run = running()
    assert "silent" not in drawn(run, after=13.2)
    assert "silent for 6 s" in line_with(drawn(run, after=18.2), "worker 1")


def test_an_overload_is_said_with_what_it_means() -> None:
    run = running()
    add(run, 12, cpu=0.99, timer_lag_us=70_000)
    text = drawn(run, width=120)
    assert "in the last 10 s the generator is overloaded (lag above 50 ms, CPU above 90%)" in text
    assert "the load is less, or burstier, than asked" in text


def test_a_clock_step_is_not_called_overload() -> None:
    run = running()
    add(run, 12, clock_step_s=0.2)
    assert "the wall clock was stepped" in drawn(run)
    assert "burstier" not in drawn(run)


def test_events_of_the_last_seconds_are_shown_in_a_line_each() -> None:
    run = running()
    run.events.append(Event(START + 11.0, "silent", "worker 2 is silent\n  its stack"))
    run.events.append(Event(START + 1.0, "stuck", "long ago"))
    text = drawn(run, after=12.0)
    assert "silent: worker 2 is silent" in text
    assert "long ago" not in text
    assert "its stack" not in text


@pytest.mark.parametrize("first", ["user 4 blocked its worker at", "user 4 blocked its worker:"])
def test_an_event_that_goes_on_in_its_second_line_is_shown_with_it(first: str) -> None:
    run = running()
    run.events.append(Event(START + 11.0, "blocked", f"{first}\n  shop.py:7 in start\n    x()"))
    assert line_with(drawn(run, after=12.0), "blocked") == f"blocked: {first} shop.py:7 in start"
    narrow = line_with(drawn(run, after=12.0, width=40), "blocked")
    assert narrow.endswith("…")


def test_the_live_table_draws_at_each_update_and_leaves_nothing() -> None:
    stream = StringIO()
    console = Console(file=stream, force_terminal=True, width=80, height=24, color_system=None)
    with LiveTable(console) as table:
        table.update(running(), START + 12.0)
        assert "GET /a" in stream.getvalue()
        drawn_once = len(stream.getvalue())
        table.update(running(), START + 13.0)
        assert "13s of 1m" in stream.getvalue()[drawn_once:]
    assert stream.getvalue().endswith("\x1b[2K")
