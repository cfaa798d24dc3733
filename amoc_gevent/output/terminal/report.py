"""The closing report of a run, with sentences that explain its figures."""

import textwrap
from collections.abc import Iterator

from rich.console import Console
from rich.text import Text

from amoc_gevent.core.measure.deliveries import balances, total_balance
from amoc_gevent.core.measure.snapshot import UserError
from amoc_gevent.core.messages import Event
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.units import counted, format_count, format_duration, format_us
from amoc_gevent.output.terminal.figures import (
    PERCENTILES,
    errors_by_kind,
    events_of,
    load_time_of,
    overload_of,
    seconds_of,
    user_errors,
)
from amoc_gevent.output.terminal.grid import Cell, crop_end, grid
from amoc_gevent.output.terminal.operations import OperationLine, operations_table, sum_line
from amoc_gevent.output.verdict import verdict

MAX_WIDTH = 100
MIN_WIDTH = 20
"""Columns that the layout needs; a narrower terminal breaks the lines."""

ERROR_GROUPS_SHOWN = 10
TRACEBACKS_SHOWN = 3
EVENTS_SHOWN = 10
PAIRS_SHOWN = 3
EVENT_INDENT = 9
TRACEBACK_WIDTH = 300
"""Columns of a traceback's line, as paths can be longer than the report is wide."""


def print_summary(run: Run, console: Console) -> None:
    """Print the report of a finished run, at most 100 columns wide."""
    width = min(max(console.width, MIN_WIDTH), MAX_WIDTH)
    for section in SECTIONS:
        lines = [*section(run, width)]
        if lines:
            console.print()
        for line in lines:
            console.print(line, soft_wrap=True, highlight=False)


def _messages(run: Run, width: int) -> Iterator[Text]:
    """Yield the balance of tracked messages, and the pairs with the most losses."""
    found, strays = balances(run.results.total.flows)
    if not found and not strays:
        return
    yield _title("messages between users")
    total = total_balance(found.values())
    lost = f"{format_count(total.lost)} lost"
    if total.bounced:
        lost += f" ({format_count(total.bounced)} came back)"
    ends = (
        f"{format_count(total.sent)} sent = {format_count(total.delivered)} delivered + {lost} + "
        f"{format_count(total.on_the_way)} on the way, between {counted(len(found), 'pair')}"
    )
    yield from _wrapped(ends, width, "red" if total.lost else "")
    odd = [
        f"{format_count(number)} {what}"
        for number, what in (
            (total.duplicated, "duplicated"),
            (total.reordered, "out of order"),
            (total.delayed, "stored before delivery"),
            (strays, "from senders outside this run"),
        )
        if number
    ]
    if odd:
        yield from _wrapped(", ".join(odd), width, "yellow")
    worst = sorted(found.items(), key=lambda item: (-item[1].lost, item[0]))
    for (sender, to), one in worst[:PAIRS_SHOWN]:
        if one.lost:
            text = f"{sender} to {to}: {one.lost:,} of {one.sent:,} lost"
            yield from _wrapped(text, width, "red", "  ")


def _title(text: str) -> Text:
    return Text(text, "bold")


def _wrapped(text: str, width: int, style: str = "", indent: str = "") -> Iterator[Text]:
    for line in text.splitlines():
        for part in textwrap.wrap(line, width - len(indent)) or [""]:
            yield Text(indent + part, style)


def _head(run: Run, width: int) -> Iterator[Text]:
    colour = "red" if run.status == "failed" else "green" if run.status == "finished" else "yellow"
    line = Text.assemble((run.scenario, "bold"), " ")
    early = run.stopped_after
    if early is not None and run.duration is not None:
        line.append("stopped", "yellow")
        line.append(f" after {format_duration(early)} of {format_duration(run.duration)}")
    else:
        line.append(run.status, colour)
    if early is None and run.started_at:
        line.append(f" after {format_duration(seconds_of(run))}")
    workers = counted(run.workers, "worker")
    line.append(f", users {run.first} to {run.plan.highest} on {workers}")
    line.truncate(width, overflow="ellipsis")
    yield line
    if run.comment:
        yield from _wrapped(run.comment, width, "italic")
    if run.failure is not None:
        yield from _wrapped(run.failure.message, width, "red")
    total = run.results.total
    users = (
        f"users       {format_count(total.started)} started,"
        f" peak {format_count(run.results.peak)}, {format_count(run.removed)} removed"
    )
    yield from _wrapped(users, width)
    iterations = f"{format_count(total.iterations)}, {format_count(total.failed)} failed"
    yield Text(f"iterations  {iterations}", "red" if total.failed else "")


def _operations(run: Run, width: int) -> Iterator[Text]:
    seconds = load_time_of(run)
    operations = run.results.total.operations
    lines = [
        OperationLine(name, one.count, one.errors, one.count / seconds if seconds else 0.0, one)
        for name, one in sorted(operations.items())
    ]
    if len(lines) > 1:
        rate = sum(line.rate for line in lines)
        lines.append(sum_line("all", operations.values(), rate))
    yield from operations_table(lines, width)
    cut = sum(one.interrupted for one in operations.values())
    if cut:
        text = f"{format_count(cut)} more were interrupted by the stop; no other figure counts them"
        yield from _wrapped(text, width)


def _errors(run: Run, width: int) -> Iterator[Text]:
    groups = errors_by_kind(run)
    if not groups:
        return
    yield _title("errors of operations")
    rows: list[list[Cell]] = [
        [(f"{name}: {kind}", ""), (format_count(count), "red")]
        for name, kind, count in groups[:ERROR_GROUPS_SHOWN]
    ]
    yield from grid(rows, width)
    yield from _more(len(groups) - ERROR_GROUPS_SHOWN, "kinds")


