"""The parts of a stored run: encoded records of its measurements, events and manifest."""

from amoc_gevent.core import records
from amoc_gevent.core.manifest import Declared
from amoc_gevent.core.measure.results import ResultsState
from amoc_gevent.core.measure.rows import Row
from amoc_gevent.core.records import Events, Measured, Rows
from amoc_gevent.core.run.run import Run

Kept = Measured | Rows | ResultsState | Events | Declared
_KINDS: dict[str, type[Kept]] = {
    "measured": Measured,
    "rows": Rows,
    "state": ResultsState,
    "events": Events,
    "declared": Declared,
}


Part = tuple[str, bytes]
"""A stored part of a run: its kind and its bytes."""


def part_of(record: Kept) -> Part:
    """Encode a record for the store."""
    kind = next(kind for kind, found in _KINDS.items() if isinstance(record, found))
    return kind, records.encode(record)


def restore(run: Run, before: list[Row], kind: str, data: bytes) -> None:
    """Add a part to the run; collect rows in `before` for its state. Skip unknown kinds."""
    if kind not in _KINDS:
        return
    part = records.decode(_KINDS[kind], data)
    if isinstance(part, Events):
        run.events.extend(part.events)
    elif isinstance(part, Declared):
        run.declared = part
    elif isinstance(part, Rows):
        before.extend(part.rows)
    elif isinstance(part, ResultsState):
        run.results.restore(part, before)
    else:
        run.results.add(part.second, part.snapshot, part.health, part.users)
