"""Schedules the users of one worker: when each starts, rests, starts again and ends.

A waiting user is an id in a range, and a resting user a tuple in a queue. A user is a greenlet only
inside `start`. One timer of the hub starts all users that are due, directly from the hub.
"""

from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Any

import gevent
from gevent import GreenletExit
from gevent.event import Event as Flag

from amoc_gevent import clock
from amoc_gevent.core.intervals import IdSet
from amoc_gevent.core.messages import UserCounts
from amoc_gevent.core.run.placement import Share
from amoc_gevent.core.run.plan import Options, Removal
from amoc_gevent.metrics import Recorder
from amoc_gevent.user import UserGreenlet, UserLeaving, set_load_over
from amoc_gevent.worker.cursor import Cursor, PlanClock
from amoc_gevent.worker.killer import SLICE_S, UserKiller

LATE_S = 0.5
"""Users assigned later than this after their slots are spaced out, not started at once."""

STILL_THERE_S = 0.1
"""The wait for a user that was moved away and back and has not ended yet."""

ENDS = (GreenletExit, UserLeaving)
"""What ends an iteration from outside."""

CUT_SHORT = "iterations cut short by the duration"
"""The counter of iterations that ended where they would have begun another operation."""

NEVER = float("inf")


def run_start(start: Callable[[int], object], user_id: int) -> BaseException | None:
    """Run one iteration; return its exception, if any. This is the boundary of a user's errors.

    The watchdog looks for this function's frame to find which user is running.
    """
    try:
        start(user_id)
    except BaseException as error:  # noqa: BLE001  # a scenario may raise anything
        return error
    return None


