"""The claim on a home: one at a time, gone with its process, whatever its file says."""

import os
import signal
import sys
from pathlib import Path

import pytest
from gevent import subprocess

from amoc_gevent.daemon.pidfile import PidFile, holder
from amoc_gevent.errors import AmocError
from tests.servers import ROOT, wait_for

HOLD = (
    "import sys\nfrom pathlib import Path\nfrom amoc_gevent.daemon.pidfile import PidFile\n"
    "kept = PidFile(Path(sys.argv[1]), 'master')\nprint('held', flush=True)\nsys.stdin.read()\n"
)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "master.pid"


def test_the_holder_is_known_while_it_holds(path: Path) -> None:
    assert holder(path) is None
    claim = PidFile(path, "master")
    assert holder(path) == os.getpid()
    assert path.read_text() == f"{os.getpid()}\n"
    claim.release()
    assert holder(path) is None
    assert not path.exists()


def test_a_second_claim_names_the_first(path: Path) -> None:
    claim = PidFile(path, "master")
    with pytest.raises(AmocError, match=rf"a master runs in .* already, pid {os.getpid()};"):
        PidFile(path, "master")
    assert holder(path) == os.getpid()
    claim.release()


@pytest.mark.parametrize("left", ["1\n", "", "not a number", "99999999999999999999999"])
def test_a_stale_pid_file_is_ignored(path: Path, left: str) -> None:
    path.write_text(left)
    assert holder(path) is None
    claim = PidFile(path, "master")
    assert path.read_text() == f"{os.getpid()}\n"
    claim.release()


@pytest.mark.processes
def test_a_claim_ends_with_its_process_however_it_ends(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"held\n"
        assert holder(path) == other.pid
        other.send_signal(signal.SIGKILL)
        wait_for(lambda: holder(path) is None, what="the end of the claim")
    PidFile(path, "master").release()


def test_a_file_that_was_replaced_is_no_claim_on_the_new_one(path: Path) -> None:
    claim = PidFile(path, "master")
    path.unlink()
    assert holder(path) is None
    second = PidFile(path, "master")
    assert holder(path) == os.getpid()
    second.release()
    claim.release()


def test_a_directory_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(AmocError, match=r"master\.pid cannot be written: No such file"):
        PidFile(tmp_path / "none/master.pid", "master")


def test_a_process_that_lost_its_file_does_not_remove_its_successors(path: Path) -> None:
    first = PidFile(path, "master")
    path.unlink()
    second = PidFile(path, "master")
    assert (first.lost, second.lost) == (True, False)
    first.release()
    assert holder(path) == os.getpid()
    second.release()
    assert not path.exists()
