"""The greenlets of one stream: one runs its event handlers in turn, each threaded one has its own.

They belong to the user that created the stream and end with its iteration, as does the
connection.
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
    """Runs work from the asyncio loop in greenlets, starting at `begin`.

    Earlier work waits, as SleekXMPP's events wait for `process`.
    """

    def __init__(self, ended: Callable[[], None]) -> None:
        """Prepare the queue. `ended` is called when the stream's greenlet ends for any reason."""
        self._ended = ended
        self._queue: SimpleQueue[Work | None] = SimpleQueue()
        self._begun = Event()
        self._over = Event()
        self._over.set()
        self._start: Callable[[Work], gevent.Greenlet[..., object]] = gevent.spawn
        self._runner: gevent.Greenlet[..., object] | None = None
        self._threads: set[gevent.Greenlet[..., object]] = set()

    def open(self) -> None:
        """Start the greenlet, as one of the calling user if there is one."""
        if not self._over.is_set():
            return
        self._over.clear()
        self._begun = Event()
        self._queue = SimpleQueue()
        self._start = user.spawner()
        self._runner = self._start(self._run)

    def begin(self) -> None:
        """Run the queued work, and all further work as it comes."""
        self._begun.set()

    def put(self, work: Work) -> None:
        """Run `work` after the queued work."""
        self._queue.put(work)

    def thread(self, work: Work) -> None:
        """Run `work` in a greenlet of its own."""
        if self._begun.is_set():
            self._spawn(work)
        else:
            self._queue.put(lambda: self._spawn(work))

    def close(self) -> None:
        """End after the queued work."""
        self._queue.put(None)
        self._begun.set()

    def join(self) -> None:
        """Wait until all work from before `close` is done."""
        self._over.wait()

    def join_threads(self) -> None:
        """Wait for the threaded handlers too."""
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
