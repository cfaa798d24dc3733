"""The release where there is no network and nothing installed, and somebody else starts it."""

import json
import os
import runpy
import shutil
import stat
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from gevent import subprocess

from tests import rights
from tests.rights import NOBODY
from tests.servers import ROOT

pytestmark = pytest.mark.timeout(400)  # making the release installs all that amoc needs

SCENARIO = """
import sys
import gevent, zmq
from amoc_gevent import http, settings

url = settings.declare("url", "http://127.0.0.1:1", "the service")


def init():
    print("modules", gevent.__file__, zmq.__file__, http.__file__, flush=True)
    print("path", sys.path, flush=True)


def start(user_id):
    with http.Session(url.value) as session:
        session.get("/")
"""

CUT_OFF = """
set -e
ip link set lo up
! ip route get 192.0.2.1 2>/dev/null
"$AMOC" demo http --port 0 >"$HOME/demo" &
demo=$!
trap 'kill $demo' EXIT
tries=0
until url=$(sed -n 's/^listening on //p' "$HOME/demo"); [ -n "$url" ]; do
    tries=$((tries + 1)); [ $tries -lt 600 ]; sleep 0.1
done
"$AMOC" run mine.py 1 10 --user-rate 100/s --repeat-num 3 --repeat-interval 10ms --workers 2 \
    --set url=$url --summary "$HOME/summary.json"
echo counted
python3 -c 'import sys, urllib.request as u; print(u.urlopen(sys.argv[1]).read().decode())' \
    $url/count
"""


@pytest.fixture
def place() -> Iterator[Path]:
    """A directory that another user can enter, with a space in its name and an empty home."""
    with tempfile.TemporaryDirectory(prefix="amoc release ") as made:
        directory = Path(made)
        directory.chmod(0o755)
        home = directory / "home"
        home.mkdir(mode=0o700)
        rights.OTHER_USER.need()
        os.chown(home, NOBODY, NOBODY)
        yield directory


def as_nobody(place: Path, command: list[str], **env: str) -> "subprocess.CompletedProcess[str]":
    """Run a command as another user, with nothing of this environment but where Python is."""
    rights.OTHER_USER.need()
    python = Path(sys.executable).resolve().parent
    return subprocess.run(
        [*rights.AS_NOBODY, *command],
        check=False,
        capture_output=True,
        text=True,
        timeout=120,
        cwd=place,
        env={"HOME": str(place / "home"), "PATH": f"{python}:/usr/sbin:/usr/bin:/sbin:/bin", **env},
    )


def test_it_runs_with_the_network_cut_an_empty_home_and_for_another_user(
    release: Path, place: Path
) -> None:
    rights.USER_NAMESPACES.need()
    amoc = place / "amoc"
    shutil.copy(release, amoc)
    (place / "mine.py").write_text(SCENARIO)
    assert as_nobody(place, ["python3", "-c", "import gevent"]).returncode != 0

    done = as_nobody(
        place,
        ["unshare", "--user", "--map-root-user", "--net", "sh", "-c", CUT_OFF],
        AMOC=str(amoc),
    )

    assert done.returncode == 0, done.stdout + done.stderr
    summary: dict[str, Any] = json.loads((place / "home/summary.json").read_text())
    counted = json.loads(done.stdout.split("\ncounted\n")[1])
    assert summary["operations"]["GET /"]["count"] == counted["total"] == 30
    assert summary["run"]["workers"] == 2
    modules = [line for line in done.stderr.splitlines() if line.startswith("modules ")]
    assert len(modules) == 2
    for path in modules[0].removeprefix("modules ").split(" /"):
        assert "home/.amoc/release/" in path
    (path, _) = [line for line in done.stderr.splitlines() if line.startswith("path ")]
    assert "dist-packages" not in path  # which may have another zope, say


def test_it_names_the_commit_and_has_the_scenarios(release: Path, place: Path) -> None:
    checkout = subprocess.run(
        [sys.executable, "-m", "amoc_gevent", "--version"],
        check=True, capture_output=True, text=True, cwd=ROOT,
    )  # fmt: skip
    assert "(" in checkout.stdout
    amoc = str(release_in(place, release))
    assert as_nobody(place, [amoc, "--version"]).stdout == checkout.stdout

    listed = as_nobody(place, [amoc, "scenarios", "--json"])
    names = {Path(one["path"]).name for one in json.loads(listed.stdout)}
    assert {"http_hello.py", "xmpp_chat.py"} <= names


def release_in(place: Path, release: Path) -> Path:
    return Path(shutil.copy(release, place / "amoc"))


def test_a_place_that_cannot_be_written_to_is_not_needed(release: Path, place: Path) -> None:
    amoc = release_in(place, release)
    done = as_nobody(
        place, [str(amoc), "--version"], HOME="/nonexistent", TMPDIR=str(place / "home")
    )
    assert done.returncode == 0, done.stderr
    assert list((place / "home").iterdir()) == [place / "home" / f"amoc-release-{NOBODY}"]


def test_a_temporary_place_that_is_somebody_elses_is_refused(release: Path, place: Path) -> None:
    amoc = release_in(place, release)
    trap = place / f"amoc-release-{NOBODY}"
    trap.mkdir()
    trap.chmod(0o777)
    place.chmod(0o1777)  # as /tmp is
    done = as_nobody(place, [str(amoc), "--version"], HOME="/nonexistent", TMPDIR=str(place))
    assert done.returncode == 1
    assert done.stderr == f"amoc: {trap} is not this user's alone: remove it, or set AMOC_HOME\n"


@pytest.mark.parametrize("home_mode", [0o777, 0o1777, 0o775])
def test_nothing_is_unpacked_into_a_home_that_others_may_write_to(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, home_mode: int
) -> None:
    launch = runpy.run_path(str(ROOT / "deploy/launch.py"))
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("AMOC_HOME", str(home))
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    assert launch["place"]() == str(home / "release")
    home.chmod(home_mode)
    assert launch["place"]() == str(tmp_path / f"amoc-release-{os.getuid()}")


def other_python(place: Path, says: str) -> Path:
    """A release for another Python than this one."""
    launch = (ROOT / "deploy/launch.py").read_text()
    target = place / "other"
    with zipfile.ZipFile(target, "w") as archive:
        archive.writestr("__main__.py", "import _launch\n_launch.main()\n")
        archive.writestr("_launch.py", launch.replace("@VERSION@", says))
    return target


def test_another_python_is_told_in_a_line_which_one_it_wants(place: Path) -> None:
    done = as_nobody(place, ["python3", str(other_python(place, "3.4")), "run"])
    assert done.returncode == 1
    assert done.stderr.startswith("amoc: this release is for Python 3.4 on ")
    assert "there is no python3.4" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_another_python_starts_the_one_that_fits_where_that_is_there(place: Path) -> None:
    fits = place / "python3.4"
    fits.write_text('#!/bin/sh\necho fits "$@"\n')
    fits.chmod(fits.stat().st_mode | stat.S_IXUSR | stat.S_IXGRP | stat.S_IXOTH)
    archive = other_python(place, "3.4")
    python = str(Path(sys.executable).resolve())
    done = as_nobody(place, [python, str(archive), "run", "a b"], PATH=str(place))
    assert done.stdout == f"fits {archive} run a b\n"
