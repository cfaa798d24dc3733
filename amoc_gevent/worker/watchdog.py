"""Watches the hub from a thread: warns of a user that does not yield, and then ends it.

gevent cannot preempt a user. When the hub's heartbeat is late, the thread samples the main thread's
stack. If it finds the same iteration of the same user for 100 ms, it warns with user id and stack.
A call that holds the interpreter lock also blocks the thread. If the process was busy all that
time, the iteration that the thread finds afterwards is taken to have made the call. After `limit`
seconds the thread sends a signal; its handler runs in that user's greenlet and raises UserBlocked,
so that the other users go on.

On a busy machine the main thread waits for a CPU. No user is to blame for that, so these waits are
subtracted from all spans. They show as lag in the health of the worker.
"""

import os
import signal
import sys
import sysconfig
import traceback
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, NamedTuple

import gevent
from gevent import GreenletExit
from gevent.monkey import get_original

from amoc_gevent import clock
from amoc_gevent.worker.cpu_wait import CpuWait, Times, times_of
from amoc_gevent.worker.scheduler import run_start

WARN_S = 0.1
BEAT_S = 0.02
LIMIT_S = 2.0
BUSY = 0.25
"""Minimum CPU share (of a core) of a busy process; a suspended process uses none."""

STACK_LINES = 6

_sleep = get_original("time", "sleep")
_get_ident: Any = get_original("_thread", "get_ident")
_get_native_id: Any = get_original("_thread", "get_native_id")
_start_new_thread: Any = get_original("_thread", "start_new_thread")


class UserBlocked(GreenletExit):
    """Raised in a user that blocked its worker's hub for too long."""


class Blocking(NamedTuple):
    """A user that blocks the hub: for how long (s), at which line of its scenario, and its stack.

    `place` is like "shop.py:12 in start". `stack` has lines as in a traceback, innermost last.
    """

    user_id: int
    seconds: float
    place: str
    stack: str

    def described(self, fault: str, more: str = "") -> str:
        """Return a line with the `fault` and `more`, and the stack below it."""
        took = f"for more than {self.seconds * 1000:.0f} ms at {self.place}"
        return f"user {self.user_id} {fault} {took}{more}\n{self.stack}"


class _Tick(NamedTuple):
    """When the thread looked (monotonic s), and the totals until then.

    These are the CPU time of the process and the time that the main thread waited for a CPU (s).
    """

    now: float
    used: float
    waited: float


class _Sample(NamedTuple):
    """The running iteration, and its stack as (file, line, function), innermost last.

    It holds no frame, as the thread must never free objects that a user's frame keeps alive.
    """

    iteration: tuple[int, int]
    places: list[tuple[str, int, str]]


@dataclass(slots=True)
class _Suspect:
    """An iteration that several samples found running, and since when (monotonic s).

    `waited` is how long the main thread had waited for a CPU by then (s), and `held` for how long
    the iteration has blocked the hub, without such waits.
    """

    iteration: tuple[int, int]
    since: float
    waited: float
    held: float = 0.0
    warned: bool = False


class Watchdog:
    """Calls `warn`, from the hub, for each user that blocks the hub.

    `times` reads the times of the calling thread; the default asks the kernel.
    """

    def __init__(
        self,
        warn: Callable[[Blocking], None],
        limit: float = LIMIT_S,
        times: Times | None = None,
    ) -> None:
        self._warn = warn
        self._limit = limit
        self._beat = clock.monotonic()
        self._main: int = _get_ident()
        self._cpu_wait = CpuWait(times or times_of(_get_native_id()))
        self._suspect: _Suspect | None = None
        self._running = True
        self._warnings: deque[Blocking] = deque()
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
            self._warn(self._warnings.popleft())

    def _watch(self) -> None:
        """Run in the thread: follow one suspect at a time while the heartbeat is missing."""
        last = self._tick(late=False)[0]
        while self._running:
            _sleep(BEAT_S)
            tick, sample = self._tick(late=clock.monotonic() - self._beat > 2 * BEAT_S)
            if sample is None:
                self._suspect = None
            else:
                self._judge(self._follow(sample, last, tick), sample)
            last = tick
        self._cpu_wait.close()

    def _tick(self, *, late: bool) -> tuple[_Tick, _Sample | None]:
        """Return the times, and the main thread's stack if the heartbeat is `late`.

        The waits are read last, so that they are those until `now` or a little later.
        """
        now, used = clock.monotonic(), clock.cpu_ns() / 1e9
        sample = self._sample() if late else None
        return _Tick(now, used, self._cpu_wait.seconds(now, current=late)), sample

    def _follow(self, sample: _Sample, last: _Tick, tick: _Tick) -> _Suspect:
        """Return the suspect: the last one if its iteration still runs, or else a new one."""
        suspect = self._suspect
        if suspect is None or suspect.iteration != sample.iteration:
            due, waited = last.now + BEAT_S, tick.waited - last.waited
            late = tick.now - due - waited
            held_up = late > WARN_S and tick.used - last.used > BUSY * late
            since = max(due if held_up else tick.now - BEAT_S, self._beat)
            waited = max(0.0, min(waited, tick.now - since))
            suspect = self._suspect = _Suspect(sample.iteration, since, tick.waited - waited)
        suspect.held = tick.now - suspect.since - (tick.waited - suspect.waited)
        return suspect

    def _judge(self, suspect: _Suspect, sample: _Sample) -> None:
        if suspect.held > WARN_S and not suspect.warned:
            suspect.warned = True
            places = sample.places
            self._warnings.append(
                Blocking(suspect.iteration[1], suspect.held, _place(places), _shown(places))
            )
        if suspect.held > self._limit:
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
        if suspect.held > self._limit:
            self._suspect = None
            raise UserBlocked(f"held its worker for {suspect.held:.1f} s without yielding")


def _iteration_of(frame: FrameType) -> tuple[int, int]:
    """Return a key of the iteration in `frame`, unique while it runs."""
    return id(frame), frame.f_locals["user_id"]


_FOREIGN = (
    str(Path(__file__).parent.parent) + os.sep,
    *(sysconfig.get_path(name) + os.sep for name in ("stdlib", "platstdlib", "purelib", "platlib")),
    "<",
)
"""How the files of amoc, of Python and of installed packages begin. Others are the scenario's."""


def _place(places: list[tuple[str, int, str]]) -> str:
    """Return the innermost place in the scenario, like "shop.py:12 in start"."""
    own = [place for place in places if not place[0].startswith(_FOREIGN)] or places
    if not own:
        return "its start"
    file, line, function = own[-1]
    return f"{Path(file).name}:{line} in {function}"


def _shown(places: list[tuple[str, int, str]]) -> str:
    """Return the innermost places, formatted as in a traceback."""
    stack = [traceback.FrameSummary(*place) for place in places[-STACK_LINES:]]
    return "".join(traceback.StackSummary.from_list(stack).format())
