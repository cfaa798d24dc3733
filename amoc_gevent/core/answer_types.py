"""Finds the answer dataclass for a verb and a decoded JSON object."""

from collections.abc import Mapping
from typing import Any

from amoc_gevent.core.answers import (
    Added,
    Answer,
    Changed,
    Description,
    Ending,
    IdleStatus,
    MasterDaemon,
    NodeDaemon,
    NodeList,
    NodeStatus,
    Pausing,
    Rebalanced,
    Removed,
    RunList,
    RunStatus,
    Started,
    Stopping,
    TextReport,
    WatchedLines,
    WatchedStatus,
)


def answer_type(verb: str, data: Mapping[str, Any]) -> type[Answer]:
    """Return the answer class for `verb` that fits `data`. Raises LookupError if none does."""
    if verb == "status":
        if data.get("kind") == "node":
            return NodeStatus
        return IdleStatus if data["status"] == "idle" else RunStatus
    if verb == "summary":
        from amoc_gevent.core.run_summary import SummaryAnswer  # noqa: PLC0415  # many dataclasses

        return TextReport if "report" in data else SummaryAnswer
    if verb == "watch":
        return WatchedLines if "lines" in data else WatchedStatus
    if verb == "daemon":
        return NodeDaemon if data["kind"] == "node" else MasterDaemon
    return _ANSWERS[verb]


_ANSWERS: dict[str, type[Answer]] = {
    "do": Started,
    "add": Added,
    "remove": Removed,
    "set": Changed,
    "pause": Pausing,
    "resume": Pausing,
    "rebalance": Rebalanced,
    "stop": Stopping,
    "describe": Description,
    "nodes": NodeList,
    "runs": RunList,
    "shutdown": Ending,
}
