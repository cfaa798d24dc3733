"""Watches the hub from a thread of its own: a user that does not yield is named, and then ended.

gevent cannot take the processor from a user. The thread sees that the hub's beat is late, samples
the main thread's stack, and where it finds the same round of the same user again and again, warns
after 100 ms with id and stack. After `limit` seconds it sends this process a signal whose handler
runs in that user's greenlet and raises UserBlocked there, so that the other users go on.
"""

import signal
import sys
import traceback
from collections.abc import Callable
from types import FrameType
from typing import Any

import gevent
from gevent import GreenletExit
from gevent.monkey import get_original

from amoc_gevent import clock
from amoc_gevent.engine.users import Users
from amoc_gevent.user import UserGreenlet

WARN_S = 0.1
BEAT_S = 0.02
LIMIT_S = 2.0
STACK_LINES = 6

_sleep = get_original("time", "sleep")
_get_ident: Any = get_original("_thread", "get_ident")
_start_new_thread: Any = get_original("_thread", "start_new_thread")
_ROUND = Users._round.__code__  # its frame is where a user's stack begins


class UserBlocked(GreenletExit):
    """Raised in a user that held its worker's hub for too long."""


class Watchdog:
    """Calls `warn(user_id, seconds, stack)` from the hub for each user that blocks it."""

    def __init__(self, warn: Callable[[int, float, str], None], limit: float = LIMIT_S) -> None:
        self._warn = warn
        self._limit = limit
        self._beat = clock.monotonic()
        self._main: int = _get_ident()
        self._suspect: FrameType | None = None
        self._running = True
        self._warnings: list[tuple[int, float, str]] = []
        signal.signal(signal.SIGUSR2, self._raise_in_user)
        gevent.spawn(self._beats)
        _start_new_thread(self._watch, ())

    def stop(self) -> None:
        """End the thread and the beats."""
        self._running = False

    def _beats(self) -> None:
        while self._running:
            self._beat = clock.monotonic()
            while self._warnings:
                self._warn(*self._warnings.pop(0))
            gevent.sleep(BEAT_S)

    def _watch(self) -> None:
        """In the thread: follow one suspect at a time, for as long as the beat stays out."""
        since = 0.0
        warned = False
        while self._running:
            _sleep(BEAT_S)
            now = clock.monotonic()
            found = self._found() if now - self._beat > 2 * BEAT_S else None
            if found is None or found is not self._suspect:
                self._suspect, since, warned = found, now, False
                continue
            held = now - max(since - BEAT_S, self._beat)
            if held > WARN_S and not warned:
                warned = True
                self._warnings.append((found.f_locals["user_id"], held, self._stack()))
            if held > self._limit:
                signal.pthread_kill(self._main, signal.SIGUSR2)

    def _found(self) -> FrameType | None:
        """Return the frame of the round that the main thread is in, if it is in one."""
        frame = sys._current_frames().get(self._main)  # as threading dumps do
        while frame is not None and frame.f_code is not _ROUND:
            frame = frame.f_back
        return frame

    def _stack(self) -> str:
        frame = sys._current_frames().get(self._main)
        return "".join(traceback.format_stack(frame, limit=STACK_LINES))

    def _raise_in_user(self, _number: int, frame: FrameType | None) -> None:
        """Handle the signal, in whichever greenlet runs: raise only in the suspect's."""
        user = gevent.getcurrent()
        while frame is not None and frame is not self._suspect:
            frame = frame.f_back
        if frame is not None and isinstance(user, UserGreenlet):
            held = clock.monotonic() - self._beat
            raise UserBlocked(f"held its worker for {held:.1f} s without yielding")
