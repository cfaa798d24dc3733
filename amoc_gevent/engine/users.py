"""The users of one worker: when each starts, rests, starts again and ends.

A waiting user is an entry of a range, a resting one a tuple in a heap; only inside `start` is a
user a greenlet. One timer of the hub starts whoever is due, straight from the hub.
"""

from collections.abc import Callable
from dataclasses import dataclass
from heapq import heapify, heappop, heappush
from typing import Any

import gevent
from gevent import GreenletExit

from amoc_gevent import clock
from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.messages import UserCounts
from amoc_gevent.core.plan import Batch, Options, Removal
from amoc_gevent.metrics import Recorder
from amoc_gevent.user import UserGreenlet

SLICE_S = 0.005
"""How long users are started in a row before arrived answers get their turn."""

LATE_S = 0.5
"""Slots further back than this when a worker learns of them are spaced anew, not all at once."""

KILL_GRACE_S = 2.0


@dataclass(slots=True)
class _Cursor:
    """The users of one batch that have not started: `ids[at:]`."""

    batch: Batch
    ids: range
    offset: float
    resume: float
    at: int = 0
    resumed: int = 0

    def due(self) -> float:
        """Return when the next user starts, in monotonic seconds."""
        slot = self.batch.slot(self.ids[self.at]) - self.offset
        return max(slot, self.resume + self.resumed / self.batch.rate)


