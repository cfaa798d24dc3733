"""A claim on a run is seen by everybody and ends with its process, however that ends."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from amoc_gevent.daemon.claims import Claims
from tests.servers import ROOT, wait_for

RUN, OTHER = "5f0c2a9b7d1e", "5f0c2a9b7d1f"


def test_a_claim_is_of_one_run_and_ends_when_it_is_released(tmp_path: Path) -> None:
    path = tmp_path / "runs.lock"
    mine, another = Claims(path), Claims(path)
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
def test_a_claim_ends_with_a_process_that_is_killed(tmp_path: Path) -> None:
    path = tmp_path / "runs.lock"
    program = (
        "import sys, signal\nfrom pathlib import Path\n"
        "from amoc_gevent.daemon.claims import Claims\n"
        "claims = Claims(Path(sys.argv[1]))\nclaims.hold(sys.argv[2])\nsignal.pause()\n"
    )
    process = subprocess.Popen([sys.executable, "-c", program, path, RUN], cwd=ROOT)
    try:
        wait_for(lambda: Claims(path).is_held(RUN), 20, "the claim")
        os.kill(process.pid, signal.SIGKILL)
        wait_for(lambda: not Claims(path).is_held(RUN), 20, "the end of the claim")
    finally:
        process.kill()
        process.wait()


def test_a_link_in_place_of_the_file_is_not_followed(tmp_path: Path) -> None:
    path = tmp_path / "runs.lock"
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic links"):
        Claims(path).hold(RUN)
    assert not Claims(path).is_held(RUN)
    assert not (tmp_path / "elsewhere").exists()
