"""Posts a run's events as annotations to /events/ of graphite-web, in the format of amoc."""

import json
from collections import deque
from collections.abc import Callable, Sequence
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any

import gevent
from gevent.event import Event as Flag

from amoc_gevent.core.messages import Event
from amoc_gevent.core.run.run import Run
from amoc_gevent.output.graphite.names import component
from amoc_gevent.output.graphite.outage import Outage
from amoc_gevent.output.graphite.target import EventsAddress

WHAT = {
    "start": "amoc start",
    "add": "amoc add",
    "remove": "amoc remove",
    "stop": "amoc stop",
    "node-lost": "amoc node lost",
    "node-back": "amoc node back",
}
"""The kinds of events that become annotations, with their `what` in Graphite."""

KEPT = 1000
RETRY_MIN_S, RETRY_MAX_S = 0.5, 10.0

Annotation = dict[str, Any]


class Annotator:
    """Makes annotations from a run's events; pass the events in order."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._removals = 0

    def annotation(self, event: Event) -> Annotation | None:
        """Return the annotation of an event, or None for a kind that is not posted."""
        if event.kind not in WHAT:
            return None
        run = self._run
        data = [event.text, *self._removed_ids(event)]
        nodes = dict.fromkeys(node for batch in run.plan.batches for node in batch.nodes)
        data.append(f"nodes {', '.join(nodes)}")
        data.append(f"run {run.id} of {run.scenario}")
        if run.comment:
            data.append(run.comment)
        return {
            "what": WHAT[event.kind],
            "tags": ["amoc", event.kind, component(run.scenario)],
            "data": "; ".join(data),
            "when": int(event.time),
        }

    def _removed_ids(self, event: Event) -> list[str]:
        """Return the ids that a `remove` event covers: all removals since the previous one."""
        if event.kind != "remove":
            return []
        found = self._run.plan.removals[self._removals :]
        self._removals += len(found)
        ids = (str(r.first) if r.first == r.last else f"{r.first} to {r.last}" for r in found)
        return [f"ids {', '.join(ids)}"] if found else []


class EventsSender:
    """Posts annotations from its own greenlet; `put` never waits.

    `say` gets a line when graphite-web fails, and another when it recovers. `patience` is the
    timeout of a request, in seconds.
    """

    def __init__(
        self, address: EventsAddress, say: Callable[[str], None], patience: float = 5.0
    ) -> None:
        self._address = address
        self._patience = patience
        self._outage = Outage(f"graphite-web at {address}", "annotations", say)
        self._queue: deque[Annotation] = deque(maxlen=KEPT)
        self._filled, self._empty = Flag(), Flag()
        self._empty.set()
        self._greenlet = gevent.spawn(self._post_all)

    @property
    def waiting(self) -> list[Annotation]:
        """The annotations that were not posted yet, in order."""
        return [*self._queue]

    def put(self, annotations: Sequence[Annotation]) -> None:
        """Queue annotations. The queue holds 1,000 and drops the oldest."""
        if annotations:
            self._queue.extend(annotations)
            self._empty.clear()
            self._filled.set()

    def finish(self, patience: float) -> None:
        """Post the rest within `patience` seconds, and report how many could not be posted."""
        self._empty.wait(patience)
        self._greenlet.kill()
        if self._queue:
            self._outage.lost(f"{len(self._queue)} annotations were not posted")

    def _post_all(self) -> None:
        pause = RETRY_MIN_S
        while True:
            self._filled.wait()
            annotation = self._queue[0]
            try:
                self._post(annotation)
            except (OSError, HTTPException) as error:
                self._outage.begin(error)
                gevent.sleep(pause)
                pause = min(RETRY_MAX_S, pause * 2)
                continue
            pause = RETRY_MIN_S
            if self._queue[0] is annotation:  # otherwise it was dropped meanwhile
                self._queue.popleft()
            if not self._queue:
                self._filled.clear()
                self._empty.set()
                self._outage.end("the kept annotations were posted")

    def _post(self, annotation: Annotation) -> None:
        address = self._address
        kind = HTTPSConnection if address.secure else HTTPConnection
        connection = kind(address.host, address.port, timeout=self._patience)
        headers = {"Content-Type": "application/json", "Connection": "close"}
        if address.authorization:
            headers["Authorization"] = address.authorization
        try:
            connection.request("POST", address.path, json.dumps(annotation), headers)
            answer = connection.getresponse()
            answer.read(1024)
        finally:
            connection.close()
        if answer.status >= 300:
            raise HTTPException(f"status {answer.status}")
