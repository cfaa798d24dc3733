"""How long a thread has waited for a CPU, from the scheduler statistics of Linux.

The kernel counts a wait once it is over. So the counter adds the wait in which the thread is now.
"""

import ctypes
import os
from typing import NamedTuple, Protocol


class ThreadTimes(NamedTuple):
    """What a thread did in all, in ns: it ran, and it waited for a CPU. `slices` counts its runs.

    These are the fields of `/proc/PID/task/TID/schedstat` (sched-stats.rst of the kernel). A wait
    is counted when it ends.
    """

    ran: int
    waited: int
    slices: int


class Times(Protocol):
    """Reads the times of one thread."""

    def read(self) -> ThreadTimes:
        """Return its times until now."""

    def runnable(self) -> bool:
        """Return whether it runs or waits for a CPU; if not, it sleeps."""

    def close(self) -> None:
        """Close what the reader keeps open."""


class NoTimes:
    """Stands for a thread whose kernel keeps no such times: it never seems to wait."""

    def read(self) -> ThreadTimes:
        """Return no time at all."""
        return ThreadTimes(0, 0, 0)

    def runnable(self) -> bool:
        """Return False."""
        return False

    def close(self) -> None:
        """Do nothing."""


class KernelTimes:
    """The times of a thread of this process. Raises OSError where the kernel has no schedstat."""

    def __init__(self, thread: int) -> None:
        task = f"/proc/self/task/{thread}"
        self._files: list[int] = []
        # not os.pread: it gives the interpreter lock away, and another thread would keep it
        self._pread = ctypes.PyDLL(None).pread
        self._pread.argtypes = (ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t, ctypes.c_long)
        self._buffer = ctypes.create_string_buffer(1024)
        try:
            self._files.append(os.open(f"{task}/schedstat", os.O_RDONLY))
            self._files.append(os.open(f"{task}/stat", os.O_RDONLY))
            self.read()
        except (OSError, ValueError, TypeError) as error:
            self.close()
            raise OSError(f"{task}: {error}") from None

    def read(self) -> ThreadTimes:
        """Return its times until now."""
        return ThreadTimes(*map(int, self._text(self._files[0]).split()))

    def runnable(self) -> bool:
        """Return whether it runs or waits for a CPU; if not, it sleeps."""
        # the name before the state may contain blanks and parentheses
        return self._text(self._files[1]).rpartition(b") ")[2][:1] == b"R"

    def close(self) -> None:
        """Close the files."""
        while self._files:
            os.close(self._files.pop())

    def _text(self, file: int) -> bytes:
        size = self._pread(file, self._buffer, len(self._buffer) - 1, 0)
        return self._buffer.raw[: max(0, size)]


def times_of(thread: int) -> Times:
    """Return a reader of the thread with this native id, also where the kernel has no times."""
    try:
        return KernelTimes(thread)
    except OSError:
        return NoTimes()


class CpuWait:
    """Counts the time that a thread waits for a CPU."""

    def __init__(self, times: Times) -> None:
        self._times = times
        self._at = 0.0
        self._last = times.read()
        self._current = 0.0
        self._was_runnable = False

    def seconds(self, now: float, *, current: bool) -> float:
        """Return how long the thread has waited in all, until `now` (monotonic seconds).

        With `current`, this includes the wait in which it is now. That part is an upper bound if
        the thread slept since the last call.
        """
        last, at, so_far = self._last, self._at, self._current
        times = self._times.read()
        runnable = current and self._times.runnable()
        self._current = 0.0
        if runnable:
            if self._was_runnable and (times.ran, times.slices) == (last.ran, last.slices):
                self._current = so_far + now - at
            else:
                over = max(0.0, (times.waited - last.waited) / 1e9 - so_far)
                self._current = max(0.0, now - at - over - (times.ran - last.ran) / 1e9)
        self._last, self._at, self._was_runnable = times, now, runnable
        return times.waited / 1e9 + self._current

    def close(self) -> None:
        """Close the reader."""
        self._times.close()
