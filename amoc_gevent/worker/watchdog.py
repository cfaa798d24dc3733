"""Watches the hub from a thread: warns of a user that does not yield, and then ends it.

gevent cannot preempt a user. When the hub's heartbeat is late, the thread samples the main thread's
stack. If it finds the same iteration of the same user for 100 ms, it warns with user id and stack.
A call that holds the interpreter lock also blocks the thread. If the process was busy all that
time, the iteration that the thread finds afterwards is taken to have made the call. After `limit`
seconds the thread sends a signal; its handler runs in that user's greenlet and raises UserBlocked,
so that the other users go on.
"""

import signal
import sys
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any, NamedTuple

import gevent
from gevent import GreenletExit
from gevent.monkey import get_original

from amoc_gevent import clock
from amoc_gevent.worker.scheduler import run_start

WARN_S = 0.1
BEAT_S = 0.02
LIMIT_S = 2.0
BUSY = 0.25
"""Minimum CPU share (of a core) of a busy process; a suspended process uses none."""

STACK_LINES = 6

_sleep = get_original("time", "sleep")
_get_ident: Any = get_original("_thread", "get_ident")
_start_new_thread: Any = get_original("_thread", "start_new_thread")


class UserBlocked(GreenletExit):
    """Raised in a user that blocked its worker's hub for too long."""


class _Sample(NamedTuple):
    """The running iteration, and its stack as (file, line, function), innermost last.

    It holds no frame, as the thread must never free objects that a user's frame keeps alive.
    """

    iteration: tuple[int, int]
    places: list[tuple[str, int, str]]


@dataclass(slots=True)
class _Suspect:
    """An iteration that several samples found running, and since when (monotonic s)."""

    iteration: tuple[int, int]
    since: float
    warned: bool = False


class Watchdog:
    """Calls `warn(user_id, seconds, stack)`, from the hub, for each user that blocks the hub."""

    def __init__(self, warn: Callable[[int, float, str], None], limit: float = LIMIT_S) -> None:
        self._warn = warn
        self._limit = limit
        self._beat = clock.monotonic()
        self._main: int = _get_ident()
        self._suspect: _Suspect | None = None
        self._running = True
        self._warnings: deque[tuple[int, float, str]] = deque()
        signal.signal(signal.SIGUSR2, self._raise_in_user)
        self._beats = gevent.spawn(self._keep_beating)
        _start_new_thread(self._watch, ())

    def stop(self) -> None:
        """Stop the thread and the heartbeat, and give the remaining warnings."""
        self._running = False
        self._beats.kill()
        self._give_warnings()

    def _keep_beating(self) -> None:
        while self._running:
            self._beat = clock.monotonic()
            self._give_warnings()
            gevent.sleep(BEAT_S)

    def _give_warnings(self) -> None:
        while self._warnings:
            self._warn(*self._warnings.popleft())

    def _watch(self) -> None:
        """Run in the thread: follow one suspect at a time while the heartbeat is missing."""
        now, used = clock.monotonic(), clock.cpu_ns()
        while self._running:
            due, busy = now + BEAT_S, used
            _sleep(BEAT_S)
            now, used = clock.monotonic(), clock.cpu_ns()
            held_up = now - due > WARN_S and (used - busy) / 1e9 > BUSY * (now - due)
            sample = self._sample() if now - self._beat > 2 * BEAT_S else None
            if sample is None:
                self._suspect = None
                continue
            suspect = self._suspect
            if suspect is None or suspect.iteration != sample.iteration:
                since = due if held_up else now - BEAT_S
                suspect = self._suspect = _Suspect(sample.iteration, max(since, self._beat))
            self._judge(suspect, now - suspect.since, sample)

    def _judge(self, suspect: _Suspect, held: float, sample: _Sample) -> None:
        if held > WARN_S and not suspect.warned:
            suspect.warned = True
            self._warnings.append((suspect.iteration[1], held, _shown(sample.places)))
        if held > self._limit:
            signal.pthread_kill(self._main, signal.SIGUSR2)

    def _sample(self) -> _Sample | None:
        """Return the main thread's stack, if it runs an iteration of a user."""
        frame = sys._current_frames().get(self._main)  # as traceback dumps use it
        places: list[tuple[str, int, str]] = []
        while frame is not None:
            if frame.f_code is run_start.__code__:
                return _Sample(_iteration_of(frame), places[::-1])
            places.append((frame.f_code.co_filename, frame.f_lineno, frame.f_code.co_name))
            frame = frame.f_back
        return None

    def _raise_in_user(self, _number: int, frame: FrameType | None) -> None:
        """Handle the signal in the greenlet that runs; raise only in the suspect's."""
        suspect = self._suspect
        while frame is not None and frame.f_code is not run_start.__code__:
            frame = frame.f_back
        if suspect is None or frame is None or _iteration_of(frame) != suspect.iteration:
            return
        held = clock.monotonic() - suspect.since
        if held > self._limit:
            self._suspect = None
            raise UserBlocked(f"held its worker for {held:.1f} s without yielding")


def _iteration_of(frame: FrameType) -> tuple[int, int]:
    """Return a key of the iteration in `frame`, unique while it runs."""
    return id(frame), frame.f_locals["user_id"]


def _shown(places: list[tuple[str, int, str]]) -> str:
    """Return the innermost places, formatted as in a traceback."""
    stack = [traceback.FrameSummary(*place) for place in places[-STACK_LINES:]]
    return "".join(traceback.StackSummary.from_list(stack).format())