class Users:
    """Starts and ends the users that were assigned to it; `on_error(id, error)` hears of failures.

    `on_stuck(ids)` is told of users that are still there 2 s after they were killed, and
    `on_stopped()` when all were told to stop and none is left.
    """

    def __init__(
        self,
        start: Callable[[int], object],
        options: Options,
        recorder: Recorder,
        on_error: Callable[[int, BaseException], None],
        on_stuck: Callable[[list[int]], None],
        on_stopped: Callable[[], object],
    ) -> None:
        self._start = start
        self.options = options
        self._recorder = recorder
        self._on_error = on_error
        self._on_stuck = on_stuck
        self._on_stopped = on_stopped
        self._hub: Any = gevent.get_hub()
        self._timer: Any = self._hub.loop.timer(0)
        self._armed = float("inf")
        self._cursors: list[_Cursor] = []
        self._resting: list[tuple[float, int, int]] = []
        self._running: dict[int, UserGreenlet] = {}
        self._gone = IdSet()
        self._ended: list[int] = []
        self._assigned = 0
        self._stopping = False
        self._kills: set[int] = set()

    def assign(self, batch: Batch, ids: range, offset: float) -> None:
        """Take on `ids` of `batch`; `offset` is the master's time minus the monotonic clock.

        Users whose slots have long passed, as after a restart of the worker, are spaced by the
        run's rate from now on.
        """
        if not ids or self._stopping:
            return
        now = clock.monotonic()
        late = batch.slot(ids[0]) - offset < now - LATE_S
        self._assigned += len(ids)
        self._cursors.append(_Cursor(batch, ids, offset, now if late else float("-inf")))
        self._arm(now)

    def forget(self, ended: IdSet) -> None:
        """Never start these ids: they ended before this worker was started again."""
        for first, last in ended:
            self._gone.add(first, last)

    def remove(self, removal: Removal) -> None:
        """End these users: waiting and resting ones now, running ones as the removal says."""
        self._gone.add(removal.first, removal.last)
        keep = [r for r in self._resting if not removal.first <= r[1] <= removal.last]
        if len(keep) < len(self._resting):
            heapify(keep)
            self._resting = keep
        if removal.force:
            self._kill([i for i in self._running if removal.first <= i <= removal.last])

    def stop(self, *, force: bool) -> None:
        """End all users: waiting and resting ones now, running ones after their round or now."""
        if not self._stopping:
            self._stopping = True
            self._cursors.clear()
            self._resting.clear()
            self._timer.stop()
            if not self._running:
                self._on_stopped()
        if force:
            self._kill([i for i in self._running if i not in self._kills])

    def counts(self) -> UserCounts:
        """Return how many users are in each state."""
        waiting = 0
        for cursor in self._cursors:
            left = cursor.ids[cursor.at :]
            waiting += len(left) - self._gone.count_in(left)
        running, resting = len(self._running), len(self._resting)
        return UserCounts(waiting, running, resting, self._assigned - waiting - running - resting)

    def take_ended(self) -> tuple[tuple[int, int], ...]:
        """Return the ids that ended by themselves since the last call, as intervals."""
        ended, self._ended = self._ended, []
        return tuple(IdSet((user_id, user_id) for user_id in ended))

    def _arm(self, now: float) -> None:
        """Set the timer to when the next user is due."""
        due = self._resting[0][0] if self._resting else float("inf")
        for cursor in self._cursors:
            due = min(due, cursor.due())
        self._armed = due
        self._timer.stop()
        if due != float("inf"):
            self._timer = self._hub.loop.timer(max(0.0, due - now))
            self._timer.start(self._start_due)

    def _start_due(self) -> None:
        """Start who is due, from the hub; what takes long goes on after the hub's other work."""
        now = clock.monotonic()
        until = now + SLICE_S
        for cursor in tuple(self._cursors):
            self._advance(cursor, now, until)
        resting = self._resting
        while resting and resting[0][0] <= now and clock.monotonic() < until:
            _, user_id, iteration = heappop(resting)
            self._begin(user_id, iteration)
            resting = self._resting
        if not self._stopping:
            self._arm(clock.monotonic())

    def _advance(self, cursor: _Cursor, now: float, until: float) -> None:
        """Start the users of one batch that are due, and drop the batch when it is used up."""
        ids, gone = cursor.ids, self._gone
        while cursor.at < len(ids) and not self._stopping:
            user_id = ids[cursor.at]
            if user_id in gone:
                cursor.at += 1
                continue
            if cursor.due() > now or clock.monotonic() >= until:
                return
            cursor.at += 1
            cursor.resumed += 1
            self._recorder.snapshot.started += 1
            self._begin(user_id, 0)
        if cursor in self._cursors:
            self._cursors.remove(cursor)

    def _begin(self, user_id: int, iteration: int) -> None:
        user = UserGreenlet(self._round, self._hub)
        user.user_id = user_id
        self._running[user_id] = user
        user.switch(user, user_id, iteration)

    def _round(self, user: UserGreenlet, user_id: int, iteration: int) -> None:
        """Run `start` once, in the user's greenlet; the boundary at which its errors end."""
        raised: BaseException | None = None
        try:
            self._start(user_id)
        except BaseException as error:  # noqa: BLE001  # a scenario may raise anything
            raised = error
        raised = user.end_helpers() or raised
        if user_id in self._kills and isinstance(raised, GreenletExit | None):
            self._end(user_id)
            return
        failed = raised is not None
        if raised is not None:
            self._on_error(user_id, raised)
        snapshot = self._recorder.snapshot
        snapshot.iterations += 1
        snapshot.failed += failed
        options, iteration = self.options, iteration + 1
        if self._stopping or user_id in self._gone:
            self._end(user_id)
        elif (failed and options.on_user_error != "repeat") or iteration == options.repeat_num:
            self._ended.append(user_id)
            self._end(user_id)
        else:
            self._rest(user_id, iteration)

    def _end(self, user_id: int) -> None:
        del self._running[user_id]
        self._kills.discard(user_id)
        if self._stopping and not self._running:
            self._on_stopped()

    def _rest(self, user_id: int, iteration: int) -> None:
        del self._running[user_id]
        now = clock.monotonic()
        due = now + self.options.repeat_interval
        heappush(self._resting, (due, user_id, iteration if self.options.repeat_num else 0))
        if due < self._armed:
            self._arm(now)

    def _kill(self, user_ids: list[int]) -> None:
        if not user_ids:
            return
        for user_id in user_ids:
            self._kills.add(user_id)
            self._hub.loop.run_callback(self._running[user_id].throw, GreenletExit)
        gevent.spawn_later(KILL_GRACE_S, self._check_killed, user_ids)

    def _check_killed(self, user_ids: list[int]) -> None:
        stuck = [user_id for user_id in user_ids if user_id in self._kills]
        if stuck:
            self._on_stuck(stuck)
