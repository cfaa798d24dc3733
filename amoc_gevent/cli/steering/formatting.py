"""Formats answers as text for people: one function for each kind."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from amoc_gevent.core.answers import (
    Added,
    Answer,
    Changed,
    Description,
    IdleStatus,
    NodeLine,
    NodeList,
    NodeStatus,
    OperationFigures,
    Pausing,
    Rebalanced,
    Removed,
    RunLine,
    RunList,
    RunStatus,
    Started,
    Stopping,
    TextReport,
    UsersByState,
)
from amoc_gevent.core.columns import GAP, columns, crop, widest
from amoc_gevent.core.manifest import DeclaredSetting
from amoc_gevent.core.units import (
    USER_STATES,
    counted,
    format_count,
    format_duration,
    format_us,
    format_users,
    user_ids,
)
from amoc_gevent.printable import printable_fields, printable_lines

START = "do SCENARIO FIRST LAST"

LINES = ("docstring", "description")
"""The fields of answers that may have several lines."""


MIN_COMMENT = 12
"""The characters of a comment that a row of `runs` must have room for."""

MIN_SCENARIO = 8


def format_answer(answer: Answer, start: str = START, width: int | None = None) -> str:
    """Return an answer as lines of text; `start` is the command that starts a run.

    Rows of nodes and runs are at most `width` characters long, so that a terminal does not break
    them. The texts in the answer are escaped, as they can come from other machines.
    """
    if isinstance(answer, RunList) and not answer.runs:
        return f"there was no run yet: start one with `{start}`"
    if isinstance(answer, TextReport):
        return printable_lines(answer.report.strip("\n"), styled=True)
    escaped = printable_fields(answer, lines=LINES)
    if isinstance(escaped, NodeList):
        return _nodes(escaped, width)
    if isinstance(escaped, RunList):
        return _runs(escaped, width)
    return _FORMATS[type(answer)](escaped)


def _started(answer: Started) -> str:
    return f"run {answer.run}: {counted(answer.users, 'user')}"


def _added(answer: Added) -> str:
    return f"added {user_ids(answer.first, answer.last)}"


def _removed(answer: Removed) -> str:
    text = f"removed {counted(answer.removed, 'user')}"
    if answer.removed < answer.asked:
        text += f" of {format_count(answer.asked)}: there were no more"
    return text


def _changed(answer: Changed) -> str:
    return f"{answer.name} = {answer.value}"


def _stopping(answer: Stopping) -> str:
    return f"run {answer.run} is {answer.status}" + (" by force" if answer.force else "")


def _pausing(answer: Pausing) -> str:
    state = "is paused: no new users start" if answer.paused else "starts users again"
    return f"run {answer.run} {state}"


def _rebalanced(answer: Rebalanced) -> str:
    if not answer.moves:
        return f"run {answer.run}: its users are spread evenly already"
    return f"run {answer.run}: its users are being spread evenly over the nodes"


def _idle(answer: IdleStatus) -> str:
    nodes = counted(answer.nodes, "node")
    return f"idle, {nodes}: start a run with `{START}`"


def _run_status(answer: RunStatus) -> str:
    where = counted(answer.nodes, "node")
    if answer.workers:
        workers = counted(answer.workers, "worker")
        where = workers if answer.nodes == 1 else f"{workers} of {where}"
    state = answer.status + (", paused" if answer.paused else "")
    head = f"{answer.scenario} {state}, {answer.elapsed_s:g} s on {where}"
    rows = [f"{head}; users: {_users(answer.users)}", *_operations(answer.operations)]
    rows += [
        f"failed users: {counted(one.count, 'time')} {one.type} at {one.place}"
        for one in answer.errors
    ]
    if answer.failure:
        rows.append(f"failed: {answer.failure}")
    return "\n".join(rows)


def _node_status(answer: NodeStatus) -> str:
    joined = "joined" if answer.joined else "waiting for"
    workers = counted(answer.workers, "worker")
    master = "the master of this home" if answer.master is None else f"master {answer.master}"
    text = f"node {answer.name}, {workers}: {joined} {master}, {_state(answer.state)}"
    return f"{text}; {answer.refused}" if answer.refused else text


def _description(answer: Description) -> str:
    rows = [answer.name]
    if answer.docstring:
        rows += ["", answer.docstring]
    rows += ["", f"Callbacks: {', '.join(answer.callbacks)}"]
    if answer.operations:
        rows.append(f"Operations: {', '.join(answer.operations)}")
    if not answer.settings:
        return "\n".join([*rows, "It declares no settings."])
    table = [("setting", "type", "default", "changes", "description")]
    table.extend(map(_setting_row, answer.settings))
    return "\n".join([*rows, "", *columns(table, left=5)])


def _setting_row(one: DeclaredSetting) -> tuple[str, str, str, str, str]:
    changes = "yes" if one.update else "no"
    return one.name, one.type, one.default or '""', changes, " ".join(one.description.split())


def _users(counts: UsersByState) -> str:
    return ", ".join(format_users(counts))


def _operations(operations: Mapping[str, OperationFigures]) -> list[str]:
    if not operations:
        return []
    rows = [("operation", "count", "errors", "p50 ms", "p95 ms")]
    for name, one in operations.items():
        times = (f"{us / 1000:.2f}" for us in (one.p50_us, one.p95_us))
        rows.append((name, str(one.count), str(one.errors), *times))  # type: ignore[arg-type]
    return columns(rows, left=1)


def _nodes(answer: NodeList, width: int | None) -> str:
    """Return a row for each node. A narrow terminal lacks the last columns."""
    if not answer.nodes:
        return (
            "no node has joined: start one here with `amoc node`, on another machine with "
            "`amoc node --master HOST`"
        )
    head = ("node", "state", "heard", "workers", *USER_STATES, "CPU", "lag", "clock", "host")
    rows: list[Sequence[str]] = [head]
    rows.extend(_node_row(one) for one in answer.nodes)
    lines = columns(rows, left=2, last_left=True)
    for without in (-1, -2):
        if width is None or widest(lines) <= width:
            break
        lines = columns([row[:without] for row in rows], left=2)
    return "\n".join(_cropped(lines, width))


def _cropped(lines: Sequence[str], width: int | None) -> Sequence[str]:
    return lines if width is None else [crop(line, width) for line in lines]


def _node_row(one: NodeLine) -> Sequence[str]:
    return (
        one.name,
        _state(one.state),
        _or_dash(one.heard_s, lambda s: f"{s:.1f} s ago"),
        _or_dash(one.workers, str),
        *(format_count(getattr(one.users, state)) for state in USER_STATES),
        _or_dash(one.cpu, lambda share: f"{share:.0%}"),
        _or_dash(one.lag_us, format_us),
        _clock(one.clock_offset_us, one.clock_bound_us),
        (one.place or "-").partition(":")[0],
    )


def _state(state: str) -> str:
    """Return the state of a node; a stopped one is idle."""
    return "idle" if state == "stopped" else state


def _clock(offset: float | None, bound: float | None) -> str:
    if offset is None:
        return "-"
    sign = "-" if offset < 0 else "+"
    within = f" ±{format_us(bound)}" if bound is not None else ""
    return f"{sign}{format_us(abs(offset))}{within}"


def _or_dash(value: Any, written: Callable[[Any], str]) -> str:
    return "-" if value is None else written(value)


def _runs(answer: RunList, width: int | None) -> str:
    """Return a row for each run. Where comments have no room, each has a line below its row."""
    head = ("run", "scenario", "status", "started", "took", "users", "operations", "comment")
    rows: list[Sequence[str]] = [head, *map(_run_row, answer.runs)]
    lines = columns(rows, left=4, last_left=True)
    if width is None or widest(lines) <= width:
        return "\n".join(lines)
    bare = [row[:-1] for row in rows]
    room = width - widest(columns(bare, left=4)) - GAP
    if room >= MIN_COMMENT:
        rows = [(*row[:-1], crop(row[-1], room)) for row in rows]
        return "\n".join(columns(rows, left=4, last_left=True))
    lines = columns(_narrow_scenarios(bare, width), left=4)
    comments = ["", *("  " + one.comment for one in answer.runs)]
    pairs = zip(lines, comments, strict=True)
    shown = [line for pair in pairs for line in pair if line.strip()]
    return "\n".join(_cropped(shown, width))


def _run_row(one: RunLine) -> Sequence[str]:
    return (
        one.run,
        one.scenario,
        one.status,
        _or_dash(one.started, _when),
        _took(one.started, one.ended),
        _or_dash(one.users, format_count),
        _or_dash(one.operations, format_count),
        one.comment,
    )


def _narrow_scenarios(rows: Sequence[Sequence[str]], width: int) -> list[Sequence[str]]:
    """Crop the second column as far as needed, to 8 characters at least."""
    longest = widest(row[1] for row in rows)
    room = max(MIN_SCENARIO, longest - (widest(columns(rows, left=4)) - width))
    return [(row[0], crop(row[1], room), *row[2:]) for row in rows]


def _when(label: str) -> str:
    """Return an ISO 8601 time without fractions of a second."""
    return label[:19].replace("T", " ")


def _took(started: str | None, ended: str | None) -> str:
    if not started or not ended:
        return "-"
    from datetime import datetime  # noqa: PLC0415  # one verb needs it

    span = datetime.fromisoformat(ended) - datetime.fromisoformat(started)
    return format_duration(float(round(span.total_seconds())))


_FORMATS: dict[type, Callable[[Any], str]] = {
    Started: _started,
    Added: _added,
    Removed: _removed,
    Changed: _changed,
    Pausing: _pausing,
    Rebalanced: _rebalanced,
    Stopping: _stopping,
    IdleStatus: _idle,
    RunStatus: _run_status,
    Description: _description,
    NodeStatus: _node_status,
}
