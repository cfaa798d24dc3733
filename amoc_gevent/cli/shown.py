"""The answers of the control socket as text for people: one function for each verb."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from amoc_gevent.core.units import format_count, format_duration, format_us

Result = dict[str, Any]

STATES = ("running", "resting", "waiting", "done")


def shown(verb: str, result: Result) -> str:
    """Return `result`, the answer to `verb`, as lines of text."""
    return _SHOWN.get(verb, _plain)(result)


def _do(result: Result) -> str:
    return f"run {result['run']}: {_counted(result['users'], 'user')}"


def _add(result: Result) -> str:
    return f"added users {result['first']} to {result['last']}"


def _remove(result: Result) -> str:
    return f"removed {_counted(result['removed'], 'user')}"


def _stop(result: Result) -> str:
    return f"run {result['run']} is {result['status']}" + (" by force" if result["force"] else "")


def _paused(result: Result) -> str:
    state = "is paused: no new users start" if result["paused"] else "starts users again"
    return f"run {result['run']} {state}"


def _rebalance(result: Result) -> str:
    if not result["moves"]:
        return f"run {result['run']}: its users are spread evenly already"
    return f"run {result['run']}: its users are being spread evenly over the nodes"


def _plain(result: Result) -> str:
    return "\n".join(f"{name} = {value}" for name, value in result.items())


def _status(result: Result) -> str:
    if result.get("kind") == "node":
        return _node_status(result)
    if result["status"] == "idle":
        nodes = _counted(result["nodes"], "node")
        return f"idle, {nodes}: start a run with `do SCENARIO FIRST LAST`"
    where = _counted(result["nodes"], "node")
    if result["workers"]:
        workers = _counted(result["workers"], "worker")
        where = workers if result["nodes"] == 1 else f"{workers} of {where}"
    elapsed = f"{result['elapsed_s']:g} s"
    state = result["status"] + (", paused" if result.get("paused") else "")
    head = f"{result['scenario']} {state}, {elapsed} on {where}"
    rows = [f"{head}; users: {_users(result['users'])}", *_operations(result["operations"])]
    rows += [
        f"failed users: {_counted(e['count'], 'time')} {e['type']} at {e['place']}"
        for e in result["errors"]
    ]
    if result["failure"]:
        rows.append(f"failed: {result['failure']}")
    return "\n".join(rows)


def _node_status(result: Result) -> str:
    joined = "joined" if result["joined"] else "waiting for"
    workers = _counted(result["workers"], "worker")
    state = _state(result["state"])
    master = "the master of this home" if result["master"] is None else f"master {result['master']}"
    shown = f"node {result['name']}, {workers}: {joined} {master}, {state}"
    return f"{shown}; {result['refused']}" if result.get("refused") else shown


def _users(counts: dict[str, int]) -> str:
    return ", ".join(f"{format_count(counts.get(state, 0))} {state}" for state in STATES)


def _operations(operations: dict[str, Result]) -> list[str]:
    if not operations:
        return []
    rows = [("operation", "count", "errors", "p50 ms", "p95 ms")]
    for name, one in operations.items():
        times = (f"{one[p] / 1000:.2f}" for p in ("p50_us", "p95_us"))
        rows.append((name, str(one["count"]), str(one["errors"]), *times))  # type: ignore[arg-type]
    return columns(rows, left=1)


def _nodes(result: Result) -> str:
    if not result["nodes"]:
        return (
            "no node has joined: start one here with `amoc node`, on another machine with "
            "`amoc node --master HOST`"
        )
    head = ("node", "state", "heard", "workers", *STATES, "CPU", "lag", "clock", "host")
    rows: list[Sequence[str]] = [head]
    rows.extend(_node_row(one) for one in result["nodes"])
    return "\n".join(columns(rows, left=2, last_left=True))


def _node_row(one: Result) -> Sequence[str]:
    users = one.get("users") or {}
    return (
        str(one["name"]),
        _state(one["state"]),
        _or_dash(one.get("heard_s"), lambda s: f"{s:.1f} s ago"),
        _or_dash(one.get("workers"), str),
        *(format_count(users.get(state, 0)) for state in STATES),
        _or_dash(one.get("cpu"), lambda share: f"{share:.0%}"),
        _or_dash(one.get("lag_us"), format_us),
        _clock(one.get("clock_offset_us"), one.get("clock_bound_us")),
        str(one.get("place") or "-").partition(":")[0],
    )


def _state(state: str) -> str:
    """Return a node's state towards its run in a word: without users it waits for one."""
    return "idle" if state == "stopped" else state


def _clock(offset: float | None, bound: float | None) -> str:
    if offset is None:
        return "-"
    sign = "-" if offset < 0 else "+"
    within = f" ±{format_us(bound)}" if bound is not None else ""
    return f"{sign}{format_us(abs(offset))}{within}"


def _or_dash(value: Any, written: Callable[[Any], str]) -> str:
    return "-" if value is None else written(value)


def _runs(result: Result) -> str:
    if not result["runs"]:
        return "there was no run yet: start one with `do SCENARIO FIRST LAST`"
    rows: list[Sequence[str]] = [
        ("run", "scenario", "status", "started", "took", "users", "operations", "comment")
    ]
    rows.extend(
        (
            str(one["run"]),
            str(one["scenario"]),
            str(one["status"]),
            _or_dash(one.get("started"), _when),
            _took(one.get("started"), one.get("ended")),
            _or_dash(one.get("users"), format_count),
            _or_dash(one.get("operations"), format_count),
            str(one.get("comment") or ""),
        )
        for one in result["runs"]
    )
    return "\n".join(columns(rows, left=4, last_left=True))


def _when(label: str) -> str:
    """Return an ISO 8601 label to the second."""
    return label[:19].replace("T", " ")


def _took(started: str | None, ended: str | None) -> str:
    if not started or not ended:
        return "-"
    from datetime import datetime  # noqa: PLC0415  # one verb needs it

    span = datetime.fromisoformat(ended) - datetime.fromisoformat(started)
    return format_duration(float(round(span.total_seconds())))


def _summary(result: Result) -> str:
    return str(result["report"]).strip("\n")


def columns(rows: Iterable[Sequence[str]], left: int, *, last_left: bool = False) -> list[str]:
    """Return `rows` in aligned columns, the first `left` of them aligned at the left.

    So is the last one where `last_left` says so.
    """
    table = [*rows]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    at_left = [at < left or (last_left and at == len(widths) - 1) for at in range(len(widths))]
    return [
        "  ".join(
            cell.ljust(width) if leftwards else cell.rjust(width)
            for cell, width, leftwards in zip(row, widths, at_left, strict=True)
        ).rstrip()
        for row in table
    ]


def _counted(number: int, what: str) -> str:
    return f"{format_count(number)} {what}{'' if number == 1 else 's'}"


_SHOWN: dict[str, Callable[[Result], str]] = {
    "do": _do,
    "add": _add,
    "remove": _remove,
    "pause": _paused,
    "resume": _paused,
    "rebalance": _rebalance,
    "stop": _stop,
    "status": _status,
    "nodes": _nodes,
    "runs": _runs,
    "summary": _summary,
}