def _more(count: int, what: str) -> Iterator[Text]:
    if count > 0:
        yield Text(f"and {format_count(count)} more {what}: see the summary file", "dim")


def _user_errors(run: Run, width: int) -> Iterator[Text]:
    """Yield the groups of exceptions, the most frequent ones with a traceback."""
    groups = user_errors(run)
    if not groups:
        return
    yield _title("exceptions of users")
    for number, error in enumerate(groups[:ERROR_GROUPS_SHOWN]):
        yield from _user_error(error, width, traceback=number < TRACEBACKS_SHOWN)
    yield from _more(len(groups) - ERROR_GROUPS_SHOWN, "groups")


def _user_error(error: UserError, width: int, *, traceback: bool) -> Iterator[Text]:
    place = f" at {error.place}" if error.place else ""
    head = Text.assemble((error.type, "red"), f"{place}, {counted(error.count, 'time')}")
    head.truncate(width, overflow="ellipsis")
    yield head
    message = error.message.splitlines()[0] if error.message else ""
    yield Text("  " + crop_end(message, width - 2))
    if traceback:
        for line in error.detail.splitlines():
            yield Text("  " + crop_end(line, TRACEBACK_WIDTH), "dim")


def _values(run: Run, width: int) -> Iterator[Text]:
    results = run.results
    counters: list[list[Cell]] = [
        [(name, ""), (format_count(value), "bold")]
        for name, value in sorted(results.total.counters.items())
    ]
    if counters:
        yield _title("counters")
        yield from grid(counters, width)
    if results.gauges:
        yield _title("gauges")
        titles = ("last", "min", "max", "")
        rows: list[list[Cell]] = [[("", ""), *((title, "dim") for title in titles)]]
        for name, one in sorted(results.gauges.items()):
            levels = (format_count(level) for level in (one.last, one.min, one.max))
            rows.append([(name, ""), *((level, "") for level in levels), (one.unit, "dim")])
        yield from grid(rows, width)
    yield from _histograms(run, width)


def _histograms(run: Run, width: int) -> Iterator[Text]:
    histograms = run.results.total.histograms
    if not histograms:
        return
    yield _title("histograms")
    names = [name for name in PERCENTILES if name in {"p50", "p95", "p99"}]
    rows: list[list[Cell]] = [
        [("", ""), *((title, "dim") for title in ("count", *names, "max", ""))]
    ]
    for name, (unit, one) in sorted(histograms.items()):
        values = (one.count, *one.percentiles(PERCENTILES[n] for n in names), one.max)
        cells = ((format_count(value), "") for value in values)
        rows.append([(name, ""), *cells, (unit, "dim")])
    yield from grid(rows, width)


def _events(run: Run, width: int) -> Iterator[Text]:
    """Yield the events, grouped by kind and stack, as these have one cause."""
    groups: dict[tuple[str, str], list[Event]] = {}
    for event in events_of(run):
        first, _, stack = event.text.partition("\n")
        groups.setdefault((event.kind, stack or first), []).append(event)
    if not groups:
        return
    yield _title("events")
    for same in [*groups.values()][:EVENTS_SHOWN]:
        yield from _event(same[0], len(same), run, width)
    yield from _more(len(groups) - EVENTS_SHOWN, "kinds of events")


def _event(event: Event, times: int, run: Run, width: int) -> Iterator[Text]:
    at = format_duration(round(max(0.0, event.time - (run.started_at or event.time)), 1))
    first, _, stack = event.text.partition("\n")
    again = f" ({counted(times, 'time')})" if times > 1 else ""
    head, *rest = _wrapped(f"{event.kind}{again}: {first}", width, indent=" " * EVENT_INDENT)
    yield Text(f"{at:>{EVENT_INDENT - 2}}" + head.plain[EVENT_INDENT - 2 :])
    yield from rest
    for line in stack.splitlines():
        yield Text(" " * EVENT_INDENT + crop_end(line, TRACEBACK_WIDTH), "dim")


def _clocks(run: Run, width: int) -> Iterator[Text]:
    """Yield the clock offset of each node from the master, with its uncertainty."""
    known = {name: one for name, one in sorted(run.clocks.items()) if one.bound != float("inf")}
    if len(run.clocks) < 2 or not known:
        return
    yield _title("clocks, ahead of the master's")
    rows: list[list[Cell]] = [
        [(f"  {name}", ""), (_signed(-one.wall), ""), (f"±{format_us(one.bound * 1e6)}", "dim")]
        for name, one in known.items()
    ]
    yield from grid(rows, width)
    if run.results.total.flows and len(known) > 1:
        off = sum(sorted(one.bound for one in known.values())[-2:])
        within = format_us(off * 1e6)
        text = f"times to delivery between nodes are corrected by these offsets, to ±{within}"
        yield from _wrapped(text, width)


def _signed(seconds: float) -> str:
    return f"{'-' if seconds < 0 else '+'}{format_us(abs(seconds) * 1e6)}"


def _health(run: Run, width: int) -> Iterator[Text]:
    overloaded = overload_of(run).total
    for number, sentence in enumerate(verdict(run)):
        style = "yellow" if overloaded or number else "green"
        yield from _wrapped(sentence, width, style)


SECTIONS = (
    _head,
    _operations,
    _errors,
    _messages,
    _user_errors,
    _values,
    _events,
    _clocks,
    _health,
)
