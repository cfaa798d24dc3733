"""The greenlets of one stream: one runs its event handlers in turn, threaded ones run beside it.

They belong to the user that made the stream, end with its round, and take the connection along.
"""

from __future__ import annotations  # gevent.Greenlet takes a subscript in its stubs only

from collections.abc import Callable
from functools import partial

import gevent
from gevent.event import Event
from gevent.queue import SimpleQueue

from amoc_gevent import user

Work = Callable[[], None]


class HandlerQueue:
    """Takes work from the loop and does it in greenlets, from `begin` on.

    What comes before that waits, as SleekXMPP's events do for `process`.
    """

    def __init__(self, ended: Callable[[], None]) -> None:
        """Do nothing yet; call `ended` when the stream's greenlet ends, whatever ended it."""
        self._ended = ended
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._begun = Event()
        self._over = Event()
        self._over.set()
        self._start: Callable[[Work], gevent.Greenlet[..., object]] = gevent.spawn
        self._runner: gevent.Greenlet[..., object] | None = None
        self._threads: set[gevent.Greenlet[..., object]] = set()

    def open(self) -> None:
        """Have a greenlet, of the user that asks if it is one."""
        if not self._over.is_set():
            return
        self._over.clear()
        self._begun = Event()
        self._queue = SimpleQueue()
        self._start = user.spawner()
        self._runner = self._start(self._run)

    def begin(self) -> None:
        """Do what has come so far, and from now on all at once."""
        self._begun.set()

    def put(self, work: Work) -> None:
        """Have `work` done after all that is there already."""
        self._queue.put(work)

    def thread(self, work: Work) -> None:
        """Have `work` done in a greenlet of its own."""
        if self._begun.is_set():
            self._spawn(work)
        else:
            self._queue.put(lambda: self._spawn(work))

    def close(self) -> None:
        """End when all that is there has been done."""
        self._queue.put(None)
        self._begun.set()

    def join(self) -> None:
        """Wait until all has been done that came before `close`."""
        self._over.wait()

    def join_threads(self) -> None:
        """Wait for the end of the threaded handlers too."""
        if self._runner is not None:
            self._runner.join()

    def _run(self) -> None:
        threads: set[gevent.Greenlet[..., object]] = set()
        self._threads = threads
        try:
            self._begun.wait()
            for work in iter(self._queue.get, None):
                work()
            self._end()
            gevent.joinall(list(threads))
        finally:
            gevent.killall(list(threads), block=False)
            self._end()

    def _end(self) -> None:
        if not self._over.is_set():
            self._over.set()
            self._ended()

    def _spawn(self, work: Work) -> None:
        self._threads.add(self._start(partial(self._beside, work)))

    def _beside(self, work: Work) -> None:
        try:
            work()
        finally:
            self._threads.discard(gevent.getcurrent())
