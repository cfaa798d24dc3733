"""How a worker's users are thrown out of their rounds, and which of them do not go."""

from collections import deque
from collections.abc import Callable
from typing import Any

import gevent
from gevent import GreenletExit

from amoc_gevent import clock
from amoc_gevent.user import UserGreenlet

SLICE_S = 0.005
"""How long users are started or killed in a row before arrived answers get their turn."""

KILL_GRACE_S = 2.0


class UserKiller:
    """Kills users: `running` has those inside `start`, `killed` the ids of those told to end.

    `on_stuck(ids)` hears of users that are still there `grace` seconds after they were killed.
    """

    def __init__(self, on_stuck: Callable[[list[int]], None], grace: float = KILL_GRACE_S) -> None:
        self.running: dict[int, UserGreenlet] = {}
        self.killed: set[int] = set()
        self.grace = grace
        self._on_stuck = on_stuck
        self._timer: Any = gevent.get_hub().loop.timer(0)
        self._to_kill: deque[deque[int]] = deque()
        self._told: list[int] = []

    def kill(self, user_ids: list[int]) -> None:
        """Kill these users soon, from the hub, in slices."""
        if user_ids:
            self._to_kill.append(deque(user_ids))
            self._timer.start(self._kill_some)

    def kill_all(self) -> None:
        """Kill all users before anything else happens; to be called from the hub.

        However many they are, none of them gets a turn meanwhile.
        """
        told = list(self.running)
        for user_id in told:
            user = self.running.get(user_id)
            if user is not None and user_id not in self.killed:
                self.killed.add(user_id)
                user.throw_out()
        gevent.spawn_later(self.grace, self._report_stuck, told)

    def _kill_some(self) -> None:
        """Throw users out, from the hub; the grace of each lot begins when its last is told."""
        until = clock.monotonic() + SLICE_S
        while self._to_kill:
            lot, told = self._to_kill[0], self._told
            while lot and clock.monotonic() < until:
                user_id = lot.popleft()
                user = self.running.get(user_id)
                if user is not None:
                    told.append(user_id)
                    if user_id not in self.killed:
                        self.killed.add(user_id)
                        user.throw(GreenletExit)
            if lot:
                self._timer.start(self._kill_some)
                return
            gevent.spawn_later(self.grace, self._report_stuck, told)
            self._told = []
            self._to_kill.popleft()

    def _report_stuck(self, user_ids: list[int]) -> None:
        stuck = [user_id for user_id in user_ids if user_id in self.killed]
        if stuck:
            self._on_stuck(stuck)
