"""The live table: a run on a terminal, updated once a second."""

import textwrap
from collections.abc import Iterator
from types import TracebackType
from typing import Self

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from amoc_gevent.core.measure.results import CPU_LIMIT, LAG_LIMIT_US, Recent, lag_of
from amoc_gevent.core.measure.snapshot import Operation
from amoc_gevent.core.messages import Health
from amoc_gevent.core.run.run import Run
from amoc_gevent.core.units import (
    counted,
    format_count,
    format_duration,
    format_us,
    format_users,
)
from amoc_gevent.output.terminal.figures import (
    errors_by_kind,
    events_of,
    resting_note,
    user_errors,
)
from amoc_gevent.output.terminal.grid import Cell, crop_end, flowed
from amoc_gevent.output.terminal.operations import OperationLine, operations_table, sum_line
from amoc_gevent.output.verdict import marks_in_words

MIN_OPERATIONS = 3
FRAME_LINES = 4
"""Lines around the operations: header, sum, note and an empty line."""

WORKERS_SHOWN = 8
SILENT_S = 3
EVENTS_SHOWN = 3
EVENTS_S = 10.0
BAR_CELLS = 24
IDLE = Operation()
"""The figures of an operation without a result in the last ten seconds."""

STATUS_STYLES = {"running": "green", "finished": "green", "failed": "red"}
MEANING = (
    "the load is less, or burstier, than asked; latencies without kernel timestamps"
    " (http.RequestsSession, metrics.operation) include the generator's delay"
)
NOTE = "rate and latencies cover the last 10 s, count and errors the whole run"