class UserScheduler:
    """Starts and ends the assigned users; `on_error(id, error)` is called for each exception.

    `stopped` is set once `stop` was called and no user is left. `killer` kills users.
    """

    def __init__(
        self,
        start: Callable[[int], object],
        options: Options,
        recorder: Recorder,
        on_error: Callable[[int, BaseException], None],
        killer: UserKiller,
    ) -> None:
        self._start = start
        self._options = options
        self._recorder = recorder
        self._on_error = on_error
        self._killer = killer
        self.stopped = Flag()
        self._hub: Any = gevent.get_hub()
        self._timer: Any = self._hub.loop.timer(0)
        self._armed = NEVER
        self._plan_clock = PlanClock()
        self._cursors: list[Cursor] = []
        self._own: list[range] = []
        self._resting: deque[tuple[float, int, int]] = (
            deque()
        )  # (rest start, id, iterations so far)
        self._running = killer.running
        self._killed = killer.killed
        self._gone = IdSet()
        self._ended: list[int] = []
        self._departing: set[int] = set()
        self._late_until = 0.0
        self._stopping = self._forced = self._fenced = self._load_over = False
        self._load_end: Any = self._hub.loop.timer(0)
        set_load_over(False)

    @property
    def options(self) -> Options:
        """The options of the run. A change also applies to users that are resting already."""
        return self._options

    @options.setter
    def options(self, options: Options) -> None:
        if options != self._options:
            self._options = options
            if not self._stopping:
                self._arm(clock.monotonic())

    def set_clock(
        self,
        offset: float,
        pauses: tuple[tuple[float, float], ...] = (),
        load_ends: float = NEVER,
    ) -> None:
        """Set the offset (master's time minus monotonic clock, in s) and the times of the plan.

        In `pauses` no user starts. After `load_ends` users begin no operation.
        """
        plan_clock = self._plan_clock
        changed = plan_clock.pauses != pauses
        plan_clock.offset, plan_clock.pauses = offset, pauses
        self._load_end.stop()
        if load_ends != NEVER and not self._load_over and not self.stopped.is_set():
            left = load_ends - offset - clock.monotonic()
            self._load_end = self._hub.loop.timer(max(0.0, left))
            self._load_end.start(self._end_load)
        if changed and not self._stopping:
            self._arm(clock.monotonic())

    def assign(self, share: Share) -> None:
        """Add the users of `share`.

        Users whose slots have long passed, as after a restart of the worker, start from now on at
        the run's rate, one share after the other.
        """
        ids = share.ids
        if not ids or self._stopping:
            return
        now = clock.monotonic()
        cursor = Cursor(share, ids, self._plan_clock)
        if cursor.due() < now - LATE_S:
            cursor.resume = max(now, self._late_until)
            left = len(ids) - self._gone.count_in(ids)
            self._late_until = cursor.resume + left / share.batch.rate
        self._own.append(ids)
        self._cursors.append(cursor)
        self._arm(now)

    def depart(self, gone: range) -> None:
        """End these users at once, as they are moved to another worker.

        `gone` is the end of a share, or all of it.
        """
        self._own = [kept for ids in self._own if (kept := _without(ids, gone))]
        for cursor in tuple(self._cursors):
            cursor.ids = _without(cursor.ids, gone)
            if cursor.at >= len(cursor.ids):
                self._cursors.remove(cursor)
        self._resting = deque([r for r in self._resting if r[1] not in gone])
        running = [user_id for user_id in self._running if user_id in gone]
        self._departing.update(running)
        self._killer.kill(running)

    @property
    def departing(self) -> bool:
        """Whether any departed user still runs."""
        return bool(self._departing)

    def exclude(self, ended: IdSet) -> None:
        """Never start these ids, as they have ended, here or on another node."""
        for first, last in ended:
            self._gone.add(first, last)

    def remove(self, removal: Removal) -> None:
        """Remove waiting and resting users now, and running users as the removal says."""
        ids = removal.ids
        self._gone.add_range(ids)
        self._resting = deque([r for r in self._resting if r[1] not in ids])
        running = [user_id for user_id in self._running if user_id in ids]
        for user_id in running:
            self._running[user_id].ask_to_end()
        if removal.force:
            self._killer.kill(running)

    def stop(self, *, force: bool) -> None:
        """End waiting and resting users now; running users after their iteration, or kill them."""
        if not self._stopping:
            self._stopping = True
            self._cursors.clear()
            self._resting.clear()
            self._timer.stop()
            for user in self._running.values():
                user.ask_to_end()
            self._end_if_last()
        if force and not self._forced:
            self._forced = True
            self._killer.kill(list(self._running))

    def _end_load(self) -> None:
        """Start no more users, ask the running ones to end, and refuse further operations.

        The master stops the run soon. A worker does not wait for that, as the master may be gone.
        """
        self._load_over = True
        self._timer.stop()
        set_load_over(True)
        for user in tuple(self._running.values()):
            user.ask_to_end()
            self._hub.loop.run_callback(user.wake)

    def fence(self) -> None:
        """Kill all users at once; call this from the hub. No user gets a turn in between.

        None of them counts as done, as other nodes may run them from now on.
        """
        self._fenced = True
        self.stop(force=False)
        self._forced = True
        self._killer.kill_all()

    def give_up(self) -> None:
        """Set `stopped` without waiting for users that do not end."""
        self._load_end.stop()
        self.stopped.set()

    def mark_killed(self, frame: FrameType | None) -> bool:
        """Mark the user that runs in `frame` as killed; return whether there was one to mark."""
        while frame is not None and frame.f_code is not run_start.__code__:
            frame = frame.f_back
        if frame is None or frame.f_locals["user_id"] in self._killed:
            return False
        self._killed.add(frame.f_locals["user_id"])
        return True

    def counts(self) -> UserCounts:
        """Return the users by state; after `fence`, only the users that still run."""
        if self._fenced:
            return UserCounts(running=len(self._running))
        waiting = 0
        for cursor in self._cursors:
            left = cursor.ids[cursor.at :]
            waiting += len(left) - self._gone.count_in(left)
        assigned = sum(map(len, self._own))
        running, resting = len(self._running) - len(self._departing), len(self._resting)
        return UserCounts(waiting, running, resting, assigned - waiting - running - resting)

    def take_ended(self) -> tuple[tuple[int, int], ...]:
        """Return the ids that ended by themselves since the last call, as intervals."""
        ended, self._ended = self._ended, []
        return tuple(IdSet((user_id, user_id) for user_id in sorted(ended)))

    def _arm(self, now: float) -> None:
        """Set the timer for the next user that is due."""
        due = self._resting[0][0] + self._options.repeat_interval if self._resting else NEVER
        for cursor in self._cursors:
            due = min(due, cursor.due())
        self._armed = due
        self._timer.stop()
        if due != NEVER and not self._load_over:
            self._timer = self._hub.loop.timer(max(0.0, due - now))
            self._timer.start(self._start_due)

    def _start_due(self) -> None:
        """Start users that are due, from the hub, for SLICE_S; continue after the hub's other work.

        Waiting and resting users get half of the time each, so that a steep ramp does not hold up
        resting users, nor short rests the ramp.
        """
        now = clock.monotonic()
        for cursor in tuple(self._cursors):
            if not self._start_waiting(cursor, now, now + SLICE_S / 2):
                self._cursors.remove(cursor)
        self._start_resting(now, now + SLICE_S)
        self._arm(clock.monotonic())

    def _start_waiting(self, cursor: Cursor, now: float, until: float) -> bool:
        """Start the users of one share that are due; return whether any are left to start."""
        while cursor.skip(self._gone):
            if cursor.due() > now or clock.monotonic() >= until:
                return True
            user_id = cursor.ids[cursor.at]
            if user_id in self._running:  # moved away and back, and not ended yet
                cursor.resume, cursor.resumed = now + STILL_THERE_S, 0
                return True
            cursor.at += 1
            cursor.resumed += 1
            self._recorder.snapshot.started += 1
            self._start_iteration(user_id, 0)
        return False

    def _start_resting(self, now: float, until: float) -> None:
        resting, rested = self._resting, now - self._options.repeat_interval
        while resting and resting[0][0] <= rested and clock.monotonic() < until:
            _, user_id, iterations = resting.popleft()
            self._start_iteration(user_id, iterations)

    def _start_iteration(self, user_id: int, iterations: int) -> None:
        user = UserGreenlet(self._iterate, self._hub)
        user.user_id = user_id
        self._running[user_id] = user
        present, snapshot = len(self._running) + len(self._resting), self._recorder.snapshot
        snapshot.peak = max(snapshot.peak, present)
        user.switch(user, user_id, iterations)

    def _iterate(self, user: UserGreenlet, user_id: int, iterations: int) -> None:
        """Run `start` once, in the user's greenlet; then rest, end or forget the user."""
        raised = run_start(self._start, user_id)
        ended = raised is None or isinstance(raised, ENDS)
        helper_raised = user.end_helpers()
        if ended and helper_raised is not None:
            raised, ended = helper_raised, isinstance(helper_raised, ENDS)
        del self._running[user_id]
        departing = user_id in self._departing
        self._departing.discard(user_id)
        if user_id in self._killed:
            self._killed.discard(user_id)
            if ended:
                self._end_if_last()
                return
        if isinstance(raised, UserLeaving) and self._load_over:
            counters = self._recorder.snapshot.counters
            counters[CUT_SHORT] = counters.get(CUT_SHORT, 0) + 1
            self._end_if_last()
            return
        snapshot, options, iterations = self._recorder.snapshot, self._options, iterations + 1
        snapshot.iterations += 1
        if raised is not None:
            snapshot.failed += 1
            self._on_error(user_id, raised)
        if self._stopping or departing or user_id in self._gone:
            self._end_if_last()
        elif (raised is not None and options.on_user_error != "repeat") or (
            0 < options.repeat_num <= iterations
        ):
            self._ended.append(user_id)
        else:
            self._rest(user_id, iterations)

    def _rest(self, user_id: int, iterations: int) -> None:
        now = clock.monotonic()
        self._resting.append((now, user_id, iterations))
        if now + self._options.repeat_interval < self._armed:
            self._arm(now)

    def _end_if_last(self) -> None:
        if self._stopping and not self._running:
            self._load_end.stop()
            self.stopped.set()


def _without(ids: range, gone: range) -> range:
    """Return `ids` without `gone`, which is either the end of `ids` or not in it at all."""
    if gone and gone[0] in ids and gone[-1] in ids:
        return ids[: ids.index(gone[0])]
    return ids
