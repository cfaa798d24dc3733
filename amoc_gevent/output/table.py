"""The live table: how a run goes, once a second, on a terminal."""

from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from amoc_gevent.core.messages import Health
from amoc_gevent.core.results import LAG_LIMIT_US
from amoc_gevent.core.run import Run
from amoc_gevent.core.snapshot import Snapshot
from amoc_gevent.core.units import format_count, format_duration, format_us
from amoc_gevent.output.figures import errors_by_kind
from amoc_gevent.output.grid import Cell, crop_end, flowed
from amoc_gevent.output.operations import OperationLine, operations_table
from amoc_gevent.output.verdict import WHAT_OVERLOAD_MEANS

MIN_OPERATIONS = 3
WORKERS_SHOWN = 8
EVENTS_SHOWN = 3
EVENTS_S = 10.0
BAR_CELLS = 24
MARK_WORDS = {
    "lag": f"lag above {LAG_LIMIT_US / 1000:.0f} ms",
    "cpu": "CPU above 90 %",
    "clock": "the wall clock was stepped",
}


class LiveTable:
    """Shows a run on `console` from `with` to its end; `update` draws it anew.

    It leaves nothing on the screen: the closing report says it all.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._live = Live(console=console, auto_refresh=False, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._live.stop()

    def update(self, run: Run, now: float) -> None:
        """Draw `run` as it is at `now` (seconds of the master's steady clock)."""
        size = self._console.size
        lines = table_lines(run, now, size.width, size.height)
        self._live.update(Group(*lines), refresh=True)


def table_lines(run: Run, now: float, width: int, height: int) -> list[Text]:
    """Return the table's lines, none wider than `width`, at most `height` - 1 of them."""
    recent, seconds = run.results.recent(run.started_at)
    head = [*_head(run, now, width), Text()]
    tail = [
        *_errors(run, width),
        *_values(run, recent, width),
        *_health(run, width),
        *_events(run, now, width),
    ]
    room = max(MIN_OPERATIONS, height - 1 - len(head) - len(tail) - 3)
    lines = [*head, *_operations(run, recent, seconds, width, room), *tail]
    return lines[: height - 1]


def _head(run: Run, now: float, width: int) -> Iterator[Text]:
    elapsed = run.elapsed(now)
    line = Text.assemble((run.scenario, "bold"), "  ")
    if run.status == "starting":
        workers = f"{run.workers} worker" + ("" if run.workers == 1 else "s")
        line.append(f"starting {workers} ...", "yellow")
    else:
        style = {"running": "green", "stopping": "yellow"}.get(run.status, "bold")
        line.append(run.status, style)
        line.append("  " + format_duration(float(int(elapsed))))
    if run.duration and run.status != "starting":
        done = min(1.0, elapsed / run.duration)
        line.append(f" of {format_duration(run.duration)}  ")
        filled = round(done * BAR_CELLS)
        line.append("━" * filled, "green")
        line.append("━" * (BAR_CELLS - filled), "bright_black")
        line.append(f" {done:.0%}")
    line.truncate(width, overflow="ellipsis")
    yield line
    users = run.users
    states = [
        (f"{format_count(getattr(users, state))} {state}", "")
        for state in ("running", "resting", "waiting", "done")
    ]
    yield from flowed("users", states, width, 1)


def _operations(
    run: Run, recent: Snapshot, seconds: float, width: int, room: int
) -> Iterator[Text]:
    """Yield the table of operations; where `room` lines do not hold all, the busiest ones."""
    total = run.results.total.operations
    if not total:
        return
    names = sorted(total)
    if len(names) > room:
        busiest = sorted(names, key=lambda name: -total[name].count)
        names = sorted(busiest[: room - 1])
    lines = []
    for name in names:
        measured = recent.operations.get(name)
        rate = measured.count / seconds if measured is not None and seconds else 0.0
        lines.append(OperationLine(name, total[name].count, total[name].errors, rate, measured))
    yield from operations_table(lines, width)
    if len(names) < len(total):
        yield Text(f"and {format_count(len(total) - len(names))} more, less busy", "dim")
    note = "rate and latencies are of the last 10 s, count and errors since the start"
    yield Text(crop_end(note, width), "dim italic")
    yield Text()


def _errors(run: Run, width: int) -> Iterator[Text]:
    kinds: dict[str, int] = {}
    for _, kind, count in errors_by_kind(run):
        kinds[kind] = kinds.get(kind, 0) + count
    items = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    if items:
        cells = [(f"{kind} {format_count(count)}", "red") for kind, count in items]
        yield from flowed("errors", cells, width)
    raised = sorted(run.results.total.errors.values(), key=lambda error: -error.count)
    if raised:
        groups = [(f"{e.type} at {e.place} {format_count(e.count)}", "red") for e in raised]
        yield from flowed("exceptions", groups, width)


def _values(run: Run, recent: Snapshot, width: int) -> Iterator[Text]:
    counters = sorted(run.results.total.counters.items())
    if counters:
        cells = [(f"{name} {format_count(value)}", "") for name, value in counters]
        yield from flowed("counters", cells, width)
    gauges = sorted(recent.gauges.items())
    if gauges:
        cells = [(f"{n} {format_count(g.value)} {g.unit}".rstrip(), "") for n, g in gauges]
        yield from flowed("gauges", cells, width)


def _health(run: Run, width: int) -> Iterator[Text]:
    workers = [one for _, one in sorted(run.results.health.items())]
    marks = run.results.recent_marks(run.started_at)
    if len(workers) > WORKERS_SHOWN:
        workers = sorted(workers, key=lambda one: -one.cpu)[:WORKERS_SHOWN]
    for one in workers:
        yield _worker(one, width)
    left = len(run.results.health) - len(workers)
    if left:
        yield Text(f"and {left} more workers, less busy", "dim")
    if marks and run.status != "starting":
        words = ", ".join(MARK_WORDS[mark] for mark in marks)
        yield Text(crop_end(f"overloaded in the last 10 s: {words}", width), "bold yellow")
        yield Text(crop_end(WHAT_OVERLOAD_MEANS, width), "yellow")


def _worker(one: Health, width: int) -> Text:
    lag = max(one.timer_lag_us, one.pickup_lag_us)
    cells: list[Cell] = [
        (f"CPU {one.cpu:.0%}", "yellow" if one.cpu > 0.9 else ""),
        (f"lag {format_us(lag)}", "yellow" if lag > LAG_LIMIT_US else ""),
        (f"memory {one.rss / 1e6:,.0f} MB", ""),
        (f"descriptors {format_count(one.descriptors)}", ""),
    ]
    return flowed(f"worker {one.worker + 1}", cells, width, 1)[0]


def _events(run: Run, now: float, width: int) -> Iterator[Text]:
    recent = [e for e in run.events if e.time > now - EVENTS_S and e.kind not in {"start", "stop"}]
    for event in recent[-EVENTS_SHOWN:]:
        first = event.text.splitlines()[0] if event.text else ""
        yield Text(crop_end(f"{event.kind}: {first}", width), "magenta")