class LiveTable:
    """Shows a run on `console` within the `with` block; `update` redraws it.

    It leaves nothing on the screen: the closing report follows.
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
        """Draw `run` at `now` (seconds of the master's steady clock)."""
        size = self._console.size
        lines = table_lines(run, now, size.width, size.height)
        self._live.update(Group(*lines), refresh=True)


def table_lines(run: Run, now: float, width: int, height: int) -> list[Text]:
    """Return the table's lines, none wider than `width`, at most `height` - 1 of them."""
    head = [*_head(run, now, width), Text()]
    tail = [
        *_errors(run, width),
        *_values(run, width),
        *_health(run, now, width),
        *_events(run, now, width),
    ]
    room = max(MIN_OPERATIONS, height - 1 - len(head) - len(tail) - FRAME_LINES)
    lines = [*head, *_operations(run, width, room), *tail]
    return lines[: height - 1]


def _head(run: Run, now: float, width: int) -> Iterator[Text]:
    elapsed = run.elapsed(now)
    line = Text.assemble((run.scenario, "bold"), "  ")
    if run.status == "starting":
        line.append(f"starting {counted(run.workers, 'worker')} ...", "yellow")
    else:
        line.append(run.status, STATUS_STYLES.get(run.status, "yellow"))
        line.append("  " + format_duration(float(int(elapsed))))
        if run.duration:
            line.append(f" of {format_duration(run.duration)}  ")
            line.append(_bar(min(1.0, elapsed / run.duration)))
    line.truncate(width, overflow="ellipsis")
    yield line
    yield from flowed("users", [(text, "") for text in format_users(run.users)], width, 1)
    if note := resting_note(run, now):
        yield from (Text(line, "yellow") for line in textwrap.wrap(note, width))


def _bar(share: float) -> Text:
    filled = round(share * BAR_CELLS)
    bar = Text("━" * filled, "green")
    return bar.append("━" * (BAR_CELLS - filled), "bright_black").append(f" {share:.0%}", "default")


def _operations(run: Run, width: int, room: int) -> Iterator[Text]:
    """Yield the table of operations; only the busiest ones if `room` lines do not hold all."""
    total = run.results.total.operations
    if not total:
        return
    names = sorted(total)
    if len(names) > room:
        names = sorted(sorted(names, key=lambda name: -total[name].count)[:room])
    recent = run.results.recent(run.started_at, names)
    lines = [_operation(run, recent, name) for name in names]
    if len(total) > 1:
        shown = f"all, with {len(total) - len(names)} more" if len(names) < len(total) else "all"
        rate = recent.count / recent.seconds if recent.seconds else 0.0
        lines.append(sum_line(shown, total.values(), rate))
    yield from operations_table(lines, width)
    yield Text(crop_end(NOTE, width), "dim italic")
    yield Text()


def _operation(run: Run, recent: Recent, name: str) -> OperationLine:
    total, measured = run.results.total.operations[name], recent.operations.get(name, IDLE)
    rate = measured.count / recent.seconds if recent.seconds else 0.0
    return OperationLine(name, total.count, total.errors, rate, measured)


def _errors(run: Run, width: int) -> Iterator[Text]:
    kinds: dict[str, int] = {}
    for _, kind, count in errors_by_kind(run):
        kinds[kind] = kinds.get(kind, 0) + count
    most = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    yield from flowed("errors", [(f"{kind} {format_count(n)}", "red") for kind, n in most], width)
    raised = [(f"{e.type} at {e.place} {format_count(e.count)}", "red") for e in user_errors(run)]
    yield from flowed("exceptions", raised, width)


def _values(run: Run, width: int) -> Iterator[Text]:
    counters = sorted(run.results.total.counters.items())
    yield from flowed("counters", [(f"{n} {format_count(v)}", "") for n, v in counters], width)
    gauges = sorted(run.results.recent(run.started_at, ()).gauges.items())
    levels = [(f"{n} {format_count(g.value)} {g.unit}".rstrip(), "") for n, g in gauges]
    yield from flowed("gauges", levels, width)


def _health(run: Run, now: float, width: int) -> Iterator[Text]:
    """Yield a line for each worker (the busiest ones of many) and the warnings."""
    workers = [one for _, one in sorted(run.results.health.items())]
    shown = workers
    if len(workers) > WORKERS_SHOWN:
        shown = sorted(workers, key=lambda one: -one.cpu)[: WORKERS_SHOWN - 1]
    several = len({one.node for one in workers}) > 1
    for one in shown:
        label = f"{one.node} {one.worker + 1}" if several else f"worker {one.worker + 1}"
        yield from _worker(label, one, now if run.status == "running" else 0.0, width)
    if len(shown) < len(workers):
        yield Text(f"and {len(workers) - len(shown)} more workers, less busy", "dim")
    marks = run.results.recent_marks(run.started_at) if run.started_at else ()
    for words in marks_in_words(marks):
        yield Text(crop_end(f"in the last 10 s {words}", width), "bold yellow")
    if "lag" in marks or "cpu" in marks:
        yield from (Text(line, "yellow") for line in textwrap.wrap(MEANING, width))


def _worker(label: str, one: Health, now: float, width: int) -> list[Text]:
    lag = lag_of(one)
    silent = int(now) - one.second - 1
    now_or_silent: list[Cell] = [
        (f"CPU {one.cpu:>4.0%}", "yellow" if one.cpu > CPU_LIMIT else ""),
        (f"lag {format_us(lag):>7}", "yellow" if lag > LAG_LIMIT_US else ""),
    ]
    if silent > SILENT_S:
        now_or_silent = [(f"silent for {silent} s", "bold yellow")]
    cells = [
        *now_or_silent,
        (f"memory {one.rss / 1e6:,.0f} MB", ""),
        (f"descriptors {format_count(one.descriptors)}", ""),
    ]
    return flowed(label, cells, width, 1)


def _events(run: Run, now: float, width: int) -> Iterator[Text]:
    recent = [event for event in events_of(run) if event.time > now - EVENTS_S]
    for event in recent[-EVENTS_SHOWN:]:
        yield Text(crop_end(f"{event.kind}: {_first_sentence(event.text)}", width), "magenta")


def _first_sentence(text: str) -> str:
    """Return the first line, and the next one if the first goes on there, such as to a place."""
    first, *rest = text.splitlines() or [""]
    goes_on = rest and first.endswith((" at", ":"))
    return f"{first} {rest[0].strip()}" if goes_on else first
