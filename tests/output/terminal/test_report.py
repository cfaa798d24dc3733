"""The closing report, as it stands on a terminal."""

from dataclasses import replace
from io import StringIO

import pytest
from rich.console import Console

from amoc_gevent.core.measure.deliveries import Flow
from amoc_gevent.core.measure.snapshot import UserError
from amoc_gevent.core.messages import Clock, Event, Failure
from amoc_gevent.core.run.run import Run
from amoc_gevent.output.terminal.report import TRACEBACK_WIDTH, print_summary
from tests.output.runs import LONG_NAME, START, add, full_run, measured, run_of


def printed(run: Run, width: int = 80) -> str:
    stream = StringIO()
    print_summary(run, Console(file=stream, width=width))
    return stream.getvalue()


def line_with(text: str, part: str) -> list[str]:
    """Return the words of the one line that has `part`."""
    (line,) = (line for line in text.splitlines() if part in line)
    return line.split()


@pytest.mark.parametrize("width", [40, 80, 120])
def test_no_line_is_wider_than_the_terminal_or_a_hundred_columns(width: int) -> None:
    lines = printed(full_run(), width).splitlines()
    assert max(len(line) for line in lines) <= min(width, 100)


def test_it_begins_with_what_ran_and_how_it_ended() -> None:
    text = printed(full_run())
    assert text.strip().splitlines()[:4] == [
        "shop finished after 10s, users 1 to 10 on 2 workers",
        "by hand",
        "users       10 started, peak 5, 0 removed",
        "iterations  50, 20 failed",
    ]


def test_a_run_that_was_stopped_before_its_duration_says_so() -> None:
    run = full_run()
    run.duration, run.stopping_at = 60.0, START + 9.0
    assert printed(run).strip().splitlines()[0] == (
        "shop stopped after 9s of 1m, users 1 to 10 on 2 workers"
    )


def test_each_operation_has_its_line_and_all_have_a_sum() -> None:
    text = printed(full_run(), 100)
    assert line_with(text, "GET / ") == [
        "GET", "/", "100", "1,000", "0", "0.500", "0.950", "0.990", "1.00",
    ]  # fmt: skip
    assert line_with(text, "all  ") == ["all", "101", "1,010", "10"]
    assert LONG_NAME[:10] in text
    assert LONG_NAME[-10:] in text


def test_interrupted_operations_are_named_apart() -> None:
    assert "1 more were interrupted by the stop; no other figure counts them" in printed(full_run())
    assert "interrupted" not in printed(run_of())


def test_errors_are_listed_with_operation_and_kind() -> None:
    text = printed(full_run(), 100)
    assert f"{LONG_NAME}: status 503" in text


def test_an_exception_is_shown_with_place_count_message_and_traceback() -> None:
    text = printed(full_run())
    assert "ValueError at shop.py:12, 20 times" in text
    assert "user 3: no basket" in text
    assert "Traceback: ..." in text


def test_only_the_most_frequent_exceptions_have_tracebacks() -> None:
    run = run_of("finished", ended_after=1.0)
    for n in range(12):
        error = UserError("Error", f"a.py:{n}", "m", f"trace of {n}", n + 1, START, START)
        run.results.total.add_error(error)
    text = printed(run)
    assert [n for n in range(12) if f"trace of {n}\n" in text] == [9, 10, 11]
    assert "and 2 more groups" in text


def test_counters_gauges_and_histograms_are_shown_with_their_units() -> None:
    text = printed(full_run())
    assert line_with(text, "logins") == ["logins", "30"]
    assert line_with(text, "basket  ") == ["basket", "9", "0", "9", "items"]
    assert line_with(text, "size") == ["size", "10", "64", "64", "64", "64", "bytes"]


def test_events_worth_knowing_are_shown_with_their_time_and_everyday_ones_not() -> None:
    run = full_run()
    run.events.append(Event(START + 65.0, "blocked", "user 4 blocked its worker at\n  File x.py"))
    text = printed(run)
    assert "     7s  worker-lost: worker 2 (pid 101) was killed" in text
    assert "  1m 5s  blocked: user 4 blocked its worker at" in text
    assert "           File x.py" in text
    assert "with users 1 to 10" not in text.partition("events")[2]


def test_events_of_one_cause_are_one_and_counted() -> None:
    run = full_run()
    for after in range(12):
        text = f"user {after} blocked its worker for more than 10{after} ms at\n  File x.py, line 4"
        run.events.append(Event(START + 1.5 + after, "blocked", text))
    run.events.append(Event(START + 3.0, "blocked", "user 9 blocked\n  File y.py, line 8"))
    text = printed(run)
    assert "   1.5s  blocked (12 times): user 0 blocked its worker for more than 100 ms at" in text
    assert text.count("File x.py") == 1
    assert "     3s  blocked: user 9 blocked" in text


@pytest.mark.parametrize("width", [1, 9])
def test_a_terminal_too_narrow_for_anything_gets_all_of_it(width: int) -> None:
    words = " ".join(printed(full_run(), width).split())
    assert words.endswith("its figures since its last report are missing each time.")


def test_events_are_in_the_order_of_their_times() -> None:
    run = full_run()
    run.events.append(Event(START + 2.0, "worker-back", "earlier, but reported later"))
    text = printed(run)
    assert text.index("worker-back") < text.index("worker-lost")


def test_health_comes_last_in_plain_words() -> None:
    last = printed(full_run(), 200).split("\n\n")[-1]
    assert last.startswith("In 2 of 10 seconds the generator was overloaded (lag above 50 ms in 1,")
    assert "A worker was lost once" in last


def test_a_failed_run_says_why() -> None:
    run = full_run()
    run.plan = replace(run.plan, status="failed")
    run.failure = Failure("init raised ValueError in shop.py:3", "Traceback")
    text = printed(run)
    assert "shop failed" in text
    assert "init raised ValueError in shop.py:3" in text


def test_brackets_in_names_are_no_markup() -> None:
    run = run_of("finished", ended_after=1.0)
    add(run, 0, measured({"GET /[bold]x[/bold]": [1]}))
    assert "GET /[bold]x[/bold]" in printed(run, 100)


def test_an_endless_line_of_a_traceback_is_cropped() -> None:
    run = run_of("finished", ended_after=1.0)
    run.results.total.add_error(UserError("E", "a.py:1", "m", "T" * 9000, 1, START, START))
    assert max(map(len, printed(run).splitlines())) == TRACEBACK_WIDTH + 2


def test_the_clocks_of_several_nodes_and_what_they_mean_for_deliveries() -> None:
    run = full_run()
    run.clocks = {"a": Clock(5.0, -0.0025, 0.0004), "b": Clock(5.0, 0.0001, 0.0006)}
    text = printed(run)
    assert line_with(text, "  a  ") == ["a", "+2.50", "ms", "±400", "µs"]
    assert line_with(text, "  b  ") == ["b", "-100", "µs", "±600", "µs"]
    assert "times to delivery" not in text
    run.results.total.flows["a@x b@x 1"] = Flow(sent=1, delivered=1, highest=1)
    assert "between nodes are corrected by these offsets, to ±1.00 ms" in printed(run)


def test_the_clock_of_one_node_is_not_worth_a_word() -> None:
    run = full_run()
    run.clocks = {"local": Clock(5.0, -0.0025, 0.0004)}
    assert "clocks" not in printed(run)
