"""A lock on a run is visible to all processes and ends with its own process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from amoc_gevent.daemon.run_locks import RunLocks
from tests.servers import ROOT, wait_for

RUN, OTHER = "5f0c2a9b7d1e", "5f0c2a9b7d1f"


def test_a_lock_covers_one_run_until_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "runs.lock"
    mine, another = RunLocks(path), RunLocks(path)
    assert not another.is_held(RUN)
    assert not path.exists()
    mine.hold(RUN)
    assert mine.is_held(RUN)
    assert another.is_held(RUN)
    assert not another.is_held(OTHER)
    with pytest.raises(OSError, match="unavailable"):
        another.hold(RUN)
    another.hold(OTHER)
    mine.release()
    assert not another.is_held(RUN)
    assert mine.is_held(OTHER)
    another.release()


@pytest.mark.processes
def test_a_lock_ends_with_a_killed_process(tmp_path: Path) -> None:
    path = tmp_path / "runs.lock"
    program = (
        "import sys, signal\nfrom pathlib import Path\n"
        "from amoc_gevent.daemon.run_locks import RunLocks\n"
        "locks = RunLocks(Path(sys.argv[1]))\nlocks.hold(sys.argv[2])\nsignal.pause()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, path, RUN], cwd=ROOT)
    try:
        wait_for(lambda: RunLocks(path).is_held(RUN), 20, "the lock")
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: not RunLocks(path).is_held(RUN), 20, "the end of the lock")
    finally:
        process.kill()
        process.wait()


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "runs.lock"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        RunLocks(path).hold(RUN)
    assert not RunLocks(path).is_held(RUN)
    assert not (tmp_path / "elsewhere").exists()
