"""Kills a worker's users, and reports those that do not end."""

from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent import GreenletExit

from amoc_gevent import clock
from amoc_gevent.user import UserGreenlet

SLICE_S = 0.005
"""The longest time for starting or killing users before the hub's other events get a turn."""

KILL_GRACE_S = 2.0


class UserKiller:
    """Kills users. `running` holds the users inside `start`, `killed` the ids already killed.

    `on_stuck(ids)` is called with users that still run `grace` seconds after they were killed.
    """

    def __init__(self, on_stuck: Callable[[list[int]], None], grace: float = KILL_GRACE_S) -> None:
        self.running: dict[int, UserGreenlet] = {}
        self.killed: set[int] = set()
        self.grace = grace
        self._on_stuck = on_stuck
        self._timer: Any = gevent.get_hub().loop.timer(0)
        self._to_kill: deque[deque[int]] = deque()
        self._batch_killed: list[int] = []

    def kill(self, user_ids: list[int]) -> None:
        """Kill these users soon, from the hub, in slices."""
        if user_ids:
            self._to_kill.append(deque(user_ids))
            self._timer.start(self._kill_some)

    def kill_all(self) -> None:
        """Kill all users at once; call this from the hub. No user gets a turn in between."""
        killed = list(self.running)
        for user_id in killed:
            user = self.running.get(user_id)
            if user is not None and user_id not in self.killed:
                self.killed.add(user_id)
                user.kill_now()
        gevent.spawn_later(self.grace, self._report_stuck, killed)

    def _kill_some(self) -> None:
        """Kill a slice of users, from the hub. The grace of a batch begins with its last kill."""
        until = clock.monotonic() + SLICE_S
        while self._to_kill:
            batch, killed = self._to_kill[0], self._batch_killed
            while batch and clock.monotonic() < until:
                user_id = batch.popleft()
                user = self.running.get(user_id)
                if user is not None:
                    killed.append(user_id)
                    if user_id not in self.killed:
                        self.killed.add(user_id)
                        user.throw(GreenletExit)
            if batch:
                self._timer.start(self._kill_some)
                return
            gevent.spawn_later(self.grace, self._report_stuck, killed)
            self._batch_killed = []
            self._to_kill.popleft()

    def _report_stuck(self, user_ids: list[int]) -> None:
        stuck = [user_id for user_id in user_ids if user_id in self.killed]
        if stuck:
            self._on_stuck(stuck)
