"""The time that a thread waits for a CPU: the arithmetic, and the kernel's own figures."""

import os
import threading
from pathlib import Path

import pytest

from amoc_gevent.worker.cpu_wait import CpuWait, KernelTimes, NoTimes, ThreadTimes, times_of


class ScriptedTimes:
    """A thread whose times a test sets (ns)."""

    def __init__(self) -> None:
        self.times = ThreadTimes(0, 0, 0)
        self.is_runnable = False

    def read(self) -> ThreadTimes:
        return self.times

    def runnable(self) -> bool:
        return self.is_runnable

    def close(self) -> None:
        pass


def ms(ran: int, waited: int, slices: int) -> ThreadTimes:
    return ThreadTimes(ran * 1_000_000, waited * 1_000_000, slices)


@pytest.fixture
def times() -> ScriptedTimes:
    return ScriptedTimes()


@pytest.fixture
def wait(times: ScriptedTimes) -> CpuWait:
    found = CpuWait(times)
    found.seconds(10.0, current=False)
    return found


def test_waits_that_are_over_are_those_the_kernel_counts(
    wait: CpuWait, times: ScriptedTimes
) -> None:
    times.times = ms(20, 60, 4)
    assert wait.seconds(10.1, current=True) == pytest.approx(0.06)


def test_a_thread_that_is_runnable_and_does_not_run_waits(
    wait: CpuWait, times: ScriptedTimes
) -> None:
    times.is_runnable = True
    times.times = ms(10, 20, 2)
    assert wait.seconds(10.1, current=True) == pytest.approx(0.02 + 0.07)
    assert wait.seconds(10.3, current=True) == pytest.approx(0.02 + 0.27)
    # it has run at last, so the kernel counts the wait; then it waits again
    times.times = ms(20, 320, 3)
    assert wait.seconds(10.4, current=True) == pytest.approx(0.32 + 0.06)


def test_a_thread_that_runs_all_the_time_does_not_wait(wait: CpuWait, times: ScriptedTimes) -> None:
    times.is_runnable = True
    for passed in range(1, 5):
        times.times = ms(passed * 100, 0, 1)
        assert wait.seconds(10.0 + passed / 10, current=True) == pytest.approx(0.0)


def test_a_thread_that_sleeps_does_not_wait(wait: CpuWait) -> None:
    assert wait.seconds(10.5, current=True) == 0.0
    assert wait.seconds(11.0, current=True) == 0.0


def test_the_current_wait_is_left_out_unless_it_is_asked_for(
    wait: CpuWait, times: ScriptedTimes
) -> None:
    times.is_runnable = True
    assert wait.seconds(10.5, current=False) == 0.0


def test_the_kernel_counts_the_time_that_a_thread_ran_and_knows_that_it_sleeps() -> None:
    done, native = threading.Event(), []
    asleep = threading.Thread(
        target=lambda: (native.append(threading.get_native_id()), done.wait())
    )
    asleep.start()
    here = KernelTimes(threading.get_native_id())
    try:
        before = here.read()
        while here.read().ran < before.ran + 20_000_000:
            pass
        assert here.runnable()
        there = KernelTimes(asleep.native_id)
        assert not there.runnable()
        there.close()
    finally:
        here.close()
        done.set()
        asleep.join()


def test_a_name_with_parentheses_does_not_hide_the_state(tmp_path: Path) -> None:
    times = KernelTimes(threading.get_native_id())
    (tmp_path / "stat").write_text("12 (a) R b) S 1 2 3\n")
    os.close(times._files.pop())
    times._files.append(os.open(tmp_path / "stat", os.O_RDONLY))
    assert not times.runnable()
    times.close()


@pytest.mark.parametrize("text", [None, "", "0 0\n", "no numbers at all\n"])
def test_a_kernel_without_such_times_gives_none(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, text: str | None
) -> None:
    before = len(list(Path("/proc/self/fd").iterdir()))
    real = os.open

    def opened(path: str, flags: int) -> int:
        return real(str(tmp_path / Path(path).name), flags)

    (tmp_path / "stat").write_text("1 (x) S\n")
    if text is not None:
        (tmp_path / "schedstat").write_text(text)
    monkeypatch.setattr(os, "open", opened)
    found = times_of(1)
    assert isinstance(found, NoTimes)
    assert CpuWait(found).seconds(10.0, current=True) == 0.0
    found.close()
    monkeypatch.undo()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
